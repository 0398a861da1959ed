"""Windows: what is asked at each place is exactly what came next there, and the answers there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_events import made
from viae.model.base import PADDED
from viae.model.tokens.vocabulary import Vocabulary
from viae.model.windows import START, asked_of, event_batch, first_shown, lay

EPISODES = [made(seed, steps=3 + seed, instruction=seed % 2 == 0) for seed in range(8)]
VOCABULARY = Vocabulary.fit(EPISODES, chunk=3, bins=16)
ENCODED = [VOCABULARY.encode(events) for events in EPISODES]
INSTRUCTION = [spec.name for spec in VOCABULARY.streams].index("instruction")


def pinned(encoded):
    return np.flatnonzero(encoded.stream == INSTRUCTION)[:1]


def wanted(encoded, where):
    """What one window is asked, event by event: types, and per group tokens, by place."""
    types, groups = {}, {}
    for place, event in enumerate(where.tolist()):
        if event == PADDED:
            continue
        came = 0 if event == START else event + 1
        gap = place + 1 < len(where) and where[place + 1] >= 0 and where[place + 1] != came
        if place + 1 < len(where) and where[place + 1] == came:
            kind = int(encoded.types[came])
            types[place] = kind
            groups.setdefault(kind, {})[place] = encoded.tokens[kind][encoded.place[came]]
        if event == START or gap:
            continue
        for group, (after, answers) in encoded.asked.items():
            rows = np.flatnonzero(after == event)
            if len(rows):
                groups.setdefault(group, {})[place] = answers[rows[0]]
    return types, groups


@given(st.data())
def test_asked_is_what_came_next(data):
    length = data.draw(st.integers(4, 40))
    which = data.draw(st.lists(st.integers(0, len(ENCODED) - 1), min_size=1, max_size=3))
    episodes = [ENCODED[i] for i in which]
    where = np.stack(
        [lay(e, data.draw(st.integers(0, len(e) - 1)), length, pinned(e)) for e in episodes]
    )
    asked = asked_of(episodes, where)
    types, groups = {}, {}
    for b, (encoded, row) in enumerate(zip(episodes, where, strict=True)):
        some, more = wanted(encoded, row)
        types |= {b * length + place: kind for place, kind in some.items()}
        for group, answers in more.items():
            groups.setdefault(group, {}).update(
                {b * length + place: a.tolist() for place, a in answers.items()}
            )
    assert dict(zip(*(part.tolist() for part in asked.types), strict=True)) == types
    found = {
        group: dict(zip(at.tolist(), tokens.tolist(), strict=True))
        for group, (at, tokens) in asked.groups.items()
    }
    assert found == groups


def test_nothing_is_asked_after_the_pinned_instruction_of_a_window_in_the_middle():
    encoded = ENCODED[6]
    where = lay(encoded, 7, 12, pinned(encoded))
    assert where[0] == pinned(encoded)[0] and where[1] == 7
    asked = asked_of([encoded], where[None])
    assert 0 not in asked.types[0].tolist()
    assert all(0 not in at.tolist() for at, _ in asked.groups.values())
    assert 1 in asked.types[0].tolist()


@given(st.integers(0, 60), st.integers(4, 30))
def test_a_window_is_its_events_in_order(start, length):
    encoded = ENCODED[6]
    start = min(start, len(encoded) - 1)
    where = lay(encoded, start, length, pinned(encoded))
    real = where[where != PADDED]
    assert len(where) == length
    assert (where[len(real) :] == PADDED).all()
    head = [START] if start == 0 else [int(p) for p in pinned(encoded) if p < start]
    count = min(len(encoded) - start, length - len(head))
    assert real.tolist() == [*head, *range(start, start + count)]


@given(st.integers(0, 300), st.integers(4, 40), st.integers(0, 1))
def test_a_window_read_live_holds_the_newest_and_moves_in_steps(total, length, pins):
    start = int(first_shown(total, length, pins))
    assert start == 0 if total < length else 0 < start < total
    head = 1 if start == 0 else pins
    assert total - start + head <= length
    if start:
        assert start % max(length // 2, 1) == 0
        assert total - start >= length - pins - length // 2 - 1


def test_a_batch_has_each_event_at_its_place():
    encoded = ENCODED[7]
    where = np.stack([lay(encoded, 0, 9, pinned(encoded)), lay(encoded, 20, 9, pinned(encoded))])
    hidden = np.zeros(where.shape, np.bool_)
    batch = event_batch([encoded, encoded], where, hidden, len(VOCABULARY.types))
    assert batch.types[0, 0] == len(VOCABULARY.types)
    for b, t in np.ndindex(where.shape):
        event = where[b, t]
        found = {
            stream: features[(places == b * 9 + t).numpy()]
            for stream, (places, features) in batch.features.items()
        }
        there = {stream: f for stream, f in found.items() if len(f)}
        if event < 0:
            assert not there
            assert batch.types[b, t] == (PADDED if event == PADDED else len(VOCABULARY.types))
            continue
        assert batch.types[b, t] == encoded.types[event]
        np.testing.assert_array_equal(batch.times[b, t], encoded.times[event])
        stream, row = int(encoded.stream[event]), int(encoded.row[event])
        np.testing.assert_array_equal(there.pop(stream)[0], encoded.features[stream][row])
        assert not there


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_later_changes_no_earlier_event(seed):
    """The numbers of an event are a function of what had arrived by then."""
    events = EPISODES[seed + 4]
    short = made(seed + 4, steps=3 + seed + 4, instruction=seed % 2 == 0)
    for values in short.values.values():
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            values[-1] = values[-1] * 0.5
    one, other = VOCABULARY.encode(events), VOCABULARY.encode(short)
    last = min(np.flatnonzero(one.row == np.array([len(one.features[s]) - 1 for s in one.stream])))
    np.testing.assert_array_equal(one.types[:last], other.types[:last])
    for at in range(last):
        stream, row = int(one.stream[at]), int(one.row[at])
        np.testing.assert_array_equal(one.features[stream][row], other.features[stream][row])
        kind, place = int(one.types[at]), int(one.place[at])
        np.testing.assert_array_equal(one.tokens[kind][place], other.tokens[kind][place])
