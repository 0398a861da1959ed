"""Small described tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def write_tables(root: Path, *, episodes: int = 2, rows: int = 40) -> Path:
    """Write a folder with a description and, per episode, CSV, Parquet, NPY and JSON lines.

    The description is JSON, which is YAML: cut short it is neither, where block-style YAML cut at
    a line end would be a shorter description, and nobody could tell.
    """
    for episode in range(episodes):
        folder = root / "data" / f"run {episode}"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(episode)
        t = 100 + np.cumsum(rng.uniform(0.01, 0.02, rows))
        lines = [f"{t[k]:.6f},{rng.uniform():.5f},{k}" for k in range(rows)]
        (folder / "speed.csv").write_text("t,speed,gear\n" + "".join(f"{x}\n" for x in lines))
        joints = pa.FixedSizeListArray.from_arrays(pa.array(rng.standard_normal(rows * 3)), 3)
        ns = (t * 1e9).astype(np.int64)
        table = pa.table({"t": ns, "received": ns + 5_000_000, "joints": joints})
        pq.write_table(table, folder / "joints.parquet", row_group_size=16)
        np.save(folder / "t.npy", t)
        np.save(folder / "command.npy", rng.standard_normal((rows, 2)).astype(np.float32))
        turns = ({"ms": 1000 * k, "say": f"turn {k}"} for k in range(5))
        (folder / "turns.jsonl").write_text("".join(json.dumps(turn) + "\n" for turn in turns))
        (folder / "meta.json").write_text(json.dumps({"task": "drive", "score": episode}))
    (root / "viae.yaml").write_text(json.dumps(_description()))
    return root


def _description() -> dict[str, Any]:
    return {
        "viae_tabular": 1,
        "root": "data",
        "episodes": {"folders": "*"},
        "statements": {
            "robot": "car",
            "task": {"file": "meta.json", "path": "task"},
            "outcome": {"file": "meta.json", "path": "score", "equals": 1},
        },
        "tables": [
            {
                "file": "speed.csv",
                "time": {"column": "t", "unit": "s"},
                "streams": {"speed": {"unit": "m/s"}, "gear": {"dtype": "int32"}},
            },
            {
                "file": "joints.parquet",
                "time": {"column": "t", "unit": "ns", "arrival": {"column": "received"}},
                "streams": {"joints": {"names": ["a", "b", "c"], "unit": "rad"}},
            },
            {
                "time": {"file": "t.npy", "unit": "s", "clock": "controller"},
                "streams": {"command": {"file": "command.npy", "role": "action"}},
            },
            {
                "file": "turns.jsonl",
                "time": {"column": "ms", "unit": "ms"},
                "streams": {"say": {}},
            },
        ],
    }
