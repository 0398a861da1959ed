#!/usr/bin/env python
"""Fuzz the MCAP reader, guided by coverage: see README.md beside this file.

Whatever the bytes are: no exception but `LogError` leaves the reader, it ends, it keeps within its
memory (``-timeout``, ``-rss_limit_mb``), every message of the file is in exactly one episode, and
where it reports no loss the ``mcap`` library reads the same messages.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["viae.logs", "mcap", "mcap_ros2", "mcap_protobuf"]):
    from mcap.exceptions import McapError
    from mcap.records import Message
    from mcap.stream_reader import StreamReader

    from viae.errors import LogError
    from viae.logs.mcap import McapFormat
    from viae.logs.mcap.records import Reader
    from viae.logs.mcap.run import MessageRun
    from viae.schema import Kind, Loss, Samples, VideoGroup

MAGIC = b"\x89MCAP0\r\n"
PATH = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "log.mcap"


class FuzzError(AssertionError):
    """A promise of the reader does not hold."""


def ours() -> tuple[list[Message], bool]:
    """All messages, and whether anything at all was reported."""
    messages: list[Message] = []
    reported = False
    with Reader(PATH) as reader:
        for record in reader.records():
            if isinstance(record, MessageRun):
                messages += record.messages()
            reported |= isinstance(record, Loss)
    return messages, reported


def theirs() -> list[Message] | None:
    """All messages, by the library; None where it gives up."""
    try:
        with PATH.open("rb") as file:
            reader = StreamReader(file, validate_crcs=True, record_size_limit=None)
            return [record for record in reader.records if isinstance(record, Message)]
    except (McapError, ValueError, OverflowError, MemoryError, RuntimeError, OSError):
        return None
    except Exception as error:  # what struct, zstd and lz4 raise; theirs is not under test
        if type(error).__module__.split(".")[0] in ("struct", "zstandard", "lz4", "_struct"):
            return None
        raise


def test_one_input(data: bytes) -> None:
    """One file."""
    if not data.startswith(MAGIC):
        data = MAGIC + data
    PATH.write_bytes(data)
    read: Counter[str] = Counter()
    try:
        log = McapFormat().open(PATH)
        for episode in log.episodes:
            for item in episode.read():
                if isinstance(item, Samples | VideoGroup):
                    times = item.arrival_ns
                    if (times < 0).any():
                        raise FuzzError(f"arrival before 1970 in {item}")
                    if item.spec.kind is Kind.BYTES:
                        read["bytes"] += len(item)
    except LogError:
        return
    messages, reported = ours()
    if not reported and (expected := theirs()) is not None and messages != expected:
        raise FuzzError(f"{len(messages)} messages, and the library has {len(expected)} or others")


def main() -> None:
    """Run libFuzzer."""
    atheris.Setup(sys.argv, test_one_input)
    try:
        atheris.Fuzz()
    finally:
        PATH.unlink(missing_ok=True)
        PATH.parent.rmdir()


if __name__ == "__main__":
    main()
