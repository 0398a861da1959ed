"""Clocks as facts: read, applied where windows are cut, and never rewritten."""

import numpy as np
import pytest

from builders import ACTION, STATE, samples, write
from viae.errors import SchemaError
from viae.load.clocks import clock_fact, on_log_clock, read_clocks
from viae.load.reference import ReferenceWindows
from viae.load.windows import Windows
from viae.schema import Fact, StreamSpec, Take, WindowSpec
from viae.sequence.clock import ArrivalClock, clock_by_hand
from viae.store import Store

MS = 1_000_000
LATE = StreamSpec(name="late", dtype="float32", shape=(1,))
SPEC = WindowSpec(
    decision=STATE.name,
    inputs=(Take(stream=STATE.name, steps=(0,)), Take(stream="late", steps=(-1, 0), age=True)),
    targets=(Take(stream="action", steps=(0,)),),
)


@pytest.fixture
def store(tmp_path) -> Store:
    """Readings of 0, 1, 2, … that arrive 15 ms after capture, and two in the wrong order."""
    store = Store.create(tmp_path / "store")
    at = [10 * MS * i for i in range(8)]
    taken = [at[i] for i in (0, 2, 1, 3, 4, 5, 6, 7)]
    write(store, "a", [
        samples(STATE, [[i, i] for i in range(8)], at),
        samples(ACTION, [[i, i] for i in range(8)], at),
        samples(LATE, range(8), [t + 15 * MS for t in at], taken),
    ])  # fmt: skip
    return store


def cut(store: Store, spec: WindowSpec = SPEC):
    """Values, masks and ages of the late stream; equal by both loaders."""
    batches = []
    for loader in (ReferenceWindows, Windows):
        windows = loader(store, spec, store.episodes())
        batch = windows.batch(np.arange(len(windows)))
        batches.append(
            (batch.inputs["late"].copy(), batch.masks["inputs/late"], batch.ages["late"],
             windows.sample_indices("inputs/late"))
        )  # fmt: skip
    for mine, theirs in zip(*batches, strict=True):
        assert np.array_equal(mine, theirs)
    return batches[0]


def say(store: Store, clock, time_ns: int = 5) -> None:
    store.add_facts([clock_fact("a", "late", clock, author="me", time_ns=time_ns)])


def test_a_correction_moves_ages_and_nothing_else(store: Store):
    values, mask, ages, _ = cut(store)
    assert ages[-1].tolist() == pytest.approx([0.030, 0.020])
    before = store.snapshot()
    say(store, clock_by_hand(at_ns=0, offset_ns=-7 * MS))
    again, mask_again, ages_again, _ = cut(store)
    assert np.array_equal(values, again)
    assert np.array_equal(mask, mask_again)
    assert np.allclose(np.where(mask, ages - ages_again, 0.007), 0.007)
    for mine, theirs in zip(cut(store.at(before)), (values, mask, ages), strict=False):
        assert np.array_equal(mine, theirs)


def test_a_correction_moves_what_is_too_old(store: Store):
    takes = (SPEC.inputs[0], Take(stream="late", steps=(0,), max_age_s=0.018, age=True))
    spec = WindowSpec(decision=STATE.name, inputs=takes, targets=SPEC.targets)
    assert cut(store, spec)[1].sum() == 1  # of the sample that was overtaken
    say(store, clock_by_hand(at_ns=0, offset_ns=-7 * MS))
    assert cut(store, spec)[1][3:].all()


def test_a_correction_moves_which_is_the_latest(store: Store):
    assert cut(store)[3].tolist()[3:6] == [[0, 1], [2, 1], [1, 3]]
    say(store, ArrivalClock())
    assert cut(store)[3].tolist()[3:6] == [[0, 1], [1, 2], [2, 3]]


def test_the_newest_word_counts_and_null_takes_it_back(store: Store):
    ages = cut(store)[2]
    say(store, clock_by_hand(at_ns=0, offset_ns=MS), 5)
    say(store, clock_by_hand(at_ns=0, offset_ns=2 * MS), 6)
    [clock] = read_clocks(store, ["a"]).values()
    assert clock == clock_by_hand(at_ns=0, offset_ns=2 * MS)
    say(store, None, 7)
    assert not read_clocks(store, ["a"])
    assert np.array_equal(cut(store)[2], ages)


def test_clocks_of_others_are_none(store: Store):
    say(store, ArrivalClock())
    assert not read_clocks(store, ["b"])
    at = np.array([1, 2])
    assert on_log_clock({}, "a", "late", at, at + 1) is at


def test_what_is_no_clock_is_refused(store: Store):
    store.add_facts(
        [Fact(episode_id="a", key="clock.late", value={"of": 1}, author="x", time_ns=9)]
    )
    with pytest.raises(SchemaError, match="no clock"):
        read_clocks(store, ["a"])
