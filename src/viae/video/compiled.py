"""The loop over the packets of many groups, compiled: no Python in it, and not Python's lock.

Imports Numba, which takes a while: only `groups` imports this, once there is much to decode.
Functions of FFmpeg are called by address, structures are seen as arrays (`libav`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

ANNEX_B = 0
"""Instead of the bytes of a NAL unit's length: units begin with start codes."""
SLICE, IDR = 1, 5
BESIDE = (6, 9, 12)
"""NAL units that decode nothing: SEI, delimiter, filler."""
ALL_ODD = -1
CORRUPT = 1

ints = types.Array(types.int32, 1, "C")
longs = types.Array(types.int64, 1, "C")
bounds = types.UniTuple(types.int64, 2)


def _call(_context: Any, _address: Any, arguments: Any) -> Any:
    """Call the C function at an address with integers or pointers: its int."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        address, packed = given
        words = [
            context.cast(builder, builder.extract_value(packed, i), kind, types.int64)
            for i, kind in enumerate(signature.args[1])
        ]
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(64)] * len(words))
        return builder.call(builder.inttoptr(address, kind.as_pointer()), words)

    return types.int32(types.int64, arguments), build


def _byte(_context: Any, _address: Any) -> Any:
    """The byte at an address."""

    def build(_: Any, builder: Any, _signature: Any, given: Any) -> Any:
        return builder.load(builder.inttoptr(given[0], ir.IntType(8).as_pointer()))

    return types.uint8(types.int64), build


call: Any = intrinsic(_call)
byte: Any = intrinsic(_byte)


def compiled(signature: Any) -> Callable[[F], F]:
    """Compiled at once, or taken from the disk; where nothing can be written, for this process."""

    def decorate(function: F) -> F:
        try:
            made: F = numba.njit(signature, nogil=True, cache=True)(function)
        except RuntimeError:  # Numba found no folder for what it compiles
            made = numba.njit(signature, nogil=True)(function)
        return made

    return decorate


@compiled(bounds(types.int64, types.int64, types.int64))
def between_codes(data: int, size: int, at: int) -> tuple[int, int]:
    """Where the NAL unit behind the start code at a place begins and ends; empty without one."""
    zeros = 0
    while at < size and byte(data + at) == 0:
        zeros += 1
        at += 1
    if at == size or zeros < 2 or byte(data + at) != 1:
        return at, at
    start = end = at + 1
    while end < size:  # to the next start code
        third = byte(data + end + 2) if end + 2 < size else 2
        if third == 1 and byte(data + end) == 0 and byte(data + end + 1) == 0:
            return start, end - (end > start and byte(data + end - 1) == 0)
        end = min(size, end + (1 if third == 0 else 3))
    return start, end


@compiled(bounds(types.int64, types.int64, types.int64, types.int64))
def behind_length(data: int, size: int, at: int, length_bytes: int) -> tuple[int, int]:
    """Where the NAL unit behind the length at a place begins and ends; empty where none fits."""
    start, length = at + length_bytes, 0
    if start >= size:
        return at, at
    for place in range(at, start):
        length = length << 8 | byte(data + place)
    return start, start + length if 2 <= length <= size - start else start


@compiled(types.int64(types.int64, types.int64, types.int64, types.boolean))
def head_of(data: int, size: int, length_bytes: int, first: bool) -> int:
    """Bytes before the first slice of a packet; -1 for a packet with anything unexpected.

    Expected is, in the first packet of a group, anything and then slices of an IDR picture; in
    others, slices of other pictures. Between and behind slices only `BESIDE`: parameter sets
    there would change how later groups are decoded.
    """
    wanted, head, at = IDR if first else SLICE, ALL_ODD, 0
    while at < size:
        if length_bytes == ANNEX_B:
            start, end = between_codes(data, size, at)
        else:
            start, end = behind_length(data, size, at, length_bytes)
        if end <= start:
            return ALL_ODD
        kind = byte(data + start) & 31
        if kind == wanted:
            head = at if head < 0 else head
        elif kind not in BESIDE and (head >= 0 or not first):
            return ALL_ODD
        at = end
    return head


@compiled(types.void(longs, longs, longs, longs, types.int64, longs))
def heads_of(
    addresses: Any, sizes: Any, firsts: Any, counts: Any, length_bytes: int, heads: Any
) -> None:
    """Bytes before the first slice of each group; -1 where any of its packets is unexpected."""
    for group in range(len(firsts)):
        packet = firsts[group]
        heads[group] = head_of(addresses[packet], sizes[packet], length_bytes, True)
        for other in range(packet + 1, packet + counts[group]):
            if head_of(addresses[other], sizes[other], length_bytes, False) < 0:
                heads[group] = ALL_ODD


@compiled(
    types.int64(
        longs, longs, longs, longs, ints, ints, longs, ints, longs, longs, longs, longs, longs,
        longs, longs,
    )
)  # fmt: skip
def decode_groups(
    calls: Any, own: Any, scaling: Any, packet: Any, frame: Any, fields: Any, target: Any,
    expected: Any, addresses: Any, sizes: Any, which: Any, firsts: Any, bounds: Any, places: Any,
    reds: Any,
) -> int:  # fmt: skip
    """Decode groups up to the first that fails, and convert the pictures that are wanted.

    Args:
        calls: addresses of send, receive and scale: int64 [3].
        own: addresses of a decoder's context, packet and frame: int64 [3].
        scaling: the scaler's context; addresses of ``target`` and of its strides; bytes from one
            plane of a picture to the next; what "needs another packet" is; where frames have
            flags, where errors: int64 [7].
        packet: the decoder's packet as int64.
        frame: the decoder's frame as int32.
        fields: which of its ints are checked: int32 [E].
        target: where the scaler writes: int64 [4].
        expected: what those ints have to be: int32 [E]; the second is the height.
        addresses: of all packets: int64 [P].
        sizes: of all packets, bytes: int64 [P].
        which: groups to decode: int64 [K], each in [0, G).
        firsts: the first packet of each group: int64 [G].
        bounds: where the pictures wanted of each group begin and end: int64 [G + 1].
        places: which pictures are wanted, rising within a group: int64 [N].
        reds: where the red plane of each goes: int64 [N].

    Returns:
        How many groups gave all their pictures, as expected and without a complaint.
    """
    send, receive, scale = calls[0], calls[1], calls[2]
    context, its_packet, its_frame = own[0], own[1], own[2]
    for done, group in enumerate(which):
        wanted, end, good = bounds[group], bounds[group + 1], True
        for place in range(places[end - 1] + 1):
            packet[3] = addresses[firsts[group] + place]
            packet[4] = sizes[firsts[group] + place]
            if call(send, (context, its_packet)) != 0 or call(receive, (context, its_frame)) != 0:
                good = False
                break
            if frame[scaling[5]] & CORRUPT or frame[scaling[6]]:
                good = False
            for i in range(len(fields)):
                good = good and frame[fields[i]] == expected[i]
            if not good:
                break
            if place == places[wanted]:
                red = reds[wanted]
                target[0], target[1], target[2] = red + scaling[3], red + 2 * scaling[3], red
                call(
                    scale,
                    (
                        scaling[0], its_frame, its_frame + 64, 0, expected[1], scaling[1],
                        scaling[2],
                    ),
                )  # fmt: skip
                wanted += 1
            if call(receive, (context, its_frame)) != scaling[4]:  # more than one of a packet
                good = False
                break
        packet[3], packet[4] = 0, 0
        if not good:
            return done
    return len(which)
