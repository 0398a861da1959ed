"""Functions of FFmpeg's libraries by address: those that PyAV has loaded, called past PyAV.

The symbols are looked up through PyAV's own modules, so these are always the libraries that PyAV
uses, wherever they lie. `swscale` is what `direct` needs; `codec` is what the compiled loop needs
beside it (`groups`), and is there only for versions whose structures are known here.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pointers = ctypes.c_void_p * 4
Strides = ctypes.c_int * 4

FRAME_BYTES = 352
"""Of an ``AVFrame``, as far as it is read."""
PACKET_BYTES = 40
CODEC_VERSIONS = (61, 62)
"""Major versions of libavcodec (FFmpeg 7 and 8) whose packets and parameters are as read here."""
NO_TIME = -(1 << 63)
UNSPECIFIED = 2
WIDTH, HEIGHT, FORMAT = 26, 27, 29
"""Where an ``AVFrame`` has them, in ints."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where else an ``AVFrame`` has what the loop looks at, in ints.

    Args:
        flags: the frame's; ``color_range`` comes next.
        colorspace: of the frame.
        estimated: ``best_effort_timestamp``.
        errors: ``decode_error_flags``.
    """

    flags: int
    colorspace: int
    estimated: int
    errors: int


LAYOUTS = {59: Layout(73, 77, 80, 86), 60: Layout(69, 73, 76, 80)}
"""By major version of libavutil; from ``libavutil/frame.h``."""


@functools.cache
def swscale() -> Any:
    """Libswscale, or None where its functions are not to be found."""
    from av.video import reformatter

    try:
        library: Any = ctypes.CDLL(reformatter.__file__)
        library.sws_getContext.restype = ctypes.c_void_p
        library.sws_getContext.argtypes = [ctypes.c_int] * 7 + [ctypes.c_void_p] * 3
        library.sws_freeContext.argtypes = [ctypes.c_void_p]
        library.sws_freeContext.restype = None
        library.held = ctypes.PyDLL(reformatter.__file__)  # the same, keeping Python's lock
        for each in (library, library.held):
            each.sws_scale.argtypes = [
                ctypes.c_void_p, Pointers, Strides, ctypes.c_int, ctypes.c_int, Pointers, Strides,
            ]  # fmt: skip
        library.av_get_pix_fmt.argtypes = [ctypes.c_char_p]
    except (AttributeError, OSError):
        return None
    return library


@functools.cache
def codec() -> Any:
    """Libavcodec and libavutil, ``layout`` with them; None where they are not as known here."""
    from av.codec import context

    pointer, pointers = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
    functions: dict[str, tuple[Any, list[Any]]] = {
        "avcodec_find_decoder_by_name": (pointer, [ctypes.c_char_p]),
        "avcodec_alloc_context3": (pointer, [pointer]),
        "avcodec_free_context": (None, [pointers]),
        "avcodec_parameters_alloc": (pointer, []),
        "avcodec_parameters_free": (None, [pointers]),
        "avcodec_parameters_from_context": (ctypes.c_int, [pointer, pointer]),
        "avcodec_parameters_to_context": (ctypes.c_int, [pointer, pointer]),
        "avcodec_open2": (ctypes.c_int, [pointer, pointer, pointer]),
        "avcodec_send_packet": (ctypes.c_int, [pointer, pointer]),
        "avcodec_receive_frame": (ctypes.c_int, [pointer, pointer]),
        "av_packet_alloc": (pointer, []),
        "av_packet_free": (None, [pointers]),
        "av_frame_alloc": (pointer, []),
        "av_frame_free": (None, [pointers]),
        "av_mallocz": (pointer, [ctypes.c_size_t]),
        "av_opt_set": (ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]),
        "avcodec_version": (ctypes.c_uint, []),
        "avutil_version": (ctypes.c_uint, []),
    }
    try:
        library: Any = ctypes.CDLL(context.__file__)
        for name, (result, arguments) in functions.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (AttributeError, OSError):
        return None
    library.layout = LAYOUTS.get(library.avutil_version() >> 16)
    known = library.avcodec_version() >> 16 in CODEC_VERSIONS and library.layout is not None
    wide = sys.byteorder == "little" and ctypes.sizeof(pointer) == 8
    return library if known and wide and _as_known(library) else None


def _as_known(library: Any) -> bool:
    """Whether a new frame and a new packet have what is known to be new where it is looked for."""
    layout: Layout = library.layout
    frame, packet = library.av_frame_alloc(), library.av_packet_alloc()
    try:
        ints, longs = memory(frame, FRAME_BYTES, np.int32), memory(packet, PACKET_BYTES, np.int64)
        at = layout.flags
        flags, *colours, _ = ints[at : layout.estimated].tolist()[:6]
        estimated = ints[layout.estimated : layout.estimated + 2].view(np.int64)[0]
        return bool(
            ints[FORMAT] == -1
            and flags == 0
            and colours == [0, UNSPECIFIED, UNSPECIFIED, UNSPECIFIED]
            and estimated == NO_TIME
            and ints[layout.errors] == 0
            and longs.tolist() == [0, NO_TIME, NO_TIME, 0, 0]
        )
    finally:
        library.av_frame_free(ctypes.c_void_p(frame))
        library.av_packet_free(ctypes.c_void_p(packet))


def memory(address: int, nbytes: int, dtype: Any) -> npt.NDArray[Any]:
    """Memory as an array, which does not own it."""
    seen: Any = (ctypes.c_char * nbytes).from_address(address)
    return np.frombuffer(seen, dtype)


def address_of(function: Any) -> int:
    """Where a function is."""
    found = ctypes.cast(function, ctypes.c_void_p).value
    assert found is not None
    return found


class OwnDecoder:
    """A decoder context, with a packet and a frame of its own; freed with this.

    Args:
        name: of FFmpeg's decoder.
        extradata: decoder configuration.

    Raises:
        OSError: FFmpeg does not open it.
    """

    def __init__(self, name: str, extradata: bytes) -> None:
        library = self._library = codec()
        self._context, self._packet, self._frame = (ctypes.c_void_p() for _ in range(3))
        found = library.avcodec_find_decoder_by_name(name.encode())
        self._context = ctypes.c_void_p(library.avcodec_alloc_context3(found))
        self._packet = ctypes.c_void_p(library.av_packet_alloc())
        self._frame = ctypes.c_void_p(library.av_frame_alloc())
        if not (found and self._context and self._packet and self._frame):
            raise OSError(f"FFmpeg opens no decoder '{name}'")
        options = {b"threads": b"1", b"flags": b"low_delay", b"err_detect": b"explode"}
        refused = [library.av_opt_set(self._context, *pair, 0) for pair in options.items()]
        refused.append(self._configure(extradata))
        if any(refused) or library.avcodec_open2(self._context, found, None):
            raise OSError(f"FFmpeg does not open the decoder '{name}'")
        self.addresses = np.array(
            [self._context.value, self._packet.value, self._frame.value], np.int64
        )
        """Of context, packet and frame: int64 [3]."""
        self.packet = memory(self._packet.value or 0, PACKET_BYTES, np.int64)
        """The packet: reference-counted buffer, two times, data, size."""
        self.frame = memory(self._frame.value or 0, FRAME_BYTES, np.int32)
        """The frame's fields, see `Layout`."""

    def _configure(self, extradata: bytes) -> int:
        """Hand over decoder configuration; 0 or an error."""
        library, padding = self._library, 64
        parameters = ctypes.c_void_p(library.avcodec_parameters_alloc())
        try:
            if refused := library.avcodec_parameters_from_context(parameters, self._context):
                return int(refused)
            copy = library.av_mallocz(len(extradata) + padding)
            ctypes.memmove(copy, extradata, len(extradata))
            fields = memory(parameters.value or 0, 32, np.int64)
            fields[2], fields[3] = copy, len(extradata)  # of these the upper half is unused
            return int(library.avcodec_parameters_to_context(self._context, parameters))
        finally:
            library.avcodec_parameters_free(parameters)

    def __del__(self) -> None:
        library = self._library
        if library is not None:
            library.av_frame_free(self._frame)
            library.av_packet_free(self._packet)
            library.avcodec_free_context(self._context)
