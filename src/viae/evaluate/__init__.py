"""Paired rollouts and their statistics."""

from viae.evaluate.plan import FIRST_SEED, InitialState, initial_states_of, plan
from viae.evaluate.statistics import PairedDifference, Rate, paired_difference, success_rate

__all__ = [
    "FIRST_SEED", "InitialState", "PairedDifference", "Rate", "initial_states_of",
    "paired_difference", "plan", "success_rate",
]  # fmt: skip
