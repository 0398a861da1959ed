"""Broken MCAP files: all that is intact is read, and the rest is said."""

from pathlib import Path

import pytest
from mcap.records import Chunk, Message
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.writer import CompressionType, IndexType, Writer

from viae.errors import DamagedLogError
from viae.logs import open_log
from viae.logs.mcap.layout import MAGIC
from viae.logs.mcap.records import Reader
from viae.logs.mcap.run import MessageRun
from viae.logs.mcap.survey import survey
from viae.schema import Loss, LossKind

MESSAGES = [("j", b'{"x": %d, "s": "%s"}' % (i, bytes([97 + i % 26]) * 50)) for i in range(300)]

FIVE = [("j", b"%d" % i) for i in range(5)]


@pytest.mark.parametrize("use_chunking", [True, False])
@pytest.mark.parametrize("index_types", [IndexType.ALL, IndexType.NONE])
def test_every_layout_reads_the_same(make, read, compression, use_chunking, index_types):
    path = make.raw(
        MESSAGES,
        compression=compression,
        use_chunking=use_chunking,
        index_types=index_types,
        chunk_size=2000,
    )
    log = read(path)
    assert log.losses == []
    assert log.values["j.x"] == [[float(i)] for i in range(300)]


def test_text_file_named_mcap(tmp_path: Path):
    path = tmp_path / "log.mcap"
    path.write_text("hello, robot")
    with pytest.raises(DamagedLogError) as caught:
        open_log(path)
    assert str(caught.value) == (
        f"{path}: begins with b'hello, r'; expected the MCAP magic b'\\x89MCAP0\\r\\n'. "
        "Check that this is an MCAP file, and rename it if it is not"
    )


@pytest.mark.parametrize("use_chunking", [True, False])
def test_truncated(make, read, compression, use_chunking):
    path = make.raw(MESSAGES, compression=compression, use_chunking=use_chunking, chunk_size=2000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    log = read(path)
    kept = log.seq["j.x"]
    assert 0 < len(kept) < 300
    assert kept == list(range(len(kept)))
    loss = log.loss("truncated")
    assert (loss.kind, loss.count) == (LossKind.LOST, None)
    assert loss.at_ns == kept[-1]
    assert (
        f"in a file of {len(data) // 2}, is cut short; everything before it is kept" in loss.detail
    )


def test_truncated_in_the_closing_magic_loses_nothing(make, read):
    path = make.raw(MESSAGES)
    path.write_bytes(path.read_bytes()[:-3])
    log = read(path)
    assert len(log.seq["j.x"]) == 300
    assert log.loss("truncated").count == 0


def test_truncated_before_the_first_message(make):
    path = make.raw(MESSAGES)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DamagedLogError, match="no message can be read: the record at byte"):
        open_log(path)


def chunk_data_offsets(path: Path) -> list[int]:
    """Where the compressed bytes of each chunk begin, by an independent reader."""
    data = path.read_bytes()
    with path.open("rb") as file:
        chunks = [
            r for r in StreamReader(file, emit_chunks=True).records if hasattr(r, "compression")
        ]
    return [data.index(chunk.data) for chunk in chunks if hasattr(chunk, "data")]


def test_one_damaged_chunk(make, read, compression):
    path = make.raw(MESSAGES, compression=compression, chunk_size=2000)
    data = bytearray(path.read_bytes())
    data[chunk_data_offsets(path)[1] + 30] ^= 0xFF
    path.write_bytes(data)
    log = read(path)
    [loss] = log.losses  # neither the summary nor the file's own checksum repeats it
    assert (loss.kind, loss.name) == (LossKind.LOST, "chunk-damaged")
    kept = [int(value[0]) for value in log.values["j.x"]]
    lost = sorted(set(range(300)) - set(kept))
    assert loss.count == len(lost) > 0
    assert lost == list(range(lost[0], lost[-1] + 1))
    assert loss.at_ns == lost[0]
    assert "does not open" in loss.detail


def test_damaged_message_without_chunks(make, read):
    path = make.raw(MESSAGES, use_chunking=False, enable_data_crcs=True)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"x": 7,', b'"x": 8,'))
    log = read(path)
    assert len(log.seq["j.x"]) == 300
    loss = log.loss("checksum-differs")
    assert (loss.kind, loss.count) == (LossKind.LOST, None)


