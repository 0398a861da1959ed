"""HDF5: layouts, times, facts, pictures, damage."""

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from viae.errors import DamagedLogError, LogError
from viae.logs import find_logs
from viae.logs.arrays.layout import episode_groups
from viae.logs.arrays.names import in_order, is_time, role_of
from viae.logs.hdf5 import Hdf5Format
from viae.logs.hdf5.heap import damaged_heaps
from viae.schema import Kind, LossKind, Role
from viae.testing.arrays import write_aloha, write_robomimic


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made.hdf5"


def test_robomimic(path: Path, read):
    write_robomimic(path, rows=5)
    first, second = read(path), read(path, 1)
    assert [e.range for e in Hdf5Format().open(path).episodes] == ["data/demo_0", "data/demo_1"]
    assert first.statements["task"] == "Lift"
    assert first.statements["robot"] == "Panda"
    assert (first.statements["hdf5.masks"], second.statements["hdf5.masks"]) == (
        ["train"],
        ["valid"],
    )
    assert first.statements["hdf5.model_file"] == "<mujoco model='0'/>"
    assert "outcome" not in first.statements
    roles = {name: spec.role for name, spec in first.specs.items()}
    assert roles == {
        "actions": Role.ACTION, "dones": Role.OUTCOME, "rewards": Role.OUTCOME,
        "states": Role.OBSERVATION, "obs/eef_pos": Role.OBSERVATION,
        "obs/agentview_image": Role.OBSERVATION, "next_obs/eef_pos": Role.OBSERVATION,
    }  # fmt: skip
    assert first.specs["dones"].dtype == "int64"
    with h5py.File(path) as file:
        assert first.values["actions"] == file["data/demo_0/actions"][:].tolist()
        image = file["data/demo_0/obs/agentview_image"][:]
    spec = first.specs["obs/agentview_image"]
    assert (spec.kind, spec.encoding, spec.shape) == (Kind.IMAGE, "rgb8", (6, 8, 3))
    assert first.values["obs/agentview_image"] == [picture.tobytes() for picture in image]


def test_the_next_observation_is_known_one_step_later(path: Path, read):
    """Stamped with its action, it would show the future to a policy."""
    found = read(write_robomimic(path, rows=3, rate_hz=20))
    assert found.arrival["obs/eef_pos"] == [0, 50_000_000, 100_000_000]
    assert found.arrival["next_obs/eef_pos"] == [50_000_000, 100_000_000, 150_000_000]
    assert found.values["next_obs/eef_pos"][:2] == found.values["obs/eef_pos"][1:]


def test_an_assumed_rate_is_said(path: Path, read):
    found = read(write_robomimic(path, rows=3, rate_hz=None))
    loss = found.loss("times-absent")
    assert (loss.kind, loss.count) == (LossKind.REPAIRED, 3)
    assert "row i is stamped i x 50 ms (20 Hz, the default of robomimic's layout)" in loss.detail
    assert found.statements["hdf5.times"] in loss.detail


