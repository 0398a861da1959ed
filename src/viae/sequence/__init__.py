"""Clocks, causal order, windows and splits: arrays in, indices out; pure."""

from viae.sequence.clock import ClockModel, ClockPiece, find_jumps, fit_clock
from viae.sequence.lookup import known_at, latest_known
from viae.sequence.order import causal_order, decision_bound
from viae.sequence.split import held_out, iid_order
from viae.sequence.window import Timeline, input_indices, target_indices

__all__ = [
    "ClockModel", "ClockPiece", "Timeline", "causal_order", "decision_bound", "find_jumps",
    "fit_clock", "held_out", "iid_order", "input_indices", "known_at", "latest_known",
    "target_indices",
]  # fmt: skip
