"""The tabular format: find the description, and the episodes that it groups the data into."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from viae.errors import DamagedLogError, EmptyLogError, LogError
from viae.logs.format import Log, LogFormat
from viae.logs.tabular.description import Description, read_description
from viae.logs.tabular.episode import TabularEpisode, episode_name, episode_values
from viae.logs.tabular.records import MISSING, lines_of, load_json, parse_json
from viae.logs.tabular.sources import SUFFIXES, AbsentError, Place, open_table
from viae.schema import Loss, LossKind

KEY = re.compile(rb"""^[\s{]*["']?viae_tabular["']?\s*:""", re.MULTILINE)
SUFFIX = (".yaml", ".yml")
IN_FOLDER = ("viae.yaml", "viae.yml")
FIRST_BYTES = 4096


class TabularFormat(LogFormat):
    """Tables that a YAML describes; see the package."""

    name: ClassVar[str] = "tabular"

    def recognises(self, path: Path) -> bool:
        """A ``*.viae.yaml``, a YAML with the key ``viae_tabular``, a folder with ``viae.yaml``."""
        if path.is_dir():
            return any((path / name).is_file() for name in IN_FOLDER)
        if path.suffix.lower() not in SUFFIX or not path.is_file():
            return False
        if path.name.lower().endswith((*IN_FOLDER, *(f".viae{suffix}" for suffix in SUFFIX))):
            return True
        with path.open("rb") as file:
            return KEY.search(file.read(FIRST_BYTES)) is not None

    def open(self, path: Path) -> Log:
        """The episodes that the description names and that are here.

        Raises:
            EmptyLogError: the description holds no bytes.
            DamagedLogError: it is no YAML.
            LogError: it does not say what it should, or no data fits it.
        """
        described_by = path
        if path.is_dir():
            described_by = next(path / name for name in IN_FOLDER if (path / name).is_file())
        description = read_description(described_by)
        if not description.root.is_dir():
            raise LogError(
                described_by,
                found=f"root: there is no folder {description.root}",
                todo="correct root, which is taken from the folder of this file",
            )
        losses: list[Loss] = []
        digests: dict[Path, str] = {}
        episodes = tuple(
            TabularEpisode(str(path), range_, place, value, digests)
            for range_, place, value in _episodes(description, losses)
        )
        if not episodes and not losses:
            what = f"episodes.{description.grouping} '{description.pattern}'"
            raise LogError(
                described_by,
                found=f"{what} fits nothing below {description.root}",
                expected="at least one episode",
                todo="correct the pattern or root",
            )
        return Log(path=path, format=self.name, episodes=episodes, losses=losses)


def _episodes(description: Description, losses: list[Loss]) -> Iterator[tuple[str, Place, Any]]:
    """Range, place and value of each."""
    root = description.root
    match description.grouping:
        case "folders" | "files" as grouping:
            for path in _matches(description):
                folders = grouping == "folders"
                if path.is_dir() if folders else path.is_file():
                    base = path if folders else path.parent
                    file = None if folders else path
                    place = Place(description=description, base=base, file=file)
                    yield path.relative_to(root).as_posix(), place, MISSING
        case "records":
            for path in _matches(description):
                if path.is_file():
                    yield from _records(description, path, losses)
        case "column":
            place = Place(description=description, base=root)
            for name in _names(description, place, losses):
                yield name, place, name
        case _:
            yield "", Place(description=description, base=root), MISSING


def _matches(description: Description) -> list[Path]:
    try:
        found = sorted(description.root.glob(description.pattern))
    except (ValueError, NotImplementedError) as error:
        raise LogError(
            description.path, found=f"episodes: the pattern is none ({error})", todo="correct it"
        ) from error
    root = description.root.resolve()
    inside = [path for path in found if path.resolve().is_relative_to(root)]
    if len(inside) < len(found):
        outside = next(path for path in found if path not in inside)
        raise LogError(
            description.path, found=f"episodes: {outside} leads out of the root",
            expected=f"only what is below {root}", todo="set root higher, or move the link",
        )  # fmt: skip
    return inside


def _records(
    description: Description, path: Path, losses: list[Loss]
) -> Iterator[tuple[str, Place, Any]]:
    """The records of a file; a file or line that cannot be read is a loss of its own."""
    name = path.relative_to(description.root).as_posix()
    try:
        if not path.stat().st_size:
            raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
        records = _lines(path, losses) if SUFFIXES.get(path.suffix) == "jsonl" else _list(path)
        for number, record in records:
            place = Place(description=description, base=path.parent, file=path, record=record)
            yield f"{name}[{number}]", place, MISSING
    except (DamagedLogError, EmptyLogError) as error:
        losses.append(
            Loss(kind=LossKind.LOST, name="file-unreadable", path=str(path), detail=str(error))
        )


def _lines(path: Path, losses: list[Loss]) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for number, (start, end) in enumerate(lines_of(path)):
            file.seek(start)
            try:
                yield number, parse_json(path, file.read(end - start), f"record {number}")
            except DamagedLogError as error:
                losses.append(
                    Loss(
                        kind=LossKind.LOST,
                        name="record-unreadable",
                        path=str(path),
                        count=1,
                        detail=str(error),
                    )
                )


def _list(path: Path) -> Iterator[tuple[int, Any]]:
    tree = load_json(path)
    if not isinstance(tree, list):
        raise LogError(
            path, found=f"a JSON {type(tree).__name__}", expected="a list of records",
            todo="use episodes.files where a file is an episode",
        )  # fmt: skip
    yield from enumerate(tree)


def _names(description: Description, place: Place, losses: list[Loss]) -> list[str]:
    """The values of the column of episodes, in the order in which they first appear."""
    found: dict[str, None] = {}
    nameless = 0
    for table in description.tables:
        try:
            path, rows = open_table(place, table, lambda loss: None)
            if description.pattern not in rows.names:
                raise LogError(
                    path, found=f"there is no column '{description.pattern}'",
                    expected="the column of episodes in every table",
                    todo="correct episodes.column, or add the column",
                )  # fmt: skip
            for frame in rows.frames():
                values = episode_values(frame, description.pattern)
                names = [episode_name(value) for value in values]
                nameless += names.count("")
                found.update(dict.fromkeys(filter(None, names)))
        except AbsentError:
            continue  # which reading an episode says
        except (DamagedLogError, EmptyLogError) as error:
            losses.append(
                Loss(
                    kind=LossKind.LOST,
                    name="table-unreadable",
                    path=str(description.path),
                    detail=str(error),
                )
            )
    if nameless:
        losses.append(
            Loss(
                kind=LossKind.SKIPPED,
                name="episode-unnamed",
                path=str(description.path),
                count=nameless,
                detail=f"rows without a value in '{description.pattern}'",
            )
        )
    return list(found)
