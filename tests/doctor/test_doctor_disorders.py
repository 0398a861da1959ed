"""Each disorder, made at its stated size, is found under its name, and nothing else is."""

import numpy as np
import pytest

from viae.doctor.checks import check_episode
from viae.doctor.finding import CATALOGUE
from viae.doctor.tracing import trace_episode
from viae.testing.disorder import DISORDERS, MadeLog, clean, disordered


def found_in(log: MadeLog) -> list[tuple[str, str]]:
    trace = trace_episode(log.items(), path="made", format="mcap")
    return [(finding.name, finding.stream) for finding in check_episode(trace)]


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_log_has_no_findings(seed: int) -> None:
    assert found_in(clean(np.random.default_rng(seed))) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_short_clean_log_has_no_findings(seed: int) -> None:
    assert found_in(clean(np.random.default_rng(seed), seconds=8)) == []


@pytest.mark.parametrize("finding", DISORDERS)
def test_a_disorder_is_found_and_nothing_else(finding: str) -> None:
    log, stream = disordered(finding, seed=1)
    assert found_in(log) == [(finding, stream)]


def test_every_disorder_has_its_rule_and_its_size() -> None:
    for name, disorder in DISORDERS.items():
        assert name == disorder.finding
        assert disorder.size
        assert CATALOGUE[name].consequence
        assert CATALOGUE[name].fix.endswith(".")


def test_a_seed_makes_the_same_log_again() -> None:
    first, second = (disordered("stall", 7)[0].items() for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert repr(one) == repr(other)
        if hasattr(one, "arrival_ns") and hasattr(other, "arrival_ns"):
            assert np.array_equal(one.arrival_ns, other.arrival_ns)
