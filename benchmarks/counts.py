"""Are the message counts of every topic those of an independent reader?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet
from mcap.reader import NonSeekingReader

from viae.store import Store, query
from viae.verbs.ingest import ingest

SETS = (
    "rerun_mcap", "keelson_maritime/test.mcap", "depthai_oak_recording/recording.mcap",
    "mcap_conformance", "g1_inspire_lerobot_v21",
)  # fmt: skip

PER_TOPIC = """
SELECT log_uri, topic, count(DISTINCT seq) AS messages
FROM (
    SELECT e.log_uri || ' ' || e.log_range AS log_uri, s.topic, unnest(c.seq) AS seq
    FROM streams s JOIN episodes e USING (episode_id)
    JOIN (
        SELECT episode_id, stream, seq FROM chunks UNION ALL
        SELECT episode_id, stream, seq FROM video
    ) c USING (episode_id, stream)
)
GROUP BY ALL
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many topics were compared, how many agree, and what a second ingest added."""

    topics: int
    equal: int
    second_run: int


def compare(data: Path, work: Path) -> Counts:
    """Ingest the sets, count per topic in the store by SQL, and count with other readers."""
    store = Store.create(work / "store")
    paths = [data / name for name in SETS]
    ingest(paths, store)
    second = ingest(paths, store).ingested
    ours: dict[tuple[str, str], int] = {
        (row["log_uri"].strip(), row["topic"]): row["messages"]
        for row in query(store, PER_TOPIC).to_pylist()
    }
    theirs = dict(_independent(paths))
    same = sum(ours.get(key) == count for key, count in theirs.items())
    invented = ours.keys() - theirs.keys()
    return Counts(len(theirs) + len(invented), same, second)


def _independent(paths: list[Path]) -> list[tuple[tuple[str, str], int]]:
    found: list[tuple[tuple[str, str], int]] = []
    for path in paths:
        if (path / "meta" / "info.json").exists():
            found += _lerobot(path)
            continue
        for file in sorted(path.rglob("*.mcap")) if path.is_dir() else [path]:
            with file.open("rb") as stream:
                topics = Counter(c.topic for _, c, _ in NonSeekingReader(stream).iter_messages())
            found += [((str(file), topic), n) for topic, n in topics.items()]
    return found


def _lerobot(root: Path) -> list[tuple[tuple[str, str], int]]:
    """Rows of Parquet; every feature that is no bookkeeping has one sample a row."""
    features = json.loads((root / "meta" / "info.json").read_text())["features"]
    kept = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
    found = []
    for file in sorted(root.glob("data/*/*.parquet")):
        rows = pyarrow.parquet.read_metadata(file).num_rows
        found += [((f"{root} {file.stem}", name), rows) for name in features if name not in kept]
    return found
