"""Decoded frames in memory that processes share, or in a file that outlives them.

Beside each frame lies a checksum, written after it. A process takes a frame that it wrote itself,
or whose checksum it has compared once: what a crash or another writer left half done is decoded
again, and is never taken for a picture.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import LoaderError

Ints = npt.NDArray[np.int64]

HEAD_BYTES = 4096
"""At the beginning of a file: what it holds, as JSON, filled up with blanks."""
FORMAT = 1
"""Raise it whenever the same packets would give other pixels, as after a change of `Converter`."""
WORD = 8


class Slots:
    """Room for frames of one shape. Safe for several threads, and for several processes.

    Made by `shared_memory`, `temporary_file` or `kept_file`. Sent to another process, it opens the
    same frames there.

    Args:
        path: of the file that holds them.
        count: how many frames there is room for.
        shape: (3, H, W).
        owner: kept alive as long as the file is needed.
    """

    def __init__(
        self, path: str, count: int, shape: tuple[int, int, int], owner: object = None
    ) -> None:
        self.path, self.count, self.shape = path, count, shape
        self._owner = owner
        self._open()

    def _open(self) -> None:
        head, total = _layout(self.count, self.shape)
        try:
            with Path(self.path).open("r+b") as file:
                memory = mmap.mmap(file.fileno(), total)
        except (OSError, ValueError) as error:
            raise LoaderError(
                f"decoded frames in {self.path} cannot be opened: {error}. They live as long as "
                "the process that made them, unless a folder is given"
            ) from error
        everything = np.frombuffer(memory, np.uint8)
        self._sums = everything[HEAD_BYTES : HEAD_BYTES + WORD * self.count].view(np.uint64)
        self.frames = everything[head:].reshape(self.count, *self.shape)
        """uint8 [count, 3, H, W]; those that are `held` hold a picture."""
        self._trusted = np.zeros(self.count, np.bool_)

    def held(self, slots: Ints) -> npt.NDArray[np.bool_]:
        """Which of some slots hold their frame: bool [N]."""
        found = self._trusted[slots]
        if not found.all():
            for slot in np.unique(slots[~found]).tolist():
                written = int(self._sums[slot])
                self._trusted[slot] = written != 0 and written == checksum(self.frames[slot])
            found = self._trusted[slots]
        return found

    def keep(self, slots: Ints) -> None:
        """Say that the frames of these slots are written."""
        for slot in slots.tolist():
            self._sums[slot] = checksum(self.frames[slot])
        self._trusted[slots] = True

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "count": self.count, "shape": self.shape}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._owner = None
        self._open()


def checksum(frame: npt.NDArray[np.uint8]) -> int:
    """Of a frame's bytes, never 0: their 64-bit words' sum and parity.

    It runs at the speed of memory. It is there to find pages that never reached the disk, not to
    withstand malice.
    """
    flat = frame.reshape(-1)
    whole = len(flat) // WORD * WORD
    words = flat[:whole].view(np.uint64)
    rest = int.from_bytes(flat[whole:].tobytes(), "little")
    total = int(words.sum(dtype=np.uint64)) ^ rest
    parity = int(np.bitwise_xor.reduce(words)) if whole else 0
    mixed = (total + 0x9E3779B97F4A7C15 * (parity | 1)) & (2**64 - 1)
    return mixed or 1


def slots_bytes(count: int, shape: tuple[int, int, int]) -> int:
    """What room for so many frames takes, bytes."""
    return _layout(count, shape)[1]


def shared_memory(count: int, shape: tuple[int, int, int]) -> Slots:
    """Room in memory that worker processes share and that goes with this process."""
    if not hasattr(os, "memfd_create"):
        return temporary_file(count, shape)
    number = os.memfd_create("viae-frames")
    owner = _Owner(number)
    os.ftruncate(number, slots_bytes(count, shape))
    return Slots(f"/proc/{os.getpid()}/fd/{number}", count, shape, owner)


def temporary_file(count: int, shape: tuple[int, int, int]) -> Slots:
    """Room in a file that goes with this process.

    Raises:
        LoaderError: there is no space for it.
    """
    number, path = tempfile.mkstemp(prefix="viae-frames-", suffix=".raw")
    owner = _Owner(number, path)
    _reserve(number, slots_bytes(count, shape), Path(path))
    return Slots(path, count, shape, owner)


def kept_file(
    folder: Path, identity: Mapping[str, Any], count: int, shape: tuple[int, int, int]
) -> Slots:
    """Room in a file that stays, found again by whoever has the same frames in mind.

    Args:
        folder: where it is; made if there is none.
        identity: what determines every byte of the frames, JSON-ready.
        count: how many frames.
        shape: (3, H, W).

    Raises:
        LoaderError: the folder cannot be written, or has no space.
    """
    identity = {"format": FORMAT, "count": count, "shape": list(shape), **identity}
    text = json.dumps(identity, sort_keys=True).encode()
    digest = hashlib.blake2b(text, digest_size=16).hexdigest()
    head = json.dumps({"viae": "decoded frames", "identity": digest}).encode().ljust(HEAD_BYTES)
    path = folder / f"viae-frames-{digest}.raw"
    total = slots_bytes(count, shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _is_whole(path, head, total):
            _publish(path, head, total)
    except OSError as error:
        raise LoaderError(f"{path}: decoded frames cannot be kept there: {error}") from error
    return Slots(str(path), count, shape)


def _layout(count: int, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Where the frames begin and where they end."""
    begin = HEAD_BYTES + -(-WORD * count // HEAD_BYTES) * HEAD_BYTES
    return begin, begin + count * int(np.prod(shape))


def _is_whole(path: Path, head: bytes, total: int) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES) == head and os.fstat(file.fileno()).st_size == total
    except FileNotFoundError:
        return False


def _publish(path: Path, head: bytes, total: int) -> None:
    """Make the file aside and give it its name when it is whole; the first of several stays."""
    number, aside = tempfile.mkstemp(prefix=".viae-frames-", dir=path.parent)
    try:
        _reserve(number, total, path)
        os.pwrite(number, head, 0)
        os.fsync(number)
        try:
            os.link(aside, path)
        except FileExistsError:
            if not _is_whole(path, head, total):
                Path(aside).replace(path)
                return
        Path(aside).unlink()
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    finally:
        os.close(number)


def _reserve(number: int, total: int, path: Path) -> None:
    """Take the space now: a full disk is an error here, and a crash when a mapped page is hit."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(number, 0, total)
        else:
            os.ftruncate(number, total)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise LoaderError(
            f"{path.parent}: no space for {total:,} bytes of decoded frames; give less with "
            "disk_bytes, or another folder"
        ) from error


class _Owner:
    """An open file, closed and removed when nobody holds it any more or the process ends."""

    def __init__(self, number: int, path: str = "") -> None:
        weakref.finalize(self, _let_go, number, path, os.getpid())


def _let_go(number: int, path: str, process: int) -> None:
    if os.getpid() != process:  # a fork's copy
        return
    os.close(number)
    if path:
        Path(path).unlink(missing_ok=True)
