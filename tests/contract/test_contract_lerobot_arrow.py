"""LeRobot datasets before version 2.0 keep the published contract."""

from pathlib import Path

import pyarrow as pa

from viae.logs.lerobot.arrow import LeRobotArrowFormat
from viae.testing import LogFormatContract
from viae.testing.making import write_video


def write_arrow(root: Path, *, episodes: int = 2, frames: int = 6) -> Path:
    (root / "train").mkdir(parents=True)
    (root / "videos").mkdir()
    tables = []
    for e in range(episodes):
        video = f"videos/observation.image_episode_{e:06d}.mp4"
        write_video(root / video, frames=frames, seed=e)
        seconds = pa.array([i / 10 for i in range(frames)], pa.float32())
        paths = pa.array([video] * frames)
        state = pa.array([float(10 * e + i) for i in range(2 * frames)], pa.float32())
        tables.append(
            pa.table(
                {
                    "observation.image": pa.StructArray.from_arrays(
                        [paths, seconds], ["path", "timestamp"]
                    ),
                    "observation.state": pa.FixedSizeListArray.from_arrays(state, 2),
                    "episode_index": pa.array([e] * frames),
                    "frame_index": pa.array(range(frames)),
                    "timestamp": seconds,
                    "next.done": pa.array([i == frames - 1 for i in range(frames)]),
                    "index": pa.array(range(e * frames, (e + 1) * frames)),
                }
            )
        )
    table = pa.concat_tables(tables)
    with pa.ipc.new_stream(root / "train/data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return root


class TestLeRobotArrow(LogFormatContract):
    format = LeRobotArrowFormat()

    def make_log(self, folder: Path) -> Path:
        return write_arrow(folder / "dataset")
