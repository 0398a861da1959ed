"""The YAML that describes tables, checked: which key is wrong, and what was expected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from viae.errors import DamagedLogError, EmptyLogError, LogError
from viae.schema import JsonValue, Role

VERSION = 1
LARGEST = 1 << 20
FORMATS = ("csv", "tsv", "parquet", "npy", "json", "jsonl")
UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}
ISO = "iso8601"
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip
GROUPINGS = ("folders", "files", "records", "column")
ABSENT = object()
"""No value, where null is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Where times are. Exactly one of ``column``, ``file`` and ``every_s`` is set."""

    column: str = ""
    file: str = ""
    every_s: float | None = None
    unit: str = ""
    clock: str = "log"
    arrival_column: str = ""
    arrival_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEntry:
    """One stream of a table; ``columns`` is empty for the column named like the stream."""

    name: str
    columns: tuple[str | int, ...] = ()
    file: str = ""
    role: Role = Role.OBSERVATION
    unit: str = ""
    names: tuple[str, ...] = ()
    kind: str = ""
    dtype: str = ""
    where: tuple[tuple[str, tuple[JsonValue, ...]], ...] = ()
    nulls_are_meant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """One table; ``streams`` is None where each column is one."""

    place: str
    file: str
    format: str
    rows: str
    optional: bool
    ignore: tuple[str, ...] | None
    time: Time
    streams: tuple[StreamEntry, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One statement: a value as it stands, or where to look it up."""

    key: str
    value: JsonValue = None
    path: str = ""
    column: str = ""
    file: str = ""
    equals: Any = ABSENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A whole description; ``salt`` is what of it decides how data is read."""

    path: Path
    root: Path
    grouping: str
    pattern: str
    said: tuple[Said, ...]
    tables: tuple[TableEntry, ...]
    salt: Any


def read_description(path: Path) -> Description:
    """The description in a file.

    Raises:
        EmptyLogError: no bytes.
        DamagedLogError: it is no YAML.
        LogError: a key is unknown, missing, or has a value of the wrong kind.
    """
    if path.stat().st_size > LARGEST:
        raise LogError(path, found=f"more than {LARGEST} bytes", expected="a short description")
    text = path.read_bytes()
    if not text:
        raise EmptyLogError(path, found="the file holds no bytes", todo="describe the tables in it")
    try:
        tree = yaml.load(text, _Loader)  # a SafeLoader: it makes plain values only
    except Exception as error:  # PyYAML's own, and whatever odd tags provoke in it
        said = " ".join(str(error).split())
        raise DamagedLogError(
            path, found=f"it is no YAML ({said:.200})", todo="correct it there"
        ) from error
    return _Reader(path).description(tree)


class _Loader(yaml.SafeLoader):
    """YAML without aliases, which can make a small file a huge tree, and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"aliases (*{event.anchor}) are not allowed here")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"a key is there twice in the mapping at line {line}")
        return mapping


