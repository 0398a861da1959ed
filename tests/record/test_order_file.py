"""A file in causal order: the same messages, however few of them fit in memory."""

import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from viae.errors import DamagedLogError, LogError, RecorderError, UsageError
from viae.logs.mcap.records import Reader
from viae.logs.mcap.run import MessageRun
from viae.record import Recorder, chunkfile
from viae.record import order as order_module
from viae.schema import Role, StreamSpec
from viae.sequence import causal_order
from viae.verbs.order import order

ROLES = [*Role]


def write(path, channels, messages, *, chunk_size=500, compression=CompressionType.ZSTD, **more):
    """A file.

    Args:
        channels: (topic, role) each.
        messages: (channel, log time, sequence, padding) each.
    """
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=chunk_size, compression=compression, **more)
        writer.start("my-profile", "my-library")
        schema = writer.register_schema("S", "jsonschema", b"{}")
        numbers = []
        for topic, role in channels:
            spec = StreamSpec(name=topic, role=role).to_json()
            numbers.append(
                writer.register_channel(
                    topic, "json", schema, {"viae.stream": json.dumps(spec)} if role else {}
                )
            )
        writer.add_metadata("notes", {"key": "value"})
        for i, (channel, at, sequence, padding) in enumerate(messages):
            data = b'{"i": %d}' % i + b" " * padding
            writer.add_message(numbers[channel], at, data, i, sequence)
            if i == len(messages) // 2:
                writer.add_attachment(3, 4, "photo", "image/jpeg", b"data" * 100)
                writer.add_metadata("notes", {"key": "again"})
        writer.finish()
    return path


def contents(path):
    """What mcap's own reader finds: messages in file order, and the rest."""
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        indexed = [(m.log_time, m.data) for _, _, m in reader.iter_messages()]
        summary = reader.get_summary()
        metadata = [(r.name, r.metadata) for r in reader.iter_metadata()]
        attachments = [
            (a.name, a.media_type, a.data, a.log_time, a.create_time)
            for a in reader.iter_attachments()
        ]
        header = reader.get_header()
    messages = []
    with Reader(path) as records:
        for record in records.records():
            if isinstance(record, MessageRun):
                topics = summary.channels
                messages += [
                    (topics[m.channel_id].topic, m.log_time, m.sequence, m.publish_time, m.data)
                    for m in record.messages()
                ]
    assert summary.statistics.message_count == len(messages) == len(indexed)
    assert sorted(d for _, d in indexed) == sorted(m[-1] for m in messages)
    described = sorted(
        (c.topic, c.message_encoding, str(c.metadata), summary.schemas[c.schema_id].data)
        for c in summary.channels.values()
    )
    return messages, metadata, attachments, (header.profile, header.library), described


@st.composite
def files(draw):
    """Channels, some of one topic; and messages with many ties."""
    topics = st.sampled_from(["a", "b", "é", "b/c"])
    channels = draw(st.lists(st.tuples(topics, st.sampled_from([None, *ROLES])), max_size=4))
    if not channels:
        return [], []
    message = st.tuples(
        st.integers(0, len(channels) - 1),
        st.integers(0, 20) | st.integers(0, (1 << 63) - 1),
        st.integers(0, 3) | st.integers(0, (1 << 32) - 1),
        st.sampled_from([0, 3, 400]),
    )
    return channels, draw(st.lists(message, max_size=60))


def expected(channels, messages):
    """The obvious way: all in memory, by `causal_order`."""
    places = sorted({(role or Role.OBSERVATION, topic) for topic, role in channels})
    streams = [StreamSpec(name=f"{topic}\0{role}", role=role) for role, topic in places]
    of = [places.index((role or Role.OBSERVATION, topic)) for topic, role in channels]
    mine = [[i for i, m in enumerate(messages) if of[m[0]] == s] for s in range(len(places))]
    arrivals = [np.array([messages[i][1] for i in own], np.int64) for own in mine]
    seqs = []
    for own in mine:
        seq = np.empty(len(own), np.int64)  # sequences may repeat: then the place decides
        seq[np.argsort([messages[i][2] for i in own], kind="stable")] = np.arange(len(own))
        seqs.append(seq)
    return [mine[s][i] for s, i in causal_order(streams, arrivals, seqs).tolist()]


