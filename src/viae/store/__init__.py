"""The store: versioned Lance tables of episodes, streams, samples, video, facts and runs."""

from viae.store.query import query
from viae.store.rows import times_from_rows
from viae.store.snapshot import Snapshot
from viae.store.store import Store
from viae.store.writer import EpisodeDraft, StoreWriter

__all__ = ["EpisodeDraft", "Snapshot", "Store", "StoreWriter", "query", "times_from_rows"]