def test_record_with_an_absurd_length(make, read):
    path = make.raw(MESSAGES, use_chunking=False)
    data = bytearray(path.read_bytes())
    opcode = data.index(b'{"x": 200,') - 22 - 8 - 1
    assert data[opcode] == 5
    data[opcode + 8] = 0xFF  # the top byte of its length
    path.write_bytes(data)
    log = read(path)
    # The one whose length is wrong is lost, and nothing else; the summary says how many there were.
    assert log.values["j.x"] == [[float(i)] for i in range(300) if i != 200]
    assert "does not fit" in log.loss("damaged").detail
    assert log.loss("count-differs").count == 1


def test_summary_that_claims_more(make, read):
    path = make.raw(MESSAGES[:3], compression=CompressionType.NONE, use_chunking=False)
    data = path.read_bytes()
    # The summary's statistics end with (channel id, count); the footer's CRC is not checked.
    head, counts, tail = data.rpartition((1).to_bytes(2, "little") + (3).to_bytes(8, "little"))
    assert counts
    path.write_bytes(head + (1).to_bytes(2, "little") + (5).to_bytes(8, "little") + tail)
    log = read(path)
    loss = log.loss("count-differs")
    assert (loss.kind, loss.count, loss.stream) == (LossKind.LOST, 2, "j")
    assert loss.detail == "the summary declares 5 messages; 3 were read"


def test_whole_file_without_messages(make):
    log = open_log(make.raw([]))
    assert list(log.episodes) == []
    [loss] = log.losses
    assert (loss.kind, loss.name, loss.count) == (LossKind.SKIPPED, "no-messages", 0)
    assert "the file is whole and holds no messages" in loss.detail


def test_times_beyond_int64(make, read):
    """Nothing is lost: such a message came after the one before it, and before the next."""
    times = [7, 1 << 63, 9, (1 << 64) - 1, 8]
    log = read(make.raw(MESSAGES[:5], stamps=lambda i: (times[i], times[-i])))
    assert log.seq["j.x"] == [0, 1, 2, 3, 4]
    assert log.arrival["j.x"] == [7, 7, 9, 9, 8]
    assert log.capture["j.x"] == [7, 8, 9, 9, 8]
    losses = {loss.detail.split()[5]: loss.count for loss in log.losses}
    assert {loss.name for loss in log.losses} == {"time-out-of-range"}
    assert losses == {"log_time;": 2, "publish_time;": 2}


# --- every byte, one at a time ------------------------------------------------------------------


def units_of(path: Path) -> list[tuple[int, int, list[tuple[int, bytes]]]]:
    """Chunks, and messages outside of chunks, by the `mcap` package: start, end, messages."""
    found, start = [], len(MAGIC)
    with path.open("rb") as file:
        for record in StreamReader(file, emit_chunks=True).records:
            end = file.tell()
            inside = breakup_chunk(record) if isinstance(record, Chunk) else [record]
            messages = [(m.log_time, m.data) for m in inside if isinstance(m, Message)]
            if messages:
                found.append((start, end, messages))
            start = end
    return found


def recovered(path: Path) -> tuple[list[tuple[int, bytes]], bool]:
    """The messages that are read, and whether anything was reported."""
    messages, reported = [], False
    with Reader(path, doubt=survey(path).doubt) as reader:
        for record in reader.records():
            if isinstance(record, MessageRun):
                messages += [(m.log_time, m.data) for m in record.messages()]
            reported |= isinstance(record, Loss)
        count = reader.summary.statistics and reader.summary.statistics.message_count
    return messages, reported or (count is not None and count != len(messages))


