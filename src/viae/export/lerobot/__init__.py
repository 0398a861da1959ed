"""LeRobot datasets of version 3.0, as LeRobot 0.4 lays them out.

::

    exporter.py   the order of work
    origin.py     what a dataset said of itself, where episodes came from one
    plan.py       streams to features, clock and rate: decided before anything is written
    table.py      data/*.parquet
    videos.py     videos/*.mp4
    stats.py      statistics of features, by episode and over all
    meta.py       meta/*: info, tasks, episodes, statistics
    readback.py   what was meant against what viae's own reader finds

Where all episodes come from LeRobot and no clock is asked for, nothing is resampled, packets are
moved, and what LeRobot stored beside streams is stored again: names, shapes, statistics, tasks.
``meta/viae_export.json`` says which episode is which, how streams are called, what was given up.
"""

from viae.export.lerobot.exporter import LeRobotExporter

__all__ = ["LeRobotExporter"]
