"""Clocks, causal order, windows and splits: arrays in, indices out; pure."""

from viae.sequence.lookup import known_at, latest_known
from viae.sequence.order import causal_order, decision_bound
from viae.sequence.split import held_out, iid_order
from viae.sequence.window import Timeline, input_indices, target_indices

__all__ = [
    "Timeline", "causal_order", "decision_bound", "held_out", "iid_order", "input_indices",
    "known_at", "latest_known", "target_indices",
]  # fmt: skip
