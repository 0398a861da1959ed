"""LeRobot's items from a store against plain reads by PyArrow and PyAV; and LeRobot itself."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from viae import Store
from viae.errors import MissingExtraError, UsageError
from viae.load import lerobot
from viae.load.lerobot_items.colours import TorchcodecColours
from viae.load.lerobot_items.deltas import shifted
from viae.load.lerobot_items.pictures import still
from viae.testing.making import CAMERA, write_lerobot
from viae.verbs.ingest import ingest
from viae.video import AS_RECORDED, Canvas

FPS, FRAMES, EPISODES = 10, 7, 3
DELTAS = {
    "observation.state": [-0.2, -0.1, 0.0],
    "action": [0.0, 0.1, 0.2, 1.5],
    CAMERA: [-0.3, 0.0, 0.1],
}
VERSIONS = [("v2.1", "h264"), ("v3.0", "h264"), ("v3.0", "mpeg4")]


def stored(tmp_path, **how):
    root = write_lerobot(tmp_path / "in", **({"frames": FRAMES, "episodes": EPISODES} | how))
    store = Store.create(tmp_path / "store")
    ingest([root], store)
    return root, store


def pictures_of(path):
    with av.open(str(path)) as movie:
        return [frame.to_ndarray(format="rgb24") for frame in movie.decode(video=0)]


def plain_items(root, deltas=None, episodes=None, camera=CAMERA, fps=FPS):
    """What LeRobot would give, by a loop that anyone can read."""
    tables = [pq.read_table(path) for path in sorted(root.glob("data/*/*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist()]
    pictures = [p for path in sorted(root.glob("videos/**/*.mp4")) for p in pictures_of(path)]
    assert len(rows) == len(pictures)
    features = json.loads((root / "meta/info.json").read_text())["features"]

    def value(key, at):
        if key == camera:
            planes = torch.from_numpy(pictures[at].transpose(2, 0, 1).copy())
            return planes.type(torch.float32) / 255
        return torch.tensor(rows[at][key])

    ends = {row["episode_index"]: at + 1 for at, row in enumerate(rows)}
    for at, row in enumerate(rows):
        episode = row["episode_index"]
        if episodes is not None and episode not in episodes:
            continue
        end = ends[episode]
        start = max((e for e in ends.values() if e < end), default=0)
        item = {camera: value(camera, at)}
        item |= {key: value(key, at) for key in features if key != camera}
        for key, offsets_s in (deltas or {}).items():
            steps = [at + round(offset_s * fps) for offset_s in offsets_s]
            found = [value(key, min(max(step, start), end - 1)) for step in steps]
            single_picture = key == camera and len(found) == 1
            item[key] = found[0] if single_picture else torch.stack(found)
            item[f"{key}_is_pad"] = torch.tensor([not start <= step < end for step in steps])
        yield item


def assert_same(found, wanted, task="push the block"):
    assert set(found) == {*wanted, "task"}
    assert found["task"] == task
    for key, value in wanted.items():
        assert found[key].dtype == value.dtype, key
        assert found[key].shape == value.shape, key
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize(("version", "codec"), VERSIONS)
@pytest.mark.parametrize("deltas", [None, DELTAS, {CAMERA: [0.1], "timestamp": [0.0]}])
def test_items_equal_a_plain_read(tmp_path, version, codec, deltas):
    root, store = stored(tmp_path, version=version, codec=codec)
    items = lerobot(store, delta_timestamps=deltas)
    wanted = list(plain_items(root, deltas))
    assert len(items) == len(wanted) == items.num_frames == FRAMES * EPISODES
    order = np.random.default_rng(0).permutation(len(wanted)).tolist()
    for at, found in zip(order, items.__getitems__(order), strict=True):
        if deltas and "timestamp" in deltas:
            assert torch.equal(found.pop("timestamp_is_pad"), torch.tensor([False]))
            wanted[at].pop("timestamp_is_pad")
        assert_same(found, wanted[at])
    assert items[-1].keys() == items[0].keys()
    assert torch.equal(items[-1]["action"], items[len(items) - 1]["action"])


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_some_episodes_come_in_the_order_of_the_dataset(tmp_path, version):
    root, store = stored(tmp_path, version=version, codec="h264")
    items = lerobot(store, episodes=[2, 0], delta_timestamps=DELTAS)
    wanted = list(plain_items(root, DELTAS, episodes={0, 2}))
    assert (len(items), items.num_episodes, items.episodes) == (2 * FRAMES, 2, [2, 0])
    for found, expected in zip(items, wanted, strict=True):
        assert_same(found, expected)
    assert items.meta.episodes["dataset_from_index"] == [0, FRAMES, 2 * FRAMES]


def test_beyond_the_memory_pictures_are_in_a_mapped_file(tmp_path):
    root, store = stored(tmp_path, version="v3.0", codec="h264")
    items = lerobot(store, memory_gb=0)
    for found, expected in zip(items, plain_items(root), strict=True):
        assert_same(found, expected)


def test_a_pickled_dataset_gives_the_same(tmp_path):
    root, store = stored(tmp_path, version="v2.1", codec="h264")
    items = lerobot(store)
    again = pickle.loads(pickle.dumps(items))
    for found, expected in zip(again, plain_items(root), strict=True):
        assert_same(found, expected)


@pytest.mark.filterwarnings("ignore:lance is not fork-safe")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_collates_what_it_gets(tmp_path, workers):
    root, store = stored(tmp_path, version="v3.0", codec="h264")
    items = lerobot(store, delta_timestamps=DELTAS)
    loader = torch.utils.data.DataLoader(items, batch_size=4, num_workers=workers)
    wanted = list(plain_items(root, DELTAS))
    for number, batch in enumerate(loader):
        part = wanted[4 * number : 4 * number + 4]
        assert batch["task"] == ["push the block"] * len(part)
        for key in part[0]:
            assert torch.equal(batch[key], torch.stack([item[key] for item in part])), key


def test_a_batch_that_is_kept_is_never_written_over(tmp_path):
    _, store = stored(tmp_path, version="v3.0", codec="h264")
    items = lerobot(store)
    kept = [items[row] for row in range(len(items))]
    before = [item[CAMERA].clone() for item in kept]
    for row in reversed(range(len(items))):
        items[row]
    assert all(torch.equal(a, item[CAMERA]) for a, item in zip(before, kept, strict=True))


def test_transforms_are_applied_to_each_camera(tmp_path):
    root, store = stored(tmp_path, version="v3.0", codec="h264")
    items = lerobot(store, image_transforms=lambda picture: picture[..., :8, :8] * 2)
    for found, expected in zip(items, plain_items(root), strict=True):
        assert torch.equal(found[CAMERA], expected[CAMERA][:, :8, :8] * 2)


def test_metadata_is_under_lerobots_names(tmp_path):
    root, store = stored(tmp_path, version="v3.0", codec="h264")
    meta = lerobot(store, repo_id="me/it").meta
    info = json.loads((root / "meta/info.json").read_text())
    assert {**meta.info, "features": None} == {**info, "features": None}
    assert meta.features["action"] == {**info["features"]["action"], "shape": (2,)}
    assert (meta.repo_id, meta.fps, meta.robot_type) == ("me/it", FPS, "toy")
    assert meta.camera_keys == meta.video_keys == [CAMERA]
    assert (meta.image_keys, meta.total_tasks) == ([], 1)
    assert (meta.total_episodes, meta.total_frames) == (EPISODES, FRAMES * EPISODES)
    assert meta.get_task_index("push the block") == 0
    assert meta.get_task_index("sing") is None
    rows = pq.read_table(root / "meta/episodes").to_pylist()
    for found, row in zip(meta.episodes, rows, strict=True):
        assert found == {k: v for k, v in row.items() if not k.startswith("stats/")}
    assert list(meta.stats) == ["action"]
    assert meta.stats["action"]["max"].tolist() == [1.0, 2.0]


def test_version_2_has_the_metadata_of_its_conversion(tmp_path):
    _, store = stored(tmp_path, version="v2.1", codec="h264")
    meta = lerobot(store).meta
    assert meta.info["codebase_version"] == "v3.0"
    assert not {"total_chunks", "total_videos"} & meta.info.keys()
    assert meta.features["action"]["fps"] == FPS
    assert meta.episodes[1] == {
        "episode_index": 1, "tasks": ["push the block"], "length": FRAMES,
        "dataset_from_index": FRAMES, "dataset_to_index": 2 * FRAMES,
    }  # fmt: skip
    with pytest.raises(UsageError, match="does not store statistics"):
        meta.stats  # noqa: B018


def test_tasks_are_a_table_of_pandas(tmp_path, monkeypatch):
    _, store = stored(tmp_path, version="v3.0", codec="h264")
    meta = lerobot(store).meta
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pandas"):
        meta.tasks  # noqa: B018


def test_what_cannot_be_is_said(tmp_path):
    _, store = stored(tmp_path, version="v3.0", codec="h264")
    for options, text in [
        ({"delta_timestamps": {"nothing": [0]}}, "'nothing', which is no feature"),
        ({"delta_timestamps": {"action": []}}, "is empty"),
        ({"delta_timestamps": {"action": [0.05]}}, "0.05 s, which is no multiple of 1/10 s"),
        ({"delta_timestamps": {"task_index": [0, 0.1]}}, "has one task"),
        ({"delta_timestamps": {"timestamp": [0, 0.1]}}, "has one offset"),
        ({"episodes": [1, 7]}, r"episodes 0 to 2, not \[7\]"),
        ({"episodes": []}, "not none"),
        ({"dataset": "other"}, "could be 0 of the LeRobot datasets"),
    ]:
        with pytest.raises(UsageError, match=text):
            lerobot(store, **options)
    items = lerobot(store)
    with pytest.raises(IndexError, match="no row 21"):
        items[21]


def test_a_store_of_other_logs_is_told_to_export(tmp_path):
    store = Store.create(tmp_path / "store")
    with pytest.raises(UsageError, match="viae export OUT --to lerobot"):
        lerobot(store)


def test_of_several_datasets_one_is_named(tmp_path):
    store = Store.create(tmp_path / "store")
    how = {"codec": "h264", "frames": 4}
    ingest([write_lerobot(tmp_path / "two/set", version="v3.0", episodes=2, **how)], store)
    assert len(lerobot(tmp_path / "store")) == 8
    ingest([write_lerobot(tmp_path / "one/set", version="v2.1", episodes=1, **how)], store)
    with pytest.raises(UsageError, match=r"could be 2 .*one/set, .*two/set"):
        lerobot(store)
    assert len(lerobot(store, dataset="two/set")) == 8
    assert len(lerobot(store, dataset=str(tmp_path / "one/set"))) == 4


def test_a_camera_that_is_short_is_refused(tmp_path):
    _, store = stored(tmp_path, version="v2.1", codec="h264", video_frames=5)
    with pytest.raises(UsageError, match="has 5 pictures for 7 rows in episode 0"):
        lerobot(store)


@given(
    rows=st.lists(st.integers(0, 9), min_size=1, max_size=5),
    steps=st.lists(st.integers(-12, 12), min_size=1, max_size=4),
    bounds=st.tuples(st.integers(0, 9), st.integers(1, 9)),
)
def test_shifted_rows_equal_a_loop(rows, steps, bounds):
    first, end = bounds[0], bounds[0] + bounds[1]
    at = np.clip(np.array(rows), first, end - 1)
    ones = np.ones(len(at), np.int64)
    found, pads = shifted(at, steps, first * ones, end * ones)
    for row, own, pad in zip(at.tolist(), found.tolist(), pads.tolist(), strict=True):
        assert own == [max(first, min(end - 1, row + step)) for step in steps]
        assert pad == [row + step < first or row + step >= end for step in steps]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "1", "I;16", "P"])
def test_pictures_are_tensors_in_every_mode(mode, tmp_path):
    from PIL import Image

    numbers = np.random.default_rng(0).integers(0, 256, (6, 5, 4), np.uint8)
    image = Image.fromarray(numbers[..., :3])
    if mode == "I;16":
        image = Image.fromarray(numbers[..., 0].astype(np.uint16) * 100)
    elif mode == "RGBA":
        image = Image.fromarray(numbers)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "it.png")
    with Image.open(tmp_path / "it.png") as read:
        assert read.mode == mode
        pixels = np.array(read)
    found = still((tmp_path / "it.png").read_bytes())
    if mode == "I;16":
        assert found.dtype == torch.int16
        assert found[0].tolist() == pixels.astype(np.int16).tolist()
        return
    pixels = pixels.reshape(6, 5, -1).astype(np.uint8) * (255 if mode == "1" else 1)
    wanted = torch.from_numpy(pixels).permute(2, 0, 1).to(torch.float32).div(255)
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("width", range(48, 82, 2))
def test_every_column_of_a_picture_is_written(width):
    pixels = np.random.default_rng(width).integers(0, 256, (48, width, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
    out = np.full((3, 48, width), 77, np.uint8)
    TorchcodecColours().into(frame, AS_RECORDED, Canvas(out[None]), 0)
    assert (out.transpose(1, 2, 0) == frame.to_ndarray(format="rgb24")).all()


class Factory(ModuleType):
    """LeRobot's module, as far as the plug-in looks at it."""

    def __init__(self):
        super().__init__("lerobot.datasets.factory")
        for name in ("LeRobotDatasetMetadata", "LeRobotDataset", "StreamingLeRobotDataset"):
            setattr(self, name, lambda repo_id, root=None, _name=name, **_: (_name, repo_id, root))


