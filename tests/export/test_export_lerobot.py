"""LeRobot out: the identity on LeRobot in, and one clock for everything else."""

import json

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from builders import ACTION, STATE, png, samples, write
from viae import Store
from viae.errors import ExportError, UsageError
from viae.load.clocks import clock_fact
from viae.logs import open_log
from viae.schema import Kind, Role, Samples, StreamSpec, VideoGroup
from viae.sequence.clock import ArrivalClock
from viae.testing.making import CAMERA, write_lerobot
from viae.verbs.export import export
from viae.verbs.ingest import ingest

INFO, EPISODES = "meta/info.json", "meta/episodes/chunk-000/file-000.parquet"


def load(path):
    return json.loads(path.read_text())


def stored(tmp_path, **how):
    root = write_lerobot(tmp_path / "in", **how)
    store = Store.create(tmp_path / "store")
    ingest([root], store)
    return root, store


def packets_of(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("codec", ["mpeg4", "h264"])
def test_a_dataset_of_version_3_comes_back_as_it_was(tmp_path, folder, codec):
    root, store = stored(tmp_path, version="v3.0", codec=codec, frames=7, episodes=3)
    report = export(store, "lerobot", folder)
    assert report.losses == []
    before, after = load(root / INFO), load(folder / INFO)
    assert {k: after[k] for k in before} == before
    assert list(after["features"]) == list(before["features"])
    table = "data/chunk-000/file-000.parquet"
    was, now = pq.read_table(root / table), pq.read_table(folder / table)
    assert now.column_names == was.column_names
    assert now.to_pylist() == was.to_pylist()
    movie = f"videos/{CAMERA}/chunk-000/file-000.mp4"
    assert packets_of(folder / movie) == packets_of(root / movie)
    assert pq.read_table(folder / "meta/tasks.parquet").to_pylist() == (
        pq.read_table(root / "meta/tasks.parquet").to_pylist()
    )
    declared = pq.read_table(root / EPISODES).to_pylist()
    for line, was_line in zip(pq.read_table(folder / EPISODES).to_pylist(), declared, strict=True):
        same = {k: v for k, v in was_line.items() if not k.startswith(("data/", "meta/"))}
        assert {k: line[k] for k in same} == same


def test_a_second_time_it_is_the_same(tmp_path, folder):
    _, store = stored(tmp_path, version="v3.0")
    export(store, "lerobot", folder)
    again = Store.create(tmp_path / "again")
    ingest([folder], again)
    assert set(again.episode_ids())
    export(again, "lerobot", tmp_path / "twice")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder)
        if name.name == "viae_export.json":
            continue
        assert (tmp_path / "twice" / name).read_bytes() == path.read_bytes(), name


def test_version_2_becomes_version_3(tmp_path, folder):
    root, store = stored(tmp_path, version="v2.1", frames=6, episodes=3)
    report = export(store, "lerobot", folder)
    info = load(folder / INFO)
    assert info["codebase_version"] == "v3.0"
    assert not {"total_chunks", "total_videos"} & info.keys()
    assert (info["total_episodes"], info["total_frames"], info["fps"]) == (3, 18, 10)
    assert info["features"]["action"]["fps"] == 10  # as LeRobot's own converter writes
    rows = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    parts = [pq.read_table(path) for path in sorted(root.glob("data/*/*.parquet"))]
    for name in rows.column_names:
        assert rows[name].to_pylist() == [v for part in parts for v in part[name].to_pylist()]
    movies = [packets_of(path) for path in sorted(root.glob("videos/*/*/*.mp4"))]
    movie = folder / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    assert packets_of(movie) == [packet for part in movies for packet in part]
    assert report.losses == []


def test_episodes_that_are_left_are_numbered_anew_and_said_so(tmp_path, folder):
    _, store = stored(tmp_path, version="v3.0", episodes=4, frames=5)
    last = [e.episode_id for e in store.episodes() if e.log_range.endswith(("2", "3"))]
    report = export(store, "lerobot", folder, episodes=last)
    assert [loss.name for loss in report.losses] == ["episodes-renumbered"]
    rows = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    assert rows["episode_index"].to_pylist() == [0] * 5 + [1] * 5
    assert rows["index"].to_pylist() == list(range(10))
    said = load(folder / "meta/viae_export.json")["episodes"]
    assert [line["log_range"][-1] for line in said] == ["2", "3"]


