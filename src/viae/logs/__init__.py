"""Logs in and out: one module per format, the registry that finds them, the recorder.

A format is a subclass of `LogFormat`, named by an entry point in the group ``viae.logs``.
"""

from viae.logs.format import Item, Log, LogEpisode, LogFormat, Statement
from viae.logs.recorder import Recorder
from viae.logs.registry import FoundLogs, find_logs, formats, open_log

__all__ = [
    "FoundLogs", "Item", "Log", "LogEpisode", "LogFormat", "Recorder", "Statement", "find_logs",
    "formats", "open_log",
]  # fmt: skip
