"""SQL over a store: DuckDB reads the Lance tables through Arrow and sees visible rows only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from viae.errors import QueryError
from viae.schema.tables import TABLES, VECTORS_PREFIX

if TYPE_CHECKING:
    from viae.store.store import Store

_VISIBLE = "(SELECT episode_id, write_id FROM raw_episodes)"


def query(store: Store, sql: str) -> pa.Table:
    """Answer a SQL query (DuckDB's dialect) over the tables of a store.

    The views ``episodes`` (its outcome as the newest fact has it), ``streams``, ``chunks``,
    ``video``, ``facts`` and ``runs`` hold what is visible. ``samples`` has one row per sample of
    every numeric stream of fixed shape: ``episode_id, stream, seq, capture_ns, arrival_ns, value``
    (a list of doubles). ``vectors``, where something was embedded, has one row per window and
    embedder: ``episode_id, embedder, start_ns, end_ns, decision_ns``.
    ``fact(episode_id, 'KEY')`` is the newest fact about an episode as a whole with this key, as
    text; NULL where nobody said it.

    Args:
        store: the store, at its newest state or at a snapshot.
        sql: one statement; nothing outside the store can be read and nothing can be written.

    Returns:
        The rows.

    Raises:
        QueryError: DuckDB refuses the statement; its message says where.
    """
    import duckdb

    connection = duckdb.connect(config={"enable_external_access": "false"})
    with connection:
        for name in TABLES:
            connection.register(f"raw_{name}", store.table(name))
        for name in ("chunks", "video", "streams"):
            connection.execute(
                f"CREATE VIEW {name} AS SELECT * EXCLUDE (write_id) FROM raw_{name} "
                f"WHERE (episode_id, write_id) IN {_VISIBLE}"
            )
        connection.execute(
            "CREATE VIEW facts AS SELECT * EXCLUDE (write_id) FROM raw_facts "
            f"WHERE write_id IS NULL OR (episode_id, write_id) IN {_VISIBLE}"
        )
        connection.execute(_EPISODES)
        connection.execute(_FACT)
        connection.execute("CREATE VIEW runs AS SELECT * FROM raw_runs")
        connection.execute(_SAMPLES)
        names = [*TABLES, "samples"]
        if embedded := store.vector_tables():
            names.append("vectors")
            for name in embedded:
                table = store.table(name)
                columns = [n for n in table.schema.names if n != "vector"]
                scanner = table.scanner(columns=columns)  # DuckDB knows no float16
                connection.register(f"raw_{name}", scanner)
            connection.execute(
                "CREATE VIEW vectors AS " + " UNION ALL ".join(map(_vectors, embedded))
            )
        try:
            answer = connection.sql(sql)
            return answer.to_arrow_table() if answer is not None else pa.table({})
        except duckdb.Error as error:
            raise QueryError(
                f"{store.uri}: the query was refused: {error}. "
                f"The tables are {', '.join(sorted(names))}"
            ) from error


def _vectors(name: str) -> str:
    """The visible rows of one embedder."""
    return (
        f"SELECT episode_id, '{name.removeprefix(VECTORS_PREFIX)}' AS embedder, start_ns, end_ns, "
        f'decision_ns FROM "raw_{name}" '
        "WHERE episode_id IN (SELECT episode_id FROM raw_episodes) "
        f"AND (write_id IS NULL OR (episode_id, write_id) IN {_VISIBLE})"
    )


_EPISODES = """
CREATE VIEW episodes AS
SELECT e.* EXCLUDE (write_id) REPLACE (
    CASE said.outcome WHEN 'true' THEN true WHEN 'false' THEN false
    ELSE CASE WHEN said.outcome IS NULL THEN e.outcome END END AS outcome
)
FROM raw_episodes e
LEFT JOIN (
    SELECT episode_id, arg_max(value, (time_ns, fact_id)) AS outcome
    FROM facts WHERE key = 'outcome' AND start_ns IS NULL AND other_episode_id IS NULL
    GROUP BY episode_id
) said USING (episode_id)
"""

_FACT = """
CREATE MACRO fact(subject_, name_) AS (
    SELECT value_ FROM (
        SELECT episode_id AS episode_, key AS key_,
               arg_max(value, (time_ns, fact_id)) ->> '$' AS value_
        FROM facts WHERE start_ns IS NULL AND other_episode_id IS NULL
        GROUP BY episode_id, key
    )
    WHERE episode_ = subject_ AND key_ = name_
)
"""
"""A macro is put in as text: no name inside may be one of those that it is called with."""

_SAMPLES = """
CREATE VIEW samples AS
SELECT episode_id, stream, seq[i] AS seq, capture_ns[i] AS capture_ns,
       arrival_ns[i] AS arrival_ns, value[(i - 1) * width + 1 : i * width] AS value
FROM (
    SELECT *, coalesce(floats, ints::DOUBLE[]) AS value,
           len(coalesce(floats, ints::DOUBLE[])) // len(seq) AS width,
           unnest(range(1, len(seq) + 1)) AS i
    FROM chunks
    WHERE lengths IS NULL AND (floats IS NOT NULL OR ints IS NOT NULL)
)
"""