def test_files_and_folders_stay_below_their_bounds(tmp_path, folder):
    _, store = stored(tmp_path, version="v2.1", episodes=3, frames=4)
    export(store, "lerobot", folder, chunks_size=2, data_mb=1e-6, video_mb=1e-6)
    tables = sorted(p.relative_to(folder).as_posix() for p in folder.glob("data/*/*"))
    assert tables == [f"data/chunk-00{i // 2}/file-00{i % 2}.parquet" for i in range(3)]
    movies = sorted(p.relative_to(folder / "videos").as_posix() for p in folder.rglob("*.mp4"))
    assert movies == [f"{CAMERA}/chunk-00{i // 2}/file-00{i % 2}.mp4" for i in range(3)]
    line = pq.read_table(folder / EPISODES).to_pylist()[2]
    assert (line["data/chunk_index"], line["data/file_index"]) == (1, 0)
    assert line[f"videos/{CAMERA}/from_timestamp"] == 0.0


def test_a_video_that_is_short_is_coded_anew_and_said_so(tmp_path, folder):
    _, store = stored(tmp_path, version="v2.1", frames=8, video_frames=6, codec="h264")
    report = export(store, "lerobot", folder)
    [loss] = [loss for loss in report.losses if loss.name == "picture-held"]
    assert (loss.count, loss.stream) == (4, CAMERA)
    assert len(packets_of(folder / f"videos/{CAMERA}/chunk-000/file-000.mp4")) == 16


def test_streams_at_mixed_rates_need_a_clock(mixed, folder):
    with pytest.raises(
        UsageError, match=r"no clock in common.*--clock STREAM.*--rate HZ.*'cam' 20"
    ):
        export(mixed, "lerobot", folder)
    assert not folder.exists()
    assert list(folder.parent.iterdir()) == []


def test_on_a_grid_nothing_is_from_the_future(mixed, folder):
    report = export(mixed, "lerobot", folder, rate_hz=25)
    rows = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    first = rows.slice(0, pq.read_table(folder / EPISODES)["length"][0].as_py())
    stored = mixed.samples(["e0"], ["/arm/pose", "command", "force"])
    pose, command = stored["e0", "/arm/pose"], stored["e0", "command"]
    start = max(
        s.arrival_ns[0] for s in mixed.samples(["e0"], ["/arm/pose", "cam", "force"]).values()
    )
    at = start + np.arange(len(first)) * 40_000_000
    known = np.searchsorted(pose.arrival_ns, at, side="right") - 1
    got = np.array(first["observation.arm.pose"].to_pylist())
    assert np.array_equal(got, np.asarray(pose.values)[known])
    answer = np.searchsorted(command.arrival_ns, at + 40_000_000, side="left") - 1
    assert np.array_equal(
        np.array(first["action"].to_pylist(), np.float32), np.asarray(command.values)[answer]
    )
    assert first["said"].to_pylist()[0] == ""
    assert first["said"].to_pylist()[-1] == "stop"
    names = {loss.name for loss in report.losses}
    assert {"stream-not-held", "samples-between-rows", "samples-held", "second-stamp"} <= names
    assert {loss.stream for loss in report.losses if loss.name == "stream-not-held"} == {
        "raw", "points",
    }  # fmt: skip
    assert report.names["/arm/pose"] == "observation.arm.pose"
    info = load(folder / INFO)
    assert (info["fps"], info["robot_type"]) == (25, "arm")
    assert info["features"]["observation.force"]["shape"] == [2, 2]
    assert info["features"]["observation.images.cam"]["info"]["video.codec"] == "av1"
    assert first["timestamp"].to_pylist()[:3] == pytest.approx([0, 0.04, 0.08])


