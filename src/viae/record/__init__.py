"""Recording: streams into MCAP files that survive a crash."""

from viae.record.recorder import Recorder

__all__ = ["Recorder"]
