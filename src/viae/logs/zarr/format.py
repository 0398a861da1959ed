"""The Zarr format: a replay buffer, whose ``meta/episode_ends`` says where each episode ends.

Without that, the groups that are episodes are those of a general rule (`viae.logs.arrays.layout`).
Attributes of the root and of the group of the data become facts, and so do other arrays in ``meta``
that have one row for each episode.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from viae.errors import EmptyLogError, LogError
from viae.logs.arrays.column import Tally, read_slices, refusal_of
from viae.logs.arrays.contents import Contents, read_contents, to_json
from viae.logs.arrays.layout import episode_groups
from viae.logs.format import Item, Log, LogEpisode, LogFormat
from viae.logs.zarr.array import ZarrArray, ZarrColumn, codec_missing
from viae.logs.zarr.store import ARRAY_2, GROUP_2, NODE_3, Store
from viae.schema import JsonValue, Loss, LossKind

PREFIX = "zarr"
ENDS = "meta/episode_ends"
USUAL_HZ = 10.0
"""Of Diffusion Policy's data sets and of its recorder."""

UMI_HZ = 60.0
UMI = re.compile(r"robot[0-9]+_eef_pos$")
"""UMI's replay buffers hold every frame of a camera of about 60 Hz, and poses named like this."""


class ZarrFormat(LogFormat):
    """Zarr replay buffers."""

    name: ClassVar[str] = "zarr"

    def recognises(self, path: Path) -> bool:
        """A folder that is a Zarr group or named ``.zarr``; a zip of one or named ``.zarr.zip``."""
        if path.is_dir():
            here = any((path / name).is_file() for name in (GROUP_2, ARRAY_2))
            return here or path.suffix == ".zarr" or _is_node(path / NODE_3)
        if path.name.lower().endswith(".zarr.zip"):
            return True
        if path.suffix.lower() != ".zip" or not zipfile.is_zipfile(path):
            return False
        try:
            with zipfile.ZipFile(path) as file:
                names = file.namelist()
        except Exception:  # no zip that can be read; damaged bytes make zipfile raise anything
            return False
        return any(name.rpartition("/")[2] in (GROUP_2, ARRAY_2, NODE_3) for name in names)

    def open(self, path: Path) -> Log:
        """The episodes, and what is in the store beside them.

        Raises:
            EmptyLogError: no bytes.
            DamagedLogError: the store, or where its episodes end, cannot be read.
            LogError: the ends of its episodes do not ascend.
            MissingExtraError: zarr is not installed.
        """
        if path.is_file() and not path.stat().st_size:
            raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
        store = Store(path)
        for node in ("", "data", "meta"):
            if node not in store.arrays:
                store.attributes(node)  # raises where it is damaged: it may state the rate
        if ENDS in store.arrays:
            return self._buffer(store)
        if ENDS in store.nodes:
            raise store.damaged(f"{ENDS} is no array", "the ends of the episodes")
        groups = episode_groups(lambda at: _look(store, at))
        return Log(
            path=path,
            format=self.name,
            episodes=tuple(ZarrEpisode(store, group, group, None, 0) for group in groups),
            losses=_beside(store, groups),
        )

    def _buffer(self, store: Store) -> Log:
        ends = _ends(store)
        found = {n: a for n, a in store.arrays.items() if not isinstance(a, Exception)}
        rows = [a.shape[0] for n, a in found.items() if n.startswith("data/") and a.shape]
        losses = _beside(store, ["data"])
        last = int(ends[-1]) if len(ends) else 0
        for node, array in found.items():
            if not node.startswith("data/") or not array.shape or array.shape[0] == last:
                continue
            if (behind := array.shape[0] - last) > 0:
                detail = f"{behind} rows are behind the end of the last episode; not taken"
                losses.append(_loss(store, LossKind.SKIPPED, "rows-behind", node, detail, behind))
        episodes = []
        for index, (start, stop) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            if start == stop:
                detail = f"episode {index} ends where it begins, at row {start}"
                losses.append(_loss(store, LossKind.SKIPPED, "episode-empty", "", detail, 1))
            elif start >= max(rows, default=0):
                detail = f"episode {index} is rows {start} to {stop - 1}; no array has as many"
                losses.append(_loss(store, LossKind.LOST, "episode-missing", "", detail, 1))
            else:
                name = f"episode_{index:06d}"
                episodes.append(ZarrEpisode(store, name, "data", (int(start), int(stop)), index))
        return Log(path=store.path, format=self.name, episodes=tuple(episodes), losses=losses)


