"""The values of one leaf, one per step, from what an example stores."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.logs.rlds.example import Values
from viae.logs.rlds.features import Feature, Leaf

LARGEST = 1 << 31
"""Bytes of one value; protobuf holds no more."""


class UnfitError(ValueError):
    """What is stored does not fit what ``features.json`` says; the episode makes it a loss."""


def stored_names(feature: Feature) -> tuple[str, ...]:
    """The names under which an example stores a leaf of the steps."""
    key = feature.key
    if feature.depth == 2:
        return f"{key}/ragged_flat_values", f"{key}/ragged_row_lengths_0"
    if feature.shape.count(-1) > 1:
        return f"{key}/value", f"{key}/shape"
    return (key,)


def take_texts(feature: Feature, stored: Mapping[str, Values]) -> list[str]:
    """The strings of a text leaf."""
    return [value.decode("utf-8", "replace") for value in take_bytes(feature, stored)]


def take_bytes(feature: Feature, stored: Mapping[str, Values]) -> list[bytes]:
    """The byte strings of a leaf."""
    values = stored[feature.key]
    if isinstance(values, np.ndarray):
        raise UnfitError(f"it holds numbers ({values.dtype}), not byte strings")
    return values


def take_numbers(
    feature: Feature, stored: Mapping[str, Values], steps: int
) -> tuple[npt.NDArray[Any] | list[npt.NDArray[Any]], tuple[int, ...]]:
    """The numbers of a tensor leaf, and the shape of one.

    Returns:
        An array [N, *shape], or N arrays of one dimension where their length varies, and the shape
        to declare for the stream. A number is a vector of one.

    Raises:
        UnfitError: they cannot be cut into steps.
    """
    if feature.leaf is not Leaf.TENSOR or feature.depth > 2:
        raise UnfitError("viae does not know how this kind of feature is stored")
    if feature.depth == 2:
        return _ragged(feature, stored), (-1,)
    shape = feature.shape or (1,)
    if feature.encoding != "none":
        return _encoded(feature, stored, shape)
    flat = _numbers(feature, stored[feature.key])
    if -1 in shape:  # one dimension may be unknown: it is the same in every step of the episode
        known = abs(math.prod(shape))
        if not steps or not known or len(flat) % (steps * known):
            raise UnfitError(f"{len(flat)} numbers are not {steps} steps of shape {shape}")
        size = len(flat) // (steps * known)
        rows = flat.reshape(steps, *(size if n == -1 else n for n in shape))
        return (list(rows), shape) if len(shape) == 1 else (rows, rows.shape[1:])
    size = math.prod(shape)
    if not size or len(flat) % size:
        raise UnfitError(f"{len(flat)} numbers are not steps of shape {shape}")
    return flat.reshape(-1, *shape), shape


def _ragged(feature: Feature, stored: Mapping[str, Values]) -> list[npt.NDArray[Any]]:
    flat_name, lengths_name = stored_names(feature)
    if feature.shape or feature.encoding != "none":
        raise UnfitError("sequences of arrays inside a step are not read")
    flat, lengths = _numbers(feature, stored[flat_name]), stored[lengths_name]
    if not isinstance(lengths, np.ndarray) or lengths.dtype != np.int64 or (lengths < 0).any():
        raise UnfitError("its row lengths are no lengths")
    ends = np.cumsum(lengths)
    if len(flat) != (ends[-1] if len(ends) else 0):
        raise UnfitError(f"{len(flat)} numbers are not rows of {lengths.sum()} in all")
    return np.split(flat, ends[:-1]) if len(ends) else []


def _encoded(
    feature: Feature, stored: Mapping[str, Values], shape: tuple[int, ...]
) -> tuple[npt.NDArray[Any], tuple[int, ...]]:
    """Tensors stored as their bytes, compressed or not."""
    if -1 in shape:
        raise UnfitError("tensors of varying shape, stored as bytes, are not read")
    dtype = np.dtype(feature.dtype).newbyteorder("<")
    size = math.prod(shape) * dtype.itemsize
    if not 0 < size <= LARGEST:
        raise UnfitError(f"a value of shape {shape} is declared to have {size} bytes")
    rows = []
    for data in take_bytes(feature, stored):
        if feature.encoding == "zlib":
            unpack = zlib.decompressobj()
            try:
                plain = unpack.decompress(data, size + 1)  # never more than was declared
            except zlib.error as error:
                raise UnfitError(f"a value is no zlib data ({error})") from error
        else:
            plain = data
        if len(plain) != size:
            raise UnfitError(f"a value has {len(plain)} bytes, {size} make {feature.dtype}{shape}")
        rows.append(np.frombuffer(plain, dtype).reshape(shape))
    array = np.array(rows, dtype).reshape(-1, *shape)
    return array.astype(feature.dtype, copy=False), shape


def _numbers(feature: Feature, values: Values) -> npt.NDArray[Any]:
    """A flat array in the declared dtype: examples know only int64 and float32."""
    if not isinstance(values, np.ndarray):
        if values:
            raise UnfitError("it holds byte strings, not numbers")
        return np.empty(0, feature.dtype)
    if (values.dtype.kind == "f") != (np.dtype(feature.dtype).kind == "f"):
        raise UnfitError(f"it is stored as {values.dtype}, declared as {feature.dtype}")
    return values.astype(feature.dtype)
