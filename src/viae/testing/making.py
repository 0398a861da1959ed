"""Small logs made on the spot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CAMERA = "observation.images.front"


def write_lerobot(
    root: Path,
    *,
    episodes: int = 2,
    frames: int = 12,
    total_episodes: int | None = None,
    video_frames: int | None = None,
    codec: str = "mpeg4",
    declared_codec: str | None = None,
    fps: int = 10,
    version: str = "v2.1",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a LeRobot dataset with one camera, a 3-dim state, a 2-dim action and a reward.

    Args:
        root: the dataset's folder.
        episodes: how many are written.
        frames: rows of each table.
        total_episodes: how many are declared; None for as many as are written.
        video_frames: frames of each video; None for as many as rows.
        codec: FFmpeg encoder of the videos.
        declared_codec: what ``info.json`` says; None for the truth.
        fps: frames per second.
        version: ``"v2.1"``, or ``"v3.0"``: all episodes in one table and one video.
        options: the encoder's.
    """
    if version == "v3.0":
        shape = _Shape(episodes, frames, episodes if total_episodes is None else total_episodes)
        return _write_v30(root, shape, codec, declared_codec or codec, fps, options)
    total = episodes if total_episodes is None else total_episodes
    for path in ("meta", "data/chunk-000", f"videos/chunk-000/{CAMERA}"):
        (root / path).mkdir(parents=True)
    info = {
        "codebase_version": "v2.1",
        "robot_type": "toy",
        "total_episodes": total,
        "total_frames": total * frames,
        "chunks_size": 1000,
        "fps": fps,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
        "features": _features(declared_codec or codec),
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    _write_lines(root / "meta/tasks.jsonl", [{"task_index": 0, "task": "push the block"}])
    lines = (
        {"episode_index": e, "tasks": ["push the block"], "length": frames} for e in range(total)
    )
    _write_lines(root / "meta/episodes.jsonl", lines)
    for episode in range(episodes):
        name = f"episode_{episode:06d}"
        pq.write_table(_table(episode, frames, fps), root / f"data/chunk-000/{name}.parquet")
        write_video(
            root / f"videos/chunk-000/{CAMERA}/{name}.mp4",
            frames=frames if video_frames is None else video_frames,
            codec=codec,
            fps=fps,
            seed=episode,
            options=options,
        )
    return root


class _Shape(NamedTuple):
    episodes: int
    frames: int
    total: int


def _write_v30(
    root: Path,
    shape: _Shape,
    codec: str,
    declared_codec: str,
    fps: int,
    options: dict[str, str] | None,
) -> Path:
    episodes, frames, total = shape
    file = "chunk-000/file-000"
    for path in ("meta/episodes/chunk-000", "data/chunk-000", f"videos/{CAMERA}/chunk-000"):
        (root / path).mkdir(parents=True)
    info = {
        "codebase_version": "v3.0",
        "robot_type": "toy",
        "total_episodes": total,
        "total_frames": total * frames,
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{total}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": _features(declared_codec),
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/stats.json").write_text(json.dumps({"action": {"max": [1.0, 2.0]}}))
    tasks = pa.table({"task_index": [0], "__index_level_0__": ["push the block"]})
    pq.write_table(tasks, root / "meta/tasks.parquet")
    seconds = frames / fps
    rows = [
        {
            "episode_index": e,
            "tasks": ["push the block"],
            "length": frames,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": e * frames,
            "dataset_to_index": (e + 1) * frames,
            f"videos/{CAMERA}/chunk_index": 0,
            f"videos/{CAMERA}/file_index": 0,
            f"videos/{CAMERA}/from_timestamp": e * seconds,
            f"videos/{CAMERA}/to_timestamp": (e + 1) * seconds,
            "stats/action/max": [float(e), 0.5],
            "stats/action/count": [frames],
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for e in range(total)
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / f"meta/episodes/{file}.parquet")
    tables = [_table(e, frames, fps) for e in range(episodes)]
    pq.write_table(pa.concat_tables(tables), root / f"data/{file}.parquet")
    clips = [root / f"{e}.mp4" for e in range(episodes)]
    for e, clip in enumerate(clips):
        write_video(clip, frames=frames, codec=codec, fps=fps, seed=e, options=options)
    concatenate_videos(clips, root / f"videos/{CAMERA}/{file}.mp4", seconds=seconds)
    for clip in clips:
        clip.unlink()
    return root


def concatenate_videos(clips: list[Path], path: Path, *, seconds: float) -> None:
    """Write the packets of videos one after another, each begun ``seconds`` after the last."""
    with av.open(path, "w") as target:
        stream: Any = None
        for number, clip in enumerate(clips):
            with av.open(clip) as source:
                if stream is None:
                    stream = target.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    shift = round(number * seconds / float(packet.time_base))
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    target.mux(packet)


def write_video(
    path: Path,
    *,
    frames: int,
    codec: str = "mpeg4",
    fps: int = 10,
    seed: int = 0,
    options: dict[str, str] | None = None,
) -> None:
    """Write pictures 64 wide and 48 high, a key frame every four unless the options say else."""
    rng = np.random.default_rng(seed)
    with av.open(path, "w") as container:
        stream: Any = container.add_stream(codec, rate=fps, options=options or {"g": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        scene = rng.integers(0, 128, (48, 64, 3), np.uint8)
        for i in range(frames):
            pixels = scene + np.uint8(i % 64)  # a scene that brightens, so that frames predict
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _features(codec: str) -> dict[str, Any]:
    def numbers(dtype: str, size: int, names: Any = None) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [size], "names": names}

    return {
        "observation.state": numbers("float32", 3, [["x", "y", "z"]]),
        "action": numbers("float32", 2, {"motors": ["left", "right"]}),
        "next.reward": numbers("float32", 1),
        CAMERA: {
            "dtype": "video",
            "shape": [48, 64, 3],
            "names": ["height", "width", "channel"],
            "info": {"video.codec": codec, "video.fps": 10},
        },
        "timestamp": numbers("float32", 1),
        "frame_index": numbers("int64", 1),
        "episode_index": numbers("int64", 1),
        "index": numbers("int64", 1),
        "task_index": numbers("int64", 1),
    }


def _table(episode: int, frames: int, fps: int) -> pa.Table:
    rng = np.random.default_rng(episode)

    def vectors(size: int) -> pa.Array:
        flat = pa.array(rng.standard_normal(frames * size, np.float32))
        return pa.FixedSizeListArray.from_arrays(flat, size)

    index = np.arange(frames)
    return pa.table(
        {
            "observation.state": vectors(3),
            "action": vectors(2),
            "next.reward": pa.array(rng.standard_normal(frames, np.float32)),
            "timestamp": pa.array((index / fps).astype(np.float32)),
            "frame_index": pa.array(index),
            "episode_index": pa.array(np.full(frames, episode)),
            "index": pa.array(index + episode * frames),
            "task_index": pa.array(np.zeros(frames, np.int64)),
        }
    )


def _write_lines(path: Path, lines: Iterator[Any] | list[Any]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