@pytest.mark.parametrize("compress", [False, True])
def test_aloha(path: Path, read, compress: bool):
    found = read(write_aloha(path, rows=4, compress=compress, fps=None))
    assert found.loss("times-absent").count == 4
    assert found.arrival["action"] == [0, 20_000_000, 40_000_000, 60_000_000]
    spec = found.specs["observations/images/cam_high"]
    assert (spec.encoding, spec.shape) == ("jpeg" if compress else "rgb8", (24, 32, 3))
    assert found.specs["observations/qpos"].role is Role.OBSERVATION
    assert found.statements["hdf5.compress"] is compress
    if compress:
        pictures = found.values["observations/images/cam_high"]
        assert [float(len(data)) for data in pictures] == found.statements["hdf5.compress_len"][0]
        assert Image.open(io.BytesIO(pictures[3])).size == (32, 24)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("timestamp", [1.5, 1.75], [1_500_000_000, 1_750_000_000]),
        ("timestamps_ms", [1500, 1750], [1_500_000_000, 1_750_000_000]),
        ("time", [1_700_000_000_000, 1_700_000_000_020], [17 * 10**17, 1_700_000_000_020_000_000]),
        ("t", [20_000_000, 40_000_000], [20_000_000, 40_000_000]),
        ("stamp", [[0.5], [0.25]], [500_000_000, 250_000_000]),
        ("t", [0, 1], [0, 100_000_000]),  # an index; 10 Hz is the default
        ("time", [0.0, float("nan")], [0, 100_000_000]),
    ],
)  # fmt: skip
def test_stored_times(path: Path, read, name: str, values: list[float], expected: list[int]):
    with h5py.File(path, "w") as file:
        file["action"], file[name] = np.zeros((2, 3)), values
    found = read(path)
    assert found.capture["action"] == expected
    assumed = expected == [0, 100_000_000]
    assert (name in found.specs) is assumed
    assert (["times-absent"] if assumed else []) == [loss.name for loss in found.losses]


def test_dtypes(path: Path, read):
    coded = io.BytesIO()
    Image.new("RGB", (4, 3)).save(coded, "PNG")
    png = np.frombuffer(coded.getvalue(), np.uint8)
    with h5py.File(path, "w") as file:
        file.attrs["fps"] = 1
        file["big"] = np.array([1.5, -2], ">f4")
        file["flag"] = np.array([True, False])
        file.create_dataset("mode", data=[0, 1], dtype=h5py.enum_dtype({"IDLE": 0, "MOVE": 1}))
        file["pair"] = np.array([(1, (0.5, 2)), (2, (3, 4))], [("n", "i4"), ("xy", "f4", (2,))])
        file["say"] = np.array(["go", "stöp"], object)
        file["fixed"] = np.array([b"a", b"\xff"])
        file["z"] = np.zeros((2, 2), complex)
        file["none"] = np.zeros((2, 0))
        file["depth"] = np.arange(2 * 16 * 20, dtype=np.uint16).reshape(2, 16, 20)
        file["gain"] = np.eye(4)
        file["large"] = np.zeros((300, 2))
        ragged = file.create_dataset("ragged", (2,), h5py.vlen_dtype(np.float32))
        ragged[0], ragged[1] = [1], [2, 3]
        pictures = file.create_dataset("pictures", (2,), h5py.vlen_dtype(np.uint8))
        pictures[0], pictures[1] = png, png
    found = read(path)
    assert found.values["big"] == [1.5, -2]
    assert found.specs["big"].dtype == "float32"
    assert found.values["flag"] == [True, False]
    assert found.values["mode"] == [0, 1]
    assert found.statements["hdf5.mode.names"] == {"IDLE": 0, "MOVE": 1}
    assert found.values["pair.n"] == [1, 2]
    assert found.values["pair.xy"] == [[0.5, 2], [3, 4]]
    assert found.values["say"] == ["go", "stöp"]
    assert found.values["fixed"] == ["a"]
    assert found.values["ragged"] == [[1], [2, 3]]
    assert found.values["pictures"] == [png.tobytes()] * 2
    assert found.specs["pictures"].shape == (3, 4, 3)
    assert found.specs["depth"].encoding == "mono16"
    assert found.statements["hdf5.gain"] == np.eye(4).tolist()
    lost = {(loss.name, loss.stream, loss.kind, loss.count) for loss in found.losses}
    assert lost == {
        ("unknown-dtype", "z", LossKind.SKIPPED, 2),
        ("zero-width", "none", LossKind.SKIPPED, 2),
        ("length-differs", "large", LossKind.SKIPPED, 300),
        ("value-damaged", "fixed", LossKind.LOST, 1),
    }


