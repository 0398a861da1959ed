"""Small ULog files, byte by byte (https://docs.px4.io/main/en/dev_log/ulog_file_format.html)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

CODES = {
    "int8_t": "b", "uint8_t": "B", "int16_t": "h", "uint16_t": "H", "int32_t": "i",
    "uint32_t": "I", "int64_t": "q", "uint64_t": "Q", "float": "f", "double": "d", "bool": "?",
}  # fmt: skip
MAGIC = b"\x55\x4c\x6f\x67\x01\x12\x35\x01"


@dataclass
class UlogMaker:
    """Collects messages; `write` puts them behind a header."""

    body: bytearray = field(default_factory=bytearray)
    layouts: dict[str, str] = field(default_factory=dict)

    def message(self, type_: str, data: bytes) -> None:
        """Any message."""
        self.body += struct.pack("<HB", len(data), ord(type_)) + data

    def format(self, topic: str, *fields: str) -> None:
        """A topic's fields, like ``"float[3] xyz"``."""
        self.message("F", f"{topic}:{''.join(f'{one};' for one in fields)}".encode())
        layout = "<"
        for one in fields:
            type_, _, count = one.split(" ")[0].rstrip("]").partition("[")
            known = CODES.get(type_, "c")
            layout += f"{count}s" if type_ == "char" else f"{count}{known}"
        self.layouts[topic] = layout

    def info(self, key: str, value: str | int) -> None:
        """An information message."""
        self.message("I", _pair(key, value))

    def parameter(self, name: str, value: int | float) -> None:
        """A parameter, initial or changed."""
        self.message("P", _pair(name, value))

    def subscribe(self, topic: str, msg_id: int, *, instance: int = 0) -> None:
        """Announce the data of a topic."""
        self.message("A", struct.pack("<BH", instance, msg_id) + topic.encode())

    def data(self, topic: str, msg_id: int, *values: Any) -> None:
        """A sample."""
        self.message("D", struct.pack("<H", msg_id) + struct.pack(self.layouts[topic], *values))

    def say(self, at_us: int, text: str, *, level: str = "6", tag: int | None = None) -> None:
        """A logged string."""
        middle = b"" if tag is None else struct.pack("<H", tag)
        data = level.encode() + middle + struct.pack("<Q", at_us) + text.encode()
        self.message("L" if tag is None else "C", data)

    def dropout(self, duration_ms: int) -> None:
        """Say that the logger could not write."""
        self.message("O", struct.pack("<H", duration_ms))

    def write(self, path: Path, *, start_us: int = 1000, appended: Sequence[int] = ()) -> Path:
        """The file; ``appended`` are the offsets of appended data, in the file."""
        offsets = [*appended, 0, 0, 0][:3]
        flags = bytes(8) + bytes([1 if appended else 0, *bytes(7)]) + struct.pack("<3Q", *offsets)
        header = MAGIC + struct.pack("<Q", start_us) + struct.pack("<HB", len(flags), ord("B"))
        path.write_bytes(header + flags + self.body)
        return path

    @property
    def offset(self) -> int:
        """Where the next message will be in the file."""
        return 16 + 3 + 40 + len(self.body)


def write_ulog(path: Path, *, samples: int = 60) -> Path:
    """Write a file with an IMU of two instances, an attitude, a setpoint, strings, parameters."""
    made = UlogMaker()
    made.info("sys_name", "PX4")
    made.info("ver_hw", "TOY")
    made.parameter("MC_ROLL_P", 6.5)
    made.parameter("SYS_AUTOSTART", 4001)
    made.format("sensor_accel", "uint64_t timestamp", "uint64_t timestamp_sample", "float[3] xyz")
    made.format("vehicle_attitude", "uint64_t timestamp", "float[4] q", "uint8_t resets", "bool ok")
    made.format("rates_setpoint", "uint64_t timestamp", "float roll", "float pitch", "float yaw")
    for msg_id, (topic, instance) in enumerate(
        [("sensor_accel", 0), ("sensor_accel", 1), ("vehicle_attitude", 0), ("rates_setpoint", 0)]
    ):
        made.subscribe(topic, msg_id, instance=instance)
    rng = np.random.default_rng(0)
    for k in range(samples):
        at_us = 1_000_000 + 4000 * k
        for instance in range(2):
            xyz = rng.standard_normal(3)
            made.data("sensor_accel", instance, at_us, at_us - 300, *xyz)
        made.data("vehicle_attitude", 2, at_us + 10, *rng.standard_normal(4), k % 5, k > 2)
        if k % 3 == 0:
            made.data("rates_setpoint", 3, at_us + 20, *rng.standard_normal(3))
        if k == 7:
            made.say(at_us, "armed")
            made.say(at_us, "tagged", tag=3, level="4")
            made.parameter("MC_ROLL_P", 7.5)
    return made.write(path)


def _pair(key: str, value: str | int | float) -> bytes:
    if isinstance(value, str):
        type_, data = f"char[{len(value)}]", value.encode()
    else:
        type_ = "float" if isinstance(value, float) else "int32_t"
        data = struct.pack("<" + CODES[type_], value)
    name = f"{type_} {key}".encode()
    return bytes([len(name)]) + name + data
