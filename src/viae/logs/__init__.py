"""Logs in and out: one module per format, and the registry that finds them.

A format is a subclass of `LogFormat`, named by an entry point in the group ``viae.logs``.
"""

from viae.logs.format import Item, Log, LogEpisode, LogFormat, Statement
from viae.logs.registry import FoundLogs, find_logs, formats, open_log

__all__ = [
    "FoundLogs", "Item", "Log", "LogEpisode", "LogFormat", "Statement", "find_logs",
    "formats", "open_log",
]  # fmt: skip
