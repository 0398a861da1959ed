"""What ingest corrects is what the doctor says is wrong with a clock, and nothing else."""

import numpy as np
import pytest

from viae.doctor import Severity, clocks
from viae.doctor.checks import check_episode
from viae.doctor.finding import Rule
from viae.doctor.tracing import trace_episode
from viae.sequence.clock import ArrivalClock, clock_by_hand
from viae.sequence.stamps import correction
from viae.testing.disorder import DISORDERS, clean

CLOCK_RULES = {
    rule.name for rule in vars(clocks).values()
    if isinstance(rule, Rule) and rule.name != "clock-corrected"
}  # fmt: skip
PIECES = {
    "clock-offset": 1, "future-stamps": 1, "clock-jump": 2, "wrong-unit": 1, "simulation-time": 1,
}  # fmt: skip
SOMETIMES = {"clock-drift", "zero-stamps"}
"""A drift is corrected where it comes to 5 ms, zeros where there is nothing else."""


@pytest.mark.parametrize("disorder", sorted(DISORDERS))
def test_only_clocks_are_corrected(disorder: str):
    rng = np.random.default_rng(7)
    log = clean(rng)
    spoiled = DISORDERS[disorder].spoil(log, rng)
    found = {name: correction(s.capture_ns, s.arrival_ns) for name, s in log.streams.items()}
    clocks = {name: clock for name, clock in found.items() if clock is not None}
    if disorder not in PIECES:
        assert set(clocks) <= ({spoiled} if disorder in SOMETIMES else set())
        return
    assert set(clocks) == {spoiled}
    clock, stream = clocks[spoiled], log.streams[spoiled]
    if isinstance(clock, ArrivalClock):
        assert disorder == "wrong-unit"  # of whole seconds
        return
    assert len(clock.pieces) == PIECES[disorder]
    delay_ns = clock.delay_ns(stream.capture_ns, stream.arrival_ns)
    assert delay_ns.min() >= -100
    assert np.median(delay_ns) < 250_000_000


@pytest.mark.parametrize("disorder", sorted(PIECES))
def test_what_a_fact_has_corrected_is_not_found_again(disorder: str):
    rng = np.random.default_rng(7)
    log = clean(rng)
    spoiled = DISORDERS[disorder].spoil(log, rng)
    stream = log.streams[spoiled]
    clock = correction(stream.capture_ns, stream.arrival_ns)
    assert clock is not None

    def found(clocks):
        trace = trace_episode(log.items(), path="s", format="store", clocks=clocks)
        return [finding for finding in check_episode(trace) if finding.stream == spoiled]

    assert disorder in {finding.name for finding in found({})}
    after = {finding.name: finding for finding in found({spoiled: clock})}
    assert not set(after) & CLOCK_RULES
    note = after["clock-corrected"]
    assert note.severity is Severity.NOTE
    assert note.values["settles"] == [disorder]
    assert f"clock.{spoiled} says; as recorded, " in note.evidence
    assert f"({disorder})" in note.evidence


def test_what_a_wrong_fact_leaves_is_found():
    rng = np.random.default_rng(7)
    log = clean(rng)
    spoiled = DISORDERS["clock-offset"].spoil(log, rng)
    start_ns = int(log.streams[spoiled].arrival_ns[0])
    wrong = clock_by_hand(at_ns=start_ns, offset_ns=1)
    trace = trace_episode(log.items(), path="s", format="store", clocks={spoiled: wrong})
    found = {finding.name: finding for finding in check_episode(trace)}
    assert found["clock-offset"].stream == spoiled
    assert found["clock-corrected"].values["settles"] == []
