"""Ingest with pictures coded anew: another episode, and an account of it in facts and losses."""

import json

import numpy as np
import pytest
from foxglove.messages import CompressedImage, RawImage, Timestamp, Vector3
from mcap.writer import Writer

from builders import CAMERA, png
from viae import Recorder, Store
from viae.schema import LossKind
from viae.verbs.ingest import ingest
from viae.video import decode_pictures
from viae.video.encode import FastVideo
from viae.video.recoding import Recoding

FAST = Recoding(video="fast", images="video")


def pixels(step):
    made = np.full((16, 24, 3), 40, np.uint8)
    made[:, step : step + 5] = (220, 120, 20)
    return made


def recording(path, *, steps=9, broken=None):
    """Raw, coded and depth images and a pose, as Foxglove's messages."""
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        channels = {}
        for topic, kind in (
            ("/wind", Vector3), ("/raw", RawImage), ("/depth", RawImage),
            ("/still", CompressedImage),
        ):  # fmt: skip
            schema = kind.get_schema()
            number = writer.register_schema(schema.name, schema.encoding, schema.data)
            channels[topic] = writer.register_channel(topic, "protobuf", number)
        for i in range(steps):
            coded = png(pixels(i))
            depth = np.full((4, 6), i, np.uint16)
            for topic, message in (
                ("/wind", Vector3(x=i, y=0, z=0)),
                ("/raw", raw("rgb8", i, pixels(i))),
                ("/depth", raw("mono16", i, depth)),
                ("/still", CompressedImage(
                    timestamp=Timestamp(1, i), format="png",
                    data=coded[:50] if i == broken else coded,
                )),
            ):  # fmt: skip
                log_ns = 10**9 + 100 * i + 7
                writer.add_message(channels[topic], log_ns, message.encode(), log_ns)
        writer.finish()
    return path


