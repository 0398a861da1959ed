"""Questions: where they are asked, and that answers stay on one side of an intervention."""

import numpy as np
import pytest

from base_events import ACTION, FORCE, MODE, STATE, STEP, column, made
from viae.errors import TokenError
from viae.load.events import OUTCOME_SPEC, assemble
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema import Kind, Role, StreamSpec, Take
from viae.sequence.window import Timeline, target_indices, until_stop

STEPS = 12
CHUNK = 4


def attempt(seed, stops=(), good=True):
    """States and actions at times of their own, and an outcome; spans that somebody else did."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.choice(10_000, 2 * STEPS, replace=False)) + 1
    mine = np.sort(rng.permutation(2 * STEPS)[:STEPS])
    acted = np.setdiff1d(np.arange(2 * STEPS), mine)
    last = column(OUTCOME_SPEC, times[-1:], np.array([[good]]))
    return assemble(
        [
            column(STATE, times[mine], rng.normal(size=(STEPS, 2))),
            column(ACTION, times[acted], rng.normal(size=(STEPS, 2)).astype("f4")),
        ],
        first=None, last=last, stops=np.array(stops, np.int64).reshape(-1, 2),
    )  # fmt: skip


VOCABULARY = Vocabulary.fit([attempt(s, good=s % 2 > 0) for s in range(20)], chunk=CHUNK, bins=32)


def asked(events, name):
    return VOCABULARY.encode(events).asked[VOCABULARY.question(name)]


def spans(seed, events):
    """Some that begin and end with an event; between two of them there is one."""
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.choice(len(events) - 1, 2 * rng.integers(1, 4), replace=False))
    return events.arrival_ns[ends].reshape(-1, 2)


def test_chunks_stop_where_those_of_windows_do():
    """By the rule of `WindowSpec.stops`: inside an intervention too, never across its border."""
    codec = VOCABULARY.questions[0].codec
    take = Take(stream=ACTION.name, steps=tuple(range(CHUNK)))
    cut = inside = 0
    for seed in range(40):
        stops = spans(seed, attempt(seed))
        events = attempt(seed, stops)
        at, answers = asked(events, "next/action")
        number = [s.name for s in events.streams].index("action")
        arrival = events.arrival_ns[events.stream == number]
        line = Timeline(role=Role.ACTION, capture_ns=arrival, arrival_ns=arrival)
        state = np.flatnonzero(events.stream != number)
        before_action = state[:-1][np.diff(state) > 1]  # an action comes next
        decisions = events.arrival_ns[before_action]
        rows = until_stop(target_indices(line, take, decisions), line, decisions, stops.ravel())
        wanted = np.where(rows[..., None] >= 0, events.values["action"][rows], np.nan)
        some = (rows[:, 0] >= 0) & (arrival[rows[:, 0]] >= decisions)
        np.testing.assert_array_equal(at, before_action[some])
        np.testing.assert_array_equal(answers, codec.encode(_ended(wanted[some], rows[some])))
        cut += int((~some).sum()) + int((rows[some] < 0).sum())
        inside += int((~events.asked[at]).sum())
    assert cut > 100 and inside > 30


def _ended(chunks, rows):
    """A window repeats the last action behind the end of an episode; a chunk ends there."""
    again = np.diff(rows, axis=1, prepend=-1) == 0
    chunks[again] = np.nan
    return chunks


def test_the_outcome_is_asked_for_after_the_last_intervention():
    free = attempt(3)
    at, _ = asked(free, "outcome")
    assert len(at) == len(free) - 1  # everywhere but at the outcome itself
    start, end = free.arrival_ns[[5, 9]]
    at, answers = asked(attempt(3, [(start, end)]), "outcome")
    assert at.tolist() == list(range(9, len(free) - 1))
    assert len(answers) == len(at) and len(np.unique(answers)) == 1
    at, _ = asked(attempt(3, [(start, free.arrival_ns[-1] + 1)]), "outcome")
    assert not len(at)


def test_nothing_is_asked_twice_at_one_place():
    events = made(1, streams=(STATE, ACTION, FORCE, MODE))
    vocabulary = Vocabulary.fit([events], chunk=2, bins=16)
    for at, answers in vocabulary.encode(events).asked.values():
        assert (np.diff(at) > 0).all() and len(at) == len(answers)


# -- what it is fitted on -------------------------------------------------------------------------


def test_streams_that_are_left_do_not_change_the_others():
    """Gaps are those between the events that the model sees."""
    odd = StreamSpec(name="odd", kind=Kind.BYTES, dtype="")

    def with_odd(seed):
        events = made(seed, streams=(STATE, ACTION, FORCE))
        when = np.arange(1, 13) * STEP + 4
        every = [
            column(spec, events.arrival_ns[events.stream == i], events.values[spec.name])
            for i, spec in enumerate(events.streams)
        ]
        return assemble(
            [*every, column(odd, when, [b"x"] * 12)], first=None, last=None,
            stops=np.empty((0, 2), np.int64),
        )  # fmt: skip

    both = [with_odd(seed) for seed in range(4)]
    one = Vocabulary.fit(both, bins=16, left={"laser": "its samples vary in length"})
    other = Vocabulary.fit([e.of(["action", "force", "instruction", "outcome", "state"])
                            for e in both], bins=16)  # fmt: skip
    assert one.left == {
        "laser": "its samples vary in length", "odd": "its bytes mean nothing to viae",
    }  # fmt: skip
    assert [codec.to_json() for codec in one._codecs()] == [
        codec.to_json() for codec in other._codecs()
    ]


class Undecoded:
    """Pictures that nobody may look at."""

    dtype, ndim, shape = np.dtype(np.uint8), 4, (3, 3, 16, 16)

    def __len__(self):
        return 3

    def __getitem__(self, at):
        raise AssertionError("pictures were decoded")

    __iter__ = __getitem__
    __array__ = None


def test_pictures_are_not_decoded_to_fit():
    camera = StreamSpec(name="camera", kind=Kind.IMAGE, dtype="uint8", shape=(16, 16, 3))
    when = np.arange(1, 4) * STEP
    events = assemble(
        [column(camera, when, Undecoded()), column(STATE, when + 1, np.ones((3, 2)))],
        first=None, last=None, stops=np.empty((0, 2), np.int64),
    )  # fmt: skip
    vocabulary = Vocabulary.fit([events])
    assert list(vocabulary.left) == ["camera"]


# -- values that are no samples -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "values", "said"),
    [
        ("state", ["one", "two"], r"stream 'state': list\[2\] are no numbers; it is float64\[2\]"),
        ("state", np.array([["1", "2"]]), r"stream 'state': <U1\[1, 2\] are no numbers"),
        ("state", np.zeros((2, 3)), r"stream 'state': float64\[2, 3\] are not \[N, 2\]"),
        ("state", np.zeros(2), r"stream 'state': float64\[2\] are not \[N, 2\]"),
        ("said", [5], r"stream 'said': row 0 is int and no text"),
        ("said", np.zeros((2, 1)), r"stream 'said': row 0 is ndarray and no text"),
    ],
)
def test_what_are_no_samples_is_refused(stream, values, said):
    vocabulary = Vocabulary.fit([made(seed) for seed in range(3)], bins=16)
    with pytest.raises(TokenError, match=said):
        vocabulary.look(stream, values)