def test_lerobot_opens_stores_and_all_else_as_before(tmp_path, monkeypatch):
    _, store = stored(tmp_path, version="v3.0", codec="h264")
    factory = Factory()
    for name in ("lerobot", "lerobot.datasets", factory.__name__):
        monkeypatch.setitem(sys.modules, name, factory)
    monkeypatch.delitem(sys.modules, "viae.load.lerobot_plugin", raising=False)
    from viae.load import lerobot_plugin

    lerobot_plugin.install()
    assert factory.LeRobotDataset("a/b", root="there") == ("LeRobotDataset", "a/b", "there")
    assert factory.LeRobotDatasetMetadata("a/b") == ("LeRobotDatasetMetadata", "a/b", None)
    meta = factory.LeRobotDatasetMetadata("a/b", root=store.uri, revision=None)
    assert (meta.repo_id, meta.fps, meta.total_frames) == ("a/b", FPS, FRAMES * EPISODES)
    options = {"episodes": [1], "delta_timestamps": DELTAS, "image_transforms": None,
               "revision": None, "video_backend": "torchcodec", "tolerance_s": 1e-4}  # fmt: skip
    items = factory.LeRobotDataset("a/b", root=Path(store.uri), **options)
    assert (len(items), items.repo_id, items.episodes) == (FRAMES, "a/b", [1])
    with pytest.raises(UsageError, match="revision"):
        factory.LeRobotDataset("a/b", root=store.uri, revision="v2")
    with pytest.raises(UsageError, match="streaming"):
        factory.StreamingLeRobotDataset("a/b", root=store.uri)