class _Reader:
    """Checks a tree and builds the description from it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def description(self, tree: Any) -> Description:
        keys = ("viae_tabular", "root", "episodes", "time", "statements", "tables")
        top = self.mapping(tree, "the description", keys)
        if top.get("viae_tabular") != VERSION or isinstance(top["viae_tabular"], bool):
            self.wrong("viae_tabular", top.get("viae_tabular", "nothing"), str(VERSION))
        grouping, pattern = self.episodes(top.get("episodes"))
        common = top.get("time", {})
        self.mapping(common, "time", ("unit", "clock"))
        tables = top.get("tables")
        if not isinstance(tables, list) or not tables:
            self.wrong("tables", tables, "a list of tables")
        said = top.get("statements", {})
        if not isinstance(said, Mapping):
            self.wrong("statements", said, "a mapping")
        root = self.text(top, "root", "root", ".")
        return Description(
            path=self.path,
            root=self.path.parent / root,
            grouping=grouping,
            pattern=pattern,
            said=tuple(self.statement(key, value) for key, value in said.items()),
            tables=tuple(
                self.table(entry, f"tables[{n}]", common, grouping)
                for n, entry in enumerate(tables)
            ),
            salt={key: value for key, value in top.items() if key != "root"},
        )

    def episodes(self, entry: Any) -> tuple[str, str]:
        if entry is None:
            return "", ""
        self.mapping(entry, "episodes", GROUPINGS)
        if len(entry) != 1:
            self.wrong("episodes", sorted(entry), f"one of {', '.join(GROUPINGS)}")
        [(grouping, _)] = entry.items()
        pattern = self.text(entry, grouping, f"episodes.{grouping}", "")
        leads_out = grouping != "column" and (pattern.startswith("/") or ".." in pattern.split("/"))
        if not pattern or leads_out:
            self.wrong(f"episodes.{grouping}", pattern, "a pattern below the root")
        return grouping, pattern

    def table(self, entry: Any, place: str, common: Mapping[str, Any], grouping: str) -> TableEntry:
        keys = ("file", "format", "rows", "optional", "ignore", "time", "streams")
        self.mapping(entry, place, keys)
        format_ = self.choice(entry, "format", place, FORMATS)
        time = self.time(entry.get("time"), f"{place}.time", common)
        streams = entry.get("streams")
        own_files = False
        named: tuple[StreamEntry, ...] | None = None
        if streams != "all":
            if not isinstance(streams, Mapping) or not streams:
                self.wrong(f"{place}.streams", streams, "a mapping of streams, or all")
            named = tuple(
                self.stream(name, value, f"{place}.streams.{name}")
                for name, value in streams.items()
            )
            own_files = all(stream.file for stream in named)
        file = self.text(entry, "file", f"{place}.file", "")
        if not file and not own_files and grouping not in ("files", "records"):
            self.wrong(f"{place}.file", "nothing", "the table's file")
        ignore = entry.get("ignore", [])
        return TableEntry(
            place=place,
            file=file,
            format=format_,
            rows=self.text(entry, "rows", f"{place}.rows", ""),
            optional=self.flag(entry, "optional", place),
            ignore=None if ignore == "all" else self.texts(ignore, f"{place}.ignore"),
            time=time,
            streams=named,
        )

    def time(self, entry: Any, place: str, common: Mapping[str, Any]) -> Time:
        keys = ("column", "file", "every_s", "unit", "clock", "arrival")
        if entry is None:
            self.wrong(place, "nothing", "where the times are; every_s where nothing holds them")
        self.mapping(entry, place, keys)
        sources = [key for key in ("column", "file", "every_s") if key in entry]
        if len(sources) != 1:
            self.wrong(place, sources or "nothing", "one of column, file and every_s")
        every_s = entry.get("every_s")
        if every_s is not None:
            number = isinstance(every_s, int | float) and not isinstance(every_s, bool)
            if not number or not math.isfinite(every_s) or not 1e-9 <= every_s <= 1e9:
                self.wrong(f"{place}.every_s", every_s, "seconds between rows")
        both = {**common, **entry}
        arrival = entry.get("arrival", {})
        self.mapping(arrival, f"{place}.arrival", ("column", "file"))
        if len(arrival) > 1 or (arrival and every_s is not None):
            self.wrong(f"{place}.arrival", sorted(arrival), "a column or a file, beside a time")
        return Time(
            column=self.text(entry, "column", f"{place}.column", ""),
            file=self.text(entry, "file", f"{place}.file", ""),
            every_s=None if every_s is None else float(every_s),
            unit=self.choice(both, "unit", place, (*UNITS, ISO)),
            clock=self.text(both, "clock", f"{place}.clock", "log"),
            arrival_column=self.text(arrival, "column", f"{place}.arrival.column", ""),
            arrival_file=self.text(arrival, "file", f"{place}.arrival.file", ""),
        )

    def stream(self, name: Any, entry: Any, place: str) -> StreamEntry:
        if not isinstance(name, str) or not name:
            self.wrong(place, name, "a stream's name, which is text")
        entry = {} if entry is None else entry
        keys = (
            "columns", "file", "role", "unit", "names", "kind", "dtype", "where", "nulls",
        )  # fmt: skip
        self.mapping(entry, place, keys)
        dtype = self.text(entry, "dtype", f"{place}.dtype", "")
        if dtype and dtype not in DTYPES:
            self.wrong(f"{place}.dtype", dtype, f"one of {', '.join(DTYPES)}")
        where = self.mapping(entry.get("where", {}), f"{place}.where", None)
        return StreamEntry(
            name=name,
            columns=self.columns(entry.get("columns", []), f"{place}.columns"),
            file=self.text(entry, "file", f"{place}.file", ""),
            role=Role(self.choice(entry, "role", place, tuple(Role)) or Role.OBSERVATION),
            unit=self.text(entry, "unit", f"{place}.unit", ""),
            names=self.texts(entry.get("names", []), f"{place}.names"),
            kind=self.choice(entry, "kind", place, ("image",)),
            dtype=dtype,
            where=tuple(
                (str(column), tuple(value) if isinstance(value, list) else (value,))
                for column, value in where.items()
            ),
            nulls_are_meant=bool(self.choice(entry, "nulls", place, ("skip",))),
        )

    def statement(self, key: Any, entry: Any) -> Said:
        place = f"statements.{key}"
        if not isinstance(key, str) or not key:
            self.wrong("statements", key, "text as keys")
        if not isinstance(entry, Mapping):
            if not isinstance(entry, str | int | float | bool):
                self.wrong(place, entry, "a value, or a mapping that says where it is")
            return Said(key=key, value=entry)
        self.mapping(entry, place, ("path", "column", "file", "equals"))
        if ("path" in entry) == ("column" in entry) or ("column" in entry and "file" in entry):
            self.wrong(place, sorted(entry), "path (with a file or without), or column")
        return Said(
            key=key,
            path=self.text(entry, "path", f"{place}.path", ""),
            column=self.text(entry, "column", f"{place}.column", ""),
            file=self.text(entry, "file", f"{place}.file", ""),
            equals=entry.get("equals", ABSENT),
        )

    def mapping(self, entry: Any, place: str, keys: tuple[str, ...] | None) -> Mapping[str, Any]:
        if not isinstance(entry, Mapping):
            self.wrong(place, entry, "a mapping")
        unknown = [key for key in entry if keys is not None and key not in keys]
        if unknown and keys is not None:
            self.wrong(place, f"the unknown key {unknown[0]!r}", f"only {', '.join(keys)}")
        return entry

    def text(self, entry: Mapping[str, Any], key: str, place: str, default: str) -> str:
        value = entry.get(key, default)
        if not isinstance(value, str):
            self.wrong(place, value, "text")
        if (key in entry and not value) or "\0" in value:
            self.wrong(place, "an empty text, or one with a zero byte", "text")
        return value

    def texts(self, value: Any, place: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.wrong(place, value, "a list of texts")
        return tuple(value)

    def columns(self, value: Any, place: str) -> tuple[str | int, ...]:
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str | int) and not isinstance(item, bool) for item in listed):
            self.wrong(place, value, "a column's name, or a list of them (numbers for NPY)")
        return tuple(listed)

    def choice(
        self, entry: Mapping[str, Any], key: str, place: str, allowed: tuple[str, ...]
    ) -> str:
        value = entry.get(key, "")
        if key in entry and value not in allowed:
            self.wrong(f"{place}.{key}", value, f"one of {', '.join(allowed)}")
        return str(value)

    def flag(self, entry: Mapping[str, Any], key: str, place: str) -> bool:
        value = entry.get(key, False)
        if not isinstance(value, bool):
            self.wrong(f"{place}.{key}", value, "true or false")
        return value

    def wrong(self, place: str, found: Any, expected: str) -> NoReturn:
        shown = found if isinstance(found, str) else repr(found)
        raise LogError(
            self.path, found=f"{place}: found {shown:.80}", expected=expected,
            todo="correct this key; python -m pydoc viae.logs.tabular lists them all",
        )  # fmt: skip
