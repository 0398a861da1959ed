"""The files of a Zarr store, a folder or a zip: its groups, its arrays, the chunks that are there.

The tree is taken from the files, not from Zarr's listing, which passes over what it cannot read.
"""

from __future__ import annotations

import importlib
import os
import re
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from viae.errors import DamagedLogError, MissingExtraError

GROUP_2, ARRAY_2, NODE_3 = ".zgroup", ".zarray", "zarr.json"
NODE_FILES = (GROUP_2, ARRAY_2, NODE_3)
JSON_FILES = (*NODE_FILES, ".zattrs", ".zmetadata")
MAX_DEPTH = 32


class Store:
    """A store, opened for reading.

    Args:
        path: a folder, or a zip file.

    Raises:
        DamagedLogError: the zip cannot be opened, or nothing in it is Zarr.
        MissingExtraError: zarr is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import zarr  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("zarr", extra="formats") from error
        self.path = path
        self.zipped = path.is_file()
        self.files: dict[str, set[str]] = defaultdict(set)
        """Names of the files in each folder, by the folder's path inside the store."""
        for name in self._names():
            folder, _, file = name.rpartition("/")
            self.files[folder].add(file)
        nodes = [folder for folder, names in self.files.items() if names & {*NODE_FILES}]
        if not nodes:
            raise self.damaged("no group and no array is in it", "a Zarr group")
        self.root = min(nodes, key=lambda folder: (folder.count("/") + bool(folder), folder))
        """The outermost group or array: a zip may hold the store inside a folder."""

    @cached_property
    def zarr_store(self) -> Any:
        """The same for the zarr package."""
        import zarr

        with checked_by_us():
            try:
                if not self.zipped:
                    return zarr.storage.LocalStore(self.path, read_only=True)
                return zarr.storage.ZipStore(self.path, mode="r", read_only=True)
            except Exception as error:  # damaged bytes make zipfile raise anything
                raise self.damaged(
                    f"it cannot be opened ({_say(error)})", "a Zarr store"
                ) from error

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The arrays, by path below the root; for those that cannot be opened, the exception."""
        return {
            node: self._open_array(node)
            for node in self.nodes
            if ARRAY_2 in self._files_of(node) or self._is_array_3(node)
        }

    @cached_property
    def nodes(self) -> list[str]:
        """Groups and arrays, by path below the root; the root is the empty one."""
        below = f"{self.root}/" if self.root else ""
        return sorted(
            folder[len(below) :] if folder != self.root else ""
            for folder, names in self.files.items()
            if names & {*NODE_FILES} and (folder == self.root or folder.startswith(below))
        )

    def attributes(self, node: str) -> dict[str, Any]:
        """What a group states.

        Raises:
            DamagedLogError: its metadata cannot be read.
        """
        import zarr

        if not self._files_of(node) & {*NODE_FILES}:
            return {}
        with checked_by_us():
            try:
                group = zarr.open_group(
                    self.zarr_store, path=self._at(node), mode="r", use_consolidated=False,
                    zarr_format=self._version(node),
                )  # fmt: skip
                return dict(group.attrs)
            except Exception as error:  # damaged JSON makes zarr raise anything
                raise self.damaged(
                    f"the metadata of group '{node or '/'}' cannot be read ({_say(error)})",
                    "a group",
                ) from error

    def stored_chunks(self, node: str, ndim: int) -> dict[int, set[tuple[int, ...]]]:
        """The chunks of an array that are there: by first coordinate, the other coordinates."""
        found: dict[int, set[tuple[int, ...]]] = defaultdict(set)
        at = self._at(node)
        for folder, names in self._below(at):
            inner = folder[len(at) :]
            for name in names:
                key = f"{inner}/{name}".strip("/")
                if re.fullmatch(r"(c[/.])?[0-9]+([/.][0-9]+)*", key):
                    coordinates = [int(part) for part in re.findall(r"[0-9]+", key)]
                    if len(coordinates) == ndim:
                        found[coordinates[0]].add(tuple(coordinates[1:]))
        return found

    def chunk_bytes(self, key: str) -> bytes:
        """The bytes of a stored chunk, or of any other file of the store; nothing if unreadable."""
        name = self._at(key)
        try:
            if not self.zipped:
                return (self.path / name).read_bytes()
            return self._zip.read(name)
        except Exception:  # the reading of it says so
            return b""

    def chunk_head(self, key: str) -> tuple[int, bytes]:
        """How many bytes a file of a folder has, and the first 16 of them."""
        with (self.path / self._at(key)).open("rb") as file:
            return os.fstat(file.fileno()).st_size, file.read(16)

    def damaged(self, found: str, expected: str) -> DamagedLogError:
        """The error that says so."""
        return DamagedLogError(
            self.path, found=found, expected=expected,
            todo="copy it again from where it was recorded",
        )  # fmt: skip

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self.path)

    def _names(self) -> Iterator[str]:
        if self.zipped:
            try:
                yield from self._zip.namelist()
            except Exception as error:  # damaged bytes make zipfile raise anything
                raise self.damaged(f"it is no whole zip ({_say(error)})", "a zip file") from error
            return
        base = str(self.path)
        for folder, folders, names in os.walk(self.path):  # does not follow links
            inner = Path(os.path.relpath(folder, base)).as_posix()
            inner = "" if inner == "." else inner
            if inner.count("/") >= MAX_DEPTH:
                folders.clear()
            yield from (f"{inner}/{name}" if inner else name for name in names)

    def _below(self, folder: str) -> Iterator[tuple[str, set[str]]]:
        for other, names in self.files.items():
            if other == folder or other.startswith(f"{folder}/") or not folder:
                yield other, names

    def _at(self, node: str) -> str:
        return "/".join(filter(None, [self.root, node]))

    def _files_of(self, node: str) -> set[str]:
        return self.files.get(self._at(node), set())

    def _version(self, node: str) -> Literal[2, 3]:
        return 3 if NODE_3 in self._files_of(node) else 2

    def _is_array_3(self, node: str) -> bool:
        """By what its file says; a node of which that cannot be read is one if chunks are below."""
        if NODE_3 not in self._files_of(node):
            return False
        text = self.chunk_bytes(f"{node}/{NODE_3}" if node else NODE_3)
        if b'"node_type"' in text:
            return re.search(rb'"node_type"\s*:\s*"array"', text) is not None
        at = self._at(node)
        return any(
            not names & {*NODE_FILES} or (folder == at and names - {*JSON_FILES})
            for folder, names in self._below(at)
        )

    def _open_array(self, node: str) -> Any:
        import zarr

        _register_codecs()
        with checked_by_us():
            try:
                return zarr.open_array(
                    self.zarr_store, path=self._at(node), mode="r", zarr_format=self._version(node)
                )
            except Exception as error:  # damaged JSON, an unknown codec: zarr raises anything
                return error


@contextmanager
def checked_by_us() -> Iterator[None]:
    """Zarr's warnings are about what is a loss or an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _register_codecs() -> None:
    """UMI's pictures are coded by imagecodecs, which registers itself only when asked to."""
    try:
        codecs = importlib.import_module("imagecodecs.numcodecs")
    except ImportError:
        return
    with checked_by_us():
        codecs.register_codecs(verbose=False)


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.160}"