def test_links_are_not_followed(path: Path, read):
    write_aloha(path.with_name("other.hdf5"))
    with h5py.File(path, "w") as file:
        file.attrs["fps"] = 1
        file["action"] = np.zeros((3, 2))
        file["loop"] = file["/"]
        file["again"] = file["action"]
        file["soft"] = h5py.SoftLink("/action")
        file["outside"] = h5py.ExternalLink("other.hdf5", "/action")
        layout = h5py.VirtualLayout((3, 2), float)
        layout[:] = h5py.VirtualSource("other.hdf5", "observations/qpos", (12, 14))[:3, :2]
        file.create_virtual_dataset("virtual", layout)
    found = read(path)
    lost = sorted((loss.name, loss.stream) for loss in found.losses)
    assert len(found.specs) == 1  # under whichever name came first
    assert ("external-storage", "virtual") in lost
    assert len([name for name, _ in lost if name == "link"]) == 4


def test_rows_never_written_are_not_made_up(path: Path, read):
    with h5py.File(path, "w") as file:
        file.attrs["fps"] = 1
        file["action"] = np.ones((6, 2))
        chunked = file.create_dataset("chunked", (6, 2), "f4", chunks=(2, 2), fillvalue=7)
        chunked[2:4] = 1
        file.create_dataset("never", (6, 2), "f4")
    found = read(path)
    assert found.seq["chunked"] == [2, 3]
    losses = {loss.stream: loss.count for loss in found.losses if loss.name == "never-written"}
    assert losses == {"chunked": 4, "never": 6}


def test_a_damaged_chunk_loses_its_rows_alone(path: Path, read):
    with h5py.File(path, "w") as file:
        file.attrs["fps"] = 1
        file["action"] = np.ones((60, 2))
        file.create_dataset(
            "state",
            data=np.random.default_rng(0).random((60, 2)),
            chunks=(4, 2),
            compression="gzip",
        )
        info = file["state"].id.get_chunk_info(3)
    data = bytearray(path.read_bytes())
    data[info.byte_offset : info.byte_offset + 8] = b"\xff" * 8
    path.write_bytes(data)
    found = read(path)
    assert found.seq["state"] == [*range(12), *range(16, 60)]
    loss = found.loss("rows-damaged")
    assert (loss.count, loss.stream) == (4, "state")
    assert len(found.seq["action"]) == 60


def test_a_file_cut_short_gives_what_lies_before(path: Path, read):
    with h5py.File(path, "w") as file:
        file.attrs["fps"] = 1
        file.create_dataset("action", data=np.arange(20.0))
        file.create_dataset("state", data=np.arange(200_000.0))
        file.create_dataset("other", data=np.arange(20.0))
        end = file["state"].id.get_offset() + 8 * 1000
    path.write_bytes(path.read_bytes()[:end])
    log = Hdf5Format().open(path)
    assert [loss.name for loss in log.losses] == ["truncated"]
    found = read(path)
    assert found.values["action"] == list(range(20))


def test_a_file_cut_before_its_groups_says_so(path: Path):
    write_robomimic(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DamagedLogError, match=r"a file cut at 1000.* [Cc]opy"):
        [list(episode.read()) for episode in Hdf5Format().open(path).episodes]


def test_a_damaged_heap_is_not_shown_to_libhdf5(path: Path, read):
    """Free space of no bytes: libhdf5 would go round in it for ever."""
    with h5py.File(path, "w") as file:
        file["timestamp"], file["action"] = np.arange(5.0), np.ones((5, 2))
        file.attrs["task"] = "stir"
    data = bytearray(path.read_bytes())
    assert damaged_heaps(path) == []
    heap = data.index(b"GCOL")
    data[heap + 16 + 16 + 8 : heap + 16 + 16 + 8 + 16] = bytes(16)  # behind the one object
    path.write_bytes(data)
    assert damaged_heaps(path) == [(heap, heap + 16)]
    found = read(path)
    assert found.loss("attributes-damaged").kind is LossKind.LOST
    assert len(found.values["action"]) == 5


def test_declared_rows_that_are_not_there(path: Path, read):
    write_robomimic(path, rows=5)
    with h5py.File(path, "r+") as file:
        file["data/demo_0"].attrs["num_samples"] = 8
    loss = read(path).loss("length-differs")
    assert (loss.kind, loss.count) == (LossKind.LOST, 3)


