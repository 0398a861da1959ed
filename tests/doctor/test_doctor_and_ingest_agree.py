"""What ingest corrects is what the doctor says is wrong with a clock, and nothing else."""

import numpy as np
import pytest

from viae.sequence.clock import ArrivalClock
from viae.sequence.stamps import correction
from viae.testing.disorder import DISORDERS, clean

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