class ZarrEpisode(LogEpisode):
    """A run of rows of a replay buffer, or a group.

    Args:
        store: the store.
        name: which part of the log it is.
        group: the group whose arrays it has.
        rows: its first row and the one past its last; None for all.
        index: its number.
    """

    def __init__(
        self, store: Store, name: str, group: str, rows: tuple[int, int] | None, index: int
    ) -> None:
        self.store, self.group, self.rows, self.index = store, group, rows, index
        self.uri, self.range = str(store.path), name

    def fingerprint(self) -> str:
        """Of what the episode states and holds.

        Values count as decoded, those of an array that cannot be decoded by its metadata alone.
        So neither compression nor chunks matter, nor rows of other episodes.
        """
        contents = self._contents()
        said = [self.range, contents.facts, contents.extra, [x.detail for x in contents.losses]]
        digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16)
        for column in sorted(contents.columns, key=lambda column: column.path):
            about = [column.path, str(column.dtype), column.rows, *column.shape]
            digest.update(json.dumps(about).encode())
            if refusal_of(column):
                continue
            for start, rows in read_slices(column, Tally(path=self.uri)):
                digest.update(f"{start} ".encode())
                if rows.dtype.hasobject or rows.dtype.kind == "T":
                    for value in rows.reshape(-1).tolist():
                        digest.update(repr(value).encode() + b"\0")
                else:
                    digest.update(np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()

    def read(self) -> Iterator[Item]:
        """Statements, then the arrays one after another.

        Raises:
            DamagedLogError: its metadata cannot be read, or its times cannot be known.
            LogError: its arrays have no common length.
        """
        yield from read_contents(self._contents())

    def _contents(self) -> Contents:
        umi = any(UMI.search(node) for node in self.store.arrays)
        contents = Contents(
            path=self.uri,
            where=self.range or "the store",
            prefix=PREFIX,
            layout="UMI's cameras" if umi else "Diffusion Policy's recorder",
            usual_hz=UMI_HZ if umi else USUAL_HZ,
            facts=self._facts(),
        )
        if self.rows is not None:
            contents.rows = self.rows[1] - self.rows[0]
            contents.extra = self._of_this_episode(contents)
        for node, array in self.store.arrays.items():
            path = node.removeprefix(f"{self.group}/") if self.group else node
            if self.group and path == node and node != self.group:
                continue
            self._add(contents, node, path or "values", array)
        return contents

    def _add(self, contents: Contents, node: str, path: str, array: Any) -> None:
        if isinstance(array, Exception):
            missing = codec_missing(array)
            detail = missing or f"it cannot be opened ({type(array).__name__}: {array!s:.160})"
            kind = LossKind.SKIPPED if missing else LossKind.LOST
            name = "codec-missing" if missing else "array-damaged"
            contents.losses.append(_loss(self.store, kind, name, path, detail, contents.rows))
            return
        if not array.shape:
            try:
                value = to_json(np.asarray(array[()]))
            except Exception:  # damaged bytes make a codec raise anything
                value = None
            if value is None:
                detail = f"it is one {array.dtype} that cannot be read, or that no fact can hold"
                contents.losses.append(
                    _loss(self.store, LossKind.LOST, "array-damaged", path, detail, 1)
                )
            else:
                contents.facts[path.replace("/", ".")] = value
            return
        source = ZarrArray(self.store, node, array)
        start, stop = self.rows or (0, source.rows)
        column = ZarrColumn(source, path, start, stop)
        declared = stop - start
        if self.rows is not None and column.rows < declared:
            detail = f"the episode is rows {start} to {stop - 1}, and the array has {source.rows}"
            contents.losses.append(
                _loss(
                    self.store, LossKind.LOST, "array-short", path, detail, declared - column.rows
                )
            )
            column.cut_short = True
        if column.rows or not declared:
            contents.columns.append(column)

    def _facts(self) -> dict[str, JsonValue]:
        """What the group and those around it state, the nearest first."""
        facts: dict[str, JsonValue] = {}
        inner = "" if self.rows is not None else self.group
        at = self.group
        while True:
            if at not in self.store.arrays:
                for key, value in self.store.attributes(at).items():
                    place = f"{at.replace('/', '.')}." if at and at != inner else ""
                    facts.setdefault(f"{place}{key}", to_json(value))
            if not at:
                return facts
            at = at.rpartition("/")[0]

    def _of_this_episode(self, contents: Contents) -> dict[str, JsonValue]:
        """Its rows of the other arrays in ``meta``."""
        count = self.store.arrays[ENDS].shape[0]
        found: dict[str, JsonValue] = {}
        for node, array in self.store.arrays.items():
            if not node.startswith("meta/") or node == ENDS or isinstance(array, Exception):
                continue
            if array.shape[:1] != (count,):
                continue
            column = ZarrColumn(
                ZarrArray(self.store, node, array), node, self.index, self.index + 1
            )
            tally = Tally(path=self.uri)
            for _, rows in () if refusal_of(column) else read_slices(column, tally):
                value = to_json(rows[0])
                if value is not None:
                    found[node.replace("/", ".")] = value
            contents.losses += tally.losses()
        return found


def _ends(store: Store) -> list[int]:
    """Where the episodes end, checked."""
    array = store.arrays[ENDS]
    if isinstance(array, Exception):
        found = f"{ENDS} cannot be opened ({type(array).__name__}: {array!s:.160})"
        raise store.damaged(found, "the ends of the episodes")
    if len(array.shape) != 1 or array.dtype.kind not in "iu":
        raise store.damaged(f"{ENDS} is {array.dtype}{list(array.shape)}", "whole numbers [N]")
    column = ZarrColumn(ZarrArray(store, ENDS, array), ENDS, 0, array.shape[0])
    tally = Tally(path=str(store.path))
    parts = [] if column.too_large() else [part for _, part in read_slices(column, tally)]
    lost = [loss for loss in tally.losses() if loss.kind is LossKind.LOST]
    if lost or column.too_large():
        found = f"{ENDS}: {lost[0].detail if lost else column.too_large()}"
        raise store.damaged(found, "the ends of the episodes")
    ends = [int(end) for part in parts for end in part]
    before = 0
    for index, end in enumerate(ends):
        if end < before:
            raise LogError(
                store.path,
                stream=ENDS,
                found=f"episode {index} ends at row {end}, and begins at row {before}",
                expected="ends that ascend",
                todo="repair meta/episode_ends, or copy the store again",
            )
        before = end
    return ends


def _look(store: Store, at: str) -> tuple[Collection[str], bool]:
    below = f"{at}/" if at else ""
    inner = [n[len(below) :] for n in store.nodes if n.startswith(below) and n != at]
    children = {name.partition("/")[0] for name in inner if name}
    arrays = {name for name in children if f"{below}{name}" in store.arrays}
    return children - arrays, bool(arrays)


def _beside(store: Store, groups: list[str]) -> list[Loss]:
    """Arrays that are in no episode."""
    losses = []
    for node in store.arrays:
        taken = any(not group or node == group or node.startswith(f"{group}/") for group in groups)
        buffer = ENDS in store.arrays
        counts = buffer and node.startswith("meta/")
        if not taken and not counts:
            detail = "it is in none of the episodes; not taken"
            losses.append(_loss(store, LossKind.SKIPPED, "not-in-episode", node, detail, None))
    return losses


def _is_node(path: Path) -> bool:
    return path.is_file() and b'"zarr_format"' in path.read_bytes()


def _loss(
    store: Store, kind: LossKind, name: str, stream: str, detail: str, count: int | None
) -> Loss:
    return Loss(
        kind=kind, name=name, path=str(store.path), stream=stream, count=count, detail=detail
    )
