"""How fast the recorder writes, and what a kill leaves of its file."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import foxglove
import numpy as np
from foxglove import Channel, Context, Schema
from mcap.writer import Writer

from killed import kill_recorders
from rows import Row
from viae.record import Recorder
from viae.record.messages import recorded_message
from viae.schema import Kind, StreamSpec

KILLS = 200
PAIRS = 5
MESSAGES = 200_000
PEER_MESSAGES = 50_000
FRAMES = 400
FRAME_BYTES = 1 << 20
START_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_003
JOINTS = StreamSpec(name="joints", shape=(7,), unit="rad")
CAMERA = StreamSpec(name="camera", kind=Kind.BYTES, dtype="")


def kills(work: Path) -> Iterator[Row]:
    """Kills under load: files that cannot be read, and durable samples that are gone."""
    found = kill_recorders(KILLS, seed=0, work=work)
    for failure in found.failures:
        print(failure, flush=True)
    yield Row(
        name="kill_unreadable", value=found.unreadable, unit="files", target="<= 0", n=found.kills
    )
    yield Row(
        name="kill_lost", value=found.lost, unit="samples", target="<= 0", n=found.durable,
        peer="what durable_until_ns had reported",
    )  # fmt: skip
    yield Row(
        name="kill_early", value=found.early, unit="kills", n=found.kills,
        peer="killed before anything was durable",
    )  # fmt: skip


def small_messages(work: Path) -> Iterator[Row]:
    """Seven doubles a message: samples a second, from the array to the closed file.

    ``mcap`` is asked twice: from the same arrays, as the recorder is, with protobuf's own
    serialiser; and handed the finished messages, which spares it that.
    """
    work.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).standard_normal((MESSAGES, 7))
    arrays, times_ns = list(values), START_NS + STEP_NS * np.arange(MESSAGES)
    message = recorded_message(Kind.VECTOR)
    finished = [
        message.pack(ns, value.tolist())
        for ns, value in zip(times_ns.tolist(), arrays, strict=True)
    ]
    out = work / "out.mcap"

    def one_by_one() -> int:
        with Recorder(out, streams=[JOINTS]) as recorder:
            ns, write = START_NS, recorder.write
            for value in arrays:
                write("joints", value, capture_ns=ns, arrival_ns=ns)
                ns += STEP_NS
        return MESSAGES

    def all_at_once() -> int:
        with Recorder(out, streams=[JOINTS]) as recorder:
            for start in range(0, MESSAGES, 1000):
                some = slice(start, start + 1000)
                recorder.write_all(
                    "joints", values[some], capture_ns=times_ns[some], arrival_ns=times_ns[some]
                )
        return MESSAGES

    def peer(serialise: bool) -> int:
        with out.open("wb") as file:
            writer = Writer(file)
            writer.start()
            schema = writer.register_schema(message.name, "protobuf", message.schema)
            channel = writer.register_channel("joints", "protobuf", schema)
            ns = START_NS
            for i in range(PEER_MESSAGES):
                data = message.pack(ns, arrays[i].tolist()) if serialise else finished[i]
                writer.add_message(channel, ns, data, ns)
                ns += STEP_NS
            writer.finish()
        return PEER_MESSAGES

    def bare_channel() -> int:
        context = Context()
        with foxglove.open_mcap(out, context=context):
            channel = Channel(
                "joints", message_encoding="protobuf", context=context,
                schema=Schema(name=message.name, encoding="protobuf", data=message.schema),
            )  # fmt: skip
            ns, log = START_NS, channel.log
            for data in finished:
                log(data, log_time=ns)
                ns += STEP_NS
        return MESSAGES

    ways: dict[str, Callable[[], int]] = {
        "write": one_by_one,
        "write_all": all_at_once,
        "peer": lambda: peer(True),
        "peer_finished": lambda: peer(False),
        "sdk": bare_channel,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(PAIRS):  # in turn, so that what else the machine does hits all
        for name, way in ways.items():
            out.unlink(missing_ok=True)
            start_s = time.perf_counter()
            count = way()
            rates[name].append(count / (time.perf_counter() - start_s))
    out.unlink()
    for name, rate in rates.items():
        yield Row(
            name=f"record_small_rate_{name}", value=_middle(rate), unit="samples/s", n=PAIRS,
            low=min(rate), high=max(rate),
        )  # fmt: skip
    for name, ours, theirs, target, against in (
        ("record_small_ratio", "write", "peer", ">= 10", "mcap's Writer, from the same arrays"),
        ("record_small_ratio_finished", "write", "peer_finished", "",
         "mcap's Writer, handed finished messages"),
        ("record_small_ratio_all", "write_all", "peer", "", "mcap's Writer, from the same arrays"),
        ("record_small_ratio_all_finished", "write_all", "peer_finished", "",
         "mcap's Writer, handed finished messages"),
        ("record_small_ratio_sdk_finished", "sdk", "peer_finished", "",
         "the SDK's bare channel ÷ mcap's Writer, both handed finished messages"),
    ):  # fmt: skip
        ratios = [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]
        yield Row(
            name=name, value=_middle(ratios), unit="ratio", target=target, n=PAIRS,
            low=min(ratios), high=max(ratios), peer=against,
        )  # fmt: skip


def frames(work: Path) -> Iterator[Row]:
    """Frames of 1 MB that do not compress, to the disk: bytes a second ÷ dd's on the same bytes."""
    work.mkdir(parents=True, exist_ok=True)
    source, out = work / "frames.bin", work / "out.mcap"
    pieces = [np.random.default_rng(i).bytes(FRAME_BYTES) for i in range(FRAMES)]
    with source.open("wb") as file:
        file.writelines(pieces)

    def ours() -> None:
        with Recorder(out, streams=[CAMERA], fsync=True) as recorder:
            for i, piece in enumerate(pieces):
                ns = START_NS + STEP_NS * i
                recorder.write("camera", piece, capture_ns=ns, arrival_ns=ns)

    def dd() -> None:
        subprocess.run(
            ["dd", f"if={source}", f"of={out}", "bs=1M", f"count={FRAMES}", "conv=fsync"],
            check=True, capture_output=True,
        )  # fmt: skip

    rates: dict[str, list[float]] = {"frames": [], "dd": []}
    for _ in range(PAIRS):
        for name, way in (("dd", dd), ("frames", ours)):
            out.unlink(missing_ok=True)
            os.sync()
            start_s = time.perf_counter()
            way()
            rates[name].append(FRAMES * FRAME_BYTES / 1e6 / (time.perf_counter() - start_s))
    out.unlink()
    source.unlink()
    for name, rate in rates.items():
        yield Row(
            name=f"record_{name}_rate", value=_middle(rate), unit="MB/s", n=PAIRS, low=min(rate),
            high=max(rate),
        )  # fmt: skip
    shares = [a / b for a, b in zip(rates["frames"], rates["dd"], strict=True)]
    yield Row(
        name="record_frame_share", value=_middle(shares), unit="share", target=">= 0.6", n=PAIRS,
        low=min(shares), high=max(shares), peer="dd conv=fsync from the page cache",
    )  # fmt: skip


def _middle(numbers: list[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]
