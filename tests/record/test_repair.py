"""Repair: whatever can be read is in the new file, as it was; the old one is left alone."""

import random

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from viae.errors import DamagedLogError, EmptyLogError, LogNotFoundError, RecorderError
from viae.record import Recorder, repair
from viae.schema import StreamSpec

Q = StreamSpec(name="q", shape=(2,))


def make(path, messages=200):
    """A file of everything: two channels on one topic, metadata, an attachment."""
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=2000, compression=CompressionType.LZ4)
        writer.start("my-profile", "my-library")
        schema = writer.register_schema("S", "jsonschema", b"{}")
        channels = [
            writer.register_channel("/a", "json", schema, {"who": "one"}),
            writer.register_channel("/a", "json", 0, {"who": "two"}),
        ]
        writer.add_metadata("notes", {"key": "value"})
        for i in range(messages):
            data = b'{"i": %d, "x": "%032x"}' % (i, random.Random(i).getrandbits(128))
            writer.add_message(channels[i % 2], 1000 - i, data, 7 * i, i + 5)
        writer.add_attachment(3, 4, "photo", "image/jpeg", b"data" * 100)
        writer.finish()
    return path


def contents(path):
    """What mcap's own reader finds, through the index."""
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_summary().statistics.message_count >= 0
        messages = sorted(
            (m.sequence, m.log_time, m.publish_time, m.data, c.topic, c.metadata["who"],
             c.message_encoding, s and (s.name, s.encoding, s.data))
            for s, c, m in reader.iter_messages()
        )  # fmt: skip
        metadata = [(r.name, r.metadata) for r in reader.iter_metadata()]
        attachments = [
            (a.name, a.media_type, a.data, a.log_time, a.create_time)
            for a in reader.iter_attachments()
        ]
        header = reader.get_header()
    return messages, metadata, attachments, (header.profile, header.library)


def test_a_whole_file_is_kept_whole(tmp_path):
    old, new = make(tmp_path / "old.mcap"), tmp_path / "new.mcap"
    done = repair(old, new)
    assert done.is_whole
    assert (done.messages, done.metadata, done.attachments) == ({"/a": 200}, 1, 1)
    assert contents(new) == contents(old)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_short(tmp_path, share):
    old, new = make(tmp_path / "old.mcap"), tmp_path / "new.mcap"
    whole = contents(old)
    data = old.read_bytes()
    cut = data[: int(len(data) * share)]
    old.write_bytes(cut)
    done = repair(old, new)
    assert not done.is_whole
    assert old.read_bytes() == cut
    messages, metadata, _, header = contents(new)
    assert messages == whole[0][: len(messages)]
    assert len(messages) > 200 * share - 40
    assert (metadata, header) == (whole[1], whole[3])


def test_a_damaged_chunk_costs_only_itself(tmp_path):
    old, new = make(tmp_path / "old.mcap"), tmp_path / "new.mcap"
    whole = contents(old)[0]
    data = bytearray(old.read_bytes())
    with old.open("rb") as file:
        chunk = make_reader(file).get_summary().chunk_indexes[1]
    data[chunk.chunk_start_offset + 100] ^= 255
    old.write_bytes(data)
    done = repair(old, new)
    assert not done.is_whole
    messages = contents(new)[0]
    lost = sum(loss.count or 0 for loss in done.losses)
    assert 0 < lost < 60
    assert len(messages) == 200 - lost
    assert set(map(str, messages)) <= set(map(str, whole))


def test_a_killed_recording_gets_its_index(tmp_path, read):
    old, new = tmp_path / "old.mcap", tmp_path / "new.mcap"
    with Recorder(old, streams=[Q], flush_s=None, task="wave") as recorder:
        for t in range(100):
            recorder.write("q", [t, t], capture_ns=t, arrival_ns=t)
        recorder.flush()
        killed = tmp_path / "killed.mcap"
        killed.write_bytes(old.read_bytes())
    done = repair(killed, new)
    assert [loss.name for loss in done.losses] == ["truncated"]
    log = read(new)
    assert log.losses == []
    assert log.values["q"] == [[t, t] for t in range(100)]
    assert log.statements == {"task": "wave"}
    assert log.specs["q"].to_json() == Q.to_json() | {"topic": "q"}


def test_nothing_is_overwritten_and_nothing_half_is_left(tmp_path, monkeypatch):
    old, new = make(tmp_path / "old.mcap"), tmp_path / "new.mcap"
    new.write_text("precious")
    for out in (new, old):
        before = out.read_bytes()
        with pytest.raises(RecorderError, match="there is a file already"):
            repair(old, out)
        assert out.read_bytes() == before
    new.unlink()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "add_message", full)
    with pytest.raises(RecorderError, match=r"No space left on device.; the file is removed again"):
        repair(old, new)
    assert not new.exists()


def test_what_is_no_mcap_file(tmp_path):
    path, new = tmp_path / "x.mcap", tmp_path / "new.mcap"
    with pytest.raises(LogNotFoundError, match="there is no file here"):
        repair(path, new)
    path.touch()
    with pytest.raises(EmptyLogError):
        repair(path, new)
    path.write_bytes(b"something else")
    with pytest.raises(DamagedLogError, match="the MCAP magic"):
        repair(path, new)
    assert not new.exists()


def test_command(tmp_path, viae):
    old, new = make(tmp_path / "old.mcap"), tmp_path / "new.mcap"
    said = viae("repair", old, new)
    assert said.code == 0
    assert "200 messages, 1 metadata records and 1 attachments into" in said.out
    old.write_bytes(old.read_bytes()[:3000])
    said = viae("repair", old, tmp_path / "newer.mcap", "--json")
    assert said.code == 1
    assert '"name": "truncated"' in said.out
    assert viae("repair", old, new).code == 1