def test_without_lerobot_the_plug_in_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lerobot", None)
    monkeypatch.delitem(sys.modules, "viae.load.lerobot_plugin", raising=False)
    with pytest.raises(MissingExtraError, match="lerobot"):
        import viae.load.lerobot_plugin  # noqa: F401


@pytest.mark.data
def test_a_real_dataset_equals_a_plain_read(data_dir: Path, tmp_path):
    root = data_dir / "g1_inspire_lerobot_v21"
    store = Store.create(tmp_path / "store")
    ingest([root], store)
    camera = "observation.images.cam_high"
    items = lerobot(store, episodes=[1], delta_timestamps={"action": [0, 1 / 30], camera: [-1, 0]})
    path = sorted(root.glob("data/*/*.parquet"))[1]
    rows = pq.read_table(path).to_pylist()
    [movie] = root.glob(f"videos/*/{camera}/{path.stem}.mp4")
    assert len(items) == len(rows)
    wanted = {0, 30, 31}
    with av.open(str(movie)) as container:
        frames = enumerate(container.decode(video=0))
        pictures = {i: f.to_ndarray(format="rgb24") for i, f in frames if i in wanted or i == 1}
    item = items[31]
    assert item["action"].tolist() == [rows[31]["action"], rows[32]["action"]]
    for step, at in enumerate((1, 31)):
        planes = torch.from_numpy(pictures[at].transpose(2, 0, 1).copy())
        assert torch.equal(item[camera][step], planes.type(torch.float32) / 255)
    assert items[0][f"{camera}_is_pad"].tolist() == [True, False]
    assert (item["episode_index"].item(), item["frame_index"].item()) == (1, 31)
    assert set(items.meta.stats["action"]) >= {"min", "max", "mean", "std"}


