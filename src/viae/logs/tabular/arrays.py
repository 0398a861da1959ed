"""NPY files, mapped into memory; objects are refused, because loading them would run code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from viae.errors import DamagedLogError, LogError
from viae.logs.tabular.columns import Report
from viae.schema import Loss, LossKind

MAGIC = b"\x93NUMPY"
MOST_BYTES = 1 << 40
"""A row of more is no shape but a damaged header."""


def map_array(path: Path, report: Report) -> npt.NDArray[Any]:
    """The array in a file, at least one dimension; where the file is cut, its whole rows.

    Raises:
        DamagedLogError: it is no NPY file.
        LogError: it holds Python objects, or a single number.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers that Python 2 wrote are as good
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except Exception as error:  # a damaged header is parsed as Python literals: anything comes up
        said = " ".join(str(error).split())
        raise _damaged(path, f"its header cannot be read ({said:.100})") from error
    if dtype.hasobject:
        raise LogError(
            path,
            found="an array of Python objects, which are pickled: loading them could run any code",
            expected="an array of numbers, text or bytes",
            todo="save it again with numpy.save(…, allow_pickle=False)",
        )
    if not shape or any(size < 0 for size in shape):
        raise LogError(path, found=f"an array of shape {shape}", expected="a row per sample")
    row = dtype.itemsize * int(np.prod([int(size) for size in shape[1:]], dtype=object))
    rows = shape[0]
    here = path.stat().st_size - offset
    if row and rows * row > here:
        rows = 0 if fortran and len(shape) > 1 else here // row
        report(
            Loss(
                kind=LossKind.LOST,
                name="truncated",
                path=str(path),
                count=shape[0] - rows,
                detail=f"{shape[0]} rows are declared, the file holds {rows} whole ones",
            )
        )
    if not row:
        raise LogError(path, found=f"rows of nothing, shape {shape}", expected="values in each row")
    if not rows:
        return np.empty((0, *(shape[1:] if row <= MOST_BYTES else ())), dtype)
    return np.memmap(path, dtype, "r", offset, (rows, *shape[1:]), order="F" if fortran else "C")


def _damaged(path: Path, found: str) -> DamagedLogError:
    return DamagedLogError(
        path, found=found, expected="a file of numpy.save", todo="copy the file again"
    )
