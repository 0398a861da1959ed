"""A ``.db3`` of a ROS 2 bag: its topics, and its messages in the order in which they came.

It is only ever read. SQLite would refuse all that follows a damaged page; here the search goes on
behind it, by the numbers of the rows.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from viae.errors import DamagedLogError, EmptyLogError
from viae.logs.messages import Channel
from viae.schema import Loss, LossKind

MAGIC = b"SQLite format 3\0"
BESIDE = ("-wal", "-journal")
"""What SQLite leaves beside a file whose writer was killed; parts of the bag are there alone."""

BATCH_ROWS = 4096
BATCH_BYTES = 4 << 20

ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError, MemoryError)
"""What damaged pages provoke; the module cannot even decode all of SQLite's own complaints."""

MOST_PROBES = 2000
"""Looks for a readable row in one file; a bound on time."""
MAX_ROW = 1 << 40
END = -1
"""In place of a row's number: there is none behind."""

AGAIN = "Copy the file again if the original still exists"


@dataclass(slots=True)
class RowBatch:
    """Rows that follow each other.

    Args:
        topic_ids: N, of the table of topics.
        log_ns: N, when the recorder had it.
        data: N messages.
    """

    topic_ids: list[int] = field(default_factory=list)
    log_ns: list[int] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class BagTopic:
    """A row of the table of topics, with its type's definition.

    Args:
        channel: what is said of its messages.
        qos: the profiles that its publishers offered, as YAML.
        type_hash: of its type.
    """

    channel: Channel
    qos: str
    type_hash: str


def files_beside(path: Path) -> list[Path]:
    """The files that belong to a database, and hold anything."""
    both = [path.with_name(path.name + suffix) for suffix in BESIDE]
    return [each for each in both if each.is_file() and each.stat().st_size]


