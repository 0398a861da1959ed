"""Broken MCAP files: all that is intact is read, and the rest is said."""

from pathlib import Path

import pytest
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, IndexType

from viae.errors import DamagedLogError
from viae.logs import open_log
from viae.schema import LossKind

MESSAGES = [("j", b'{"x": %d, "s": "%s"}' % (i, bytes([97 + i % 26]) * 50)) for i in range(300)]


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
    assert log.seq["j.x"] == list(range(200))
    assert log.loss("damaged").kind is LossKind.LOST


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
    log = read(make.raw(MESSAGES[:2], stamps=lambda i: ((1 << 63) * i, 0)))
    assert log.seq["j.x"] == [0]
    assert log.loss("time-out-of-range").count == 1
