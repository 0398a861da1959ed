"""The MCAP file under a recorder: foxglove-sdk's writer on a file that keeps its first error."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import foxglove
from foxglove import Channel, Context, Schema
from foxglove.mcap import MCAPCompression, MCAPWriteOptions

from viae.errors import RecorderError
from viae.logs.messages.plan import SPEC_KEY
from viae.record.messages import recorded_message
from viae.schema import StreamSpec

CHUNK_BYTES = 1 << 20
"""Uncompressed bytes after which a chunk is closed, whatever the time."""


class Compression(StrEnum):
    """How chunks are compressed."""

    ZSTD = "zstd"
    LZ4 = "lz4"
    NONE = "none"


_SDK_COMPRESSION = {
    Compression.ZSTD: MCAPCompression.Zstd,
    Compression.LZ4: MCAPCompression.Lz4,
    Compression.NONE: None,
}


class McapSink:
    """Writes one MCAP file. A chunk reaches the file when it is closed, whole.

    Args:
        path: the file; it must not exist.
        compression: of chunks.
        fsync: whether `flush` waits for the disk, not only for the operating system.

    Raises:
        RecorderError: the file exists or cannot be made.
    """

    def __init__(self, path: Path, *, compression: Compression, fsync: bool) -> None:
        self.path, self._fsync = path, fsync
        self._file = _File(path)
        # Our own: the SDK's default one is shared by the whole process. Channels die with it.
        self._context = Context()
        self._writer = foxglove.open_mcap(
            self._file,
            context=self._context,
            writer_options=MCAPWriteOptions(
                compression=_SDK_COMPRESSION[compression],
                compression_level=1,  # the fastest; higher ones gain little on sensor data
                compression_threads=0,
                chunk_size=CHUNK_BYTES,
                # Else a chunk is begun in the file and its length filled in later: a kill between
                # would leave a length of nothing, and the file would be unreadable from there.
                disable_seeking=True,
            ),
        )
        self._channels: list[Channel] = []

    def channel(self, spec: StreamSpec) -> Callable[..., None]:
        """A channel for a stream: what logs its messages, ``log(data, log_time=ns)``."""
        spec = replace(spec, topic=spec.name)
        message = recorded_message(spec.kind)
        channel = Channel(
            spec.name,
            message_encoding="protobuf",
            schema=Schema(name=message.name, encoding="protobuf", data=message.schema),
            metadata={SPEC_KEY: json.dumps(spec.to_json(), sort_keys=True)},
            context=self._context,
        )
        self._channels.append(channel)
        log: Callable[..., None] = channel.base.log  # what Channel.log comes to, for bytes
        return log

    def state(self, record: str, texts: Mapping[str, str]) -> None:
        """Write a metadata record.

        Raises:
            RecorderError: it cannot be written.
        """
        self._attempt(lambda: self._writer.write_metadata(record, dict(texts)))

    def flush(self) -> None:
        """Close the chunk: what was logged before is in the file.

        Raises:
            RecorderError: it cannot be written.
        """
        self._attempt(self._writer.flush)
        if self._fsync:
            self._file.sync()
            self.check()

    def close(self) -> None:
        """Write the index and close the file.

        Raises:
            RecorderError: it cannot be written; what was there before stays readable.
        """
        for channel in self._channels:
            channel.close()
        try:
            self._attempt(self._writer.close)
            if self._fsync:
                self._file.sync()
                self.check()
        finally:
            self._file.close()

    def check(self) -> None:
        """The SDK only logs what goes wrong in a file; the file remembers it.

        Raises:
            RecorderError: something could not be written.
        """
        if self._file.error:
            raise RecorderError(
                f"{self.path}: cannot write ({self._file.error.strerror}); the first "
                f"{self._file.size} bytes are there and stay readable. Free some space and record "
                "to a new file"
            ) from self._file.error

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except RuntimeError as error:
            self.check()
            raise RecorderError(f"{self.path}: cannot write ({error})") from error
        self.check()


class _File(io.RawIOBase):
    """A new file that remembers its first error, and takes nothing after it."""

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self.size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._raw = path.open("xb", buffering=0)
        except OSError as error:
            if path.exists():
                raise RecorderError(
                    f"{path}: there is a file already, and recordings are never overwritten. "
                    "Give another name"
                ) from error
            raise RecorderError(f"{path}: cannot make the file ({error.strerror})") from error

    def write(self, data: Any) -> int:
        if self.error:  # a hole in the middle would be worse than a missing end
            raise self.error
        try:
            view = memoryview(data)
            while view:  # an unbuffered file may take only a part
                taken = self._raw.write(view)
                self.size += taken
                view = view[taken:]
        except OSError as error:
            self.error = error
            raise
        return len(data)

    def sync(self) -> None:
        try:
            os.fsync(self._raw.fileno())
        except OSError as error:
            self.error = self.error or error

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def close(self) -> None:
        self._raw.close()
        super().close()
