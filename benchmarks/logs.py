"""The figures of logs: recording, reading, damage, the doctor, and the way out.

``python benchmarks/logs.py --json`` prints one object a line; ``--only NAME[,NAME…]`` prints some.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from driver import DATA, main
from rows import Row


def conformance(_work: Path) -> Iterator[Row]:
    """Of the files that the MCAP project tests readers with."""
    from conformance import conformance as measure

    yield from measure(DATA)


def damage_recovered(_work: Path) -> Iterator[Row]:
    """Of files cut short and with bytes flipped."""
    from damage import damage_recovered as measure

    yield from measure(DATA)


FIGURES = {
    "kill_unreadable": "recording:kills",
    "kill_lost": "recording:kills",
    "record_small_ratio": "recording:small_messages",
    "record_frame_share": "recording:frames",
    "conformance": conformance,
    "ingest_ratio": "ingest:ingest_ratio",
    "ingest_memory_mb": "ingest:ingest_memory_mb",
    "damage_recovered": damage_recovered,
    "doctor_precision": "doctor:findings",
    "doctor_recall": "doctor:findings",
    "clock_offset_ms": "doctor:clocks",
    "clock_drift_ppm": "doctor:clocks",
    "lerobot_roundtrip": "roundtrip:lerobot_roundtrip",
}
NEED_DATA = frozenset({"conformance", "damage_recovered"})

if __name__ == "__main__":
    main(FIGURES, description=__doc__, need_data=NEED_DATA)
