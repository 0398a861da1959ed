"""Paired rollouts and their statistics."""

from viae.evaluate.plan import FIRST_SEED, InitialState, initial_states_of, plan
from viae.evaluate.statistics import (
    Mean,
    PairedDifference,
    Rate,
    mean,
    paired_difference,
    success_rate,
)

__all__ = [
    "FIRST_SEED", "InitialState", "Mean", "PairedDifference", "Rate", "initial_states_of", "mean",
    "paired_difference", "plan", "success_rate",
]  # fmt: skip
