"""Numbers as unsigned integers of the same width and in the same order.

The bits of IEEE numbers are ordered like the numbers once negative ones are inverted and the sign
of the others is set; those of signed integers once their sign is flipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[Any]
"""Unsigned integers of 8 to 64 bits."""


def keys_of(values: npt.NDArray[Any]) -> Keys:
    """Keys that are ordered as the values are; -0.0 comes before 0.0.

    Args:
        values: [N], contiguous, of any bool, integer or float dtype up to 64 bits; no NaN.

    Returns:
        Unsigned [N], of the same width.
    """
    kind, width = values.dtype.kind, values.dtype.itemsize
    if kind in "bu":
        return values.view(f"u{width}")
    bits = values.view(f"i{width}")
    sign = bits.dtype.type(np.iinfo(bits.dtype).min)
    flip = (bits >> (8 * width - 1)) | sign if kind == "f" else sign
    return np.asarray(bits ^ flip).view(f"u{width}")


def values_of(keys: npt.NDArray[np.uint64], dtype: np.dtype[Any]) -> npt.NDArray[np.float64]:
    """The inverse of `keys_of`, as float64.

    Args:
        keys: of values of this dtype, widened to uint64.
        dtype: of the values.
    """
    kind, width = dtype.kind, dtype.itemsize
    own = keys.astype(f"u{width}")
    if kind in "bu":
        return own.astype(np.float64)
    bits = own.view(f"i{width}")
    sign = bits.dtype.type(np.iinfo(bits.dtype).min)
    flip = ~(bits >> (8 * width - 1)) | sign if kind == "f" else sign
    values = np.asarray(bits ^ flip)
    return (values.view(dtype) if kind == "f" else values).astype(np.float64)
