"""Trust: the probability that an attempt will succeed, and how good that probability is."""

from viae.trust.attempts import Attempts, Familiarity, describe_attempts
from viae.trust.measures import (
    Estimate,
    auroc,
    brier_skill,
    calibration_error,
    estimate,
    reliability_bins,
)
from viae.trust.probe import Probe, fit_probe

__all__ = [
    "Attempts", "Estimate", "Familiarity", "Probe", "auroc", "brier_skill",
    "calibration_error", "describe_attempts", "estimate", "fit_probe", "reliability_bins",
]  # fmt: skip
