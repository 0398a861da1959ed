"""The RLDS format: the version folder of a dataset is one log, every record an episode."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from viae.errors import DamagedLogError
from viae.logs.format import Log, LogFormat
from viae.logs.rlds.episode import RldsEpisode
from viae.logs.rlds.features import read_features
from viae.logs.rlds.info import Shard, read_info
from viae.logs.rlds.tfrecord import Record, find_records
from viae.schema import Loss, LossKind


class RldsFormat(LogFormat):
    """RLDS datasets in TFRecord shards, as TensorFlow Datasets lays them out."""

    name: ClassVar[str] = "rlds"

    def recognises(self, path: Path) -> bool:
        """A folder with ``features.json``, and ``dataset_info.json`` or a TFRecord shard."""
        if not (path / "features.json").is_file():
            return False
        return (path / "dataset_info.json").is_file() or any(path.glob("*.tfrecord-*"))

    def open(self, path: Path) -> Log:
        """The records that are here; losses say which declared ones are not.

        Only the lengths of the records are read.

        Raises:
            DamagedLogError: the metadata cannot be read, or no shard is here.
        """
        features = read_features(path / "features.json")
        info = read_info(path)
        episodes: list[RldsEpisode] = []
        losses: list[Loss] = []
        for shard in info.shards:
            records = list(find_records(shard.path)) if shard.path.is_file() else []
            whole = [record for record in records if record.whole]
            losses += [_cut(record) for record in records if not record.whole]
            losses += _differs(shard, len(whole))
            episodes += [RldsEpisode(str(path), info, features, shard, record) for record in whole]
        if not any(shard.path.is_file() for shard in info.shards):
            raise DamagedLogError(
                path,
                found="no shard of this dataset is here",
                expected="files like NAME-train.tfrecord-00000-of-00001",
                todo="copy the dataset again",
            )
        return Log(path=path, format=self.name, episodes=tuple(episodes), losses=losses)


def _cut(record: Record) -> Loss:
    return Loss(
        kind=LossKind.LOST,
        name="truncated",
        path=str(record.path),
        count=1,
        detail=f"the file ends inside record {record.number}, which begins at byte "
        f"{record.offset}; copy the file again",
    )


def _differs(shard: Shard, present: int) -> list[Loss]:
    """What dataset_info.json says against what is here."""
    if shard.declared is None:
        detail = f"dataset_info.json does not declare this shard; its {present} records are read"
        kind, name, count = LossKind.REPAIRED, "shard-undeclared", present
    elif present < shard.declared:
        here = "" if shard.path.is_file() else "; the file is not here"
        detail = f"{shard.declared} episodes are declared, {present} are here{here}"
        kind, name, count = LossKind.LOST, "episodes-missing", shard.declared - present
    elif present > shard.declared:
        detail = f"{shard.declared} episodes are declared, {present} are here; all are read"
        kind, name, count = LossKind.REPAIRED, "episodes-undeclared", present - shard.declared
    else:
        return []
    return [Loss(kind=kind, name=name, path=str(shard.path), count=count, detail=detail)]
