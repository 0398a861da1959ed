"""The pictures of a dataset as LeRobot gives them: float32 from 0 to 1, channels first.

Workers of a DataLoader are forked, and Lance does not survive that. So whatever workers read is in
memory, or in a file that is mapped into it, before they are.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from viae.errors import UsageError, WindowError
from viae.load.access import Frames
from viae.load.buffers import Buffers
from viae.load.lerobot_items.colours import MovieFrames
from viae.load.lerobot_items.said import Said
from viae.load.packets import HeldPackets, PacketSource, coded_bytes, hold
from viae.load.timelines import StreamRows, read_timelines
from viae.schema import Kind
from viae.store import Store
from viae.video import AS_RECORDED

Rows = npt.NDArray[np.int64]
Pictures: TypeAlias = torch.Tensor | list[torch.Tensor]
"""N pictures: one tensor, or, where they may differ in size, N."""


class Camera(Protocol):
    """The pictures of one camera, by row."""

    def read(self, rows: Rows) -> Pictures:
        """Pictures of rows.

        Args:
            rows: int64 [N]; any order, repeats allowed.

        Returns:
            N tensors [C, H, W], float32; or one [N, C, H, W].
        """


class Movie:
    """Pictures decoded from groups."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        self._buffers = Buffers()

    def read(self, rows: Rows) -> torch.Tensor:
        """See `Camera`. Its memory is used again when no tensor of it is left."""
        shape = (len(rows), *self.frames.shape)
        pixels = self._buffers.take(shape, np.uint8)
        self.frames.read(rows, pixels)
        found = torch.from_numpy(self._buffers.take(shape, np.float32))
        for picture, coded in zip(found, torch.from_numpy(pixels), strict=True):
            picture.copy_(coded).div_(255)
        return found


class Stills:
    """Pictures that are coded one by one, in any number of channels that PIL knows."""

    def __init__(self, stream: StreamRows, packets: PacketSource) -> None:
        self.stream, self.packets = stream, packets

    def read(self, rows: Rows) -> list[torch.Tensor]:
        """See `Camera`."""
        unique, back = np.unique(rows, return_inverse=True)
        starts = self.stream.row_starts
        runs = np.searchsorted(starts, unique, side="right") - 1
        coded = list(self.packets.of(runs))
        places = (unique - starts[runs]).tolist()
        found = [
            self._decoded(coded[i][place], row)
            for i, (place, row) in enumerate(zip(places, unique.tolist(), strict=True))
        ]
        return [found[i] for i in back.tolist()]

    def _decoded(self, coded: Any, row: int) -> torch.Tensor:
        from PIL import Image

        try:
            return still(bytes(coded))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise WindowError(
                f"stream '{self.stream.spec.name}', row {row}: the picture cannot be decoded: "
                f"{error}"
            ) from error


NUMPY_OF = {"I": np.int32, "I;16": np.int16, "F": np.float32}
"""PIL's modes that are not bytes, as torchvision reads them."""


def still(coded: bytes) -> torch.Tensor:
    """A coded picture as Hugging Face and torchvision make a tensor of it: [C, H, W].

    Bytes become float32 from 0 to 1; modes of more bits keep their numbers.
    """
    from PIL import ExifTags, Image, ImageOps

    with Image.open(io.BytesIO(coded)) as opened:
        opened.load()
        turned = opened.getexif().get(ExifTags.Base.Orientation) is not None
        image = ImageOps.exif_transpose(opened) if turned else opened
        pixels = np.array(image, NUMPY_OF.get(image.mode, np.uint8), copy=True)
        channels = len(image.getbands())
        if image.mode == "1":
            pixels *= 255
    shaped = torch.from_numpy(pixels).reshape(*pixels.shape[:2], channels)
    planes = shaped.permute(2, 0, 1).contiguous()
    return planes.to(torch.float32).div_(255) if planes.dtype == torch.uint8 else planes