@given(
    files(),
    st.sampled_from([1, 700, 3000, 1 << 20]),
    st.sampled_from([1, 300, 1 << 20]),
    st.sampled_from([1, 1000, 1 << 20]),
    st.sampled_from([CompressionType.NONE, CompressionType.LZ4]),
    st.booleans(),
)
@settings(max_examples=100)
def test_it_is_the_sort_in_memory(
    tmp_path_factory, file, pool, chunk, merged, compression, chunked
):
    channels, messages = file
    folder = tmp_path_factory.mktemp("order")
    old, new = folder / "old.mcap", folder / "new.mcap"
    write(old, channels, messages, compression=compression, use_chunking=chunked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_module, "POOL_BYTES", pool)
        patch.setattr(order_module, "MERGE_BYTES", merged)
        patch.setattr(order_module, "FAN_IN", 3)
        patch.setattr(chunkfile, "CHUNK_BYTES", chunk)
        done = order(old, new, as_one=True)
    found, *rest = contents(new)
    was, *rest_was = contents(old)
    assert [m[-1] for m in found] == [was[i][-1] for i in expected(channels, messages)]
    assert sorted(found) == sorted(was)
    assert rest == rest_was
    assert done.is_whole
    assert sum(done.written.values()) == sum(done.read.values()) == len(messages)
    highest = itertools.accumulate((m[1] for m in messages), max)
    assert done.late == sum(m[1] < high for m, high in zip(messages, highest, strict=True))
    assert sorted(p.name for p in folder.iterdir()) == ["new.mcap", "old.mcap"]


APPENDED = [(channel, t, t, 50) for channel in range(3) for t in range(200)]
CHANNELS = [("c", None), ("b", None), ("a", Role.ACTION)]


def test_topics_appended_one_after_another(tmp_path, monkeypatch):
    monkeypatch.setattr(order_module, "POOL_BYTES", 3000)
    monkeypatch.setattr(chunkfile, "CHUNK_BYTES", 800)
    old = write(tmp_path / "old.mcap", CHANNELS, APPENDED)
    done = order(old, tmp_path / "new.mcap")
    assert 3 <= done.runs <= 5  # each topic is one, and what is between two may be one
    assert done.spilled_bytes > 0
    assert done.late == 2 * 199
    found = [(m[1], m[0]) for m in contents(tmp_path / "new.mcap")[0]]
    assert found == [(t, topic) for t in range(200) for topic in "bca"]


