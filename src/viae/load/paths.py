"""The frames of picture streams, opened by the access path chosen for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.load.access import Access, Frames
from viae.load.cache import Cached
from viae.load.choose import Choice, Room, Streams, choose
from viae.load.cost import used_frames
from viae.load.frames import OnDemand
from viae.load.index import Index
from viae.load.packets import PacketSource, TakenPackets, coded_bytes, hold
from viae.load.pool import Pooled
from viae.load.slots import Slots, kept_file, shared_memory, temporary_file
from viae.load.torchcodec import TorchcodecFrames
from viae.schema import Kind
from viae.store import Store

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """The frames of picture streams, and how they are got at.

    Args:
        frames: by stream.
        choice: the path.
    """

    frames: Mapping[str, Frames]
    choice: Choice


def open_frames(
    store: Store,
    streams: Streams,
    episode_ids: Sequence[str],
    access: Access,
    index: Index,
) -> Opened:
    """The frames of picture streams, by the path chosen for them.

    Args:
        store: at a snapshot.
        streams: with how their pictures are looked at.
        episode_ids: those of the streams' rows.
        access: what may be used.
        index: the windows.

    Raises:
        UsageError: the path demanded does not fit.
        LoaderError: decoded frames cannot be kept where they should be.
    """
    coded = {stream.spec.name: coded_bytes(store, stream) for stream, _ in streams}
    choice = choose(streams, index, access, sum(coded.values()))
    left = access.memory_bytes
    if choice.room is not None:
        left -= choice.room.memory_bytes
    if choice.pool is not None:
        left -= choice.pool.needed_bytes
    sources: dict[str, OnDemand] = {}
    for stream, view in streams:
        packets: PacketSource = TakenPackets(store, stream)
        if coded[stream.spec.name] <= left:
            packets = hold(store, stream, episode_ids)
            left -= coded[stream.spec.name]
        sources[stream.spec.name] = OnDemand(stream, packets, view, tuple(episode_ids))
    frames: dict[str, Frames] = dict(sources)
    if access.decoder != "pyav":
        frames |= {name: TorchcodecFrames(s, access.decoder) for name, s in sources.items()}
    if choice.path == "decode":
        return Opened(frames=frames, choice=choice)
    used = {name: used_frames(index, name) for name in sources}
    decoded = {name: len(used[name]) * int(np.prod(s.shape)) for name, s in sources.items()}
    every = max(1, sum(decoded.values()))
    for name, source in sources.items():
        own = used[name]
        if choice.room is not None:
            identity = _identity(store, source, episode_ids)
            frames[name] = Cached(source, own, _tiers(choice.room, source, own, access, identity))
        elif choice.pool is not None:
            room_bytes = (choice.pool.needed_bytes + max(0, left)) * decoded[name] // every
            frames[name] = Pooled(source, own, room_bytes)
    return Opened(frames=frames, choice=choice)


def _tiers(
    room: Room, source: OnDemand, used: Ints, access: Access, identity: Mapping[str, Any]
) -> list[Slots]:
    """Where the frames of one stream are kept."""
    name, tiers = source.spec.name, []
    if in_memory := room.memory[name]:
        tiers.append(shared_memory(in_memory, source.shape))
    if in_file := room.file[name]:
        if access.folder is None:
            tiers.append(temporary_file(in_file, source.shape))
        else:
            kept = used[in_memory : in_memory + in_file]
            own = {**identity, "frames": _digest(kept)}
            tiers.append(kept_file(access.folder, own, in_file, source.shape))
    return tiers


def _identity(store: Store, source: OnDemand, episode_ids: Sequence[str]) -> dict[str, Any]:
    """What determines the decoded frames of a stream: where they come from, and who decodes."""
    import av
    import PIL

    table = "video" if source.spec.kind is Kind.VIDEO else "chunks"
    uri = store.uri if "://" in store.uri else os.path.realpath(store.uri)
    return {
        "store": uri,
        "version": store.snapshot().versions[table],
        "stream": source.spec.name,
        "view": source.view.to_json(),
        "episodes": list(episode_ids),
        "rows": _digest(source.stream.rows),
        "libraries": {name: list(v) for name, v in sorted(av.library_versions.items())},
        "pillow": PIL.__version__,
    }


def _digest(numbers: Ints) -> str:
    return hashlib.blake2b(np.ascontiguousarray(numbers).tobytes(), digest_size=16).hexdigest()