LAYOUTS = {
    "chunks": {"chunk_size": 60, "compression": CompressionType.NONE},
    "chunks, no index": {
        "chunk_size": 60,
        "compression": CompressionType.ZSTD,
        "index_types": IndexType.NONE,
        "use_statistics": False,
    },
    "flat": {"use_chunking": False, "enable_data_crcs": True},
    "flat, bare": {"use_chunking": False, "enable_data_crcs": True, "use_statistics": False},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_one_wrong_byte_spares_is_read(make, layout):
    path = make.raw(FIVE, **LAYOUTS[layout])
    data, units = path.read_bytes(), units_of(path)
    everything = sorted(message for *_, messages in units for message in messages)
    assert len(everything) == len(FIVE)
    for place in range(len(data)):
        new = (0, 0xFF, data[place] ^ 1, data[place] ^ 0x22)[place % 4]
        path.write_bytes(data[:place] + bytes([new]) + data[place + 1 :])
        found, reported = recovered(path)
        for start, end, messages in units:
            if not start <= place < end:
                assert all(message in found for message in messages), (place, new)
        assert reported or sorted(found) == everything, (place, new)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_cut_spares_is_read(make, layout):
    path = make.raw(FIVE, **LAYOUTS[layout])
    data, units = path.read_bytes(), units_of(path)
    for size in range(len(MAGIC), len(data), 3):
        path.write_bytes(data[:size])
        found, reported = recovered(path)
        assert reported
        for _, end, messages in units:
            if end <= size:
                assert all(message in found for message in messages), size


# --- one thing each -----------------------------------------------------------------------------


def test_a_wrong_magic(make, read):
    path = make.raw(MESSAGES[:3])
    path.write_bytes(b"\0" * 4 + path.read_bytes()[4:])
    log = read(path)
    assert len(log.seq["j.x"]) == 3
    assert log.loss("magic-damaged").kind is LossKind.REPAIRED


def test_messages_on_a_channel_that_nothing_describes(make, read):
    """They are kept as bytes."""
    path = make.raw(MESSAGES[:3], use_chunking=False, use_summary_offsets=False,
                    repeat_channels=False, use_statistics=False)  # fmt: skip
    data = bytearray(path.read_bytes())
    size = 2 + 2 + (4 + len("j")) + (4 + len("json")) + 4
    data[data.index(b"\x04" + size.to_bytes(8, "little"))] = 0x90
    path.write_bytes(data)
    log = read(path)
    assert log.values == {"channel 1": [data for _, data in MESSAGES[:3]]}
    loss = log.loss("channel-missing")
    assert (loss.kind, loss.stream, loss.count) == (LossKind.REPAIRED, "channel 1", 3)
    assert log.loss("unknown-record").count == 1


def test_a_damaged_definition_is_taken_from_the_summary(make, read):
    path = make.raw(MESSAGES[:3], use_chunking=False)
    data = bytearray(path.read_bytes())
    place = data.index(b"json")
    data[place] = ord("x")
    path.write_bytes(data)
    log = read(path)
    assert log.values["j.x"] == [[0.0], [1.0], [2.0]]
    assert "channel 1 is not what the summary says" in log.loss("definition-differs").detail


def test_a_damaged_summary_is_said_and_hides_nothing(make, read):
    path = make.raw(MESSAGES[:3])
    data = bytearray(path.read_bytes())
    data[data.rindex(b"json")] = ord("x")
    path.write_bytes(data)
    log = read(path)
    assert len(log.seq["j.x"]) == 3
    assert log.loss("summary-damaged").kind is LossKind.REPAIRED


def test_two_files_in_one(make, read):
    path = make.raw(MESSAGES[:3])
    path.write_bytes(path.read_bytes() * 2)
    log = read(path)
    assert len(log.seq["j.x"]) == 3
    assert "the file goes on after its end" in log.loss("damaged").detail


def test_a_chunk_that_claims_too_much_takes_no_memory(make, read):
    """Its frame, too, says that it opens to a terabyte: nothing is reserved for that."""
    path = make.raw(MESSAGES, compression=CompressionType.ZSTD, chunk_size=2000)
    data = bytearray(path.read_bytes())
    at = chunk_data_offsets(path)[1]
    data[at + 4] = 0xE0 | (data[at + 4] & 0x1F)  # eight bytes of content size follow
    path.write_bytes(data)
    log = read(path)
    assert 0 < len(log.seq["j.x"]) < 300
    assert log.loss("chunk-damaged").count == 300 - len(log.seq["j.x"])


def test_a_damaged_attachment_is_kept_and_said(tmp_path, read):
    path = tmp_path / "made.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        writer.add_attachment(1, 2, "a", "text/plain", b"what was written")
        writer.add_message(writer.register_channel("j", "json", 0), 5, b'{"x": 1}', 5)
        writer.finish()
    path.write_bytes(path.read_bytes().replace(b"what was", b"what xas"))
    log = read(path)
    assert log.loss("attachment-damaged").kind is LossKind.LOST
    assert log.statements["mcap.attachment.a"]["size"] == 16
