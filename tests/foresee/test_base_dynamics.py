"""A base model as dynamics: a history is read once, and futures go by steps."""

from dataclasses import replace

import numpy as np
import pytest
from foresee_system import ACTION, GOAL, STATE, made

from viae.act import Reading
from viae.errors import QueryRefusedError, TokenError
from viae.foresee import Usual
from viae.foresee.base_dynamics import BaseDynamics, by_step
from viae.foresee.danger import EventDanger
from viae.foresee.dynamics import OracleDynamics, came, flat
from viae.foresee.following import Following
from viae.foresee.roll import Foreseen, Imagined
from viae.load.events import prefix
from viae.model import Context
from viae.schema import Events, Kind, StreamSpec

# -- a history is read once -----------------------------------------------------------------------


@pytest.fixture()
def reads(monkeypatch) -> list[int]:
    """How many events were read at once, each time."""
    found, read = [], Context.read

    def noted(self, events: Events) -> None:
        found.append(len(events))
        read(self, events)

    monkeypatch.setattr(Context, "read", noted)
    return found


def state(bundle, events):
    context = bundle.context()
    context.read(events)
    return context.state()


def test_what_was_read_is_not_read_again(raw_bundle, reads):
    following, events = Following(raw_bundle), made(7)
    for count in (5, 5, 6, 14, 30, 49):
        found = following.context(prefix(events, count)).state()
    assert reads == [5]
    np.testing.assert_allclose(found, state(raw_bundle, prefix(events, 49)), atol=2e-5)


def other_value(events):
    values = {name: each.copy() for name, each in events.values.items()}
    values["state"][1] += 1e-9
    return replace(events, values=values)


def later(events):
    return replace(events, arrival_ns=events.arrival_ns + 1)


def of_another_episode(events):
    return prefix(made(8), len(events))


def without_goal(events):
    return events.of(["state", "action"])


@pytest.mark.parametrize("change", [other_value, later, of_another_episode, without_goal])
def test_another_history_is_read_from_its_beginning(raw_bundle, reads, change):
    following, events = Following(raw_bundle), made(7)
    following.context(prefix(events, 9))
    other = change(prefix(events, 12))
    found = following.context(other).state()
    assert reads == [9, len(other)]
    np.testing.assert_allclose(found, state(raw_bundle, other), atol=2e-5)


def test_who_gave_the_events_may_write_to_them(raw_bundle, reads):
    following, events = Following(raw_bundle), prefix(made(7), 9)
    own = replace(events, values={name: each.copy() for name, each in events.values.items()})
    following.context(own)
    own.values["state"][1] += 1
    following.context(own)
    assert reads == [9, 9]


def test_after_a_refusal_it_begins_anew(raw_bundle, reads):
    following, events = Following(raw_bundle), made(7)
    following.context(prefix(events, 9))
    bad = prefix(events, 12)
    values = {name: each.copy() for name, each in bad.values.items()}
    values["state"][-1] = np.nan
    with pytest.raises(TokenError):
        following.context(replace(bad, values=values))
    found = following.context(bad).state()
    np.testing.assert_allclose(found, state(raw_bundle, bad), atol=2e-5)


def test_imagining_again_reads_only_what_is_new(raw_bundle, reads):
    dynamics, events = BaseDynamics(bundle=raw_bundle), made(7)
    plans = np.zeros((2, 2, 1), np.float32)
    for count in (10, 10, 13):
        found = dynamics.imagine(prefix(events, count), plans, n=2, seed=3)
    assert reads == [10]
    again = BaseDynamics(bundle=raw_bundle).imagine(prefix(events, 13), plans, n=2, seed=3)
    np.testing.assert_allclose(found["state"], again["state"], atol=1e-3)


def test_an_input_that_is_to_blame_is_refused(raw_bundle):
    usual = Usual.fit(raw_bundle, [made(seed) for seed in range(3)])
    dynamics = BaseDynamics(bundle=raw_bundle, usual=usual)
    plans, events = np.zeros((1, 2, 1), np.float32), prefix(made(7), 13)
    dynamics.imagine(events, plans, n=8, seed=0)
    late = replace(events, capture_ns=events.capture_ns - 10**9)
    with pytest.raises(QueryRefusedError, match=r"an input is to blame: stream .* old, usually"):
        dynamics.imagine(late, plans, n=8, seed=0)
    with pytest.raises(QueryRefusedError, match="nothing has arrived"):
        dynamics.imagine(prefix(events, 0), plans, n=8, seed=0)


