"""How fast and in how much memory an MCAP file of ROS 2 messages enters a store.

Both files are made here, from random numbers: a million `sensor_msgs/Imu` at 1 kHz in zstd chunks,
and 10 GB of camera images and IMU, in arrival order and with topics one after another.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rows import Row

IMU = 1_000_000
PEER_IMU = 60_000
MIXED_BYTES = 10_000_000_000
FRAME_BYTES = 200_000
PER_FRAME = 33
"""IMU messages between two images."""
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def ingest_ratio(work: Path) -> Iterator[Row]:
    """Messages a second into a store ÷ decoding alone with mcap and mcap-ros2-support."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "imu.mcap"
    write_imu(path, IMU)
    ratios, rates, peers = [], [], []
    for run in range(5):  # alternating, so that what else the machine does hits both
        store = work / f"store-{run}"
        ours = IMU / _alone("ingest", path, store)["seconds"]
        peer = PEER_IMU / _alone("peer", path, store)["seconds"]
        shutil.rmtree(store)
        rates.append(ours)
        peers.append(peer)
        ratios.append(ours / peer)
    path.unlink()
    middle = sorted(ratios)[len(ratios) // 2]
    yield Row(name="ingest_rate", value=sorted(rates)[2], unit="messages/s", n=5,
              low=min(rates), high=max(rates))  # fmt: skip
    yield Row(name="ingest_peer_rate", value=sorted(peers)[2], unit="messages/s", n=5,
              low=min(peers), high=max(peers))  # fmt: skip
    yield Row(
        name="ingest_ratio", value=middle, unit="ratio", target=">= 10", n=5, low=min(ratios),
        high=max(ratios), peer="mcap + mcap-ros2-support, decoding only; range of 5 pairs",
    )  # fmt: skip


def ingest_memory_mb(work: Path) -> Iterator[Row]:
    """Peak memory of the whole process, interpreter and libraries included."""
    work.mkdir(parents=True, exist_ok=True)
    size = int(os.environ.get("VIAE_BENCH_BYTES", MIXED_BYTES))
    peaks = []
    for order in ("arrival", "worst"):
        path, store = work / f"{order}.mcap", work / f"store-{order}"
        write_mixed(path, size, one_after_another=order == "worst")
        found = _alone("ingest", path, store)
        peaks.append(found["peak_mb"])
        yield Row(
            name=f"ingest_memory_mb_{order}", value=found["peak_mb"], unit="MB", target="<= 512",
            n=1, peer=f"a file of {path.stat().st_size / 1e9:.1f} GB, {found['seconds']:.0f} s",
        )  # fmt: skip
        path.unlink()
        shutil.rmtree(store)
    yield Row(name="ingest_memory_mb", value=max(peaks), unit="MB", target="<= 512", n=2)


def write_imu(path: Path, count: int) -> None:
    """IMU messages at 1 kHz, in zstd chunks of 1 MiB."""
    with _Ros2File(path) as file:
        for i in range(count):
            file.imu(START_NS + i * MS)


def write_mixed(path: Path, size: int, *, one_after_another: bool) -> None:
    """A camera of 30 Hz and an IMU of 1 kHz, until the file has that size.

    Args:
        path: the file.
        size: bytes.
        one_after_another: all images first, then all of the IMU; else as they arrive.
    """
    with _Ros2File(path) as file:
        frames = 0
        while file.size < size * (0.97 if one_after_another else 1):
            file.image(START_NS + frames * PER_FRAME * MS)
            for i in range(0 if one_after_another else PER_FRAME):
                file.imu(START_NS + (frames * PER_FRAME + i) * MS)
            frames += 1
        for i in range(frames * PER_FRAME if one_after_another else 0):
            file.imu(START_NS + i * MS)


class _Ros2File:
    """Writes CDR with `rosbags` and MCAP with `mcap`."""

    def __init__(self, path: Path) -> None:
        from mcap.writer import CompressionType, Writer
        from rosbags.typesys import Stores, get_typestore

        self._rng = np.random.default_rng(0)
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self._file = path.open("wb")
        self._writer = Writer(self._file, compression=CompressionType.ZSTD)
        self._writer.start("ros2")
        self._channels = {}
        for topic, name in (
            ("/imu", "sensor_msgs/msg/Imu"),
            ("/camera", "sensor_msgs/msg/CompressedImage"),
        ):
            text, _ = self._types.generate_msgdef(name, ros_version=2)
            schema = self._writer.register_schema(name, "ros2msg", text.encode())
            self._channels[topic] = self._writer.register_channel(topic, "cdr", schema)
        self._noise = self._rng.integers(0, 256, 1 << 22, np.uint8)
        self._imu = self._imu_message()

    def __enter__(self) -> _Ros2File:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.finish()
        self._file.close()

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def imu(self, ns: int) -> None:
        """One IMU message, its numbers random where a sensor's are."""
        data = bytearray(self._imu)
        data[4:12] = np.array([ns // 10**9, ns % 10**9], np.uint32).tobytes()
        for start, count in ((28, 4), (132, 3), (228, 3)):
            data[start : start + 8 * count] = self._rng.standard_normal(count).tobytes()
        self._add("/imu", ns, bytes(data))

    def image(self, ns: int) -> None:
        """One image that does not compress: a JPEG's head, then noise."""
        types = self._types.types
        at = int(self._rng.integers(0, len(self._noise) - FRAME_BYTES))
        size = FRAME_BYTES + int(self._rng.integers(-20_000, 20_000))
        message = types["sensor_msgs/msg/CompressedImage"](
            header=self._header(ns), format="jpeg",
            data=np.concatenate([_jpeg(), self._noise[at : at + size]]),
        )  # fmt: skip
        self._add("/camera", ns, self._types.serialize_cdr(message, message.__msgtype__))

    def _add(self, topic: str, ns: int, data: bytes | memoryview) -> None:
        self._writer.add_message(self._channels[topic], ns + 2 * MS, bytes(data), ns + MS)

    def _header(self, ns: int) -> object:
        types = self._types.types
        stamp = types["builtin_interfaces/msg/Time"](sec=ns // 10**9, nanosec=ns % 10**9)
        return types["std_msgs/msg/Header"](stamp=stamp, frame_id="imu_link")

    def _imu_message(self) -> bytes:
        types = self._types.types
        vector = types["geometry_msgs/msg/Vector3"]
        message = types["sensor_msgs/msg/Imu"](
            header=self._header(START_NS),
            orientation=types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
            orientation_covariance=np.full(9, 0.01),
            angular_velocity=vector(0.0, 0.0, 0.0),
            angular_velocity_covariance=np.full(9, 0.02),
            linear_acceleration=vector(0.0, 0.0, 9.8),
            linear_acceleration_covariance=np.full(9, 0.03),
        )
        return bytes(self._types.serialize_cdr(message, message.__msgtype__))


def _jpeg() -> np.ndarray:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (640, 480)).save(file, "jpeg")
    return np.frombuffer(file.getvalue(), np.uint8)


def _alone(what: str, path: Path, store: Path) -> dict[str, float]:
    """What one of the functions below measures, in a process of its own."""
    command = [sys.executable, __file__, what, str(path), str(store)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _ingest(path: Path, store: Path) -> None:
    from viae.store import Store
    from viae.verbs.ingest import ingest

    opened = Store.create(store)
    start = time.perf_counter()
    report = ingest([path], opened)
    seconds = time.perf_counter() - start
    assert report.complete, report.losses
    _tell(seconds)


def _peer(path: Path, store: Path) -> None:
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    start = time.perf_counter()
    with path.open("rb") as file:
        messages = make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages()
        for _ in zip(range(PEER_IMU), messages, strict=False):
            pass
    _tell(time.perf_counter() - start)


def _tell(seconds: float) -> None:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


if __name__ == "__main__":
    {"ingest": _ingest, "peer": _peer}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
