"""Clock models: fast = reference, never above the data, recovered where the truth is known."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viae.errors import SchemaError
from viae.sequence import ClockModel, find_jumps, fit_clock
from viae.sequence.clock import line_below, line_below_reference

START_NS = 1_760_000_000_000_000_000
MS = 1_000_000


def clocked(
    rng: np.random.Generator, *, rate_hz: float = 100, seconds: float = 60, drift_ppm: float = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, captures by a drifting clock, arrivals 2 ms later on average."""
    n = int(seconds * rate_hz)
    since = np.rint(np.arange(n) * 1e9 / rate_hz).astype(np.int64)
    truth = START_NS + since
    capture = truth + np.rint(since * drift_ppm * 1e-6).astype(np.int64)
    return truth, capture, truth + rng.exponential(2 * MS, n).astype(np.int64)


points = st.lists(
    st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=1, max_size=40
)


@given(points)
def test_line_below_equals_the_linear_program(drawn: list[tuple[int, int]]) -> None:
    x, y = (np.array(axis, np.float64) for axis in zip(*drawn, strict=True))
    slope, height = line_below(x, y)
    _, expected = line_below_reference(x, y)
    assert height == pytest.approx(expected, abs=1e-4)
    assert (height + slope * (x - x.mean()) <= y + 1e-6 * (1 + np.abs(y))).all()


@given(
    st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**7)), min_size=1, max_size=50),
    st.integers(-(10**17), 10**17),
)
def test_mapped_captures_are_not_after_arrivals(
    drawn: list[tuple[int, int]], offset_ns: int
) -> None:
    captured, delays = (np.array(axis, np.int64) for axis in zip(*drawn, strict=True))
    capture, arrival = START_NS + captured + offset_ns, START_NS + captured + delays
    model = fit_clock(capture, arrival, jumps=False)
    assert (model.delay_ns(capture, arrival) >= -2).all()


@pytest.mark.parametrize("rate_hz", [30, 100, 1000])
@pytest.mark.parametrize("drift_ppm", [-80.0, 0.0, 25.0])
def test_offset_and_drift_are_recovered(rate_hz: int, drift_ppm: float) -> None:
    """Within 0.1 ms over all of the minute, and 1 ppm."""
    truth, capture, arrival = clocked(
        np.random.default_rng(rate_hz), rate_hz=rate_hz, drift_ppm=drift_ppm
    )
    behind_ns = 66 * 86400 * 10**9
    model = fit_clock(capture - behind_ns, arrival)
    [piece] = model.pieces
    assert abs(piece.drift_ppm - drift_ppm) < 1
    assert np.abs(model.apply(capture - behind_ns) - truth).max() < 0.1 * MS
    assert piece.offset_ns == pytest.approx(-behind_ns, abs=5 * MS)


def test_intervals_hold_as_often_as_they_say() -> None:
    inside = []
    for seed in range(60):
        _, capture, arrival = clocked(np.random.default_rng(seed), rate_hz=40, drift_ppm=10)
        [piece] = fit_clock(capture, arrival).pieces
        inside.append(abs(piece.drift_ppm - 10) <= piece.drift_error_ppm)
    assert np.mean(inside) >= 0.95


def test_an_offset_of_every_sample_cannot_be_told_from_a_delay() -> None:
    _, capture, arrival = clocked(np.random.default_rng(0))
    early, late = fit_clock(capture, arrival), fit_clock(capture, arrival + 7 * MS)
    assert late.pieces[0].log_ns - early.pieces[0].log_ns == 7 * MS


@pytest.mark.parametrize("by_ns", [60 * MS, -60 * MS, -604_800 * 10**9, 18 * 10**9])
def test_a_step_of_the_clock_makes_two_pieces(by_ns: int) -> None:
    truth, capture, arrival = clocked(np.random.default_rng(1))
    capture = capture + np.where(np.arange(len(capture)) >= 2500, by_ns, 0)
    assert find_jumps(capture, arrival).tolist() == [2500]
    model = fit_clock(capture, arrival)
    assert len(model.pieces) == 2
    assert np.abs(model.apply(capture, arrival) - truth).max() < 0.1 * MS
    with pytest.raises(SchemaError, match="give arrival_ns"):
        model.apply(capture)


def test_a_restart_shows_the_same_times_twice() -> None:
    truth, capture, arrival = clocked(np.random.default_rng(2))
    capture = np.where(np.arange(len(capture)) < 3000, capture, capture - (30 * 10**9)) - START_NS
    assert np.abs(fit_clock(capture, arrival).apply(capture, arrival) - truth).max() < 0.1 * MS


def test_late_samples_and_stalled_deliveries_are_no_steps() -> None:
    _, capture, arrival = clocked(np.random.default_rng(3))
    late = arrival.copy()
    late[1000::500] += 300 * MS
    order = np.argsort(late, kind="stable")
    assert not len(find_jumps(capture[order], late[order]))
    stalled = np.where(
        (arrival > arrival[2000]) & (arrival < arrival[2150]), arrival[2150], arrival
    )
    assert not len(find_jumps(capture, np.maximum.accumulate(stalled)))
    gap = np.r_[0:1000, 1500:6000]
    assert not len(find_jumps(capture[gap], np.maximum.accumulate(arrival[gap])))


def test_another_unit_is_a_drift_that_can_be_undone() -> None:
    truth, capture, arrival = clocked(np.random.default_rng(4))
    [piece] = fit_clock(capture // 1000, arrival).pieces
    assert piece.drift_ppm == pytest.approx(-999_000, abs=1)
    assert np.abs(piece.apply(capture // 1000) - truth).max() < 0.1 * MS


@given(st.integers(0, 50))
def test_json_and_back(seed: int) -> None:
    _, capture, arrival = clocked(np.random.default_rng(seed), seconds=seed % 3 + 0.02)
    model = fit_clock(capture, arrival)
    assert ClockModel.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_what_makes_no_sense_is_refused() -> None:
    none, one = np.empty(0, np.int64), np.zeros(1, np.int64)
    with pytest.raises(SchemaError, match="no samples"):
        fit_clock(none, none)
    with pytest.raises(SchemaError, match="0 captures for 1 arrivals"):
        fit_clock(none, one)
    with pytest.raises(SchemaError, match="pieces in order"):
        ClockModel(pieces=())
    assert fit_clock(one, one + 5).apply(one).tolist() == [5]
