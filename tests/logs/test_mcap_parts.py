"""Time that starts again inside an MCAP file, and files with anything but messages."""

import base64
from pathlib import Path

import pytest
from mcap.writer import CompressionType, IndexType, Writer

from viae.logs import open_log
from viae.logs.mcap.survey import survey
from viae.schema import LossKind
from viae.store import Store
from viae.verbs.ingest import ingest

S = 10**9
EPISODES = 3


def write(path: Path, messages, *, metadata=(), attachments=(), **options) -> Path:
    """Messages (topic, log time in s); a channel for each topic."""
    with path.open("wb") as file:
        writer = Writer(file, **options)
        writer.start()
        channels: dict[str, int] = {}
        for name, values in metadata:
            writer.add_metadata(name, values)
        for name, data in attachments:
            writer.add_attachment(1, 2, name, "text/plain", data)
        for i, (topic, at_s) in enumerate(messages):
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, "json", 0)
            at_ns = round(at_s * S)
            writer.add_message(channels[topic], at_ns, b'{"x": %d}' % i, at_ns)
        writer.finish()
    return path


def three_episodes():
    """Two topics at 10 and 5 Hz for 10 s, three times from zero; and one message on a third."""
    yield "map", 0.0
    for _ in range(EPISODES):
        for tick in range(100):
            yield "a", tick / 10
            if tick % 2 == 0:
                yield "b", tick / 10


LAYOUTS = {
    "indexed": {"chunk_size": 1500},
    "one chunk": {},
    "no index": {"chunk_size": 1500, "index_types": IndexType.NONE},
    "flat": {"use_chunking": False},
    "flat, bare": {"use_chunking": False, "use_statistics": False, "use_summary_offsets": False},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_restart_is_an_episode(tmp_path, read, layout):
    path = write(
        tmp_path / "log.mcap", three_episodes(), metadata=[("m", {"k": "v"})], **LAYOUTS[layout]
    )
    log = open_log(path)
    assert [episode.range for episode in log.episodes] == ["part 1", "part 2", "part 3"]
    assert len({episode.fingerprint() for episode in log.episodes}) == EPISODES
    values = []
    for number in range(EPISODES):
        part = read(path, number)
        assert part.losses == []
        assert part.statements == {"mcap.metadata.m": {"k": "v"}}
        assert part.arrival["a"] == [tick * S // 10 for tick in range(100)]
        assert len(part.arrival["b"]) == 50
        assert ("map" in part.specs) == (number == 0)
        values += [value for name in ("map", "a", "b") for [value] in part.values.get(name, [])]
    assert sorted(values) == [float(i) for i in range(1 + EPISODES * 150)]


def test_a_new_channel_for_every_episode(tmp_path):
    path = tmp_path / "log.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        for _ in range(EPISODES):
            channel = writer.register_channel("a", "json", 0)
            for tick in range(20):
                writer.add_message(channel, tick * S, b"1", 0)
        writer.finish()
    assert survey(path).count == EPISODES


def test_topics_one_after_another_are_one_episode(tmp_path):
    times = [(topic, tick / 10) for topic in "abc" for tick in range(100)]
    assert survey(write(tmp_path / "log.mcap", times, chunk_size=1000)).count == 1


@pytest.mark.parametrize(
    "strange",
    [
        [5000.0],  # one message from the future
        [0.0],  # one from the past
        [49.5, 49.2, 49.0],  # late ones, by less than a second
        [30.0, 31.0],  # late ones, by more, and yet not from the beginning
    ],
)
def test_what_is_no_restart(tmp_path, strange):
    times = [float(t) for t in range(51)] + strange + [float(t) for t in range(51, 60)]
    parts = survey(write(tmp_path / "log.mcap", [("a", t) for t in times]))
    assert (parts.count, parts.losses) == (1, ())


def test_topics_that_restart_unlike_each_other(tmp_path, read):
    times = [("a", t) for t in (*range(20), *range(20))] + [("b", t) for t in range(40)]
    log = read(write(tmp_path / "log.mcap", times))
    loss = log.loss("time-restarts")
    assert (loss.kind, loss.count) == (LossKind.REPAIRED, 1)
    assert "not in all topics alike ('a' 1, 'b' 0; of 2 topics)" in loss.detail
    assert len(log.values["a"]) == len(log.values["b"]) == 40


def test_a_file_of_metadata_and_attachments_is_an_episode(tmp_path, read):
    big = bytes(range(256)) * 300
    path = write(
        tmp_path / "log.mcap",
        [],
        metadata=[("m", {"k": "1"}), ("m", {"k": "2"})],
        attachments=[("a", b"one"), ("a", b"two"), ("big", big)],
    )
    log = read(path)
    [loss] = log.losses
    assert (loss.kind, loss.name, loss.count) == (LossKind.SKIPPED, "no-messages", 0)
    said = log.statements
    assert said["mcap.metadata.m"] == {"k": "1"}
    assert said["mcap.metadata.m#2"] == {"k": "2"}
    names = ("mcap.attachment.a", "mcap.attachment.a#2")
    assert [base64.b64decode(said[name]["base64"]) for name in names] == [b"one", b"two"]
    assert said["mcap.attachment.big"]["size"] == len(big)
    assert "base64" not in said["mcap.attachment.big"]


def test_an_episode_without_samples_can_be_stored(tmp_path):
    path = write(tmp_path / "log.mcap", [], metadata=[("calibration", {"fx": "500"})])
    store = Store.create(tmp_path / "store")
    report = ingest([path], store)
    assert report.ingested == 1
    [episode] = store.episodes()
    assert (episode.start_ns, episode.end_ns) == (0, 0)
    [fact] = [f for f in store.facts() if f.key == "mcap.metadata.calibration"]
    assert fact.value == {"fx": "500"}


def test_what_the_recorder_dropped_is_a_loss(tmp_path, read):
    metadata = [("viae.dropped", {"q": "3", "say": "0"}), ("viae.dropped", {"q": "7", "say": "0"})]
    log = read(write(tmp_path / "log.mcap", [("q", 1.0)], metadata=metadata))
    loss = log.loss("dropped-by-recorder")
    assert (loss.kind, loss.stream, loss.count) == (LossKind.LOST, "q", 7)


def test_a_schema_that_changes_midway(tmp_path, read):
    """Under a new id or the old one: another topic of the same name."""
    path = tmp_path / "log.mcap"
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start()
        for n, kind in enumerate(("number", "string")):
            schema = b'{"type": "object", "properties": {"v": {"type": "%s"}}}' % kind.encode()
            id_ = writer.register_schema("s", "jsonschema", schema)
            channel = writer.register_channel("t", "json", id_)
            data = (b'{"v": 1}', b'{"v": "a"}')[n]
            for tick in range(2):
                writer.add_message(channel, 2 * n + tick, data, 0)
        writer.finish()
    log = read(path)
    assert log.losses == []
    assert log.values == {"t": [[1.0], [1.0]], "t#2": ["a", "a"]}
    assert log.arrival == {"t": [0, 1], "t#2": [2, 3]}


def test_channels_of_equal_topic_and_type_are_one_topic(tmp_path, read):
    path = tmp_path / "log.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        channels = [writer.register_channel("t", "json", 0, {"robot": str(n)}) for n in range(2)]
        for tick in range(6):
            writer.add_message(channels[tick % 2], tick, b'{"x": %d}' % tick, 0)
        writer.finish()
    log = read(path)
    assert log.values == {"t": [[float(tick)] for tick in range(6)]}
    assert log.seq == {"t": list(range(6))}
