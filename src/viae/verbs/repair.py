"""Repair: a damaged MCAP file into a new one, whole and with an index."""

from viae.record.repair import Repaired, repair

__all__ = ["Repaired", "repair"]
