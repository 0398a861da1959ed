"""What the episodes of a dataset say, put together: numbered texts, statistics over all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Stats: TypeAlias = dict[str, Any]
"""One feature's statistics: lists as JSON has them."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def numbered_texts(rows: object, key: str) -> list[tuple[int, str]]:
    """Rows of a small table as (number, text), whatever the text's column is called."""
    found = []
    for row in rows if isinstance(rows, list) else []:
        text = next((value for value in row.values() if isinstance(value, str)), None)
        if isinstance(row.get(key), int) and text is not None:
            found.append((int(row[key]), text))
    return found


def vector_stats(values: npt.NDArray[Any]) -> Stats:
    """Statistics over rows, and over all dimensions but the last.

    Args:
        values: [N, *shape], N > 0.
    """
    rows, flat = len(values), values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    exact = flat.astype(np.float64)
    stats: Stats = {
        "min": flat.min(axis=0).tolist(),
        "max": flat.max(axis=0).tolist(),
        "mean": exact.mean(axis=0).tolist(),
        "std": exact.std(axis=0).tolist(),
        "count": [rows],
    }
    quantiles = np.quantile(exact, list(QUANTILES.values()), axis=0)
    return stats | {name: quantiles[i].tolist() for i, name in enumerate(QUANTILES)}


def over_episodes(each: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Statistics of a dataset from those of its episodes, combined as LeRobot does.

    Quantiles are combined by their mean, weighted by counts.
    """
    keys = list(dict.fromkeys(key for stats in each for key in stats))
    return {key: _combined([stats[key] for stats in each if key in stats]) for key in keys}


def _combined(parts: Sequence[Stats]) -> Stats:
    """What all episodes have; datasets of others may store only some statistics."""
    have = set.intersection(*(set(part) for part in parts))
    stats: Stats = {}
    for name, over in (("min", np.min), ("max", np.max)):
        if name in have:
            stats[name] = over([part[name] for part in parts], axis=0).tolist()
    if "count" not in have:
        return stats
    counts = np.array([part["count"][0] for part in parts], np.float64)
    if "mean" in have:
        mean = _weighted([part["mean"] for part in parts], counts)
        stats["mean"] = mean.tolist()
        if "std" in have:
            means = np.array([part["mean"] for part in parts], np.float64)
            deviations = np.array([part["std"] for part in parts], np.float64)
            variance = _weighted(deviations**2 + (means - mean) ** 2, counts)
            stats["std"] = np.sqrt(variance).tolist()
    stats["count"] = [int(counts.sum())]
    for name in sorted(name for name in have if name.startswith("q") and name[1:].isdigit()):
        stats[name] = _weighted([part[name] for part in parts], counts).tolist()
    return stats


def _weighted(values: Any, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    array = np.array(values, np.float64)
    weights = counts.reshape(-1, *[1] * (array.ndim - 1))
    total: npt.NDArray[np.float64] = (array * weights).sum(axis=0) / counts.sum()
    return total
