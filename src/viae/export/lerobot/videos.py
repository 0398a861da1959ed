"""``videos/*.mp4``: the pictures of all episodes, one row of files per camera."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from viae.export.lerobot.table import FILE, MB, Place, next_place
from viae.export.movie import Clip, MovieFile, movie_info

VIDEO = f"videos/{{video_key}}/{FILE}.mp4"


class VideoFiles:
    """The movies of one camera.

    A clip goes into the open file if it is coded as those there, and fits below the limit.

    Args:
        folder: the dataset.
        key: the feature.
        fps: frames per second.
        limit_mb: a file takes no clip that would lift it above this, unless it is its first.
        chunks_size: files per folder.
    """

    def __init__(
        self, folder: Path, key: str, *, fps: Fraction, limit_mb: float, chunks_size: int
    ) -> None:
        self._folder, self.key, self._fps = folder, key, fps
        self._limit, self._chunks_size = limit_mb * MB, chunks_size
        self._place: Place = (0, 0)
        self._file: MovieFile | None = None
        self._end_s = 0.0

    def append(self, clip: Clip) -> dict[str, Any]:
        """Add an episode; where it is now, as the episodes' metadata says it."""
        fits = self._file and self._file.nbytes + clip.nbytes < self._limit
        if self._file and not (fits and self._file.takes(clip)):
            self.close()
            self._place = next_place(self._place, self._chunks_size)
        if self._file is None:
            self._file = MovieFile(self.path(*self._place), self._fps, clip)
            self._end_s = 0.0
        start_s = self._end_s
        self._file.append(clip)
        self._end_s = start_s + len(clip.packets) / float(self._fps)
        chunk, file = self._place
        return {
            f"videos/{self.key}/chunk_index": chunk,
            f"videos/{self.key}/file_index": file,
            f"videos/{self.key}/from_timestamp": start_s,
            f"videos/{self.key}/to_timestamp": self._end_s,
        }

    def path(self, chunk: int, file: int) -> Path:
        """A file of this camera."""
        place = VIDEO.format(video_key=self.key, chunk_index=chunk, file_index=file)
        return self._folder / place

    def info(self) -> dict[str, Any]:
        """What ``info.json`` says of the camera's movies, by the first."""
        found = movie_info(self.path(0, 0))
        rate = Fraction(found["fps"])
        return {
            "video.height": found["height"], "video.width": found["width"],
            "video.codec": found["codec"], "video.pix_fmt": found["pix_fmt"],
            "video.is_depth_map": False,
            "video.fps": int(rate) if rate.denominator == 1 else float(rate),
            "video.channels": 1 if str(found["pix_fmt"]).startswith("gray") else 3,
            "has_audio": False,
        }  # fmt: skip

    def close(self) -> None:
        """Write the index of the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None