def open_cameras(
    said: Said,
    keys: Sequence[str],
    chosen: Sequence[int],
    starts: Rows,
    timestamps: npt.NDArray[Any],
    *,
    tolerance_s: float,
    memory_gb: float,
) -> dict[str, Camera]:
    """The cameras of a dataset.

    Args:
        said: the dataset.
        keys: features that are pictures.
        chosen: which episodes, ascending.
        starts: int64 [E + 1], first row of each of them.
        timestamps: [N], seconds; in its episode, of each row.
        tolerance_s: how far a movie's picture may be from its row.
        memory_gb: coded pictures up to this size are kept in memory, others in a temporary file.

    Raises:
        UsageError: a camera lacks pictures, or has them at other times.
    """
    ids = [said.ids[number] for number in chosen]
    streams = read_timelines(said.store, ids, keys) if keys else {}
    cameras: dict[str, Camera] = {}
    left = int(memory_gb * 1e9)
    for key in keys:
        stream = streams[key]
        have, need = np.diff(stream.starts), np.diff(starts)
        if (have != need).any():
            at = int(np.argmax(have != need))
            raise UsageError(
                f"{said.uri}: camera '{key}' has {have[at]} pictures for {need[at]} rows in "
                f"episode {chosen[at]} ({ids[at]}); leave it out with  episodes=…,  or "
                "repair the dataset with  viae export OUT --to lerobot"
            )
        size = coded_bytes(said.store, stream)
        if size <= left:
            packets, left = hold(said.store, stream, ids), left - size
        else:
            packets = spooled(said.store, stream, ids)
        if stream.spec.kind is Kind.VIDEO:
            _check_times(said, key, ids, starts, timestamps, tolerance_s)
            cameras[key] = Movie(MovieFrames(stream, packets, AS_RECORDED, tuple(ids)))
        else:
            cameras[key] = Stills(stream, packets)
    return cameras


def spooled(store: Store, stream: StreamRows, ids: Sequence[str]) -> HeldPackets:
    """All packets of a stream in a temporary file, mapped into memory; gone with the process."""
    video = stream.spec.kind is Kind.VIDEO
    column = "packets" if video else "blobs"
    schema = pa.schema([("packets", pa.list_(pa.binary()))])
    numbers = []
    with tempfile.NamedTemporaryFile(prefix="viae-lerobot-", suffix=".arrow") as file:
        with pa.ipc.new_file(file, schema) as writer:
            found = store.scan("video" if video else "chunks", [column], ids, [stream.spec.name])
            for rows in found:
                numbers.append(rows["row"].to_numpy())
                for chunk in rows[column].chunks:
                    writer.write_batch(pa.record_batch([chunk], schema=schema))
        file.flush()
        mapped = pa.memory_map(file.name)
    reader = pa.ipc.open_file(mapped)
    pieces = [reader.get_batch(i).column(0) for i in range(reader.num_record_batches)]
    read = np.concatenate([*numbers, np.empty(0, np.int64)])
    order = np.argsort(read)
    return HeldPackets(pieces, order[np.searchsorted(read[order], stream.rows)])


def _check_times(
    said: Said,
    key: str,
    ids: Sequence[str],
    starts: Rows,
    timestamps: npt.NDArray[Any],
    tolerance_s: float,
) -> None:
    """Each picture is where LeRobot looks for it: at the time of its row, from 0 on."""
    columns = ["pts", "time_base_num", "time_base_den"]
    parts: dict[str, list[tuple[int, Any, float]]] = {id_: [] for id_ in ids}
    for rows in said.store.scan("video", columns, ids, [key]):
        names = ("episode_id", "position", *columns)
        for id_, position, pts, num, den in zip(*(rows[n].to_pylist() for n in names), strict=True):
            parts[id_].append((position, sorted(pts), num / den))
    for number, id_ in enumerate(ids):
        at_s = np.array(
            [tick * base for _, pts, base in sorted(parts[id_]) for tick in pts], np.float64
        )
        row_s = timestamps[starts[number] : starts[number + 1]].astype(np.float64)
        if not len(row_s):
            continue
        gap = np.abs(at_s - at_s[0] - row_s)
        if not (gap < tolerance_s).all():
            worst = int(np.argmax(gap))
            raise UsageError(
                f"{said.uri}: picture {worst} of camera '{key}' in episode {number} ({id_}) is "
                f"{gap[worst]:.6f} s away from the timestamp of its row, more than "
                f"tolerance_s={tolerance_s:g}; LeRobot would refuse it"
            )
