"""The shared frames as a store, coded by what ``viae ingest --images video`` codes with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from load_frames import CHUNK, FRAMES, Frames
from viae.schema import NS_PER_S, Block, Episode, Kind, Role, Samples, StreamSpec, Take, WindowSpec
from viae.store import Store, StoreWriter
from viae.video.encode import FastVideo
from viae.video.recode import Recoder
from viae.video.recoding import Recoding


def window(cameras: Sequence[str], *, frames: int = FRAMES) -> WindowSpec:
    """The window that every contender makes."""
    return WindowSpec(
        decision="observation.state",
        inputs=(
            *(Take(stream=camera, steps=tuple(range(1 - frames, 1))) for camera in cameras),
            Take(stream="observation.state", steps=(0,)),
        ),
        targets=(Take(stream="action", steps=tuple(range(CHUNK))),),
    )


def make_store(frames: Frames, uri: Path, coding: FastVideo | None = None) -> Store:
    """The frames in a store, made once."""
    if (uri.parent / f"{uri.name}.done").exists():
        return Store.open(uri)
    shutil.rmtree(uri, ignore_errors=True)
    store = Store.create(uri)
    writer = StoreWriter(store, now_ns=lambda: 0)
    options = Recoding(images="video", coding=coding or FastVideo())
    for number, episode in enumerate(frames.episodes()):
        draft = writer.begin(f"{number:04}")
        for block in Recoder(options).items(_blocks(frames, episode)):
            draft.add(block)
        start_ns, end_ns = draft.span_ns()
        draft.finish(
            Episode(
                episode_id=f"{number:04}", log_uri="made", log_hash="", log_range="",
                log_format="made", task=frames.task, start_ns=start_ns, end_ns=end_ns,
            )
        )  # fmt: skip
    writer.commit()
    (uri.parent / f"{uri.name}.done").touch()
    return store


def _blocks(frames: Frames, episode: range) -> Iterator[Block]:
    pictures, states, actions = frames.pictures, frames.states, frames.actions
    height, width = pictures.shape[1:3]
    at_ns = np.arange(len(episode), dtype=np.int64) * (NS_PER_S // frames.fps)
    rows = slice(episode.start, episode.stop)
    for name, values, role in (
        ("observation.state", states, Role.OBSERVATION), ("action", actions, Role.ACTION)
    ):  # fmt: skip
        spec = StreamSpec(name=name, dtype="float32", shape=values.shape[1:], role=role)
        yield _samples(spec, at_ns, 0, values[rows])
    for camera in frames.cameras:
        spec = StreamSpec(
            name=camera, kind=Kind.IMAGE, dtype="uint8", shape=(height, width, 3), encoding="rgb8"
        )
        for place, now in enumerate(episode):
            seen = frames.seen_by(camera, pictures[now])
            yield _samples(spec, at_ns[place : place + 1], place, [seen.tobytes()])


def _samples(
    spec: StreamSpec, at_ns: np.ndarray, first: int, values: np.ndarray | list[bytes]
) -> Samples:
    seq = np.arange(first, first + len(values), dtype=np.int64)
    return Samples(spec=spec, capture_ns=at_ns, arrival_ns=at_ns, seq=seq, values=values)


def disk_bytes(*folders: Path) -> int:
    """Bytes of all files in folders."""
    return sum(p.stat().st_size for f in folders for p in f.rglob("*") if p.is_file())
