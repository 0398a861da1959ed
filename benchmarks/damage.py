"""What is left of damaged logs: every message of every intact chunk, and a word about the rest.

What is intact is decided without our reader: the ``mcap`` library says where the chunks of the
pristine file are, and the messages outside of chunks, and what is in them. One is intact in a
damaged copy if none of its bytes was changed or cut off.

``python benchmarks/damage.py [--quick]`` prints one object a line.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import FrameType
from typing import TypeAlias

from mcap.records import Chunk, DataEnd, Message
from mcap.stream_reader import StreamReader, breakup_chunk

from conformance import conformance
from rows import Row
from viae.errors import ViaeError
from viae.logs import open_log
from viae.logs.mcap.records import Reader
from viae.logs.mcap.run import MessageRun
from viae.logs.mcap.survey import survey
from viae.schema import Loss

DATA = Path(os.environ.get("VIAE_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL = (
    "rerun_mcap/supported_ros2_messages.mcap",
    "rerun_mcap/simple-protobuf.mcap",
    "keelson_maritime/test.mcap",
    "depthai_oak_recording/recording.mcap",
    "rosbag2_testdata/rosbag2_py/test/resources/mcap/wbag/wbag_0.mcap",
    "rosbag2_testdata/rosbag2_cpp/test/rosbag2_cpp/bags/topics_and_services.mcap",
)
OTHERS = (
    "lerobot_artifacts/test_rs.bag",
    "rosbag2_testdata/rosbag2_cpp/test/rosbag2_cpp/bags/topics_and_services.db3",
    "px4_ulog/sample_appended_multiple.ulg",
)
CUTS, FLIPS, HOLES = 50, 500, 20
QUICK = 25
"""With ``--quick``, one case of so many."""
LIMIT_S = 10
ADDRESS_SPACE_BYTES = 16 << 30
"""Of a worker: what takes more fails. Its peak of resident memory is a figure."""
PROCESSES = 2
VERBOSE = "VIAE_DAMAGE_VERBOSE" in os.environ
"""Name the cases in which something is missing."""

Content: TypeAlias = tuple[int, int, int, int, bytes]


@dataclass(frozen=True, slots=True)
class Unit:
    """A chunk, or a message outside of chunks.

    Args:
        start: where it starts in the file.
        end: where it ends.
        messages: what is in it.
        is_checked: whether a checksum would tell other bytes from its own.
    """

    start: int
    end: int
    messages: Counter[Content]
    is_checked: bool


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to a copy: cut off at a byte, or bytes changed from one on."""

    kind: str
    start: int
    new: bytes = b""

    def apply(self, data: bytes) -> bytes:
        """The damaged copy."""
        if self.kind == "cut":
            return data[: self.start]
        return data[: self.start] + self.new + data[self.start + len(self.new) :]

    def spares(self, unit: Unit) -> bool:
        """Whether a unit is as it was."""
        if self.kind == "cut":
            return unit.end <= self.start
        return unit.end <= self.start or self.start + len(self.new) <= unit.start


@dataclass(slots=True)
class Tally:
    """Counts over many cases."""

    cases: int = 0
    intact: int = 0
    recovered: int = 0
    with_missing: int = 0
    reported: int = 0
    failures: list[str] = field(default_factory=list)
    peak_bytes: int = 0

    def add(self, other: Tally) -> None:
        """Add another's."""
        for name in ("cases", "intact", "recovered", "with_missing", "reported", "failures"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)


def damage_recovered(data: Path, *, quick: bool = False) -> Iterator[Row]:
    """Messages of intact chunks that were read from damaged files, and whether the rest was said.

    Args:
        data: the real logs.
        quick: take one case of `QUICK`.
    """
    conforming = sorted((data / "mcap_conformance").rglob("*.mcap"))
    files = [*conforming, *(data / name for name in REAL)]
    jobs = [(path, seed, quick) for seed, path in enumerate(files)]
    tally, others = Tally(), Tally()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), initializer=_limit) as executor:
        for one in executor.map(_recover, jobs, chunksize=4):
            tally.add(one)
        for one in executor.map(_survive, [(data / name, 0) for name in OTHERS]):
            others.add(one)
    for failure in (*tally.failures, *others.failures)[:20]:
        print(failure, flush=True)
    yield Row(
        name="damage_recovered", value=tally.recovered / tally.intact, unit="share",
        target=">= 1", n=tally.intact, peer="messages that the mcap library finds undamaged",
    )  # fmt: skip
    yield Row(
        name="damage_reported", value=tally.reported / tally.with_missing, unit="share",
        target=">= 1", n=tally.with_missing,
        peer="damaged files that lack messages, as far as a count or a checksum can tell",
    )  # fmt: skip
    yield Row(
        name="damage_failures", value=len(tally.failures), unit="files", target="<= 0",
        n=tally.cases, peer=f"crashed, or took {LIMIT_S} s of computing",
    )  # fmt: skip
    yield Row(name="damage_memory_mb", value=tally.peak_bytes / 1e6, unit="MB", target="<= 1024")
    yield Row(
        name="damage_failures_others", value=len(others.failures), unit="files", target="<= 0",
        n=others.cases, peer="ROS 1 and 2 bags, ULog",
    )  # fmt: skip