@pytest.mark.parametrize("jitter", [0, 5])
def test_a_file_in_order_or_nearly_is_not_spilled(tmp_path, monkeypatch, jitter):
    monkeypatch.setattr(order_module, "POOL_BYTES", 4000)
    early = [97 if jitter and t % jitter == 0 else 0 for t in range(900)]
    late = [(0, 10 * t - early[t] + 1000, t, 9) for t in range(900)]
    old = write(tmp_path / "old.mcap", [("a", None)], late)
    done = order(old, tmp_path / "new.mcap")
    assert (done.runs, done.spilled_bytes) == (1, 0)
    assert done.late == (180 - 1 if jitter else 0)
    times = [m[1] for m in contents(tmp_path / "new.mcap")[0]]
    assert times == sorted(times)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_damaged_file_is_read_as_far_as_repair_reads_it(tmp_path, monkeypatch, share, viae):
    monkeypatch.setattr(order_module, "POOL_BYTES", 3000)
    old = write(tmp_path / "old.mcap", CHANNELS, APPENDED)
    data = bytearray(old.read_bytes())
    data[int(len(data) * share) :] = b""
    data[len(data) // 2 : len(data) // 2 + 40] = b"x" * 40
    old.write_bytes(data)
    repaired = viae("repair", old, tmp_path / "repaired.mcap", "--json")
    ordered = viae("order", old, tmp_path / "new.mcap", "--json")
    assert repaired.code == ordered.code == 1
    repaired, ordered = json.loads(repaired.out), json.loads(ordered.out)
    assert ordered["losses"] == repaired["losses"] != []
    assert ordered["written"] == ordered["read"] == repaired["messages"]
    found = contents(tmp_path / "new.mcap")[0]
    assert sorted(found) == sorted(contents(tmp_path / "repaired.mcap")[0])
    assert [m[1] for m in found] == sorted(m[1] for m in found)


def test_a_recording_keeps_its_streams(tmp_path, read):
    old, new = tmp_path / "old.mcap", tmp_path / "new.mcap"
    q, act = StreamSpec(name="q", shape=(1,)), StreamSpec(name="act", shape=(1,), role=Role.ACTION)
    with Recorder(old, streams=[q, act], task="wave") as recorder:
        for t in reversed(range(50)):
            recorder.write("act", [t], capture_ns=t, arrival_ns=t)
            recorder.write("q", [t], capture_ns=t, arrival_ns=t)
    order(old, new)
    log = read(new)
    assert log.losses == []
    assert log.statements == {"task": "wave"}
    assert log.values["q"] == log.values["act"] == [[t] for t in range(50)]
    assert [m[0] for m in contents(new)[0]] == ["q", "act"] * 50


def test_several_episodes_in_a_file_are_not_mixed(tmp_path):
    second = 10**9
    many = [(0, t * second // 10, t, 0) for _ in range(3) for t in range(200)]
    old = write(tmp_path / "old.mcap", [("a", None)], many)
    with pytest.raises(LogError, match="it holds 3 episodes, and ordering would mix them"):
        order(old, tmp_path / "new.mcap")
    assert not (tmp_path / "new.mcap").exists()
    assert order(old, tmp_path / "new.mcap", as_one=True).late == 2 * 199


def test_nothing_is_overwritten_and_nothing_half_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(order_module, "POOL_BYTES", 3000)
    old, new = write(tmp_path / "old.mcap", CHANNELS, APPENDED), tmp_path / "new.mcap"
    new.write_text("precious")
    for out in (new, old):
        before = out.read_bytes()
        with pytest.raises(RecorderError, match="there is a file already"):
            order(old, out)
        assert out.read_bytes() == before
    new.unlink()
    with pytest.raises(UsageError, match="there is no such folder"):
        order(old, new, temp=tmp_path / "nowhere")
    with pytest.raises(RecorderError, match=r"there is no folder .*nowhere"):
        order(old, tmp_path / "nowhere" / "new.mcap")
    (tmp_path / "x.mcap").write_bytes(b"something else")
    with pytest.raises(DamagedLogError, match="the MCAP magic"):
        order(tmp_path / "x.mcap", new)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(chunkfile.ChunkFile, "flush", full)
    with pytest.raises(
        RecorderError, match=r"No space left on device.; nothing is left of the new"
    ):
        order(old, new)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.mcap", "x.mcap"]


def test_a_kill_leaves_no_new_file(tmp_path):
    old, new = write(tmp_path / "old.mcap", CHANNELS, APPENDED), tmp_path / "new.mcap"
    (tmp_path / "temp").mkdir()
    program = f"""
from pathlib import Path
from viae.record import chunkfile, order as module
from viae.verbs.order import order
module.POOL_BYTES = 3000
def stop(*_):
    print("here", flush=True)
    time.sleep(60)
chunkfile.ChunkFile.finish = stop
order({str(old)!r}, {str(new)!r}, temp=Path({str(tmp_path / "temp")!r}))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"here\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not new.exists()
    assert list((tmp_path / "temp").iterdir()) == []  # temporary files have no names
    assert order(old, new).is_whole


def test_the_command(tmp_path, viae):
    old = write(tmp_path / "old.mcap", CHANNELS, APPENDED)
    said = viae("order", old, tmp_path / "new.mcap")
    assert said.code == 0
    assert "600 of 600 messages, 2 metadata records and 1 attachments into" in said.out
    assert "398 came after a later one" in said.out
    assert "messages out" in said.out
    assert viae("order", old, tmp_path / "new.mcap").code == 1
    assert viae("order", tmp_path / "nothing.mcap", tmp_path / "newer.mcap").code == 2
