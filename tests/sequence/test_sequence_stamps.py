"""Which stamps are corrected, by what, and that bounded memory finds the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viae.sequence.clock import ArrivalClock, ClockModel, clock_by_hand, clock_from_json, fit_clock
from viae.sequence.stamps import Stamps, correction

START_NS = 1_760_000_000_000_000_000
MS = 1_000_000
S = 1_000_000_000
DAY = 86_400 * S


def made(
    seed: int = 0, *, rate_hz: float = 100, seconds: float = 60, delay_ms: float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Captures on the log's clock, and arrivals later by a constant and 2 ms on average."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate_hz)
    capture = START_NS + np.rint(np.arange(n) * 1e9 / rate_hz).astype(np.int64)
    late = rng.exponential(2 * MS, n) + delay_ms * MS
    return capture, np.maximum.accumulate(capture + late.astype(np.int64))


def drifting(capture: np.ndarray, ppm: float) -> np.ndarray:
    return capture + np.rint((capture - capture[0]) * ppm * 1e-6).astype(np.int64)


def jumping(capture: np.ndarray, at: int, by_ns: int) -> np.ndarray:
    return capture + np.where(np.arange(len(capture)) >= at, by_ns, 0)


@pytest.mark.parametrize("delay_ms", [0, 30, 200, 4000])
@pytest.mark.parametrize("rate_hz", [5, 30, 400])
def test_a_delay_on_the_log_s_clock_is_left_alone(delay_ms: int, rate_hz: int) -> None:
    assert correction(*made(rate_hz, rate_hz=rate_hz, delay_ms=delay_ms)) is None


def test_arrivals_as_captures_are_left_alone() -> None:
    _, arrival = made()
    assert correction(arrival, arrival) is None
    assert correction(np.empty(0, np.int64), np.empty(0, np.int64)) is None


def test_a_drift_that_comes_to_little_is_left_alone() -> None:
    capture, arrival = made(delay_ms=30)
    assert correction(drifting(capture, 25), arrival) is None  # 1.5 ms in a minute


@pytest.mark.parametrize("ppm", [-150.0, 120.0, -40.0])
def test_a_drift_is_taken_out_and_a_believable_delay_stays(ppm: float) -> None:
    capture, arrival = made(delay_ms=60, seconds=300, rate_hz=30)
    model = correction(drifting(capture, ppm), arrival)
    assert isinstance(model, ClockModel)
    assert model.pieces[0].drift_ppm == pytest.approx(ppm, abs=2)
    left = model.apply(drifting(capture, ppm), arrival) - capture
    assert np.ptp(left) < 1 * MS
    assert (arrival - capture - left).min() > 10 * MS  # not shifted to none


@pytest.mark.parametrize("by_ns", [-66 * DAY, 3 * S, 20 * MS, -6 * S])
def test_an_offset_that_is_no_delay_is_taken_out(by_ns: int) -> None:
    capture, arrival = made()
    model = correction(capture + by_ns, arrival)
    assert isinstance(model, ClockModel)
    assert np.abs(model.apply(capture + by_ns, arrival) - capture).max() < 0.1 * MS
    assert (model.delay_ns(capture + by_ns, arrival) >= -1).all()


def test_offset_and_drift_together() -> None:
    capture, arrival = made()
    stamped = drifting(capture, 25) - 66 * DAY
    model = correction(stamped, arrival)
    assert model is not None
    assert np.abs(model.apply(stamped, arrival) - capture).max() < 0.1 * MS


def test_few_samples_ahead_are_impossible_and_few_behind_may_be_old() -> None:
    capture, arrival = made(seconds=0.03)
    for n in (1, 3):
        model = correction(capture[:n] + DAY, arrival[:n])
        assert model is not None
        assert model.apply(capture[:n] + DAY, arrival[:n]).max() <= arrival[:n].max()
        assert correction(capture[:n] - DAY, arrival[:n]) is None


def test_a_clock_that_was_set_right_keeps_its_delay_where_it_was_right() -> None:
    capture, arrival = made(delay_ms=30)
    stamped = jumping(capture - 66 * DAY, 2500, 66 * DAY)
    model = correction(stamped, arrival)
    assert isinstance(model, ClockModel)
    assert len(model.pieces) == 2
    mapped = model.apply(stamped, arrival)
    assert (mapped[2500:] == stamped[2500:]).all()
    assert np.abs(mapped - capture).max() < 0.2 * MS


def test_another_unit_is_undone() -> None:
    capture, arrival = made()
    model = correction(capture // 1_000_000, arrival)
    assert model is not None
    assert np.abs(model.apply(capture // 1_000_000, arrival) - capture).max() < 2 * MS


def test_whole_seconds_say_less_than_arrivals() -> None:
    capture, arrival = made()
    assert correction(capture // S, arrival) == ArrivalClock()


def test_simulation_time_is_mapped_and_a_growing_queue_is_not() -> None:
    capture, arrival = made()
    simulated = drifting(capture, -7000) - START_NS
    model = correction(simulated, arrival)
    assert model is not None
    assert np.abs(model.apply(simulated, arrival) - capture).max() < 0.2 * MS
    queued = arrival + (capture - capture[0]) // 100
    assert correction(capture, queued) is None


def test_no_stamp_at_all_is_the_arrival() -> None:
    _, arrival = made()
    clock = correction(np.zeros_like(arrival), arrival)
    assert clock == ArrivalClock()
    assert clock.apply(np.zeros_like(arrival), arrival).tolist() == arrival.tolist()
    assert correction(np.zeros(1, np.int64), arrival[:1]) == ArrivalClock()
    assert correction(np.zeros(1, np.int64), np.array([3])) is None  # a log that begins at 0


def test_what_is_no_clock_is_left_alone() -> None:
    capture, arrival = made()
    some = np.where(np.arange(len(capture)) % 3 == 0, 0, capture)
    assert correction(some, arrival) is None
    assert correction(np.full_like(capture, 7), arrival) is None
    two = capture - np.where(np.arange(len(capture)) % 2 == 0, 400 * S, 0)
    assert correction(two, arrival) is None
    fraction = capture // S * S + capture % S // 1000
    assert correction(fraction, arrival) is None
    rng = np.random.default_rng(0)
    for garbage in (
        rng.integers(-(2**63), 2**63 - 1, 500),
        rng.integers(0, 2**62, 10_000),
        np.full(500, -(2**63)),
        np.where(rng.random(500) < 0.5, 2**63 - 1, -(2**63)),
    ):
        at = START_NS + np.arange(len(garbage)) * 10 * MS
        model = correction(garbage, at)
        if model is not None:
            assert np.median(model.delay_ns(garbage, at)) < 5 * S


@pytest.mark.parametrize(
    ("ppm", "jumps"), [(25.0, ()), (-7000.0, ()), (0.0, (60 * MS, -3 * S)), (40.0, (-7 * DAY,))]
)
def test_bounded_memory_finds_the_same(ppm: float, jumps: tuple[int, ...]) -> None:
    capture, arrival = made(seconds=300, rate_hz=400)
    stamped = drifting(capture, ppm) - 66 * DAY
    for number, by_ns in enumerate(jumps, 1):
        stamped = jumping(stamped, number * 37_777, by_ns)
    stamps = Stamps()
    rng = np.random.default_rng(0)
    cuts = np.unique(rng.integers(0, len(stamped), 300))
    for block in np.split(np.arange(len(stamped)), cuts):
        stamps.add(stamped[block], arrival[block])
    assert stamps.run > 1
    assert stamps.pairs.shape[1] <= Stamps.EXACT
    model = stamps.correction()
    assert isinstance(model, ClockModel)
    whole = fit_clock(stamped, arrival)
    assert [p.from_ns for p in model.pieces[1:]] == [p.from_ns for p in whole.pieces[1:]]
    assert np.abs(model.apply(stamped, arrival) - capture).max() < 0.1 * MS
    assert (model.delay_ns(stamped, arrival) >= -0.1 * MS).all()


def test_bounded_memory_finds_two_clocks() -> None:
    capture, arrival = made(seconds=300, rate_hz=400)
    stamped = capture - np.where(np.arange(len(capture)) % 2 == 0, 400 * S, 0)
    assert correction(stamped, arrival) is None


@given(st.integers(0, 1000), st.lists(st.integers(0, 5000), max_size=5))
def test_blocks_do_not_matter(seed: int, cuts: list[int]) -> None:
    capture, arrival = made(seed, seconds=50)
    stamped = jumping(drifting(capture, 30) - DAY, 2040 + seed % 20, 5 * S)
    stamps = Stamps()
    for block in np.split(np.arange(len(stamped)), sorted(cuts)):
        stamps.add(stamped[block], arrival[block])
    assert stamps.correction() == correction(stamped, arrival)
    assert stamps.correction() == stamps.correction()


def test_clocks_as_json() -> None:
    capture, arrival = made()
    for clock in (
        ArrivalClock(), fit_clock(capture, arrival),
        clock_by_hand(at_ns=START_NS, offset_ns=-5 * MS, drift_ppm=3.0),
    ):  # fmt: skip
        assert clock_from_json(clock.to_json()) == clock


def test_a_clock_by_hand() -> None:
    ahead = clock_by_hand(at_ns=100 * S, offset_ns=5 * MS, drift_ppm=1000.0)
    at = np.array([100 * S + 5 * MS, 101 * S + 6 * MS], np.int64)
    assert ahead.apply(at).tolist() == [100 * S, 101 * S]
