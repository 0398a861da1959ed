"""Opening an HDF5 file, also one that was cut short.

libhdf5 refuses a file that is shorter than its superblock says. Such a file is opened through a
reader that claims any length and refuses to read past the true end: what lies before is then read
as ever, and each object and each slice that lies behind raises. The same reader hides heaps that
libhdf5 must not see (`viae.logs.hdf5.heap`).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from viae.errors import DamagedLogError, MissingExtraError
from viae.logs.hdf5.heap import damaged_heaps

SIGNATURE = b"\x89HDF\r\n\x1a\n"
CACHE_BYTES = 1 << 25
"""Decoded chunks that libhdf5 keeps, so that slices of one chunk decode it once."""

CLAIMED_BYTES = 1 << 50


@contextmanager
def open_file(path: Path) -> Iterator[tuple[Any, str]]:
    """An open file, and how it was cut short (empty where it was not).

    Raises:
        DamagedLogError: libhdf5 cannot open it.
        MissingExtraError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", extra="formats") from error
    options: dict[str, Any] = {"mode": "r", "rdcc_nbytes": CACHE_BYTES}
    with ExitStack() as stack:
        cut = ""
        hidden = damaged_heaps(path)
        guarded = stack.enter_context(_GuardedFile(path, hidden))
        try:
            file = h5py.File(path, **options)
        except Exception as error:  # damaged bytes make h5py raise OSError, RuntimeError, …
            if "truncated file" not in str(error):
                raise _damaged(path, error) from error
            cut = str(error)[str(error).index("truncated file") :].rstrip(")")
        if hidden and not cut:
            file.close()
        if hidden or cut:
            try:
                file = h5py.File(guarded, **options)
            except Exception as error:
                raise _damaged(path, error) from error
        yield stack.enter_context(file), cut


class _GuardedFile(io.RawIOBase):
    """A file that claims to be long, and refuses what it does not have or has to hide."""

    def __init__(self, path: Path, hidden: list[tuple[int, int]]) -> None:
        self.hidden = hidden
        self.file = path.open("rb")
        self.bytes = os.fstat(self.file.fileno()).st_size
        self.at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: CLAIMED_BYTES}[whence]
        )
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        if self.at + len(buffer) > self.bytes:
            raise OSError(f"byte {self.at + len(buffer)} of a file cut at {self.bytes}")
        for first, past in self.hidden:
            if first < self.at + len(buffer) and self.at < past:
                raise OSError(f"the heap at byte {first} is damaged")
        self.file.seek(self.at)
        read = self.file.readinto(buffer)
        self.at += read
        return read

    def close(self) -> None:
        self.file.close()
        super().close()


def _damaged(path: Path, error: Exception) -> DamagedLogError:
    return DamagedLogError(
        path,
        found=f"HDF5 cannot open it ({type(error).__name__}: {error!s:.200})",
        expected="a whole HDF5 file",
        todo="copy it again from where it was recorded",
    )
