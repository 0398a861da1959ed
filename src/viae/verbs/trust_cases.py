"""Cases of a table: scores, outcomes, groups, and, where there are times, attempts as they went."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.errors import UsageError
from viae.trust.measures import Bools, Floats

if TYPE_CHECKING:
    import pyarrow as pa

    from viae.trust import Runs

Ints = npt.NDArray[np.int64]

KINDS = (".parquet", ".csv", ".jsonl", ".ndjson", ".json")
TIMES = ("time_s", "step")
SUCCESS = {"true": True, "success": True, "1": True, "false": False, "failure": False, "0": False}
EARLY = 1e-9
"""Against the rounding of time ÷ horizon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column says what; an empty name takes the usual one if the table has it.

    Args:
        scores: one or more sources of a score; usually ``score``.
        outcome: success or not.
        group: the task; usually ``group``.
        attempt: which attempt a row is of; usually ``attempt``.
        time: elapsed since the attempt's start; usually ``time_s`` or ``step``.
        horizon: the time allowed, in the unit of ``time``; usually ``horizon``.
        together: equal for cases that depend on each other, such as one initial state.
        score_means: what a high score speaks for: ``success`` (the usual) or ``failure``.
    """

    scores: tuple[str, ...] = ()
    outcome: str = ""
    group: str = ""
    attempt: str = ""
    time: str = ""
    horizon: str = ""
    together: str = ""
    score_means: str = ""

    def __post_init__(self) -> None:
        if self.score_means not in ("", "success", "failure"):
            raise UsageError(f"a score means success or failure, not '{self.score_means}'")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cases:
    """R rows of N attempts, ordered by attempt and time; without times each row is an attempt.

    Args:
        path: the table.
        sources: the S columns of scores.
        scores: float64 [R, S], as they stand in the table.
        score_means: what a high score speaks for, ``success`` or ``failure``.
        attempt: int64 [R], 0 … N - 1.
        elapsed: float64 [R], shares of the horizon; 0 without times.
        row: int64 [R], the row of the table.
        timed: whether the table has times.
        horizon: in the table's unit, where all attempts have the same; else None.
        outcome: bool [N], or None if the table has none.
        group: [N], strings.
        unit: [N], equal for attempts that depend on each other.
        name: [N], strings.
    """

    path: Path
    sources: tuple[str, ...]
    scores: Floats
    score_means: str
    attempt: Ints
    elapsed: Floats
    row: Ints
    timed: bool
    horizon: float | None
    outcome: Bools | None
    group: npt.NDArray[Any]
    unit: npt.NDArray[Any]
    name: npt.NDArray[Any]

    @property
    def sign(self) -> int:
        """What turns a score into one that speaks for success."""
        return 1 if self.score_means == "success" else -1

    def runs(self, score: Floats) -> Runs:
        """A score that speaks for success, as danger over time."""
        from viae.trust import Runs

        return Runs(danger=-score, elapsed=self.elapsed, attempt=self.attempt, count=len(self.name))

    def last(self) -> Floats:
        """The latest elapsed time of each attempt: float64 [N]."""
        last = np.zeros(len(self.name))
        np.maximum.at(last, self.attempt, self.elapsed)
        return last

    def newest(self, at: float) -> tuple[Ints, int, int]:
        """What was said last by an elapsed time, in attempts that were still going on.

        Args:
            at: share of the horizon.

        Returns:
            int64 [n] rows in order of attempts; how many others had ended by then; and how many
            had not been scored yet.
        """
        going = self.last() > at + EARLY
        said = np.full(len(self.name), -1)
        early = np.flatnonzero(self.elapsed <= at + EARLY)
        said[self.attempt[early]] = early  # rows are in order of time: the last one stays
        kept = going & (said >= 0)
        return said[kept], int((~going).sum()), int((going & (said < 0)).sum())


def read_cases(
    path: Path,
    columns: Columns,
    *,
    outcome_needed: bool = True,
    horizon: float | None = None,
    timed: bool | None = None,
) -> Cases:
    """Read a table.

    Args:
        path: Parquet, CSV with a header, or JSON lines.
        columns: which column says what.
        outcome_needed: whether a table without outcomes is refused.
        horizon: of all attempts, where the table has no such column; None: the longest attempt's.
        timed: whether there must be times; None: as the table is.

    Raises:
        UsageError: no such file, another kind of file, a column that is missing, a value that
            makes no sense; the text names column and row.
    """
    table = _table(path)
    if not table.num_rows:
        raise UsageError(f"{path}: the table has no rows")
    usual = table.column_names
    named = {
        "outcome": _name(columns.outcome, ("outcome",), usual),
        "group": _name(columns.group, ("group",), usual),
        "attempt": _name(columns.attempt, ("attempt",), usual),
        "time": _name(columns.time, TIMES, usual) if timed is not False else "",
        "horizon": _name(columns.horizon, ("horizon",), usual),
        "together": columns.together,
    }
    sources = columns.scores or ("score",)
    wanted = [*sources, *(name for name in named.values() if name)]
    if outcome_needed and not named["outcome"]:
        wanted.append("outcome")
    for each in wanted:
        if each not in usual:
            raise UsageError(
                f"{path}: there is no column '{each}'; it has {', '.join(usual)}. Say which one "
                "is meant (--score, --outcome, --group, --attempt, --time, --horizon, --together)"
            )
    if timed and not named["time"]:
        raise UsageError(f"{path}: there is no column of times: name it with --time")
    if named["time"] and not named["attempt"]:
        raise UsageError(
            f"{path}: column '{named['time']}' gives times, but no column says which attempt a "
            "row is of: name it with --attempt"
        )
    rows = table.num_rows
    scores = np.stack([_numbers(path, table, each) for each in sources], 1)
    outcome = _outcomes(path, table, named["outcome"]) if named["outcome"] else None
    group = _texts(table, named["group"]) if named["group"] else np.full(rows, "all")
    name = _texts(table, named["attempt"]) if named["attempt"] else np.arange(rows).astype(str)
    unit = _texts(table, named["together"]) if named["together"] else name
    names, first, attempt = np.unique(name, return_index=True, return_inverse=True)
    for label, values in (("outcome", outcome), ("group", group), ("together", unit)):
        if values is not None and (bad := np.flatnonzero(values != values[first][attempt])).size:
            raise UsageError(
                f"{path}: row {bad[0] + 1} gives attempt '{name[bad[0]]}' another value of "
                f"'{named[label]}' than row {first[attempt[bad[0]]] + 1} does; an attempt has one"
            )
    time = np.zeros(rows)
    if named["time"]:
        time, horizon = _elapsed(path, table, named, horizon)
    elif len(names) < rows:
        twice = int(np.flatnonzero(np.bincount(attempt) > 1)[0])
        raise UsageError(
            f"{path}: attempt '{names[twice]}' has several rows and no time tells them apart: "
            "name the column of elapsed times with --time, or leave --attempt out and keep rows "
            "together with --together"
        )
    order = np.lexsort((time, attempt))
    return Cases(
        path=path, sources=sources, scores=scores[order],
        score_means=columns.score_means or "success", attempt=attempt[order],
        elapsed=time[order], row=order, timed=bool(named["time"]),
        horizon=horizon if named["time"] else None,
        outcome=None if outcome is None else outcome[first],
        group=group[first], unit=unit[first], name=names,
    )  # fmt: skip


def _table(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    if path.suffix.lower() not in KINDS:
        raise UsageError(
            f"{path}: a table is one of {', '.join(KINDS)} (JSON: one object a line), not "
            f"'{path.suffix}'"
        )
    read: Mapping[str, Callable[[Path], pa.Table]] = {
        ".parquet": pa.parquet.read_table, ".csv": pa.csv.read_csv,
    }  # fmt: skip
    if not path.stat().st_size:
        raise UsageError(f"{path}: the file is empty")
    try:
        return read.get(path.suffix.lower(), pa.json.read_json)(path)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: this cannot be read as {path.suffix}: {str(error).splitlines()[0]:.200}"
        ) from error


def _name(given: str, usual: tuple[str, ...], there: list[str]) -> str:
    return given or next((name for name in usual if name in there), "")


def _numbers(path: Path, table: pa.Table, name: str) -> Floats:
    import pyarrow as pa

    try:
        column = table[name].cast(pa.float64())
    except (pa.ArrowException, NotImplementedError) as error:
        raise UsageError(
            f"{path}: column '{name}' is of type {table[name].type}; expected numbers"
        ) from error
    values: Floats = column.to_numpy(zero_copy_only=False).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise UsageError(
            f"{path}: column '{name}' has no finite number in {bad.size} of {len(values)} rows, "
            f"first in row {bad[0] + 1}. Remove those rows, or give them a number"
        )
    return values


def _outcomes(path: Path, table: pa.Table, name: str) -> Bools:
    values = table[name].to_pylist()
    outcome = np.zeros(len(values), np.bool_)
    for row, value in enumerate(values):
        plain = str(int(value)) if value in (0, 1) else str(value).strip().lower()
        if plain not in SUCCESS:
            raise UsageError(
                f"{path}: column '{name}' says {value!r} in row {row + 1}; an outcome is true or "
                "false, 1 or 0, success or failure"
            )
        outcome[row] = SUCCESS[plain]
    return outcome


def _texts(table: pa.Table, name: str) -> npt.NDArray[Any]:
    return np.array([str(value) for value in table[name].to_pylist()])


def _elapsed(
    path: Path, table: pa.Table, named: Mapping[str, str], given: float | None
) -> tuple[Floats, float | None]:
    """Elapsed times as shares of the horizon, and the horizon if all have the same."""
    time = _numbers(path, table, named["time"])
    if (time < 0).any():
        raise UsageError(
            f"{path}: column '{named['time']}' is negative in row {int(np.argmin(time >= 0)) + 1}; "
            "it is the time elapsed since the attempt's start"
        )
    if named["horizon"]:
        horizons = _numbers(path, table, named["horizon"])
    else:
        horizons = np.full(len(time), time.max() if given is None else given)
    over = np.flatnonzero((time > horizons * (1 + EARLY)) | (horizons <= 0))
    if over.size:
        raise UsageError(
            f"{path}: row {over[0] + 1} is at {time[over[0]]:g}, which its horizon of "
            f"{horizons[over[0]]:g} does not allow"
        )
    same = float(horizons[0]) if (horizons == horizons[0]).all() else None
    return np.minimum(time / horizons, 1.0), same