def raw(encoding, i, values):
    height, width = values.shape[:2]
    return RawImage(
        timestamp=Timestamp(1, i), width=width, height=height, encoding=encoding,
        step=values[0].nbytes, data=values.tobytes(),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store")


def store_names(store, episode):
    return [row["stream"] for row in store.streams([episode.episode_id]) if row["kind"] == "video"]


def kinds(store, episode):
    return {
        row["stream"]: (str(row["spec"].kind), row["spec"].encoding, row["samples"])
        for row in store.streams([episode])
        if not row["stream"].endswith(".frame_id")
    }


def test_images_become_video_and_the_rest_stays(store, tmp_path):
    path = recording(tmp_path / "a.mcap")
    report = ingest([path], store, recoding=FAST)
    [episode] = store.episodes()
    assert kinds(store, episode.episode_id) == {
        "/wind": ("vector", "", 9), "/depth": ("image", "mono16", 9),
        "/raw": ("video", "h264", 9), "/still": ("video", "h264", 9),
    }  # fmt: skip
    for name in ("/raw", "/still"):
        [groups] = store.video([episode.episode_id], [name]).values()
        assert [len(group) for group in groups] == [2, 2, 2, 2, 1]
        for field, start, each in (
            ("arrival_ns", 10**9 + 7, 100),
            ("capture_ns", 10**9, 1),
            ("seq", 0, 1),
        ):
            found = np.concatenate([getattr(group, field) for group in groups])
            assert found.tolist() == [start + each * i for i in range(9)]
        read = decode_pictures(groups, None).transpose(0, 2, 3, 1)
        assert np.abs(read - np.array([pixels(i) for i in range(9)], int)).mean() < 6
    facts = {f.key: f.value for f in store.facts() if f.author == "viae ingest"}
    assert facts["video.recoded./raw"]["was"] == {"kind": "image", "encoding": "rgb8"}
    assert facts["video.recoded./raw"]["bytes_before"] == 9 * 16 * 24 * 3
    assert facts["video.recoded./raw"]["pictures"] == 9
    assert "uint16" in facts["video.kept./depth"]["kept"]
    said = {f.key: f.value for f in store.facts()}
    assert said["viae.pictures"] == FAST.to_json()
    assert {a.spec.name for a in report.recoded()} == {"/raw", "/still", "/depth"}
    assert report.complete and not report.losses


def test_the_same_log_coded_otherwise_is_another_episode(store, tmp_path):
    path = recording(tmp_path / "a.mcap", steps=3)
    choices = (
        None, FAST, Recoding(images="video"), Recoding(images="video", coding=FastVideo(crf=30)),
    )  # fmt: skip
    for count, recoding in enumerate(choices, 1):
        assert ingest([path], store, recoding=recoding).ingested == 1
        assert ingest([path], store, recoding=recoding).known == 1
        assert len(store.episodes()) == count
    assert ingest([path], store, recoding=Recoding()).known == 1  # asks for nothing


def test_one_bad_picture_keeps_the_stream_as_it_was(store, tmp_path):
    path = recording(tmp_path / "a.mcap", broken=6)
    report = ingest([path], store, recoding=FAST)
    [episode] = store.episodes()
    found = kinds(store, episode.episode_id)
    assert (found["/raw"], found["/still"]) == (("video", "h264", 9), ("image", "png", 9))
    [still] = store.samples([episode.episode_id], ["/still"]).values()
    assert bytes(still.values[6]) == png(pixels(6))[:50]
    [wind] = store.samples([episode.episode_id], ["/wind"]).values()
    assert len(wind) == 9  # the attempt that was broken off is not seen
    [loss] = report.losses
    assert (loss.kind, loss.name, loss.stream, loss.at_ns) == (
        LossKind.REPAIRED, "not-recoded", "/still", 10**9 + 607,
    )  # fmt: skip
    assert "kept as it was recorded" in loss.detail
    facts = {f.key for f in store.facts()}
    assert "video.kept./still" in facts and "video.recoded./raw" in facts
    assert ingest([path], store, recoding=FAST).known == 1


def test_a_recording_of_our_own(store, tmp_path):
    with Recorder(tmp_path / "a.mcap", streams=[CAMERA]) as recorder:
        for i in range(5):
            coded = png(np.full((8, 12, 3), 20 * i, np.uint8))
            recorder.write("camera", coded, capture_ns=i, arrival_ns=i + 1)
        recorder.finish(True)
    ingest([tmp_path / "a.mcap"], store, recoding=FAST)
    [episode] = store.episodes()
    [groups] = store.video([episode.episode_id], ["camera"]).values()
    read = decode_pictures(groups, None)
    assert np.abs(read.mean(axis=(1, 2, 3)) - 20 * np.arange(5)).max() < 3


def test_real_video_coded_anew(store, tmp_path, data_dir):
    source = next((data_dir / "g1_inspire_lerobot_v21").glob("videos/*/*/episode_000010.mp4"))
    ingest([source], store)
    report = ingest([source], store, recoding=Recoding(video="fast", coding=FastVideo(crf=30)))
    assert report.ingested == 1
    one, other = (
        [g for each in store.video([e.episode_id], store_names(store, e)).values() for g in each]
        for e in store.episodes()
    )
    for field in ("capture_ns", "arrival_ns", "seq"):
        kept, coded = (np.concatenate([getattr(g, field) for g in gs]) for gs in (one, other))
        assert (kept == coded).all()
    assert {len(g) for g in max(one, other, key=len)} <= {1, 2}


def test_the_command(viae, tmp_path):
    path = recording(tmp_path / "a.mcap", steps=4)
    said = viae("ingest", path, "--store", tmp_path / "s", "--images", "video", "--group", 3)
    assert said.code == 0
    assert "4 pictures in 2 groups" in said.out and "kept: " in said.out
    said = viae(
        "ingest", path, "--store", tmp_path / "s", "--images", "video", "--crf", 30, "--json"
    )
    [log] = json.loads(said.out)["logs"]
    assert {each["stream"] for each in log["recoded"]} == {"/raw", "/still", "/depth"}


def test_options_that_nothing_asks_for(viae, tmp_path):
    path = recording(tmp_path / "a.mcap", steps=2)
    for words in (
        ("--group", 3), ("--crf", 20), ("--video", "slow"), ("--video", "fast", "--crf", 60),
        ("--video", "fast", "--group", 0), ("--images", "video", "--explain"),
    ):  # fmt: skip
        assert viae("ingest", path, "--store", tmp_path / "s", *words).code == 2
