"""Groups of pictures decoded straight into a batch, by a compiled loop where that is the same.

What is most common (H.264 without B-frames, 8-bit 4:2:0 in the usual colours) is decoded past
PyAV, in a decoder context of our own, without Python and its lock (`compiled`); at 96x96 that saves
11 of 38 us a picture. The rules by which no pixel can differ:

- Only groups that begin with an IDR picture and have nothing beside slices of the kind expected.
  What comes before the first slice (parameter sets, if any) is compared to the byte: each context
  sees one decoder configuration only, and a damaged group cannot change how later ones decode.
- Before a configuration is decoded so, a group of it is decoded both ways and compared. If a pixel
  differs, this way is closed for good.
- Any error, any mark of damage on a picture, any picture of another size, format or colour: the
  group is decoded again by PyAV, which says what is wrong with it or gives what it always gave.

Numba takes a second or more to get ready, so this begins once there has been `WORTH` to decode.
"""

from __future__ import annotations

import ctypes
import errno
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.video import libav
from viae.video.decoder import Coding
from viae.video.direct import LIMITED_RANGE, UNSPECIFIED_RANGE, USUAL_COLOURS, Canvas, DirectScaler

if TYPE_CHECKING:
    import av

Ints: TypeAlias = npt.NDArray[np.int64]
Pictures: TypeAlias = npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]
Key: TypeAlias = tuple[Coding, bytes]

WORTH = 1 << 28
"""Pixels decoded in this process, `OVERHEAD` for each picture included, before the compiled loop is
made ready: who reads a few pictures does not wait for Numba. It then has saved what it costs,
0.65 s of one core, after four times as many; who has read so much mostly reads on."""
OVERHEAD = 8_000
"""Pixels that take as long as what each picture takes whatever its size."""
MOST_TRIES = 4
"""Groups of one configuration that may turn out unfit for a comparison."""
MOST_KEPT = 16
"""Decoder contexts of one `CompiledGroups`."""
MP4_FORM, MP4_LEAST = 1, 7
"""First byte of decoder configuration in MP4's form, where NAL units have lengths; and how many
bytes it has at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Pictures wanted from groups.

    Args:
        addresses: of packets, in memory that stays: int64 [P].
        sizes: of packets, bytes: int64 [P].
        firsts: the first packet of each group: int64 [G].
        counts: how many packets each group has: int64 [G].
        bounds: where in ``places`` each group's pictures begin and end, never empty: int64 [G + 1].
        places: which pictures of their group, rising within a group: int64 [N].
        pictures: where pictures go: uint8 [M, 3, H, W], or M of uint8 [3, H, W].
        slots: which of those each one is: int64 [N].
    """

    addresses: Ints
    sizes: Ints
    firsts: Ints
    counts: Ints
    bounds: Ints
    places: Ints
    pictures: Pictures
    slots: Ints


class CompiledGroups:
    """Decodes groups into pictures of one size. Not for use by several threads at once."""

    closed: ClassVar[bool] = False
    """Whether a comparison failed in this process."""
    _seen: ClassVar[int] = 0

    def __init__(self) -> None:
        self._ready: dict[Key, _Ready] = {}
        self._tries: Counter[Key] = Counter()

    def decode(
        self,
        request: Request,
        codings: Sequence[tuple[Coding, Ints]],
        by_pyav: Callable[[int, bool], av.VideoFrame | None],
    ) -> None:
        """Decode all pictures of a request.

        Args:
            request: what is wanted.
            codings: how groups are coded, and which ones are coded so.
            by_pyav: decodes a group into its pictures, and returns one as it was decoded; is told
                whether something is odd about it: then what the decoder met before must not
                matter.
        """
        height, width = request.pictures[0].shape[1:]
        CompiledGroups._seen += len(request.places) * (height * width + OVERHEAD)
        worth = self._seen > WORTH and not self.closed
        loop = _loop() if worth else None
        target = _target(request) if loop is not None else None
        for coding, which in codings:
            if target is None or not coding.in_order or coding.codec != "h264":
                for group in which.tolist():
                    by_pyav(group, False)
                continue
            for key, groups in _by_key(loop, request, coding, which):
                ready = self._ready.get(key) if key else None
                left = groups if ready is None else ready.decode(loop, request, target, groups)
                for group in left.tolist():
                    frame = by_pyav(group, ready is not None or key is None)
                    if key and frame is not None and key not in self._ready:
                        self._try(loop, key, frame, request, target, group)

    def _try(
        self, loop: Any, key: Key, frame: av.VideoFrame, request: Request, target: _Target,
        group: int,
    ) -> None:  # fmt: skip
        """Get ready for a configuration, if the pictures that PyAV made of a group come out."""
        if self.closed or self._tries[key] >= MOST_TRIES or len(self._ready) >= MOST_KEPT:
            return
        self._tries[key] += 1
        if not _fit(frame):
            return
        try:
            ready = _Ready(key, frame, target)
        except OSError:
            return
        first, end = request.bounds[group : group + 2].tolist()
        theirs = [request.pictures[slot] for slot in request.slots[first:end].tolist()]
        ours = np.empty((end - first, *theirs[0].shape), np.uint8)
        trial = replace(
            request, firsts=request.firsts[group : group + 1], places=request.places[first:end],
            bounds=np.array([0, end - first]), pictures=ours, slots=np.arange(end - first),
        )  # fmt: skip
        where = _target(trial)
        if where is None or len(ready.decode(loop, trial, where, np.zeros(1, np.int64))):
            return
        if all(map(np.array_equal, ours, theirs)):
            self._ready[key] = ready
        else:
            CompiledGroups.closed = True


