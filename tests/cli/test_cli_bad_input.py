"""Input that is odd rather than damaged: handled or refused with one clear sentence, never a crash.

Nothing is lost: what is readable beside it is in the store, and counted.
"""

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcap.writer import Writer

from viae import Recorder, Store, StreamSpec
from viae.testing import write_lerobot

S = 1_000_000_000
START_NS = 1_760_000_000 * S
POSE = {"type": "object", "properties": {"x": {"type": "number"}}}
JOINTS = StreamSpec(name="joints", shape=(2,))


def recording(path: Path, *, samples: int = 20) -> Path:
    with Recorder(path, streams=[JOINTS], task="wave") as recorder:
        for i in range(samples):
            recorder.write("joints", [i, -i], capture_ns=i, arrival_ns=i)
    return path


Message = tuple[str, int, dict[str, Any]]


def json_mcap(path: Path, messages: Iterator[Message] | list[Message]) -> Path:
    """Messages in this order: topic, log time, ns, and what the JSON says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        channels: dict[tuple[str, str], int] = {}
        for topic, at_ns, said in messages:
            schema = json.dumps(
                {"type": "object", "properties": {k: _type(v) for k, v in said.items()}}
            )
            if (topic, schema) not in channels:
                number = writer.register_schema("pose", "jsonschema", schema.encode())
                channels[topic, schema] = writer.register_channel(topic, "json", number)
            writer.add_message(channels[topic, schema], at_ns, json.dumps(said).encode(), at_ns)
        writer.finish()
    return path


def _type(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"type": "object", "properties": {k: _type(v) for k, v in value.items()}}
    return {"type": "string" if isinstance(value, str) else "number"}


@pytest.fixture
def ingest(viae, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any], Store]]:
    """Ingest; gives the exit code, the report, and the store."""

    def call(path: object) -> tuple[int, dict[str, Any], Store]:
        store = tmp_path / "store"
        said = viae("ingest", path, "--store", store, "--json")
        return said.code, json.loads(said.out), Store.open(store)

    return call


@pytest.fixture
def found(viae) -> Callable[..., tuple[int, list[dict[str, Any]]]]:
    """Ask the doctor; gives the exit code and the findings."""

    def call(path: object) -> tuple[int, list[dict[str, Any]]]:
        said = viae("doctor", path, "--json")
        report = json.loads(said.out)
        return said.code, [f for log in report["logs"] for f in log["findings"]]

    return call


def details(report: dict[str, Any]) -> list[str]:
    return [loss["detail"] for log in report["logs"] for loss in log["losses"]]


def counts(store: Store) -> dict[str, int]:
    """Samples by stream, over all episodes."""
    total: dict[str, int] = {}
    for row in store.streams():
        total[row["stream"]] = total.get(row["stream"], 0) + row["samples"]
    return total


# -- what is no file ------------------------------------------------------------------------------


def test_a_pipe_is_not_waited_for(viae, ingest, found, tmp_path: Path):
    folder = tmp_path / "logs"
    recording(folder / "good.mcap")
    for name in ("pipe.mcap", "pipe.bag", "pipe.csv", "pipe.hdf5", "metadata.yaml", "pipe"):
        os.mkfifo(folder / name)
    code, report, store = ingest(folder)
    assert (code, counts(store)) == (0, {"joints": 20})
    assert len(report["skipped_files"]) == 6
    assert found(folder)[0] == 0
    code, report, _ = ingest(folder / "pipe.mcap")
    assert code == 1
    assert details(report) == [
        f"{folder / 'pipe.mcap'}: a pipe, a socket or a device; expected a file or a folder. Save "
        "what comes out of it to a file, and give that"
    ]


def test_a_device(ingest):
    code, report, _ = ingest("/dev/zero")
    assert code == 1
    assert details(report)[0].startswith("/dev/zero: a pipe, a socket or a device")


def test_links_in_a_circle(viae, ingest, tmp_path: Path):
    folder = tmp_path / "logs"
    recording(folder / "good.mcap")
    (folder / "self").symlink_to(folder)
    (folder / "below").mkdir()
    (folder / "below" / "above").symlink_to("..")
    (folder / "gone.mcap").symlink_to("nowhere.mcap")
    code, report, store = ingest(folder)
    assert (code, counts(store)) == (0, {"joints": 20})
    assert report["skipped_files"] == [str(folder / "gone.mcap")]
    said = viae("ingest", folder / "gone.mcap", "--store", tmp_path / "other")
    assert said.code == 2
    assert said.err == (
        f"error {folder / 'gone.mcap'}: a link to 'nowhere.mcap', which leads nowhere. "
        "Check the link\n"
    )
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    said = viae("doctor", tmp_path / "a")
    assert said.code == 2
    assert "a link to 'b', which leads nowhere" in said.err


def test_a_folder_named_as_a_file_and_an_empty_one(viae, found, tmp_path: Path):
    for path in (tmp_path / "x.mcap", tmp_path / "empty"):
        path.mkdir()
        said = viae("ingest", path, "--store", tmp_path / "store")
        assert said.code == 0
        assert f"no log is in {path}" in said.out
        code, [finding] = found(path)
        assert (code, finding["name"]) == (4, "unreadable")
        assert finding["evidence"] == "no log is here, nor any other file"


def test_thousands_of_other_files(ingest, tmp_path: Path):
    folder = tmp_path / "notes"
    recording(folder / "good.mcap")
    for number in range(5000):
        (folder / f"{number}.txt").touch()
    code, report, store = ingest(folder)
    assert (code, len(report["skipped_files"])) == (0, 5000)
    assert counts(store) == {"joints": 20}


def test_an_archive_of_logs(ingest, tmp_path: Path):
    log = recording(tmp_path / "good.mcap")
    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(log, "good.mcap")
    code, report, _ = ingest(path)
    assert code == 1
    [detail] = details(report)
    assert detail.startswith(
        f"{path}: a file packed by zip; expected one of the formats viae reads"
    )
    assert detail.endswith("). Unpack it, and give what was in it")


def test_a_table_without_a_description(ingest, tmp_path: Path):
    path = tmp_path / "run.csv"
    path.write_text("t,x\n0,1\n")
    code, report, _ = ingest(path)
    assert code == 1
    assert details(report)[0].endswith(
        "A table becomes a log by a *.viae.yaml beside it, which says what its columns are"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_files_that_may_not_be_read(ingest, tmp_path: Path):
    folder = tmp_path / "logs"
    recording(folder / "good.mcap")
    recording(folder / "closed.mcap").chmod(0)
    recording(folder / "below" / "x.mcap")
    (folder / "below").chmod(0)
    try:
        code, report, store = ingest(folder)
    finally:
        (folder / "below").chmod(0o755)
    assert (code, counts(store)) == (1, {"joints": 20})
    assert report["skipped_files"] == [str(folder / "below")]
    assert "Permission denied" in details(report)[0]


# -- names ----------------------------------------------------------------------------------------

NAMES = (
    b"a b 'q' \"d\" \xc3\xbcn\xc3\xaf.mcap",
    b"new\nline.mcap",
    b"[bold]x.mcap",
    b"caf\xe9.mcap",
    b"-rf.mcap",
)


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_names_of_files(viae, found, tmp_path: Path, name: bytes):
    folder = tmp_path / "logs"
    made = recording(folder / "made")
    path = folder / os.fsdecode(name)
    made.rename(path)
    store = tmp_path / "store"
    said = viae("ingest", path, "--store", store, "--json")
    assert said.code == 0
    [episode] = Store.open(store).episodes()
    assert Path(episode.log_uri).name == name.decode("utf-8", "backslashreplace")
    assert found(path) == (0, [])
    for words in (
        ("ingest", folder, "--store", store), ("ls", "--store", store), ("doctor", folder),
        ("show", episode.episode_id, "--store", store), ("ingest", path, "--explain"),
    ):  # fmt: skip
        said = viae(*words)
        assert said.code == 0
        (said.out + said.err).encode()  # all of it is text
    said = viae("doctor", path, "--html", tmp_path / "page.html")
    assert said.code == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_name_that_is_no_text_is_refused_in_text(viae, tmp_path: Path):
    path = tmp_path / os.fsdecode(b"caf\xe9.mcap")
    path.write_text("hello, robot")
    said = viae("ingest", path, "--store", tmp_path / "store", "--json")
    assert said.code == 1
    [loss] = json.loads(said.out)["logs"][0]["losses"]
    assert loss["path"].endswith("caf\\xe9.mcap")
    assert "caf\\xe9.mcap: begins with b'hello, r'" in loss["detail"]


# -- times ----------------------------------------------------------------------------------------


def poses(topic: str, start_ns: int, count: int, *, hz: int = 50, seed: int = 0) -> list[Message]:
    """Messages on a timer with jitter."""
    rng = np.random.default_rng([seed, count])
    at = start_ns + np.arange(count) * (S // hz) + rng.integers(0, S // hz // 10, count)
    x = np.cumsum(rng.normal(size=count))
    return [(topic, int(t), {"x": float(v)}) for t, v in zip(at, x, strict=True)]


def test_two_recordings_in_one_file(ingest, found, tmp_path: Path):
    both = [
        message
        for number in range(2)
        for message in sorted(
            poses("/a", START_NS, 300, seed=number) + poses("/b", START_NS, 200, seed=number + 9),
            key=lambda message: message[1],
        )
    ]
    path = json_mcap(tmp_path / "two.mcap", both)
    code, _, store = ingest(path)
    assert code == 0
    assert len(store.episodes()) == 2
    assert counts(store) == {"/a": 600, "/b": 400}
    code, findings = found(path)
    assert "time-restarts" in {finding["name"] for finding in findings}


def test_time_restarts_on_one_topic_only(ingest, found, tmp_path: Path):
    other = poses("/b", START_NS, 1000)
    odd = poses("/a", START_NS, 500) + poses("/a", START_NS, 500, seed=3)
    mixed = [message for pair in zip(odd, other, strict=True) for message in pair]
    path = json_mcap(tmp_path / "odd.mcap", mixed)
    code, _, store = ingest(path)
    assert code == 0
    assert len(store.episodes()) == 1
    assert counts(store) == {"/a": 1000, "/b": 1000}
    assert "time-restarts" in {finding["name"] for finding in found(path)[1]}


def test_two_clocks_in_one_field(ingest, found, tmp_path: Path):
    def stamped(at_ns: int, x: float, *, behind_ns: int) -> dict[str, Any]:
        ns = at_ns - behind_ns
        return {"header": {"stamp": {"sec": ns // S, "nanosec": ns % S}}, "x": x}

    messages = [
        (topic, at_ns, stamped(at_ns, said["x"], behind_ns=1_000_000 + (i % 2) * 40 * S))
        for i, (topic, at_ns, said) in enumerate(poses("/a", START_NS, 400))
    ]
    path = json_mcap(tmp_path / "two clocks.mcap", messages)
    code, _, store = ingest(path)
    assert code == 0
    assert set(counts(store).values()) == {400}
    code, findings = found(path)
    assert code == 4
    assert "mixed-clocks" in {finding["name"] for finding in findings}


# -- schemas --------------------------------------------------------------------------------------


def test_a_topic_that_changes_its_schema(ingest, found, tmp_path: Path):
    before = poses("/a", START_NS, 60)
    after = [
        (topic, at_ns, {"x": said["x"], "y": 1.0})
        for topic, at_ns, said in poses("/a", START_NS + 2 * S, 40)
    ]
    path = json_mcap(tmp_path / "changes.mcap", before + after)
    code, _, store = ingest(path)
    assert code == 0
    assert len(store.episodes()) == 1
    assert sum(counts(store).values()) == 100  # each once, in a stream of its own form
    assert len(counts(store)) == 2
    assert found(path)[0] != 1


def test_a_dataset_whose_table_changes_its_type(ingest, found, tmp_path: Path):
    dataset = write_lerobot(tmp_path / "dataset")
    table = dataset / "data/chunk-000/episode_000001.parquet"
    rows = pq.read_table(table)
    at = rows.schema.get_field_index("action")
    texts = pa.array([str(each) for each in rows["action"].to_pylist()])
    pq.write_table(rows.set_column(at, "action", texts), table)
    code, report, store = ingest(dataset)
    assert code == 1
    [detail] = details(report)
    assert "stream 'action'" in detail
    assert [episode.log_range for episode in store.episodes()] == ["episode_000000"]
    code, findings = found(dataset)
    assert code == 4
    assert "unreadable" in {finding["name"] for finding in findings}


def test_topics_that_give_one_name(ingest, tmp_path: Path):
    """``/a`` has a field ``b.x``; another topic is called ``/a.b``."""
    nested = [(t, at, {"b": said, "c": {"x": 1.0}}) for t, at, said in poses("/a", START_NS, 30)]
    messages = nested + poses("/a.b", START_NS + S, 20)
    code, report, store = ingest(json_mcap(tmp_path / "names.mcap", messages))
    assert code == 0
    names = [row["stream"] for row in store.streams()]
    assert len(set(names)) == len(names)
    by_topic: dict[str, set[int]] = {}
    for stream in report["logs"][0]["streams"]:
        by_topic.setdefault(stream["topic"], set()).add(stream["samples"])
    assert by_topic == {"/a": {30}, "/a.b": {20}}


# -- files that change, and splits ----------------------------------------------------------------


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, ingest):
    """What a recorder has flushed so far is a log cut short: kept, and said to be."""
    path = tmp_path / "growing.mcap"
    whole = json_mcap(tmp_path / "whole.mcap", poses("/a", START_NS, 60_000)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    from viae.logs import open_log
    from viae.schema import Loss, Samples

    [episode] = open_log(path).episodes
    episode.fingerprint()
    items = episode.read()
    first = next(items)
    with path.open("ab") as file:
        file.write(whole[len(whole) // 2 :])
    rest = [first, *items]
    read = sum(len(item) for item in rest if isinstance(item, Samples))
    assert read == 60_000 or any(isinstance(item, Loss) for item in rest)
    code, _, store = ingest(path)  # again, when it is whole
    assert (code, counts(store)) == (0, {"/a": 60_000})


def test_a_split_of_no_bytes(ingest, found, tmp_path: Path):
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    kind = "std_msgs/msg/Float64"
    bag = tmp_path / "bag"
    with rosbag2.Writer(bag, version=9) as writer:
        topic = writer.add_connection("/x", kind, typestore=types)
        for i in range(30):
            said = types.serialize_cdr(types.types[kind](data=float(i)), kind)
            writer.write(topic, START_NS + i * S, said)
    metadata = bag / "metadata.yaml"
    text = metadata.read_text()
    assert "- bag.db3" in text
    metadata.write_text(text.replace("- bag.db3", "- bag.db3\n  - bag_1.db3", 1))
    (bag / "bag_1.db3").touch()
    code, report, store = ingest(bag)
    assert (code, counts(store)) == (1, {"/x": 30})
    [loss] = report["logs"][0]["losses"]
    assert (loss["name"], Path(loss["path"]).name) == ("split-empty", "bag_1.db3")
    assert loss["detail"] == (
        "the file holds no bytes; the others are kept. "
        "Copy the bag again if the original still exists"
    )
    assert found(bag)[0] == 4


# -- names that come to one on the way out --------------------------------------------------------


@pytest.mark.parametrize("to", ["lerobot", "parquet"])
def test_names_that_collide_when_exported(viae, ingest, tmp_path: Path, to: str):
    path = tmp_path / "names.mcap"
    streams = [StreamSpec(name=name, shape=(1,)) for name in ("/a/b", "a.b", "A.b")]
    with Recorder(path, streams=streams, task="wave") as recorder:
        for i in range(20):
            for number, stream in enumerate(streams):
                at_ns = START_NS + i * (S // 10)
                recorder.write(stream.name, [i + number], capture_ns=at_ns, arrival_ns=at_ns)
    code, _, store = ingest(path)
    assert (code, counts(store)) == (0, {"/a/b": 20, "a.b": 20, "A.b": 20})
    clock = ("--clock", "a.b") if to == "lerobot" else ()
    said = viae("export", tmp_path / "out", "--to", to, "--store", store.uri, "--json", *clock)
    assert said.code == 0
    report = json.loads(said.out)
    assert len({name.lower() for name in report["names"].values()}) == 3
    collided = [loss for loss in report["losses"] if loss["name"] == "name-collides"]
    assert len(collided) == 2
