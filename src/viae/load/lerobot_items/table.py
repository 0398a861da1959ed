"""The table of a dataset in memory: every feature that is no picture, row after row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from viae.errors import UsageError
from viae.load.lerobot_items.said import Said
from viae.load.timelines import read_timelines
from viae.logs.lerobot.columns import BOOKKEEPING
from viae.schema import NS_PER_S, Samples

Column = npt.NDArray[Any] | list[str]
DTYPES: Mapping[str, npt.DTypeLike] = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}
"""What a number becomes: LeRobot makes tensors of Python's numbers, whatever was stored."""
PICTURES = ("video", "image")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of some episodes, one after another.

    Args:
        starts: int64 [E + 1], first row of each episode.
        columns: per feature that is no picture [N, *shape], or N strings.
    """

    starts: npt.NDArray[np.int64]
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return int(self.starts[-1])

    def tensor(self, key: str, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        """Values of a feature at rows, as LeRobot's tensors have them: [*rows.shape, *shape]."""
        column = self.columns[key]
        if isinstance(column, list):
            raise UsageError(f"'{key}' is text")
        return torch.from_numpy(column[rows].astype(DTYPES[column.dtype.kind], copy=False))


def read_table(said: Said, chosen: Sequence[int]) -> Table:
    """The rows of some episodes.

    Args:
        said: the dataset.
        chosen: which episodes, ascending.

    Raises:
        UsageError: the store has a feature otherwise than declared.
    """
    ids = [said.ids[number] for number in chosen]
    features, firsts, clock = said.features, [0, *np.cumsum(said.lengths).tolist()], said.clock
    wanted = [name for name, f in features.items() if f["dtype"] not in PICTURES]
    kept = said.store.samples(ids, [*wanted, *BOOKKEEPING])
    rows = read_timelines(said.store, ids, [clock])[clock]
    columns: dict[str, Column] = {}
    for name in wanted:
        parts: list[Any] = []
        for place, (number, id_) in enumerate(zip(chosen, ids, strict=True)):
            times_ns = rows.arrival_ns[rows.starts[place] : rows.starts[place + 1]]
            own = kept.get((id_, name))
            if name in BOOKKEEPING:
                found = _book(said, name, number, own, times_ns, firsts[number])
            else:
                found = _values(said, name, id_, own, len(times_ns))
            parts.append(found)
        columns[name] = _joined(said, name, features[name], parts)
    return Table(starts=rows.starts, columns=columns)


def _book(
    said: Said,
    name: str,
    number: int,
    kept: Samples | None,
    times_ns: npt.NDArray[np.int64],
    start: int,
) -> npt.NDArray[Any]:
    """A bookkeeping column of an episode, as an export would write it."""
    n = len(times_ns)
    column = None if kept is None else np.asarray(kept.values).reshape(-1)
    if name == "timestamp":
        seconds: npt.NDArray[Any] = times_ns / NS_PER_S if column is None else column
        return seconds
    if name == "task_index":
        index = said.tables[number].get("task_index")
        if column is None and not isinstance(index, int):
            raise UsageError(f"{said.uri}, episode {number}: its rows have no task_index")
        return np.full(n, index, np.int64) if column is None else column
    if name in ("index", "episode_index") and said.is_kept and column is not None:
        raise UsageError(
            f"{said.uri}, episode {number}: its column '{name}' is not what the metadata says; "
            "LeRobot would mix episodes. Repair it with  viae export OUT --to lerobot,  ingest OUT "
            "and load that"
        )
    counted = np.arange(n, dtype=np.int64)
    numbers = {"frame_index": counted, "index": counted + start}
    return numbers.get(name, np.full(n, number, np.int64))


def _values(said: Said, name: str, id_: str, samples: Samples | None, count: int) -> Any:
    if samples is None or len(samples) != count:
        found = "none" if samples is None else str(len(samples))
        raise UsageError(
            f"{said.uri}: feature '{name}' has {found} of {count} rows in episode {id_}; ingest "
            "the dataset again from a whole copy"
        )
    return samples.values


def _joined(said: Said, name: str, feature: Mapping[str, Any], parts: Sequence[Any]) -> Column:
    if feature["dtype"] == "string":
        return [str(text) for part in parts for text in part]
    column = np.concatenate([np.asarray(part) for part in parts])
    shape = tuple(feature["shape"])
    found, declared = column.shape[1:], np.dtype(feature["dtype"])
    if np.prod(found, dtype=int) != np.prod(shape, dtype=int) or column.dtype == object:
        raise UsageError(
            f"{said.uri}: '{name}' is declared as {list(shape)}, the table holds {list(found)}"
        )
    if name not in BOOKKEEPING and declared.kind != column.dtype.kind:
        raise UsageError(
            f"{said.uri}: '{name}' is declared as {declared}, the table holds {column.dtype}"
        )
    return column.astype(declared).reshape(len(column), *(() if shape == (1,) else shape))
