"""Which access path a picture stream takes."""

from __future__ import annotations

from collections.abc import Sequence

from viae.load.access import Access, Frames
from viae.load.frames import OnDemand
from viae.load.packets import PacketSource, TakenPackets, coded_bytes, hold
from viae.load.timelines import StreamRows
from viae.store import Store
from viae.video import PictureView


def open_frames(
    store: Store,
    streams: Sequence[tuple[StreamRows, PictureView]],
    episode_ids: Sequence[str],
    access: Access,
) -> dict[str, Frames]:
    """The frames of picture streams, each by the path chosen for it.

    Args:
        store: at a snapshot.
        streams: with how their pictures are looked at.
        episode_ids: those of the streams' rows.
        access: what may be used.
    """
    found: dict[str, Frames] = {}
    left = access.memory_bytes
    for stream, view in streams:
        packets: PacketSource = TakenPackets(store, stream)
        if (size := coded_bytes(store, stream)) <= left:
            packets = hold(store, stream, episode_ids)
            left -= size
        found[stream.spec.name] = OnDemand(stream, packets, view, tuple(episode_ids))
    return found
