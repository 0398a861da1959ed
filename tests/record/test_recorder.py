"""The recorder: what is written is read back exactly, and what cannot be is refused."""

import io
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from PIL import Image

from viae.errors import RecorderError, SchemaError, UsageError
from viae.logs import open_log
from viae.record import Recorder
from viae.schema import Kind, Role, Samples, StreamSpec

Q = StreamSpec(name="q", shape=(2,), unit="rad", names=("a", "b"))
TIMES = st.integers(0, 2**63 - 1)
DTYPES = ["float64", "float32", "float16", "int8", "uint8", "int32", "uint32", "int64", "bool"]


@st.composite
def recordings(draw):
    """A vector stream, fixed or varying, and what is written to it."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    varies = draw(st.booleans())
    fixed = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
    shape = (-1,) if varies else draw(fixed)
    spec = StreamSpec(
        name=draw(st.text("abc/._é", min_size=1, max_size=8)),
        dtype=dtype.name,
        shape=shape,
        role=draw(st.sampled_from(Role)),
        clock=draw(st.sampled_from(["log", "camera"])),
    )
    elements = st.integers(-(2**53), 2**53) if dtype == "int64" else None
    times = draw(st.lists(st.tuples(st.integers(-(2**63) + 1, 2**63 - 1), TIMES), max_size=5))
    shapes = st.integers(0, 4).map(lambda n: (n,)) if varies else st.just(shape)
    values = [draw(hnp.arrays(dtype, draw(shapes), elements=elements)) for _ in times]
    return spec, [(*time, value) for time, value in zip(times, values, strict=True)]


@given(recordings())
@settings(max_examples=150, deadline=None)
def test_vectors_come_back_bit_for_bit(recording):
    spec, samples = recording
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.mcap"
        with Recorder(path, streams=[spec]) as recorder:
            for capture_ns, arrival_ns, value in samples:
                recorder.write(spec.name, value, capture_ns=capture_ns, arrival_ns=arrival_ns)
        blocks = [i for e in open_log(path).episodes for i in e.read() if isinstance(i, Samples)]
    read = [
        (int(capture), int(arrival), np.asarray(value))
        for block in blocks
        for capture, arrival, value in zip(
            block.capture_ns, block.arrival_ns, block.values, strict=True
        )
    ]
    assert [times[:2] for times in read] == [times[:2] for times in samples]
    for (*_, got), (*_, given_value) in zip(read, samples, strict=True):
        assert (got.dtype, got.shape) == (given_value.dtype, given_value.shape)
        assert np.array_equal(got, given_value, equal_nan=got.dtype.kind == "f")
        assert np.array_equal(np.signbit(got), np.signbit(given_value)) or got.dtype.kind != "f"
    for block in blocks:
        assert block.spec.to_json() == spec.to_json() | {"topic": spec.name}


def test_text_bytes_and_images_come_back(tmp_path, read):
    path = tmp_path / "log.mcap"
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    streams = [
        StreamSpec(name="say", kind=Kind.TEXT, dtype=""),
        StreamSpec(name="raw", kind=Kind.BYTES, dtype=""),
        StreamSpec(name="eye", kind=Kind.IMAGE, dtype="uint8", shape=(4, 6, 3), encoding="png"),
        StreamSpec(name="jpg", kind=Kind.IMAGE, dtype="uint8", shape=(4, 6, 3), encoding="jpeg"),
    ]
    with Recorder(path, streams=streams) as recorder:
        recorder.write("say", "é\n", capture_ns=0, arrival_ns=5)
        recorder.write("raw", b"\x00\xff", capture_ns=1, arrival_ns=5)
        recorder.write("eye", pixels, capture_ns=2, arrival_ns=5)
        recorder.write("jpg", b"coded", capture_ns=3, arrival_ns=5)
    log = read(path)
    assert log.losses == []
    assert (log.values["say"], log.values["raw"], log.values["jpg"]) == (
        ["é\n"], [b"\x00\xff"], [b"coded"],
    )  # fmt: skip
    assert (decoded(log.values["eye"][0]) == pixels).all()
    assert log.capture == {"say": [0], "raw": [1], "eye": [2], "jpg": [3]}
    assert log.specs["eye"].encoding == "png"


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_statements(tmp_path, read):
    path = tmp_path / "log.mcap"
    with Recorder(
        path, streams=[Q], robot="arm", task="wave", agent="human", conditions={"seed": 3}
    ) as recorder:
        recorder.write("q", [1, 2], capture_ns=1, arrival_ns=1)
        recorder.state(operator="kim")
        recorder.finish(True, steps=9)
    assert read(path).statements == {
        "robot": "arm", "task": "wave", "agent": "human", "operator": "kim", "outcome": True,
        "conditions": {"seed": 3, "steps": 9},
    }  # fmt: skip


def test_an_exception_leaves_a_readable_file_without_an_outcome(tmp_path, read):
    path = tmp_path / "log.mcap"
    with pytest.raises(ZeroDivisionError), Recorder(path, streams=[Q], task="wave") as recorder:
        recorder.write("q", [1, 2], capture_ns=1, arrival_ns=1)
        raise ZeroDivisionError
    log = read(path)
    assert log.values["q"] == [[1, 2]]
    assert "outcome" not in log.statements
    assert log.losses == []


def test_same_calls_same_bytes(tmp_path):
    def record(name: str) -> bytes:
        eye = StreamSpec(name="e", kind=Kind.IMAGE, dtype="uint8", shape=(8, 8, 3), encoding="png")
        streams = [Q, eye]
        with Recorder(
            tmp_path / name, streams=streams, task="wave", robot="arm", flush_s=None
        ) as recorder:
            for t in range(2000):
                recorder.write("q", [t, -t], capture_ns=t, arrival_ns=t + 1)
                if t % 500 == 0:
                    pixels = np.full((8, 8, 3), t % 256, np.uint8)
                    recorder.write("e", pixels, capture_ns=t, arrival_ns=t + 1)
            recorder.finish(False, reason="dropped")
        return (tmp_path / name).read_bytes()

    assert record("one.mcap") == record("two.mcap")


def test_other_readers_read_it(tmp_path):
    path = tmp_path / "log.mcap"
    with Recorder(path, streams=[Q]) as recorder:
        recorder.write("q", [1, 2], capture_ns=3, arrival_ns=4)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        [(schema, channel, message)] = reader.iter_messages()
    assert (schema.name, schema.encoding, channel.topic) == ("viae.Vector", "protobuf", "q")
    assert message.log_time == 4


def test_arrival_is_asked_of_the_clock(tmp_path, read):
    path = tmp_path / "log.mcap"
    with Recorder(path, streams=[Q], clock_ns=lambda: 77) as recorder:
        recorder.write("q", [1, 2], capture_ns=3)
    assert read(path).arrival["q"] == [77]


def test_many_threads(tmp_path, read):
    path = tmp_path / "log.mcap"
    streams = [StreamSpec(name=f"s{k}", dtype="int64", shape=(1,)) for k in range(4)]

    def write(stream: str) -> None:
        for t in range(500):
            recorder.write(stream, t, capture_ns=t, arrival_ns=t)

    with Recorder(path, streams=streams) as recorder:
        threads = [threading.Thread(target=write, args=(spec.name,)) for spec in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    log = read(path)
    for spec in streams:
        assert log.values[spec.name] == [[t] for t in range(500)]


@pytest.mark.parametrize(
    ("spec", "value", "text"),
    [
        (Q, [1, 2, 3], "a value of shape (3,), not (2,)"),
        (Q, ["a", "b"], "a value of <U1, not float64"),
        (Q, [[1], [2, 3]], "inhomogeneous shape"),
        (StreamSpec(name="q", dtype="int8", shape=(1,)), float("nan"), "cannot hold exactly"),
        (StreamSpec(name="q", dtype="float32", shape=(1,)), 1e300, "cannot hold exactly"),
        (StreamSpec(name="q", dtype="int64", shape=(1,)), 2**53 + 1, "cannot hold exactly"),
        (StreamSpec(name="q", dtype="float32", shape=(1,)), 0.1, "cannot hold exactly"),
        (StreamSpec(name="q", dtype="uint8", shape=(1,)), -1.0, "cannot hold exactly"),
        (StreamSpec(name="q", dtype="int8", shape=(1,)), 300, "cannot hold exactly"),
        (StreamSpec(name="q", kind=Kind.TEXT, dtype=""), b"x", "text is given as bytes"),
        (
            StreamSpec(name="q", kind=Kind.IMAGE, dtype="uint8", shape=(4, 6, 3), encoding="png"),
            np.zeros((4, 5, 3), np.uint8),
            "uint8[4, 5, 3] is not uint8[4, 6, 3] as png",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(tmp_path, spec, value, text):
    with (
        Recorder(tmp_path / "log.mcap", streams=[spec]) as recorder,
        pytest.raises(SchemaError) as e,
    ):
        recorder.write("q", value, capture_ns=0, arrival_ns=0)
    assert str(e.value).startswith("stream 'q': ")
    assert text in str(e.value)


def test_requests_that_make_no_sense(tmp_path):
    path = tmp_path / "log.mcap"
    with pytest.raises(UsageError, match="given twice"):
        Recorder(path, streams=[Q, Q])
    with pytest.raises(UsageError, match=r"video is recorded as av1, h264, .*, not 'mpeg4'"):
        Recorder(
            path, streams=[StreamSpec(name="v", kind=Kind.VIDEO, dtype="uint8", encoding="mpeg4")]
        )
    with pytest.raises(UsageError, match="overflow is 'wait'; choose from block, drop"):
        Recorder(path, streams=[Q], overflow="wait")
    with pytest.raises(UsageError, match="compression is 'gzip'; choose from zstd, lz4, none"):
        Recorder(path, streams=[Q], compression="gzip")
    with pytest.raises(UsageError, match="flush_s is 0; give seconds above 0"):
        Recorder(path, streams=[Q], flush_s=0)
    with pytest.raises(UsageError, match="a queue of 0 messages and 1 bytes holds nothing"):
        Recorder(path, streams=[Q], queue_messages=0, queue_bytes=1)
    with pytest.raises(UsageError, match="images are recorded as jpeg, png, webp, not 'rgb8'"):
        Recorder(
            path, streams=[StreamSpec(name="v", kind=Kind.IMAGE, dtype="uint8", encoding="rgb8")]
        )
    assert not path.exists()
    recorder = Recorder(path, streams=[Q])
    with pytest.raises(UsageError, match="there is no stream 'p' among"):
        recorder.write("p", 0, capture_ns=0, arrival_ns=0)
    with pytest.raises(SchemaError, match="the arrival is negative"):
        recorder.write("q", [0, 0], capture_ns=0, arrival_ns=-1)
    recorder.close()
    recorder.close()
    for late in (
        lambda: recorder.write("q", [0, 0], capture_ns=0, arrival_ns=0),
        lambda: recorder.write_all("q", np.zeros((1, 2)), capture_ns=[0], arrival_ns=[0]),
        lambda: recorder.state(task="late"),
        recorder.flush,
    ):
        with pytest.raises(UsageError, match=r"log.mcap: the recording is closed"):
            late()


def test_recordings_are_never_overwritten(tmp_path):
    path = tmp_path / "log.mcap"
    path.write_text("precious")
    with pytest.raises(RecorderError, match="there is a file already"):
        Recorder(path, streams=[Q])
    assert path.read_text() == "precious"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RecorderError, match="cannot make the file"):
        Recorder(tmp_path / "file" / "log.mcap", streams=[Q])


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond this: what a full disk looks like from inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk(tmp_path, read):
    path = tmp_path / "log.mcap"
    spec = StreamSpec(name="raw", kind=Kind.BYTES, dtype="")
    noise = np.random.default_rng(0).bytes(300_000)
    written = 0
    with (
        file_size_limit(4_000_000),
        pytest.raises(RecorderError) as caught,
        Recorder(path, streams=[spec], queue_bytes=1_000_000) as recorder,
    ):
        for t in range(100):
            recorder.write("raw", noise, capture_ns=t, arrival_ns=t)
            written += 1
    assert "cannot write (File too large); the first" in str(caught.value)
    assert "stay readable. Free some space and record to a new file" in str(caught.value)
    log = read(path)
    kept = len(log.values["raw"])
    assert 0 < written - 8 <= kept <= written  # a queue and a chunk were on their way
    assert log.loss("truncated")
