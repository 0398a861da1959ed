"""Frames on demand: decoded when they are asked for, and no others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import VideoError, WindowError
from viae.load.packets import PacketSource
from viae.load.timelines import StreamRows
from viae.schema import Kind
from viae.video import Converter, PictureView
from viae.video.decoder import Coding, GroupDecoder
from viae.video.pictures import open_image

Ints = npt.NDArray[np.int64]


class OnDemand:
    """Frames of one picture stream, decoded from their packets at each request.

    Args:
        stream: its rows and times.
        packets: of the rows.
        view: how pictures are looked at.
        episode_ids: for error messages.
    """

    def __init__(
        self,
        stream: StreamRows,
        packets: PacketSource,
        view: PictureView,
        episode_ids: tuple[str, ...],
    ) -> None:
        self.spec = stream.spec
        self.view = view
        self.stream = stream
        self.packets = packets
        self._episode_ids = episode_ids
        self._mine = threading.local()
        height, width = view.shape(*stream.spec.shape[:2])
        self.shape = (3, height, width)
        """(3, H, W)."""

    def __len__(self) -> int:
        return len(self.stream)

    def read(self, frames: Ints, out: npt.NDArray[np.uint8]) -> None:
        """See `viae.load.access.Frames`: each picture is decoded once, each group at most once."""
        order = np.argsort(frames, kind="stable")
        none = int(np.searchsorted(frames[order], 0))
        out[order[:none]] = 0
        self._decode(frames, order[none:], out)

    def decode(self, frames: Ints, places: Sequence[npt.NDArray[np.uint8]]) -> None:
        """Write frames to places that need not lie together.

        Args:
            frames: int64 [N], each in [0, len(self)).
            places: N of uint8 [3, H, W], written to.

        Raises:
            WindowError: as `read`.
        """
        self._decode(frames, np.argsort(frames, kind="stable"), places)

    def _decode(self, frames: Ints, order: Ints, out: Any) -> None:
        if not len(order):
            return
        wanted = frames[order]
        rows = np.searchsorted(self.stream.row_starts, wanted, side="right") - 1
        places = (wanted - self.stream.row_starts[rows]).tolist()
        groups, firsts = np.unique(rows, return_index=True)
        ends = [*firsts[1:].tolist(), len(order)]
        slots: list[int] = order.tolist()
        decoder, converter = self._tools()
        read = self._groups if self.spec.kind is Kind.VIDEO else self._images
        packets = self.packets.of(groups)
        for group, first, end, coded in zip(
            groups.tolist(), firsts.tolist(), ends, packets, strict=True
        ):
            by_place: dict[int, list[int]] = {}
            for place, slot in zip(places[first:end], slots[first:end], strict=True):
                by_place.setdefault(place, []).append(slot)
            try:
                for place, frame in read(decoder, group, coded, by_place):
                    slot, *copies = by_place[place]
                    converter.into(frame, self.view, out[slot])
                    for copy in copies:
                        out[copy][...] = out[slot]
            except (VideoError, ValueError) as error:
                raise self.at(int(self.stream.row_starts[group]), error) from error

    def _groups(
        self, decoder: GroupDecoder, group: int, coded: Any, wanted: dict[int, list[int]]
    ) -> Any:
        return decoder.frames(self.coding(group), coded, wanted)

    def _images(
        self, _decoder: GroupDecoder, _group: int, coded: Any, wanted: dict[int, list[int]]
    ) -> Any:
        return ((place, open_image(bytes(coded[place]), self.spec)) for place in wanted)

    def coding(self, group: int) -> Coding:
        """How a group of pictures is coded."""
        return self.stream.codings[int(self.stream.coding_of[group])]

    def _tools(self) -> tuple[GroupDecoder, Converter]:
        """This thread's decoder and converter."""
        tools: tuple[GroupDecoder, Converter] | None = getattr(self._mine, "tools", None)
        if tools is None:
            tools = self._mine.tools = (GroupDecoder(), Converter())
        return tools

    def at(self, frame: int, error: Exception) -> WindowError:
        """What is wrong with a frame, with stream, episode and time."""
        episode = self._episode_ids[self.stream.episode_of(frame)]
        at_s = self.stream.arrival_ns[frame] / 1e9
        return WindowError(
            f"stream '{self.spec.name}' of episode {episode}, from {at_s:.3f} s: {error}; exclude "
            "the stream or the episode, or ingest the log again from an undamaged copy"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_mine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._mine = threading.local()
