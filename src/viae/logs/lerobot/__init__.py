"""LeRobot datasets, version 2.1: one Parquet file per episode, one video per camera and episode.

::

    format.py     what a dataset is: recognise, open, declared against present
    info.py       meta/*.json: features, tasks, where the files are
    episode.py    one episode: its table, then its videos
"""

from viae.logs.lerobot.format import LeRobotFormat

__all__ = ["LeRobotFormat"]
