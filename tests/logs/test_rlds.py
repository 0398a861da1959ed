"""RLDS: what TensorFlow Datasets can store, what damage does, and a real dataset."""

import json
import struct
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from viae.errors import DamagedLogError, LogError
from viae.logs.rlds import RldsFormat
from viae.logs.rlds.tfrecord import find_records, read_record
from viae.schema import Kind, Loss, LossKind, Role, Samples
from viae.testing.rlds import image_bytes, tensor, text, write_rlds, write_tfrecord

SHARD = "toy-train.tfrecord-00000-of-00001"


def test_streams_roles_and_statements(tmp_path: Path, read):
    contents = read(write_rlds(tmp_path / "1.0.0", episodes=1, steps=4))
    roles = {name: spec.role for name, spec in contents.specs.items()}
    assert roles == {
        "observation/state": Role.OBSERVATION,
        "observation/image": Role.OBSERVATION,
        "action": Role.ACTION,
        "reward": Role.OUTCOME,
        "is_first": Role.OUTCOME,
        "is_last": Role.OUTCOME,
    }
    image = contents.specs["observation/image"]
    assert (image.kind, image.encoding, image.shape) == (Kind.IMAGE, "jpeg", (6, 8, 3))
    assert contents.values["observation/image"] == [image_bytes(k) for k in range(4)]
    assert contents.values["is_last"] == [[False], [False], [False], [True]]
    assert contents.specs["observation/state"].topic == "steps/observation/state"
    assert contents.capture["action"] == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert contents.statements == {
        "rlds.dataset": "toy/1.0.0",
        "rlds.split": "train",
        "rlds.episode_metadata.file_path": "/made/0.npy",
        "rlds.episode_metadata.episode_id": 0,
        "times": {"source": "stated control frequency", "step_s": 0.1},
        "task": "push the block",
    }
    assert not contents.losses


def test_times_are_stated_or_said_to_be_assumed(tmp_path: Path, read):
    stated = read(write_rlds(tmp_path / "a", control_hz=5.0))
    assert stated.capture["action"][:2] == [0, 200_000_000]
    assumed = read(write_rlds(tmp_path / "b", control_hz=None))
    assert assumed.capture["action"][:2] == [0, 100_000_000]
    loss = assumed.loss("times-absent")
    assert (loss.kind, loss.count) == (LossKind.REPAIRED, 5)
    assert assumed.statements["times"] == {"source": "assumed", "step_s": 0.1}


def test_every_way_a_tensor_is_stored(tmp_path: Path, read):
    """Raw bytes, zlib, float64 as float32, ragged, of unknown length, scalars of any width."""
    grids = np.arange(5 * 6, dtype=np.uint16).reshape(5, 2, 3)
    ragged = {"pythonClassName": "x.Sequence", "sequence": {"feature": tensor("int32")}}
    values = {
        "steps/raw": [grid.tobytes() for grid in grids],
        "steps/packed": [zlib.compress(grid.tobytes()) for grid in grids],
        "steps/wide": np.linspace(0, 1, 5, dtype=np.float32),
        "steps/points/ragged_flat_values": np.arange(6),
        "steps/points/ragged_row_lengths_0": np.array([1, 0, 2, 3, 0]),
        "steps/any": np.arange(10, dtype=np.float32),
        "steps/note": [b"a", b"b", b"a", b"", "é".encode()],
        "steps/depth": np.arange(5) - 2,
    }
    features = {
        "raw": tensor("uint16", 2, 3, encoding="bytes"),
        "packed": tensor("uint16", 2, 3, encoding="zlib"),
        "wide": tensor("float64"),
        "points": ragged,
        "any": tensor("float32", -1),
        "note": text(),
        "depth": tensor("int8"),
    }
    path = write_rlds(tmp_path / "1.0.0", episodes=1, features=features, values=values)
    contents = read(path)
    assert contents.values["raw"] == contents.values["packed"] == grids.tolist()
    assert contents.specs["raw"].dtype == "uint16"
    assert contents.specs["wide"].dtype == "float64"
    assert contents.values["points"] == [[0], [], [1, 2], [3, 4, 5], []]
    assert contents.values["any"][1] == [2.0, 3.0]
    assert contents.values["note"] == ["a", "b", "a", "", "é"]
    assert contents.values["depth"] == [[-2], [-1], [0], [1], [2]]
    assert not contents.losses


