"""The HDF5 format: groups of datasets that are episodes.

Layouts: robomimic's and robosuite's (``data/demo_3`` is an episode), ALOHA's (the file is one), and
beneath both a general rule (`viae.logs.arrays.layout`). Attributes become facts: the episode's own
under their names, those of the groups around it under ``file.…``. A robomimic filter key is the
fact ``hdf5.masks``, a list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from viae.errors import DamagedLogError, EmptyLogError
from viae.logs.arrays.column import Tally, read_slices, refusal_of
from viae.logs.arrays.contents import Contents, read_contents, to_json
from viae.logs.arrays.layout import episode_groups
from viae.logs.format import Item, Log, LogEpisode, LogFormat, fingerprint_files
from viae.logs.hdf5.dataset import Hdf5Column
from viae.logs.hdf5.file import SIGNATURE, open_file
from viae.logs.hdf5.tree import Tree, members, to_text
from viae.schema import JsonValue, Loss, LossKind

SUFFIXES = (".hdf5", ".h5")
PREFIX = "hdf5"
USUAL_HZ = {"robomimic": 20.0, "ALOHA": 50.0, "": 10.0}
"""By layout: the rate of the programs that write it, unless they are told another."""


class Hdf5Format(LogFormat):
    """HDF5 demonstrations."""

    name: ClassVar[str] = "hdf5"

    def recognises(self, path: Path) -> bool:
        """By suffix, or by the first bytes."""
        if not path.is_file():
            return False
        if path.suffix.lower() in SUFFIXES:
            return True
        with path.open("rb") as file:
            return file.read(len(SIGNATURE)) == SIGNATURE

    def open(self, path: Path) -> Log:
        """The episodes, and what is in the file beside them.

        Raises:
            EmptyLogError: no bytes.
            DamagedLogError: libhdf5 cannot open it.
            MissingExtraError: h5py is not installed.
        """
        if not path.stat().st_size:
            raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
        losses: list[Loss] = []
        with open_file(path) as (file, cut):
            if cut:
                detail = f"{cut}; what lies before the end is read"
                losses.append(_loss(path, LossKind.LOST, "truncated", "", detail))
            tree = Tree(path=str(path))
            groups = episode_groups(lambda at: _look(file, at, tree))
            masks = _masks(file, groups, tree)
            _beside(file, groups, tree)
            losses += dict.fromkeys(tree.losses)  # a group may have been looked into twice
        episodes = tuple(Hdf5Episode(path, group, masks) for group in groups)
        return Log(path=path, format=self.name, episodes=episodes, losses=losses)


class Hdf5Episode(LogEpisode):
    """One group of a file.

    Args:
        path: the file.
        group: the group, empty for the root.
        masks: filter keys, by the name of an episode; None where the file has none.
    """

    def __init__(self, path: Path, group: str, masks: dict[str, list[str]] | None) -> None:
        self.path, self.masks = path, masks
        self.uri, self.range = str(path), group

    def fingerprint(self) -> str:
        """Of the file, where that is the episode; else of what the episode states and holds.

        Values count as decoded, so that compression and place in the file do not matter.
        """
        if not self.range:
            return fingerprint_files([self.path])
        digest = hashlib.blake2b(self.range.encode(), digest_size=16)
        with open_file(self.path) as (file, _):
            contents = self._contents(file)
            said = [contents.facts, contents.extra, [loss.detail for loss in contents.losses]]
            digest.update(json.dumps(said, sort_keys=True).encode())
            for column in sorted(contents.columns, key=lambda column: column.path):
                about = [column.path, column.dtype.str, column.rows, *column.shape]
                digest.update(json.dumps(about).encode())
                if refusal_of(column):
                    continue
                for start, rows in read_slices(column, Tally(path=self.uri)):
                    digest.update(f"{start} ".encode())
                    if column.dtype.hasobject:
                        for value in rows.reshape(-1).tolist():
                            data = value.tobytes() if isinstance(value, np.ndarray) else value
                            digest.update(repr(data).encode() + b"\0")
                    else:
                        digest.update(np.ascontiguousarray(rows).tobytes())
        return digest.hexdigest()

    def read(self) -> Iterator[Item]:
        """Statements, then the datasets one after another.

        Raises:
            DamagedLogError: the group cannot be opened, or its times cannot be known.
            LogError: its datasets have no common length.
        """
        with open_file(self.path) as (file, _):
            yield from read_contents(self._contents(file))

    def _contents(self, file: Any) -> Contents:
        try:
            group = file[self.range] if self.range else file
        except Exception as error:  # damaged bytes make h5py raise anything
            raise DamagedLogError(
                self.path,
                found=f"group '{self.range}' cannot be opened ({type(error).__name__}: {error})",
                expected="a group of datasets",
                todo="copy the file again; the other episodes are kept",
            ) from error
        tree = Tree(path=self.uri)
        tree.walk(group)
        layout = _layout(self.range, tree)
        contents = Contents(
            path=self.uri,
            where=f"group '{self.range}'" if self.range else "the file",
            prefix=PREFIX,
            layout=f"{layout}'s layout" if layout else "viae for such files",
            usual_hz=USUAL_HZ[layout],
            facts={**tree.facts, **self._around(file, tree)},
            losses=tree.losses,
        )
        for path, dataset in tree.datasets.items():
            _add(contents, path, dataset)
        if self.masks is not None:
            contents.extra["masks"] = list(self.masks.get(self.range.rpartition("/")[2], []))
        declared = contents.facts.get("num_samples")
        if isinstance(declared, int) and (rows := _longest(contents)) != declared:
            kind = LossKind.LOST if rows < declared else LossKind.REPAIRED
            detail = f"num_samples declares {declared} rows, the longest dataset has {rows}"
            contents.losses.append(
                _loss(self.path, kind, "length-differs", "", detail, abs(rows - declared))
            )
        return contents

    def _around(self, file: Any, tree: Tree) -> dict[str, JsonValue]:
        """What the groups around the episode state, the nearest first."""
        found: dict[str, JsonValue] = {}
        at = self.range
        while at:
            at = at.rpartition("/")[0]
            around = Tree(path=self.uri)
            around.attributes(file[at] if at else file, at)
            tree.losses += around.losses
            found |= {f"file.{key}": value for key, value in around.facts.items()}
        return found


def _add(contents: Contents, path: str, dataset: Any) -> None:
    """A dataset as a column; one that is a single value as a fact."""
    key = path.replace("/", ".")
    try:
        if dataset.shape:
            contents.columns.append(Hdf5Column(dataset, path, contents.path))
            return
        value = None if dataset.shape is None else to_json(dataset[()])
    except Exception as error:  # damaged bytes make h5py raise anything
        detail = f"it cannot be read ({type(error).__name__}: {error!s:.160})"
        contents.losses.append(_loss(contents.path, LossKind.LOST, "object-damaged", path, detail))
        return
    if value is None:
        detail = f"it is empty, or one {dataset.dtype}, which no fact can hold; not taken"
        contents.losses.append(
            _loss(contents.path, LossKind.SKIPPED, "unknown-dtype", path, detail)
        )
    else:
        contents.facts[key] = value


def _longest(contents: Contents) -> int:
    return max((column.rows for column in contents.columns), default=0)


def _layout(group: str, tree: Tree) -> str:
    if group.startswith("data/"):
        return "robomimic"
    observed = any(path.startswith("observations/") for path in tree.datasets)
    return "ALOHA" if "action" in tree.datasets and observed else ""


def _look(file: Any, at: str, tree: Tree) -> tuple[Collection[str], bool]:
    import h5py

    try:
        group = file[at] if at else file
    except Exception as error:
        detail = f"it cannot be opened ({type(error).__name__}: {error!s:.160})"
        tree.lose(LossKind.LOST, "object-damaged", at, detail)
        return (), False
    groups, arrays = [], False
    for name, link in members(group, tree, at):
        if not isinstance(link, h5py.HardLink):
            continue
        try:
            kind = group.get(name, getclass=True)
        except Exception:  # it may have been an episode: its own reading will say what is wrong
            kind = h5py.Group
        if kind is h5py.Group:
            groups.append(to_text(name))
        arrays |= kind is h5py.Dataset
    return groups, arrays


def _masks(file: Any, groups: list[str], tree: Tree) -> dict[str, list[str]] | None:
    """Filter keys by episode, from ``mask/<key>``, a list of names each."""
    if not groups[0].startswith("data/") or "mask" not in file:
        return None
    found: dict[str, list[str]] = {}
    inside = Tree(path=tree.path)
    try:
        inside.walk(file["mask"])
        for key, dataset in sorted(inside.datasets.items()):
            for name in np.asarray(dataset[()]).reshape(-1).tolist():
                text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
                found.setdefault(text, []).append(key)
    except Exception as error:
        detail = f"the filter keys cannot be read ({type(error).__name__}: {error!s:.160})"
        tree.lose(LossKind.LOST, "masks-damaged", "mask", detail)
    tree.losses += inside.losses
    return found


def _beside(file: Any, groups: list[str], tree: Tree) -> None:
    """What is in the file and in none of its episodes."""
    if groups == [""]:
        return
    around = groups[0].rpartition("/")[0]
    at = ""
    for inner in (*around.split("/"), None) if around else (None,):
        taken = {inner} if inner else {group.rpartition("/")[2] for group in groups}
        for name, _ in members(file[at] if at else file, tree, at):
            mask = not at and name == "mask" and around == "data"
            if to_text(name) not in taken and not mask:
                path = f"{at}/{to_text(name)}".lstrip("/")
                detail = f"it is in none of the {len(groups)} episodes; not taken"
                tree.lose(LossKind.SKIPPED, "not-in-episode", path, detail)
        at = f"{at}/{inner}".lstrip("/") if inner else at


def _loss(
    path: Path | str, kind: LossKind, name: str, stream: str, detail: str, count: int | None = None
) -> Loss:
    return Loss(kind=kind, name=name, path=str(path), stream=stream, count=count, detail=detail)