# -- by step --------------------------------------------------------------------------------------

STEPS = 2


def imagined(spec, values, place, futures=1):
    """Samples of one stream, alike in all futures; [futures, m]."""
    values = np.tile(np.asarray(values, spec.dtype).reshape(1, -1, 1), (futures, 1, 1))
    count = np.full(futures, values.shape[1])
    place = np.tile(np.asarray(place, np.int64), (futures, 1))
    return Imagined(
        spec=spec, count=count, values=values, arrival_ns=np.zeros_like(place),
        capture_ns=np.zeros_like(place), place=place, log_p=np.zeros((*place.shape, 4)),
    )  # fmt: skip


def foreseen(*streams, ended="horizon"):
    return Foreseen(
        plans=1, n=1, streams={s.spec.name: s for s in streams}, outcome=np.array([np.nan]),
        ended=(ended,), by="action", begin_ns=0, seed=0, temperature=1.0,
    )  # fmt: skip


def test_a_step_ends_with_the_next_action_whatever_the_clock_says():
    """All arrive at the same time: the order of events decides."""
    futures = foreseen(
        imagined(ACTION, [0, 0], [1, 4]), imagined(STATE, [1, 2, 3, 4], [0, 2, 3, 5])
    )
    found = by_step(futures, "action", STEPS, {"state": np.array([9.0])})
    assert found["state"][0, 0, :, 0].tolist() == [3, 4]
    assert found[came("state")][0, 0].tolist() == [True, True]


def test_what_does_not_come_stays_as_it_was():
    futures = foreseen(imagined(ACTION, [0, 0], [0, 1]), imagined(STATE, [5], [2]))
    event = StreamSpec(name="bump", kind=Kind.TEXT, dtype="")
    before = {"goal": np.array([1.0])}
    found = by_step(futures, "action", STEPS, before, (ACTION, STATE, GOAL, event))
    assert found["goal"][0, 0, :, 0].tolist() == [1, 1] and not found[came("goal")].any()
    np.testing.assert_array_equal(found["state"][0, 0, :, 0], [np.nan, 5])  # never a made-up 0
    assert not EventDanger(event).violated(flat(found)).any()
    assert "action" not in found and "bump" not in found


def test_a_future_that_was_cut_is_not_taken_for_one_in_which_nothing_happens():
    acted = imagined(ACTION, [0], [1])
    with pytest.raises(QueryRefusedError, match="1 of 1 futures had too many events"):
        by_step(foreseen(acted, ended="events"), "action", STEPS, {})
    by_step(foreseen(acted, ended="outcome"), "action", STEPS, {})
    with pytest.raises(QueryRefusedError, match="foresees no sample of 'action'"):
        by_step(foreseen(imagined(STATE, [1], [0])), "action", STEPS, {})


# -- the simulator itself -------------------------------------------------------------------------


class Slow:
    """Counts its steps; a slow sensor reads every third, its first reading is after two."""

    def __init__(self):
        self.count = 0.0

    def save(self):
        return self.count

    def restore(self, saved):
        self.count = saved

    def observe(self):
        slow = {"slow": Reading(value=np.array([self.count]), capture_ns=0)}
        return {
            "fast": Reading(value=np.array([self.count]), capture_ns=0),
            **(slow if self.count % 3 == 2 else {}),
        }

    def act(self, action):
        self.count += float(action["action"][0])

    def outcome(self):
        return {}


def test_a_simulator_whose_streams_do_not_all_speak_at_every_step():
    found = OracleDynamics(Slow()).imagine(None, np.ones((2, 4, 1)), n=2, seed=0)
    for plan in range(2):
        for sample in range(2):
            np.testing.assert_array_equal(found["fast"][plan, sample, :, 0], [1, 2, 3, 4])
            np.testing.assert_array_equal(found["slow"][plan, sample, :, 0], [np.nan, 2, 2, 2])
            assert found[came("slow")][plan, sample].tolist() == [False, True, False, False]