class _Ready:
    """Our own decoder and scaler for one decoder configuration."""

    def __init__(self, key: Key, frame: av.VideoFrame, target: _Target) -> None:
        library = libav.codec()
        self._coding = key[0]
        self._own: libav.OwnDecoder | None = None
        self._scaler = DirectScaler()
        size = (frame.width, frame.height, target.width, target.height)
        scaling = self._scaler.context(size)
        if scaling is None:
            raise OSError(f"FFmpeg does not scale pictures so: {size}")
        functions = (
            library.avcodec_send_packet, library.avcodec_receive_frame,
            libav.swscale().sws_scale,
        )  # fmt: skip
        self._calls = np.array([libav.address_of(function) for function in functions], np.int64)
        self._planes, strides = np.zeros(4, np.int64), np.zeros(4, np.int32)
        strides[:3] = target.width
        self._strides = strides
        layout = library.layout
        self._scaling = np.array(
            [
                scaling, self._planes.ctypes.data, strides.ctypes.data, target.plane,
                -errno.EAGAIN, layout.flags, layout.errors,
            ], np.int64,
        )  # fmt: skip
        yuv420p = libav.swscale().av_get_pix_fmt(b"yuv420p")
        colours = (int(frame.color_range), int(frame.colorspace))
        fields = (libav.WIDTH, libav.HEIGHT, libav.FORMAT, layout.flags + 1, layout.colorspace)
        self._fields = np.array(fields, np.int32)
        self._expected = np.array([frame.width, frame.height, yuv420p, *colours], np.int32)

    def decode(self, loop: Any, request: Request, target: _Target, groups: Ints) -> Ints:
        """Decode some groups of a request; those where it failed."""
        failed = []
        self._scaling[3] = target.plane
        while len(groups):
            try:
                own = self._own = self._own or self._opened()
            except OSError:
                failed += groups.tolist()
                break
            good = loop.decode_groups(
                self._calls, own.addresses, self._scaling, own.packet, own.frame, self._fields,
                self._planes, self._expected, request.addresses, request.sizes, groups,
                request.firsts, request.bounds, request.places, target.reds,
            )  # fmt: skip
            if good < len(groups):
                failed.append(int(groups[good]))
                self._own = None  # what it has of a damaged group would show in the next one
            groups = groups[good + 1 :]
        return np.array(failed, np.int64)

    def _opened(self) -> libav.OwnDecoder:
        return libav.OwnDecoder(self._coding.codec, self._coding.extradata)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where pictures go: their size, bytes from plane to plane, and each one's red plane."""

    height: int
    width: int
    plane: int
    reds: Ints


def _target(request: Request) -> _Target | None:
    """None where libswscale must not write there."""
    pictures = request.pictures
    if isinstance(pictures, np.ndarray):
        whole = Canvas(pictures)
        reds = whole.address + request.slots * whole.picture
        each = [whole]
    else:
        each = [Canvas(picture[None]) for picture in pictures]
        reds = np.array([canvas.address for canvas in each], np.int64)[request.slots]
    one = each[0]
    if not all(canvas.direct and canvas.plane == one.plane for canvas in each):
        return None
    return _Target(one.height, one.width, one.plane, reds)


def _by_key(
    loop: Any, request: Request, coding: Coding, which: Ints
) -> Iterator[tuple[Key | None, Ints]]:
    """Groups by decoder configuration; None for groups that the loop must not see."""
    firsts, needed = request.firsts[which], request.places[request.bounds[which + 1] - 1] + 1
    heads = np.empty(len(which), np.int64)
    counts = np.minimum(needed, request.counts[which])
    loop.heads_of(request.addresses, request.sizes, firsts, counts, _length_bytes(coding), heads)
    heads[needed > counts] = -1
    if not heads.any():
        yield (coding, b""), which
        return
    by_head: dict[bytes | None, list[int]] = {}
    for group, head, first in zip(which.tolist(), heads.tolist(), firsts.tolist(), strict=True):
        begin = ctypes.string_at(int(request.addresses[first]), head) if head > 0 else b""
        by_head.setdefault(None if head < 0 else begin, []).append(group)
    for found, groups in by_head.items():
        yield None if found is None else (coding, found), np.array(groups, np.int64)


def _length_bytes(coding: Coding) -> int:
    """Bytes of the length before each NAL unit; 0 where start codes separate them."""
    configuration = coding.extradata
    if len(configuration) < MP4_LEAST or configuration[0] != MP4_FORM:
        return 0
    return (configuration[4] & 3) + 1


def _fit(frame: av.VideoFrame) -> bool:
    """Whether a picture is one of those that the loop converts."""
    return (
        frame.format.name == "yuv420p"
        and frame.colorspace in USUAL_COLOURS
        and frame.color_range in (UNSPECIFIED_RANGE, LIMITED_RANGE)
        and not frame.is_corrupt
    )


@functools.cache
def _loop() -> Any:
    """The compiled loop, or None where there is no Numba, or FFmpeg is not as it is known here."""
    if libav.codec() is None or libav.swscale() is None:
        return None
    try:
        from viae.video import compiled
    except Exception:  # without Numba, or with one that does not compile this, PyAV does it all
        return None
    return compiled