def test_the_older_layout_of_features(tmp_path: Path, read):
    path = write_rlds(tmp_path / "1.0.0", episodes=1)
    modern = read(path)

    def older(node):
        kind = node["pythonClassName"]
        if "featuresDict" in node:
            inner = {k: older(v) for k, v in node["featuresDict"]["features"].items()}
            return {"type": kind, "content": json.dumps(inner)}
        if "sequence" in node:
            return {"type": kind, "content": {"feature": older(node["sequence"]["feature"])}}
        content = dict(node.get("tensor", {}))
        if content:
            content["shape"] = [int(n) for n in content["shape"]["dimensions"]]
            content["dtype"] = f"tf.{content['dtype']}"
        return {"type": kind, "content": content}

    features = path / "features.json"
    features.write_text(json.dumps(older(json.loads(features.read_text()))))
    assert read(path).specs == modern.specs
    assert read(path).values == modern.values


def test_an_instruction_that_changes_is_a_stream_too(tmp_path: Path, read):
    said = [b"", b"lift", b"lift", b"drop", b"drop"]
    path = write_rlds(tmp_path / "1.0.0", episodes=1, values={"steps/language_instruction": said})
    contents = read(path)
    assert contents.statements["task"] == "lift"
    assert contents.values["language_instruction"] == ["", "lift", "lift", "drop", "drop"]


def test_images_that_cannot_be_taken_are_counted(tmp_path: Path, read):
    good = image_bytes(1)
    images = [good, b"", b"no image", image_bytes(2, size=(4, 4)), good]
    path = write_rlds(tmp_path / "1.0.0", episodes=1, values={"steps/observation/image": images})
    contents = read(path)
    assert contents.values["observation/image"] == [good, good]
    assert contents.seq["observation/image"] == [0, 4]
    names = {loss.name: (loss.kind, loss.count) for loss in contents.losses}
    assert names == {
        "image-empty": (LossKind.LOST, 1),
        "image-unreadable": (LossKind.LOST, 1),
        "image-differs": (LossKind.SKIPPED, 1),
    }


def test_features_that_do_not_fit_are_losses(tmp_path: Path, read):
    values = {
        "steps/short": np.zeros(3, np.float32),
        "steps/bytes": [b"x"] * 5,
        "steps/extra": np.zeros(5, np.float32),
    }
    features = {
        "short": tensor("float32"),
        "bytes": tensor("float32"),
        "absent": tensor("float32"),
        "odd": tensor("bfloat16"),
    }
    values["steps/odd"] = np.zeros(5, np.float32)
    path = write_rlds(tmp_path / "1.0.0", episodes=1, features=features, values=values)
    losses = {loss.stream: loss.name for loss in read(path).losses}
    assert losses == {
        "short": "length-differs",
        "bytes": "feature-skipped",
        "absent": "feature-missing",
        "odd": "feature-skipped",
        "steps/extra": "feature-undeclared",
    }


def test_declared_against_actual(tmp_path: Path):
    fewer = RldsFormat().open(write_rlds(tmp_path / "a", episodes=3, declared=5))
    [loss] = fewer.losses
    assert (loss.name, loss.kind, loss.count) == ("episodes-missing", LossKind.LOST, 2)
    more = RldsFormat().open(write_rlds(tmp_path / "b", episodes=3, declared=1))
    assert [loss.name for loss in more.losses] == ["episodes-undeclared"]
    assert len(list(more.episodes)) == 3


