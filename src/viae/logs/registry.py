"""Which formats there are, which of them a path belongs to, and which logs a folder holds."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from viae.errors import EmptyLogError, LogError, LogNotFoundError, UnknownFormatError
from viae.logs.format import Log, LogFormat

GROUP = "viae.logs"
UNFINISHED = ".partial"
"""What is being written, or was when its writer was killed; read only if named on purpose."""

PACKED = {
    b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf\x27\x1c": "7-Zip", b"Rar!": "RAR",
}  # fmt: skip
"""First bytes of files in which logs are sent, and what makes them."""
TAR_MAGIC = (257, b"ustar")
TABLES = frozenset({".csv", ".tsv", ".parquet", ".npy", ".npz", ".json", ".jsonl"})


@cache
def formats() -> tuple[LogFormat, ...]:
    """Every installed log format, by name: the entry points of the group ``viae.logs``.

    One that cannot be loaded is left out with a warning: it does not stop the others.
    """
    found: list[LogFormat] = []
    for entry in entry_points(group=GROUP):
        try:
            found.append(entry.load()())
        except Exception as error:  # another's package may raise anything
            warnings.warn(
                f"the log format '{entry.name}' ({entry.value}) cannot be loaded: {error}",
                stacklevel=2,
            )
    return tuple(sorted(found, key=lambda format_: format_.name))


def open_log(path: str | os.PathLike[str]) -> Log:
    """Open one log, whatever its format.

    Args:
        path: a file, or a folder that is one log.

    Raises:
        LogNotFoundError: nothing is there.
        EmptyLogError: a file of no bytes.
        UnknownFormatError: no installed format recognises it.
        DamagedLogError: a format recognises it, and can read nothing in it.
        LogError: it is there, and the system does not let it be read.
    """
    path = Path(path)
    try:
        return _open(path)
    except LogError:
        raise
    except OSError as error:
        raise LogError(
            path, found=f"it cannot be read ({error.strerror})", todo="check its permissions"
        ) from error


def _open(path: Path) -> Log:
    _check_exists(path)
    if not (path.is_file() or path.is_dir()):
        raise LogError(
            path, found="a pipe, a socket or a device", expected="a file or a folder",
            todo="save what comes out of it to a file, and give that",
        )  # fmt: skip
    if path.is_file() and not path.stat().st_size:
        raise EmptyLogError(
            path, found="the file holds no bytes", todo="copy it again from the robot, or delete it"
        )
    format_ = _format_of(path)
    if format_ is None:
        raise UnknownFormatError(
            path,
            found=_first_look(path),
            expected=f"one of the formats viae reads ({', '.join(f.name for f in formats())})",
            todo=_next_step(path),
        )
    return format_.open(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLogs:
    """What a search found.

    Args:
        logs: files and folders that a format recognises, sorted.
        skipped: files that none does, and folders not looked into (hidden or closed), sorted.
    """

    logs: tuple[Path, ...]
    skipped: tuple[Path, ...]


def find_logs(path: str | os.PathLike[str]) -> FoundLogs:
    """The logs at a path: itself if it is one, else all below it.

    A file named on purpose is always a log, so that `open_log` can say what is wrong with it.
    Symbolic links are followed; a folder reached twice is searched once.

    Raises:
        LogNotFoundError: nothing is there.
    """
    path = Path(path)
    _check_exists(path)
    if not path.is_dir() or _format_of(path) is not None:
        return FoundLogs(logs=(path,), skipped=())
    logs: list[Path] = []
    skipped: list[Path] = []
    seen: set[Path] = set()
    todo = [path]
    while todo:
        folder = todo.pop()
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        try:
            entries = sorted(folder.iterdir())
        except OSError:  # not ours to look into
            skipped.append(folder)
            continue
        for entry in entries:
            unfinished = entry.suffix == UNFINISHED
            if unfinished or (entry.is_dir() and entry.name.startswith(".")):
                skipped.append(entry)
            elif _format_of(entry) is not None:
                logs.append(entry)
            elif entry.is_dir():
                todo.append(entry)
            else:
                skipped.append(entry)
    return FoundLogs(logs=tuple(sorted(logs)), skipped=tuple(sorted(skipped)))


def _format_of(path: Path) -> LogFormat | None:
    return next((format_ for format_ in formats() if format_.recognises(path)), None)


def _check_exists(path: Path) -> None:
    if path.exists():
        return
    if path.is_symlink():
        where = path.readlink()
        raise LogNotFoundError(
            path, found=f"a link to '{where}', which leads nowhere", todo="check the link"
        )
    raise LogNotFoundError(path, found="there is nothing here", todo="check the path")


def _first_look(path: Path) -> str:
    if path.is_dir():
        return "a folder that is not a dataset of a known format"
    if packed := _packed(path):
        return f"a file packed by {packed}"
    with path.open("rb") as file:
        return f"begins with {file.read(16)!r}"


def _next_step(path: Path) -> str:
    if path.is_file() and _packed(path):
        return "unpack it, and give what was in it"
    if path.suffix.lower() in TABLES:
        return "a table becomes a log by a *.viae.yaml beside it, which says what its columns are"
    return "convert it, or install a package that adds its format to viae.logs"


def _packed(path: Path) -> str:
    """What packed a file, by its first bytes; empty where nothing did."""
    with path.open("rb") as file:
        head = file.read(TAR_MAGIC[0] + len(TAR_MAGIC[1]))
    if head[TAR_MAGIC[0] :] == TAR_MAGIC[1]:
        return "tar"
    return next((name for magic, name in PACKED.items() if head.startswith(magic)), "")