def test_a_stream_as_the_clock_keeps_all_its_samples(mixed, folder):
    report = export(mixed, "lerobot", folder, clock="command", codec="images")
    rows = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    command = mixed.samples(["e0"], ["command"])["e0", "command"]
    assert np.array_equal(
        np.array(rows["action"].to_pylist()[:20], np.float32), np.asarray(command.values)
    )
    assert load(folder / INFO)["fps"] == 20
    camera = mixed.samples(["e0"], ["cam"])["e0", "cam"]
    kept = [row["bytes"] for row in rows["observation.images.cam"].to_pylist()[:20]]
    assert kept == list(camera.values)  # not coded again
    assert report.checked


def test_pictures_of_the_movie_are_those_of_the_rows(mixed, folder):
    export(mixed, "lerobot", folder, clock="cam", codec="h264", streams=["cam", "command"])
    with av.open(str(folder / "videos/observation.images.cam/chunk-000/file-000.mp4")) as movie:
        assert movie.streams.video[0].average_rate == 20
        frames = [frame.to_ndarray(format="rgb24") for frame in movie.decode(video=0)]
        assert len(frames) == 40
    for step in (0, 7, 19, 39):
        bar = np.flatnonzero(frames[step][16, :, 0] > 100)
        assert abs(bar.mean() - (step % 20 + 3.5)) < 1
    stats = load(folder / "meta/stats.json")["observation.images.cam"]
    assert stats["max"][0][0][0] == pytest.approx(200 / 255)
    assert stats["count"] == [40]


def test_videos_of_a_recording_are_moved_where_they_are_the_clock(tmp_path, folder):
    root = write_lerobot(tmp_path / "in", codec="h264", frames=9)
    made = Store.create(tmp_path / "made")
    for number, episode in enumerate(open_log(root).episodes):
        kept = [
            block
            for block in episode.read()
            if isinstance(block, Samples | VideoGroup) and block.spec.name != "next.reward"
        ]
        write(made, f"e{number}", kept, task="push", log_range=str(number))
    report = export(made, "lerobot", folder)
    movies = [packets_of(path) for path in sorted(root.glob("videos/*/*/*.mp4"))]
    movie = folder / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    assert packets_of(movie) == [packet for part in movies for packet in part]
    assert [loss.name for loss in report.losses] == []
    assert load(folder / "meta/stats.json")[CAMERA]["count"] == [18]


def test_statistics_are_those_of_the_values(mixed, folder):
    export(mixed, "lerobot", folder, clock="command", codec="images")
    rows = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    action = np.array(rows["action"].to_pylist(), np.float32)
    said = load(folder / "meta/stats.json")["action"]
    assert said["min"] == action.min(axis=0).tolist()
    assert said["mean"] == pytest.approx(action.astype(float).mean(axis=0).tolist())
    assert said["std"] == pytest.approx(action.astype(float).std(axis=0).tolist())
    assert said["count"] == [40]
    line = pq.read_table(folder / EPISODES).to_pylist()[0]
    assert line["stats/action/q50"] == pytest.approx(
        np.quantile(action[:20].astype(float), 0.5, axis=0).tolist()
    )


def test_names_that_collide_are_numbered_and_recorded(tmp_path, folder):
    store = Store.create(tmp_path / "store")
    specs = [StreamSpec(name=name) for name in ("/a/b", "a.b", "A.B", "timestamp", "x")]
    write(store, "e", [samples(spec, range(4), range(0, 400, 100)) for spec in specs])
    report = export(store, "lerobot", folder)
    assert report.names == {
        "/a/b": "observation.a.b", "A.B": "observation.A.B_2", "a.b": "observation.a.b_3",
        "timestamp": "observation.timestamp", "x": "observation.x",
    }  # fmt: skip
    assert [loss.name for loss in report.losses].count("name-collides") == 2
    said = load(folder / "meta/viae_export.json")["streams"]
    assert said["observation.a.b"]["name"] == "/a/b"


