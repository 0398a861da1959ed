"""Episodes out of a store, in the formats of others.

::

    exporter.py   what a target is, and the registry of them
    source.py     one episode of a store, read a stream at a time
    folder.py     written aside, renamed when whole
    naming.py     names that a target allows, without collisions
    resample.py   one clock for all streams: which rows, which sample in each
    pictures.py   pictures of a row, decoded one at a time · movie.py: MP4 of constant frame rate
    lerobot/      LeRobot v3.0
    mcap.py       MCAP   rrd.py   Rerun   tables.py   plain Parquet

A target writes a folder that nobody sees until it is whole and has been read back. What it could
not take it says as `Loss`.
"""

from viae.export.exporter import EXPORTERS, Exporter, ExportOptions, Late, Written, exporter
from viae.export.source import EpisodeSource, episode_sources

__all__ = [
    "EXPORTERS", "EpisodeSource", "ExportOptions", "Exporter", "Late", "Written",
    "episode_sources", "exporter",
]  # fmt: skip
