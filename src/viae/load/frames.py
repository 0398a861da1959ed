"""Frames on demand: decoded when they are asked for, and no others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.errors import VideoError, WindowError
from viae.load.packets import Packets, PacketSource
from viae.load.timelines import StreamRows
from viae.schema import Kind
from viae.video import Canvas, Converter, PictureView
from viae.video.decoder import Coding, GroupDecoder
from viae.video.groups import CompiledGroups, Request
from viae.video.pictures import open_image

if TYPE_CHECKING:
    import av

Ints = npt.NDArray[np.int64]
IMAGE = Coding("", b"", True)
"""Pictures that are coded one by one."""


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
        put = self._tools()[1].onto(self.view, Canvas(out))
        self._decode(frames, order[none:], put, out)

    def ahead(self, frames: Ints) -> None:
        """These very frames will be read soon: begin to read their packets.

        Args:
            frames: int64 [N], as for `read`.
        """
        rows = np.searchsorted(self.stream.row_starts, frames[frames >= 0], side="right") - 1
        self.packets.ahead(np.unique(rows))

    def decode(self, frames: Ints, places: Sequence[npt.NDArray[np.uint8]]) -> None:
        """Write frames to places that need not lie together.

        Args:
            frames: int64 [N], each in [0, len(self)).
            places: N of uint8 [3, H, W], written to.

        Raises:
            WindowError: as `read`.
        """
        converter = self._tools()[1]
        self._decode(
            frames,
            np.argsort(frames, kind="stable"),
            lambda frame, slot: converter.into(frame, self.view, Canvas(places[slot][None]), 0),
            places,
        )

    def _decode(
        self,
        frames: Ints,
        order: Ints,
        put: Callable[[av.VideoFrame, int], None],
        out: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8],
    ) -> None:
        """Put the frames that ``order`` lists, by rising number, into their places of ``out``."""
        if not len(order):
            return
        wanted = frames[order]
        repeats = np.flatnonzero(np.diff(wanted, prepend=-1) == 0)
        if len(repeats):  # decode once, copy afterwards
            once = np.flatnonzero(np.diff(wanted, prepend=-1))
            self._decode(frames, order[once], put, out)
            firsts = order[once[np.searchsorted(once, repeats, side="right") - 1]]
            for slot, first in zip(order[repeats].tolist(), firsts.tolist(), strict=True):
                out[slot][...] = out[first]
            return
        rows = np.searchsorted(self.stream.row_starts, wanted, side="right") - 1
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        groups = rows[starts]
        coded = self.packets.of(groups)
        request = Request(
            addresses=coded.addresses, sizes=coded.sizes, firsts=coded.firsts, counts=coded.counts,
            bounds=np.append(starts, len(order)), places=wanted - self.stream.row_starts[rows],
            pictures=out, slots=order,
        )  # fmt: skip
        decoder, video = self._tools()[0], self.spec.kind is Kind.VIDEO
        read = decoder.frames if video else self._images

        def by_pyav(group: int, anew: bool) -> av.VideoFrame | None:
            if anew:
                decoder.forget()
            first, end = request.bounds[group : group + 2].tolist()
            places, slots = request.places[first:end].tolist(), order[first:end].tolist()
            slot_of, frame = dict(zip(places, slots, strict=True)), None
            coding = self.coding(int(groups[group])) if video else IMAGE
            try:
                for place, frame in read(coding, coded[group], slot_of):
                    put(frame, slot_of[place])
            except (VideoError, ValueError) as error:
                raise self.at(int(self.stream.row_starts[groups[group]]), error) from error
            return frame

        if video:
            self._compiled().decode(request, self._codings(groups), by_pyav)
            return
        for group in range(len(groups)):
            by_pyav(group, False)

    def _images(
        self, _coding: Coding, coded: Packets, wanted: Collection[int]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        return ((place, open_image(bytes(coded[place]), self.spec)) for place in wanted)

    def _codings(self, groups: Ints) -> list[tuple[Coding, Ints]]:
        """How groups are coded, and which of them are coded so."""
        kinds = self.stream.coding_of[groups]
        return [
            (self.stream.codings[kind], np.flatnonzero(kinds == kind))
            for kind in np.unique(kinds).tolist()
        ]

    def coding(self, group: int) -> Coding:
        """How a group of pictures is coded."""
        return self.stream.codings[int(self.stream.coding_of[group])]

    def _tools(self) -> tuple[GroupDecoder, Converter]:
        """This thread's decoder and converter."""
        tools: tuple[GroupDecoder, Converter] | None = getattr(self._mine, "tools", None)
        if tools is None:
            tools = self._mine.tools = (GroupDecoder(), Converter())
        return tools

    def _compiled(self) -> CompiledGroups:
        """This thread's way past PyAV."""
        compiled: CompiledGroups | None = getattr(self._mine, "compiled", None)
        if compiled is None:
            compiled = self._mine.compiled = CompiledGroups()
        return compiled

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