def test_equal_to_lerobot_itself(tmp_path):
    python = os.environ.get("VIAE_LEROBOT_PYTHON")
    if not python:
        pytest.skip("LeRobot is not here: name its Python in VIAE_LEROBOT_PYTHON")
    repository = Path(__file__).parents[2]
    peer = repository / "benchmarks/lerobot_items_peer.py"
    home = str(tmp_path / "home")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": home, "HF_LEROBOT_HOME": home,
                   "PYTHONPATH": str(repository / "src"), "SVT_LOG": "1"}  # fmt: skip

    def run(*words):
        done = subprocess.run([python, str(peer), *map(str, words)], capture_output=True,
                              text=True, check=True, env=environment)  # fmt: skip
        return done.stdout.strip().splitlines()[-1:]

    run("make", tmp_path / "set", "h264")
    store = Store.create(tmp_path / "store")
    ingest([tmp_path / "set"], store)
    deltas = {"action": [-0.1, 0, 0.1], "observation.images.top": [-0.1, 0]}
    job = {"root": str(tmp_path / "set"), "store": store.uri, "backends": ["torchcodec"],
           "items": 10, "cases": [{"delta_timestamps": deltas}]}  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    found = json.loads(run("compare", tmp_path / "job.json")[0])
    assert found["failures"] == []
    assert found["checks"] == found["equal"] > 1000
