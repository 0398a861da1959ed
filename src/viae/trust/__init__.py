"""Trust: the probability that an attempt will succeed, and how good that probability is.

What needs a bundle, and so torch, is loaded when it is first used: a table of scores needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from viae.trust.alarms import (
    AlarmReport,
    alarm_times,
    credit,
    elapsed_alone,
    refuse_leak,
    report_alarms,
    time_weighted_accuracy,
)
from viae.trust.calibrate import Calibrated, Calibrator, cross_calibrated, fit_calibrator
from viae.trust.combine import Combiner, Source, compare_sources, cross_combined, fit_combiner
from viae.trust.conformal import (
    Runs,
    Threshold,
    band_threshold,
    cases_needed,
    conformal_quantile,
    constant_threshold,
)
from viae.trust.folds import folds
from viae.trust.intervals import estimate_by_unit, wilson
from viae.trust.measures import (
    Estimate,
    auroc,
    brier_skill,
    calibration_error,
    estimate,
    reliability_bins,
)
from viae.trust.rules import RULES, Rule, fit_rule
from viae.trust.unfamiliar import Unfamiliar, fit_unfamiliar

if TYPE_CHECKING:
    from viae.trust.attempts import Attempts, Familiarity, describe_attempts
    from viae.trust.probe import Probe, fit_probe

_HOME = {
    "Attempts": "viae.trust.attempts",
    "Familiarity": "viae.trust.attempts",
    "describe_attempts": "viae.trust.attempts",
    "Probe": "viae.trust.probe",
    "fit_probe": "viae.trust.probe",
}

__all__ = [
    "RULES", "AlarmReport", "Attempts", "Calibrated", "Calibrator", "Combiner", "Estimate",
    "Familiarity", "Probe", "Rule", "Runs", "Source", "Threshold", "Unfamiliar", "alarm_times",
    "auroc", "band_threshold", "brier_skill", "calibration_error", "cases_needed",
    "compare_sources", "conformal_quantile", "constant_threshold", "credit", "cross_calibrated",
    "cross_combined", "describe_attempts", "elapsed_alone", "estimate", "estimate_by_unit",
    "fit_calibrator", "fit_combiner", "fit_probe", "fit_rule", "fit_unfamiliar", "folds",
    "refuse_leak", "reliability_bins", "report_alarms", "time_weighted_accuracy", "wilson",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'viae.trust' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
