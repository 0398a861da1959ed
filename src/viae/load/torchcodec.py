"""Frames by torchcodec, where it is installed: on the CPU, or by NVIDIA's decoder.

torchcodec opens files, so each episode's packets become one in memory, as they are. On the CPU the
pixels are those of PyAV, bit for bit: both are FFmpeg. NVDEC decodes the same pictures and converts
their colours by itself, which may differ in the last bit.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from viae.errors import MissingExtraError, UsageError, VideoError
from viae.load.frames import OnDemand
from viae.schema import Kind

Ints = npt.NDArray[np.int64]

DEVICES = {"torchcodec": "cpu", "nvdec": "cuda"}
MOST_OPEN_BYTES = 256 << 20
"""Of episodes kept open by one thread."""
RATE = 30
"""Of the files in memory; frames are asked for by number, so any will do."""


class TorchcodecFrames:
    """Frames of one video stream through torchcodec.

    Args:
        on_demand: the same frames through PyAV: where their packets are.
        decoder: which one.

    Raises:
        MissingExtraError: torchcodec is not installed.
        UsageError: these frames are images, or scaled: torchcodec scales in another way, and a path
            must not change a pixel.
    """

    def __init__(self, on_demand: OnDemand, decoder: Literal["torchcodec", "nvdec"]) -> None:
        if find_spec("torchcodec") is None:
            raise MissingExtraError("torchcodec", extra="torchcodec")
        name = on_demand.spec.name
        if on_demand.spec.kind is not Kind.VIDEO:
            raise UsageError(f"stream '{name}' is of images: torchcodec decodes video; use pyav")
        if on_demand.view.size is not None:
            raise UsageError(
                f"stream '{name}' is scaled to {on_demand.view.size}: torchcodec scales otherwise "
                "than PyAV, so the pixels would change; leave the size as recorded, or use pyav"
            )
        self.spec = on_demand.spec
        self.shape = on_demand.shape
        self._source = on_demand
        self._device = DEVICES[decoder]
        self._mine = threading.local()

    def __len__(self) -> int:
        return len(self._source)

    def read(self, frames: Ints, out: npt.NDArray[np.uint8]) -> None:
        """See `viae.load.access.Frames`."""
        out[frames < 0] = 0
        slots = np.flatnonzero(frames >= 0)
        starts = self._source.stream.starts
        episodes = np.searchsorted(starts, frames[slots], side="right") - 1
        for episode in np.unique(episodes).tolist():
            own = slots[episodes == episode]
            wanted = (frames[own] - starts[episode]).tolist()
            try:
                decoded = self._open(episode).get_frames_at(indices=wanted).data.cpu().numpy()
            except (RuntimeError, IndexError, ValueError) as error:
                raise self._source.at(int(starts[episode]), VideoError(str(error))) from error
            if crop := self._source.view.crop:
                top, left, height, width = crop
                decoded = decoded[..., top : top + height, left : left + width]
            out[own] = decoded

    def _open(self, episode: int) -> Any:
        """This thread's decoder of an episode."""
        from torchcodec.decoders import VideoDecoder

        opened: OrderedDict[int, tuple[Any, int]] | None = getattr(self._mine, "opened", None)
        if opened is None:
            opened = self._mine.opened = OrderedDict()
        if episode not in opened:
            movie = self._movie(episode)
            decoder = VideoDecoder(movie, device=self._device, num_ffmpeg_threads=1)
            opened[episode] = decoder, len(movie)
            while len(opened) > 1 and sum(size for _, size in opened.values()) > MOST_OPEN_BYTES:
                opened.popitem(last=False)
        opened.move_to_end(episode)
        return opened[episode][0]

    def _movie(self, episode: int) -> bytes:
        """An episode's packets as a file: NUT takes those of any codec as they are."""
        import av

        stream = self._source.stream
        first, last = np.searchsorted(stream.row_starts, stream.starts[episode : episode + 2])
        rows = np.arange(first, last)
        kinds = {stream.codings[i] for i in stream.coding_of[rows].tolist()}
        if len(kinds) != 1 or not next(iter(kinds)).in_order:
            raise VideoError(
                "its coding changes midway, or has B-frames: use pyav, or ingest it with "
                "--video fast"
            )
        [coding] = kinds
        memory = io.BytesIO()
        with av.open(memory, "w", format="nut") as container:
            track: Any = container.add_mux_stream(
                coding.codec, rate=RATE, width=self.spec.shape[1], height=self.spec.shape[0]
            )
            track.time_base = Fraction(1, RATE)
            if coding.extradata:
                track.codec_context.extradata = coding.extradata
            place = 0
            for group in self._source.packets.of(rows):
                for number, coded in enumerate(group):
                    packet: Any = av.Packet(bytes(coded))
                    packet.pts = packet.dts = place
                    packet.time_base = track.time_base
                    packet.is_keyframe = number == 0
                    packet.stream = track
                    container.mux_one(packet)
                    place += 1
        return memory.getvalue()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_mine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._mine = threading.local()
