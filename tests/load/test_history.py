"""What a policy is shown while it acts."""

import numpy as np
import pytest

from builders import ACTION, CAMERA, STATE
from viae.errors import WindowError
from viae.load import History
from viae.load.history import ClockWarning
from viae.schema import Take, WindowSpec
from viae.sequence.clock import ArrivalClock, clock_by_hand
from viae.sequence.stamps import correction

SPEC = WindowSpec(
    decision=STATE.name,
    inputs=(Take(stream=STATE.name, steps=(-1, 0)), Take(stream=CAMERA.name, steps=(0,))),
)


def test_a_robot_without_the_streams_is_refused():
    with pytest.raises(WindowError) as caught:
        History(SPEC, [STATE, ACTION], task="t")
    assert str(caught.value) == (
        "the window needs ['camera']; this robot has ['action', 'observation.state']"
    )


def test_what_has_not_arrived_is_padded():
    history = History(SPEC, [STATE, CAMERA], task="t", picture_sizes={"camera": (4, 6)})
    history.add(STATE.name, [1.0, 2.0], capture_ns=5, arrival_ns=5)
    batch = history.window(5)
    assert batch.inputs[STATE.name].tolist() == [[[0, 0], [1, 2]]]
    assert batch.masks[f"inputs/{STATE.name}"].tolist() == [[False, True]]
    assert batch.inputs["camera"].shape == (1, 1, 3, 4, 6)
    assert batch.inputs["camera"].dtype == np.uint8
    assert batch.masks["inputs/camera"].tolist() == [[False]]
    assert (batch.tasks, batch.targets, batch.decisions_ns.tolist()) == (("t",), {}, [5])


def test_samples_of_other_streams_are_ignored_and_later_ones_unseen():
    history = History(SPEC, [STATE, CAMERA], task="t")
    history.add("gossip", object(), capture_ns=1, arrival_ns=1)
    history.add(STATE.name, [1.0, 2.0], capture_ns=5, arrival_ns=5)
    history.add(STATE.name, [3.0, 4.0], capture_ns=6, arrival_ns=6)
    assert history.window(5).inputs[STATE.name].tolist() == [[[0, 0], [1, 2]]]
    assert history.window(6).inputs[STATE.name].tolist() == [[[1, 2], [3, 4]]]


def test_ages_come_with_the_inputs_that_ask_for_them():
    take = Take(stream=STATE.name, steps=(-1, 0), age=True)
    history = History(WindowSpec(decision=STATE.name, inputs=(take,)), [STATE], task="t")
    history.add(STATE.name, [1.0, 2.0], capture_ns=500_000_000, arrival_ns=600_000_000)
    assert history.window(2_000_000_000).ages[STATE.name].tolist() == [[0, 1.5]]


MS = 1_000_000
DAY_NS = 86_400 * 1000 * MS


def fed(captures, arrivals, *, clocks=None, **take):
    """A history of one stream, asked after each sample."""
    one = Take(stream=STATE.name, steps=(-1, 0), **take)
    history = History(
        WindowSpec(decision=STATE.name, inputs=(one,)), [STATE], task="t", clocks=clocks
    )
    for number, (capture, arrival) in enumerate(zip(captures, arrivals, strict=True)):
        history.add(STATE.name, [number, 0], capture_ns=capture, arrival_ns=arrival)
        last = history.window(arrival)
    return last


ARRIVALS = [DAY_NS + 10 * MS * i for i in range(200)]


@pytest.mark.parametrize("delay_ms", [0, 3, 300])
def test_stamps_that_can_be_on_the_log_clock_are_taken_as_they_are(delay_ms):
    last = fed([at - delay_ms * MS for at in ARRIVALS], ARRIVALS, age=True)
    ages = last.ages[STATE.name][0]
    assert ages.tolist() == pytest.approx([(delay_ms + 10) / 1e3, delay_ms / 1e3])


@pytest.mark.parametrize("take", [{"age": True}, {"max_age_s": 0.5}])
@pytest.mark.parametrize("offset_ns", [-DAY_NS, -6000 * MS, 2000 * MS, DAY_NS])
def test_stamps_of_another_clock_are_refused_where_times_count(offset_ns, take):
    captures = [at + offset_ns for at in ARRIVALS]
    with pytest.raises(WindowError, match=r"stream 'observation.state', at 86400.* of one clock"):
        fed(captures, ARRIVALS, **take)
    whole = fed(captures, ARRIVALS)  # which is the latest known does not depend on an offset
    assert whole.inputs[STATE.name][0, :, 0].tolist() == [198, 199]


def test_a_clock_that_is_set_back_is_refused_where_it_hides_samples():
    captures = [at - (5000 * MS if i >= 100 else 0) for i, at in enumerate(ARRIVALS)]
    with pytest.raises(WindowError, match="its clock stepped"):
        fed(captures, ARRIVALS)


def test_a_small_error_is_said_once():
    with pytest.warns(ClockWarning, match=r"captures would be moved by up to 8\.0 ms") as said:
        last = fed([at + 8 * MS for at in ARRIVALS], ARRIVALS, age=True)
    assert len(said) == 1
    assert last.ages[STATE.name][0, 1] == pytest.approx(-0.008)


def test_a_clock_that_is_known_is_applied():
    captures = [at - DAY_NS for at in ARRIVALS]
    by_hand = clock_by_hand(at_ns=DAY_NS, offset_ns=-DAY_NS + 2 * MS)
    last = fed(captures, ARRIVALS, age=True, clocks={STATE.name: by_hand})
    assert last.ages[STATE.name][0].tolist() == pytest.approx([0.012, 0.002])
    zeros = fed([0] * 200, ARRIVALS, age=True, clocks={STATE.name: ArrivalClock()})
    assert zeros.ages[STATE.name][0].tolist() == pytest.approx([0.01, 0])


def test_what_history_refuses_ingest_would_have_corrected():
    """And live windows equal those of the recording, whatever was not refused."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        delay = rng.exponential(3 * MS, 64).astype(np.int64)
        drift = rng.choice([0, 0, 3e-3]) * np.arange(64) * 10 * MS
        offset = int(rng.choice([0, -DAY_NS, 1500 * MS]))
        arrivals = np.array(ARRIVALS[:64])
        captures = arrivals - delay + offset + drift.astype(np.int64)
        clock = correction(captures, arrivals)
        try:
            last = fed(captures.tolist(), arrivals.tolist(), age=True)
        except WindowError:
            assert clock is not None
            continue
        assert clock is None
        age = (arrivals[-1] - captures[-1]) / 1e9
        assert last.ages[STATE.name][0, 1] == pytest.approx(max(age, 0), abs=0.2)