def test_a_shard_that_is_not_here(tmp_path: Path):
    path = write_rlds(tmp_path / "1.0.0", episodes=3)
    info = json.loads((path / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"].append("4")
    (path / "dataset_info.json").write_text(json.dumps(info))
    [loss] = RldsFormat().open(path).losses
    assert (loss.name, loss.count) == ("episodes-missing", 4)
    assert "toy-train.tfrecord-00001-of-00002" in loss.path
    (path / SHARD).unlink()
    with pytest.raises(DamagedLogError, match="no shard of this dataset is here"):
        RldsFormat().open(path)


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def test_a_damaged_record_loses_its_episode_alone(tmp_path: Path):
    path = write_rlds(tmp_path / "1.0.0", episodes=3)
    record = list(find_records(path / SHARD))[1]
    damage(path / SHARD, record.offset + 40)
    episodes = list(RldsFormat().open(path).episodes)
    assert [e.range for e in episodes] == [f"train-00000[{i}]" for i in range(3)]
    with pytest.raises(DamagedLogError, match=f"record 1, .* at byte {record.offset}"):
        list(episodes[1].read())
    assert not [i for k in (0, 2) for i in episodes[k].read() if isinstance(i, Loss)]


@pytest.mark.parametrize("byte", range(12))
def test_a_damaged_length_loses_nothing(tmp_path: Path, byte: int):
    """Wherever it is damaged: the record ends where the next one begins, and its bytes agree."""
    path = write_rlds(tmp_path / "1.0.0", episodes=3)
    whole = [read_record(record) for record in find_records(path / SHARD)]
    damage(path / SHARD, list(find_records(path / SHARD))[1].offset - 12 + byte)
    log = RldsFormat().open(path)
    assert not log.losses
    losses = [i for episode in log.episodes for i in episode.read() if isinstance(i, Loss)]
    assert [loss.name for loss in losses] == ["record-length-damaged"]
    assert [read_record(record) for record in find_records(path / SHARD)] == whole


def test_the_last_length_damaged(tmp_path: Path):
    path = tmp_path / "shard"
    write_tfrecord(path, [b"one", b"two" * 1000])
    damage(path, 12 + 3 + 4)
    assert [read_record(record) for record in find_records(path)] == [b"one", b"two" * 1000]


def test_a_cut_shard(tmp_path: Path):
    path = write_rlds(tmp_path / "1.0.0", episodes=3)
    shard = path / SHARD
    shard.write_bytes(shard.read_bytes()[:-100])
    log = RldsFormat().open(path)
    assert [loss.name for loss in log.losses] == ["truncated", "episodes-missing"]
    assert len(list(log.episodes)) == 2


def test_what_is_no_dataset_of_episodes(tmp_path: Path):
    path = write_rlds(tmp_path / "1.0.0")
    features = path / "features.json"
    features.write_text(features.read_text().replace('"steps"', '"things"'))
    with pytest.raises(LogError, match="no feature is a sequence 'steps'"):
        RldsFormat().open(path)


def test_shards_of_another_type(tmp_path: Path):
    path = write_rlds(tmp_path / "1.0.0")
    (path / SHARD).rename(path / SHARD.replace("tfrecord", "array_record"))
    with pytest.raises(LogError, match="a shard of type array_record"):
        RldsFormat().open(path)


def independent_records(path: Path) -> list[bytes]:
    """Records by their lengths, checksums left aside."""
    data, at, records = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        records.append(data[at + 12 : at + 12 + length])
        at += 16 + length
    return records


FIRST = {
    "action": [
        3.6480773957237034e-10, 3.3219260675565465e-11, 1.9691270836119656e-10,
        -1.8636590937148867e-07, -5.034904688727693e-07, 7.502791987690216e-08, 1.0,
    ],
    "observation/state": [
        0.2338147908449173, 0.11244295537471771, 0.17504854500293732, 0.1000431627035141,
        -0.21381886303424835, 0.21333792805671692, 1.0008161067962646,
    ],
}  # fmt: skip
LAST = {
    "action": [
        -0.0013441013870760798, 0.012203113175928593, 0.010503994300961494, 0.020340749993920326,
        -0.027401594445109367, 0.03206317499279976, 0.0,
    ],
    "observation/state": [
        0.26086825132369995, -0.0870082825422287, 0.13319359719753265, 0.03149350732564926,
        -0.1717710644006729, -0.00683182617649436, 0.4283607602119446,
    ],
}  # fmt: skip


@pytest.mark.data
def test_real_bridge_dataset(data_dir: Path, read):
    """Figures of the `tfrecord` package on the same files, which shares no code with viae."""
    root = data_dir / "bridge_rlds_octo" / "bridge_dataset" / "1.0.0"
    log = RldsFormat().open(root)
    episodes = list(log.episodes)
    assert (len(episodes), log.losses) == (50, [])
    counts: Counter[str] = Counter()
    for episode in episodes:
        for item in episode.read():
            if isinstance(item, Samples):
                counts[item.spec.name] += len(item)
            elif isinstance(item, Loss):
                assert item.name == "times-absent"
    assert len(counts) == 12
    assert set(counts.values()) == {500}
    for shard in sorted(root.glob("*.tfrecord-*")):
        records = independent_records(shard)
        ours = [read_record(record) for record in find_records(shard)]
        assert ours == records
        assert len(records) == 25
    first, last = read(root, 0), read(root, 24)
    assert first.statements["task"] == "put cup from counter or drying rack into sink"
    assert last.statements["task"] == "put carrot on plate"
    for name, value in FIRST.items():
        assert first.values[name][0] == value
    for name, value in LAST.items():
        assert last.values[name][-1] == value
    assert first.specs["observation/image_0"].shape == (64, 64, 3)
