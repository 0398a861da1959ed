"""Recording: streams into MCAP files that survive a crash; and damaged files made whole."""

from viae.record.queue import Overflow
from viae.record.recorder import FLUSH_S, Recorder
from viae.record.repair import Repaired, repair
from viae.record.sink import Compression

__all__ = ["FLUSH_S", "Compression", "Overflow", "Recorder", "Repaired", "repair"]