class Database:
    """An open ``.db3``. A context manager: leaving it closes the file.

    Args:
        path: the file.

    Raises:
        EmptyLogError: it holds no bytes.
        DamagedLogError: it is no database, or not one of a bag.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._probes = 0
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
        if not head:
            raise EmptyLogError(path, found="the file holds no bytes", todo="copy it again")
        try:
            if head != MAGIC:
                raise self._damaged(f"begins with {head!r}")
            self._connection = self._connect()
            tables = self._tables()
            if not {"topics", "messages"} <= tables:
                raise self._damaged(f"its tables are {sorted(tables)}")
            self.distro = self._distro() if "schema" in tables else ""
            self.metadata = self._metadata() if "metadata" in tables else ""
            self.topics = self._topics(tables)
        except ERRORS as error:
            self._stack.close()
            raise self._damaged(f"SQLite cannot read it ({error})") from error
        except DamagedLogError:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def rows(self) -> Iterator[RowBatch | Loss]:
        """All messages that can be read, in the order of the rows."""
        batch, nbytes, wrong = RowBatch(), 0, 0
        wanted: int | None = -(1 << 63)
        at_ns: int | None = None
        while wanted is not None:
            failed: Exception | None = None
            try:
                for row, topic_id, log_ns, data in self._select(wanted):
                    if row < wanted:
                        raise sqlite3.DatabaseError("its rows do not rise")
                    wanted = row + 1
                    if not (type(topic_id) is int and type(log_ns) is int and type(data) is bytes):
                        wrong += 1
                        continue
                    at_ns = log_ns
                    batch.topic_ids.append(topic_id)
                    batch.log_ns.append(log_ns)
                    batch.data.append(data)
                    nbytes += len(data)
                    if nbytes >= BATCH_BYTES or len(batch.data) >= BATCH_ROWS:
                        yield batch
                        batch, nbytes = RowBatch(), 0
            except ERRORS as error:
                failed = error
            if failed is None:
                break
            wanted = max(wanted, 1)
            behind = self._behind(wanted)
            yield self._lost_rows(wanted, behind, failed, at_ns)
            wanted = behind
        if batch.data:
            yield batch
        if wrong:
            detail = f"rows of other types than a message has were not taken. {AGAIN}"
            yield self._lost("row-damaged", detail, count=wrong)

    def has_messages(self) -> bool:
        """Whether there is any."""
        return any(isinstance(batch, RowBatch) for batch in self.rows())

    def _select(self, first: int) -> Iterator[tuple[Any, ...]]:
        return self._connection.execute(
            "SELECT rowid, topic_id, timestamp, data FROM messages WHERE rowid >= ? ORDER BY rowid",
            (first,),
        )

    def _behind(self, wanted: int) -> int | None:
        """The first row that can be read, where the one that is wanted cannot; None for none."""
        step, low = 1, wanted
        while (found := self._probe(wanted + step)) is None:
            low = wanted + step
            step *= 2
            if step > MAX_ROW or self._probes > MOST_PROBES:
                return None
        high = wanted + step
        if found == END:
            # behind the last row everything can be read; nothing before it could
            found = None
        while high - low > 1 and self._probes <= MOST_PROBES:
            middle = (low + high) // 2
            row = self._probe(middle)
            if row is None:
                low = middle
            else:
                high, found = middle, None if row == END else row
        return found

    def _probe(self, first: int) -> int | None:
        """The first row from there on; END for none; None where it cannot be read."""
        self._probes += 1
        try:
            for row, *_ in self._select(first):
                return int(row) if row >= first else None
        except ERRORS:
            return None
        return END

    def _connect(self) -> sqlite3.Connection:
        """Read-only; what a killed writer left beside the file is taken into account."""
        beside = files_beside(self._path)
        if not beside:  # then nothing at all is written, not even a lock
            return self._opened(self._path, "mode=ro&immutable=1")
        try:
            connection = self._opened(self._path, "mode=ro")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.OperationalError:
            # SQLite must write beside the file to read it; it may not here, or not only that
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="viae-"))
            for file in (self._path, *beside):
                shutil.copy(file, folder)
            return self._opened(Path(folder) / self._path.name, "mode=rw")
        return connection

    def _opened(self, path: Path, mode: str) -> sqlite3.Connection:
        uri = f"file:{quote(os.fsencode(path.resolve()))}?{mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        self._stack.callback(connection.close)
        connection.text_factory = lambda data: data.decode(errors="replace")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        return connection

    def _tables(self) -> set[str]:
        """Real tables alone: a view could do anything."""
        rows = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
        )
        return {str(name) for (name,) in rows}

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}

    def _distro(self) -> str:
        row = self._connection.execute("SELECT ros_distro FROM schema").fetchone()
        return str(row[0]) if row else ""

    def _metadata(self) -> str:
        """What the recorder last wrote into the file of what it else writes beside it."""
        query = "SELECT metadata FROM metadata ORDER BY id DESC LIMIT 1"
        row = self._connection.execute(query).fetchone()
        return str(row[0]) if row else ""

    def _topics(self, tables: set[str]) -> dict[int, BagTopic]:
        definitions: dict[str, tuple[str, bytes]] = {}
        if "message_definitions" in tables:
            definitions = {
                name: (str(encoding), str(text).encode(errors="replace"))
                for name, encoding, text in self._connection.execute(
                    "SELECT topic_type, encoding, encoded_message_definition "
                    "FROM message_definitions"
                )
            }
        wanted = ("offered_qos_profiles", "type_description_hash")
        there = self._columns("topics")
        more = ", ".join(column if column in there else "''" for column in wanted)
        found = {}
        for id_, name, type_, encoding, qos, type_hash in self._connection.execute(
            f"SELECT id, name, type, serialization_format, {more} FROM topics ORDER BY id"
        ):
            # of a service event, bags hold the definition of the service
            service = str(type_).removesuffix("_Event")
            schema_encoding, text = definitions.get(type_) or definitions.get(service) or ("", b"")
            channel = Channel(
                topic=str(name), encoding=str(encoding), schema_name=str(type_),
                schema_encoding=schema_encoding, schema=text,
            )  # fmt: skip
            found[id_] = BagTopic(channel=channel, qos=str(qos), type_hash=str(type_hash))
        return found

    def _lost_rows(
        self, first: int, behind: int | None, error: Exception, at_ns: int | None
    ) -> Loss:
        to = "the end" if behind is None else f"{behind - 1}"
        detail = f"rows {first} to {to} cannot be read ({error}); the others are kept. {AGAIN}"
        count = None if behind is None else behind - first
        return self._lost("page-damaged", detail, count=count, at_ns=at_ns)

    def _lost(self, name: str, detail: str, *, count: int | None, at_ns: int | None = None) -> Loss:
        return Loss(
            kind=LossKind.LOST, name=name, path=str(self._path), count=count, at_ns=at_ns,
            detail=detail,
        )  # fmt: skip

    def _damaged(self, found: str) -> DamagedLogError:
        return DamagedLogError(
            self._path,
            found=found,
            expected="an SQLite database with the tables 'topics' and 'messages'",
            todo="copy the file again if the original still exists",
        )
