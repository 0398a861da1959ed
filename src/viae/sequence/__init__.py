"""Clocks, causal order, windows and splits: arrays in, indices out; pure."""

from viae.sequence.clock import ClockModel, ClockPiece, find_jumps, fit_clock
from viae.sequence.draw import InOrder, Order, Shuffled, Weighted
from viae.sequence.lookup import known_at, latest_known
from viae.sequence.order import causal_order, decision_bound
from viae.sequence.split import held_out, iid_order, split_episodes
from viae.sequence.window import (
    Timeline,
    ages_s,
    decision_times,
    input_indices,
    target_indices,
    until_stop,
)

__all__ = [
    "ClockModel", "ClockPiece", "InOrder", "Order", "Shuffled", "Timeline", "Weighted", "ages_s",
    "causal_order", "decision_bound", "decision_times", "find_jumps", "fit_clock", "held_out",
    "iid_order", "input_indices", "known_at", "latest_known", "split_episodes",
    "target_indices", "until_stop",
]  # fmt: skip