def test_a_file_of_other_things_is_refused(path: Path):
    with h5py.File(path, "w") as file:
        for i in range(1, 6):
            file[f"layer{'abcdef'[i]}/w"] = np.zeros((i, 300))
    [episode] = Hdf5Format().open(path).episodes
    with pytest.raises(LogError, match=r"holds .*share their first dimension"):
        list(episode.read())
    path.write_bytes(b"no HDF5 at all")
    with pytest.raises(DamagedLogError, match="HDF5 cannot open it"):
        Hdf5Format().open(path)


def test_a_missing_group_is_an_error(path: Path):
    write_robomimic(path)
    first = Hdf5Format().open(path).episodes
    with h5py.File(path, "r+") as file:
        del file["data/demo_0"]
    with pytest.raises(DamagedLogError, match="group 'data/demo_0' cannot be opened"):
        list(next(iter(first)).read())


def test_an_outcome_is_what_an_attribute_says(path: Path, read):
    write_robomimic(path)
    with h5py.File(path, "r+") as file:
        file["data/demo_0"].attrs["success"] = np.bool_(True)
        file["data"].attrs["language_instruction"] = "lift the cube"
    found = read(path)
    assert found.statements["outcome"] is True
    assert "outcome" not in read(path, 1).statements


def test_episodes_by_the_general_rule():
    def groups(*paths: str) -> list[str]:
        def look(at: str) -> tuple[list[str], bool]:
            below = [
                p.removeprefix(f"{at}/").split("/")
                for p in paths
                if p.startswith(f"{at}/") or not at
            ]
            names = dict.fromkeys(parts[0] for parts in below if len(parts) > 1)
            return list(names), any(len(parts) == 1 for parts in below)

        return episode_groups(look)

    assert groups("data/demo_10/a", "data/demo_2/a", "mask/x") == ["data/demo_2", "data/demo_10"]
    assert groups("traj_0/a", "traj_1/obs/b") == ["traj_0", "traj_1"]
    assert groups("all/run/ep1/a", "all/run/ep2/a") == ["all/run/ep1", "all/run/ep2"]
    assert groups("robot/q", "camera/rgb") == [""]
    assert groups("a", "traj_0/b") == [""]


def test_names():
    assert role_of("action_dict/abs_pos") is Role.ACTION
    assert role_of("base_action") is Role.ACTION
    assert role_of("prev_action") is Role.OBSERVATION
    assert role_of("obs/actions") is Role.OBSERVATION
    assert role_of("success") is Role.OUTCOME
    assert is_time("obs/Timestamp")
    assert not is_time("timeouts")
    assert sorted(["demo_10", "demo_2", "a"], key=in_order) == ["a", "demo_2", "demo_10"]


@pytest.mark.data
def test_robosuite_demonstrations(data_dir: Path, read):
    """Counts, first and last values of every stream are those that h5py reads."""
    logs = find_logs(data_dir / "robosuite_demo_hdf5").logs
    assert [path.parent.name for path in logs] == ["BaxterLift", "SawyerLift", "SawyerStack"]
    for path in logs:
        with h5py.File(path) as file:
            for index, name in enumerate(["demo_1", "demo_2"]):
                found = read(path, index)
                assert found.statements["task"] == path.parent.name
                width = {key: values.shape[1] for key, values in file[f"data/{name}"].items()}
                assert set(found.specs) == {key for key, size in width.items() if size}
                skipped = {loss.stream for loss in found.losses if loss.name == "zero-width"}
                assert skipped == {key for key, size in width.items() if not size}
                for key, values in found.values.items():
                    expected = file[f"data/{name}/{key}"]
                    assert len(values) == len(expected)
                    assert values[0] == expected[0].tolist()
                    assert values[-1] == expected[-1].tolist()
    assert len(read(logs[0]).values["states"]) == 1793