def test_episodes_that_differ_are_refused(tmp_path, folder):
    store = Store.create(tmp_path / "store")
    write(store, "a", [samples(STATE, [[0, 1]] * 3), samples(ACTION, [[0, 1]] * 3)], log_range="1")
    write(store, "b", [samples(STATE, [[0, 1]] * 3)], log_range="2")
    with pytest.raises(UsageError, match=r"made 2 has no stream 'action'.*--stream.*--episode"):
        export(store, "lerobot", folder)
    export(store, "lerobot", folder, streams=["observation.state"], fps=10)
    wide = StreamSpec(name="observation.state", shape=(3,))
    write(store, "c", [samples(wide, [[0, 1, 2]] * 3)], log_range="3")
    with pytest.raises(UsageError, match="has one shape"):
        export(store, "lerobot", folder.with_name("b"), streams=["observation.state"])


def test_pictures_of_odd_size_ask_for_images(tmp_path, folder):
    odd = StreamSpec(name="cam", kind=Kind.IMAGE, dtype="uint8", shape=(5, 7, 3), encoding="png")
    store = Store.create(tmp_path / "store")
    coded = [png(np.full((5, 7, 3), i, np.uint8)) for i in range(3)]
    write(store, "e", [samples(odd, coded, range(0, 300, 100))])
    with pytest.raises(UsageError, match=r"7x5 pixels.*--codec images"):
        export(store, "lerobot", folder)
    export(store, "lerobot", folder, codec="images")


def test_what_reads_back_otherwise_leaves_nothing(mixed, folder, monkeypatch):
    from viae.export.lerobot import readback

    monkeypatch.setattr(readback.Digest, "said", property(lambda self: (self.count, str(id(self)))))
    with pytest.raises(ExportError, match="reads back otherwise"):
        export(mixed, "lerobot", folder, rate_hz=10, streams=["command"])
    assert list(folder.parent.iterdir()) == []


@pytest.mark.data
def test_real_dataset_of_version_2(data_dir, tmp_path, folder):
    store = Store.create(tmp_path / "store")
    ingest([data_dir / "g1_inspire_lerobot_v21"], store)
    report = export(store, "lerobot", folder)
    assert report.rows == 1787
    assert [loss.name for loss in report.losses] == ["episodes-renumbered"]
    source = sorted((data_dir / "g1_inspire_lerobot_v21").glob("videos/*/*/*.mp4"))
    movie = folder / "videos/observation.images.cam_high/chunk-000/file-000.mp4"
    assert packets_of(movie) == [packet for path in source for packet in packets_of(path)]


@pytest.mark.data
def test_real_dataset_without_its_videos(data_dir, tmp_path, folder):
    root = data_dir / "rerun_lerobot_v30_apple_storage"
    store = Store.create(tmp_path / "store")
    ingest([root / "meta" / ".."], store)
    report = export(store, "lerobot", folder)
    assert "feature-missing" in {loss.name for loss in report.losses}
    was = pq.read_table(root / "data/chunk-000/file-000.parquet")
    now = pq.read_table(folder / "data/chunk-000/file-000.parquet")
    for name in ("observation.state", "action", "timestamp", "frame_index", "task_index"):
        assert now[name].to_pylist() == was[name].to_pylist()


def test_rows_follow_corrected_clocks(tmp_path, folder):
    """The same readings, one store with good stamps and one with stamps of 0 and a fact."""
    at = 1_700_000_000_000_000_000 + np.arange(60) * 20_000_000
    values = np.arange(60.0)[:, None]
    state = StreamSpec(name="observation.state", shape=(1,))
    action = StreamSpec(name="action", shape=(1,), role=Role.ACTION)
    rows = {}
    for name, stamps in (("good", at), ("zero", 0 * at)):
        store = Store.create(tmp_path / name)
        write(store, "e0", [samples(state, values, at, stamps), samples(action, values, at)])
        if name == "zero":
            fact = clock_fact("e0", state.name, ArrivalClock(), author="me", time_ns=5)
            store.add_facts([fact])
        report = export(store, "lerobot", folder / name)  # they share a clock: no rate is needed
        assert ("clock-corrected" in {loss.name for loss in report.losses}) == (name == "zero")
        [data] = (folder / name).rglob("data/**/*.parquet")
        rows[name] = pq.read_table(data).to_pydict()
    assert rows["zero"] == rows["good"]