def units_of(path: Path) -> list[Unit]:
    """Where the messages of a pristine file are, by the ``mcap`` library."""
    found: list[Unit] = []
    checked = _has_data_crc(path)
    with path.open("rb") as file:
        start = len(b"\x89MCAP0\r\n")
        for record in StreamReader(file, emit_chunks=True).records:
            end = file.tell()
            inside = breakup_chunk(record) if isinstance(record, Chunk) else [record]
            messages = Counter(_content(each) for each in inside if isinstance(each, Message))
            if messages:
                own = isinstance(record, Chunk) and record.uncompressed_crc != 0
                found.append(Unit(start, end, messages, checked or own))
            start = end
    return found


def _has_data_crc(path: Path) -> bool:
    with path.open("rb") as file:
        return any(
            isinstance(record, DataEnd) and record.data_section_crc != 0
            for record in StreamReader(file).records
        )


def damages(size: int, seed: int, *, cuts: int = CUTS, flips: int = FLIPS) -> list[Damage]:
    """The cases of one file: cuts, flips of a byte, holes of zeros as bad sectors leave them."""
    rng = random.Random(seed)
    cases = [Damage("cut", rng.randrange(size)) for _ in range(cuts)]
    cases += [
        Damage("flip", rng.randrange(size), bytes([rng.randrange(1, 256)])) for _ in range(flips)
    ]
    for _ in range(HOLES if cuts == CUTS else 0):
        start = rng.randrange(size)
        cases.append(Damage("hole", start, bytes(min(rng.choice((16, 64, 512)), size - start))))
    return cases


def recover(path: Path, doubt: bool | None = None) -> tuple[Counter[Content], bool]:
    """The messages that our reader finds, and whether it reports anything."""
    doubt = survey(path).doubt if doubt is None else doubt
    messages: Counter[Content] = Counter()
    reported = False
    with Reader(path, doubt=doubt) as reader:
        for record in reader.records():
            if isinstance(record, MessageRun):
                messages.update(map(_content, record.messages()))
            reported |= isinstance(record, Loss)
        statistics = reader.summary.statistics
        if statistics and statistics.message_count != messages.total():
            reported = True  # the episode reports counts that differ, by channel
    return messages, reported


def try_case(path: Path, data: bytes, case: Damage, units: list[Unit], tally: Tally) -> None:
    """Damage a copy, read it in every way, and count."""
    tally.cases += 1
    new = case.new
    if case.kind == "flip":
        new = bytes([data[case.start] ^ case.new[0]])
    case = Damage(case.kind, case.start, new)
    path.write_bytes(case.apply(data))
    expected: Counter[Content] = Counter()
    total: Counter[Content] = Counter()
    for unit in units:
        total.update(unit.messages)
        if case.spares(unit):
            expected.update(unit.messages)
    found, reported = Counter[Content](), False
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    try:
        try:
            read_all(path)
            found, reported = recover(path)
        except ViaeError:
            reported = True
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rpartition('/')[2]}:{last.lineno}"
        tally.failures.append(f"{path.name} {case.kind} {case.start}: {error!r} at {where}")
        return
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    tally.intact += expected.total()
    tally.recovered += (expected & found).total()
    # Other values in a message that no checksum covers: nobody can know.
    hit = [unit for unit in units if not case.spares(unit)]
    if total - found and (found.total() < total.total() or any(u.is_checked for u in hit)):
        tally.with_missing += 1
        tally.reported += reported
        if not reported and VERBOSE:
            print(f"silent {path.name} {case.kind} {case.start} {case.new.hex()}", flush=True)
    if expected - found and VERBOSE:
        lost = (expected - found).total()
        print(f"lost {lost} {path.name} {case.kind} {case.start} {case.new.hex()}", flush=True)


def read_all(path: Path) -> None:
    """Open a log and read everything in it."""
    for episode in open_log(path).episodes:
        for _ in episode.read():
            pass


def _recover(job: tuple[Path, int, bool]) -> Tally:
    path, seed, quick = job
    tally, data, units = Tally(), path.read_bytes(), units_of(path)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for number, case in enumerate(damages(len(data), seed)):
            if not quick or (number + seed) % QUICK == 0:
                try_case(copy, data, case, units, tally)
    tally.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return tally


def _survive(job: tuple[Path, int]) -> Tally:
    path, seed = job
    tally, data = Tally(), path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for case in damages(len(data), seed, cuts=5, flips=20):
            try_case(copy, data, case, [], tally)
    return tally


def _content(message: Message) -> Content:
    return (
        message.channel_id, message.sequence, message.log_time, message.publish_time, message.data
    )  # fmt: skip


def _limit() -> None:
    """In a worker: a bound on memory, and an end to what does not end."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {LIMIT_S} s of computing")

    signal.signal(signal.SIGPROF, stop)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help=f"one case of {QUICK}")
    arguments = parser.parse_args()
    rows = [*conformance(DATA)]
    rows += damage_recovered(DATA, quick=arguments.quick)
    for row in rows:
        row.print(as_json=arguments.json)


if __name__ == "__main__":
    main()
