"""Real logs: counts equal those of independent readers, and known values are there."""

import json
from collections import Counter, defaultdict
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest
from google.protobuf.message import Message
from mcap.reader import NonSeekingReader
from mcap_protobuf.decoder import DecoderFactory as ProtobufFactory
from mcap_ros2.decoder import DecoderFactory as Ros2Factory

from viae.logs import find_logs, open_log
from viae.schema import Kind, Samples, VideoGroup

pytestmark = pytest.mark.data

MCAP_SETS = ["rerun_mcap", "keelson_maritime", "depthai_oak_recording", "mcap_conformance"]


def mcap_files(folder: Path) -> list[Path]:
    return [path for path in find_logs(folder).logs if path.suffix == ".mcap"]


def independent_counts(path: Path) -> Counter[str]:
    """Messages per topic, by the `mcap` package."""
    with path.open("rb") as file:
        messages = NonSeekingReader(file).iter_messages(log_time_order=False)
        return Counter(channel.topic for _, channel, _ in messages)


def our_counts(path: Path) -> dict[str, int]:
    """Messages per topic: every stream of a topic has a sample of each, or all raw ones."""
    seqs: defaultdict[str, defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for episode in open_log(path).episodes:
        for item in episode.read():
            if isinstance(item, Samples | VideoGroup):
                seqs[item.spec.topic][item.spec.name] |= set(item.seq.tolist())
    counts = {}
    for topic, streams in seqs.items():
        raw = set().union(*(s for name, s in streams.items() if name.endswith("#raw")))
        for name, seq in streams.items():
            whole = seq | raw
            assert whole == set(range(len(whole))), name
            counts[topic] = len(whole)
    return counts


@pytest.mark.parametrize("folder", MCAP_SETS)
def test_counts_per_topic_equal_the_mcap_package(data_dir: Path, folder: str):
    logs = mcap_files(data_dir / folder)
    assert len(logs) >= (416 if folder == "mcap_conformance" else 1)
    for path in logs:
        assert our_counts(path) == independent_counts(path), path


def test_only_conformance_files_have_losses(data_dir: Path, read):
    """Nothing in the real MCAP files is unknown, undecodable or damaged."""
    names = set()
    for folder in MCAP_SETS[:3]:
        for path in mcap_files(data_dir / folder):
            log = open_log(path)
            names |= {loss.name for loss in log.losses}
            names |= {loss.name for _ in log.episodes for loss in read(path).losses}
    assert names == {"no-messages"}


def test_first_values(data_dir: Path, read):
    ros2 = read(data_dir / "rerun_mcap" / "supported_ros2_messages.mcap")
    assert ros2.values["/imu.linear_acceleration"][0] == [0.0, 0.0, 9.81]
    assert ros2.values["/joint_state.position"][0] == [0.0, 1.3, -0.2, 0.1]
    assert ros2.specs["/compressed_image"].shape == (480, 640, 3)
    assert len(ros2.values["/image"][0]) == 480 * 640 * 3
    assert ros2.capture["/imu.orientation"] == [1757502238_482648699]
    vec3 = read(data_dir / "rerun_mcap" / "simple_protobuf_vec3.mcap")
    assert vec3.specs["/test/points"].names == ("x", "y", "z")
    assert vec3.values["/test/points"][0] == [1.0, 2.0, 3.0]
    oak = read(data_dir / "depthai_oak_recording" / "recording.mcap")
    assert oak.capture["video.height"][0] == 1_205_522_558  # the device's clock, not the host's
    assert oak.specs["video.height"].clock == "video"


def numbers_in(message) -> list[float]:
    """Every number in a decoded message, however deep, as floats."""
    if isinstance(message, bool | int | float):
        return [float(message)]
    if isinstance(message, dict):
        return [n for value in message.values() for n in numbers_in(value)]
    if isinstance(message, str | bytes):
        return []
    if isinstance(message, Message):
        return [n for field in message.DESCRIPTOR.fields for n in field_numbers(message, field)]
    if hasattr(message, "__slots__"):
        return [n for name in message.__slots__ for n in numbers_in(getattr(message, name))]
    return [n for item in message for n in numbers_in(item)]


def field_numbers(message, field) -> list[float]:
    if field.message_type and not field.is_repeated and not message.HasField(field.name):
        return []
    return numbers_in(getattr(message, field.name))


@pytest.mark.parametrize("folder", MCAP_SETS[:3])
def test_first_and_last_values_equal_the_decoders(data_dir: Path, read, folder: str):
    """Every number of the first and last sample is one that the `mcap` decoders read there."""
    compared = 0
    for path in mcap_files(data_dir / folder):
        theirs: dict[str, list[tuple[bytes, list[float]]]] = {}
        with path.open("rb") as file:
            decoders = [Ros2Factory(), ProtobufFactory()]
            reader = NonSeekingReader(file, decoder_factories=decoders)
            for schema, channel, message in reader.iter_messages(log_time_order=False):
                made = (d.decoder_for(channel.message_encoding, schema) for d in decoders)
                decode = next(filter(None, made), json.loads)
                ends = theirs.setdefault(channel.topic, [])
                ends[1:] = [(message.data, numbers_in(decode(message.data)))]
        ours = read(path) if theirs else None
        for name, spec in ours.specs.items() if ours else ():
            for at in (0, -1):
                data, numbers = theirs[spec.topic][at]
                value = ours.values[name][at]
                if spec.kind is Kind.BYTES:
                    assert value in data, (path, name)
                    compared += 1
                elif spec.kind is Kind.VECTOR and spec.unit != "ns":
                    assert not Counter(map(float, value)) - Counter(numbers), (path, name)
                    compared += len(value)
    assert compared > 0


def test_partial_lerobot_dataset(data_dir: Path):
    """Rows by PyArrow, frames by PyAV."""
    root = data_dir / "g1_inspire_lerobot_v21"
    log = open_log(root)
    assert [loss.detail for loss in log.losses] == [
        "5 of 100 declared episodes are here; missing 0-9, 15-99",
        "35965 frames are declared, 1787 are here",
    ]
    episodes = list(log.episodes)
    assert [e.range for e in episodes] == [f"episode_{i:06d}" for i in range(10, 15)]
    for episode in episodes:
        rows = pq.read_metadata(root / f"data/chunk-000/{episode.range}.parquet").num_rows
        camera = "observation.images.cam_high"
        with av.open(root / f"videos/chunk-000/{camera}/{episode.range}.mp4") as video:
            frames = video.streams.video[0].frames
        counts: Counter[str] = Counter()
        for item in episode.read():
            if isinstance(item, Samples | VideoGroup):
                counts[item.spec.name] += len(item)
        assert counts == {"observation.state": rows, "action": rows, camera: frames}
