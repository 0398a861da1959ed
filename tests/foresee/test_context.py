"""A context: however a history is read, the trunk knows the same."""

import numpy as np
import pytest
from foresee_system import made

from viae.errors import TokenError
from viae.foresee import bits
from viae.foresee.likelihood import added_bits
from viae.load.events import prefix
from viae.model.context import Part


def add_all(context, events, start=0, stop=None, ask=()):
    for at in range(start, len(events) if stop is None else stop):
        name = events.streams[events.stream[at]].name
        row = events.row[at]
        context.add(
            name, np.repeat(events.values[name][row : row + 1], context.count, 0),
            capture_ns=events.capture_ns[at], arrival_ns=events.arrival_ns[at],
        )  # fmt: skip
        if at in ask:
            context.state()


@pytest.mark.parametrize("hide", [False, True])
@pytest.mark.parametrize("count", [1, 5, 10, 11, 12, 17, 30, 49])
def test_read_at_once_or_event_by_event(raw_bundle, count, hide):
    events = prefix(made(7), count)
    at_once = raw_bundle.context(hide_actions=hide)
    at_once.read(events)
    for ask in ((), range(count), (3, 14)):
        live = raw_bundle.context(hide_actions=hide)
        add_all(live, events, ask=ask)
        np.testing.assert_allclose(live.state(), at_once.state(), atol=2e-5)
        assert live.last_ns == at_once.last_ns
        for spec in events.streams:
            assert np.array_equal(live.seen(spec.name), at_once.seen(spec.name))
            assert np.array_equal(live.ages(spec.name), at_once.ages(spec.name))
            if live.seen(spec.name).all():
                assert np.array_equal(live.before(spec.name), at_once.before(spec.name))


@pytest.mark.parametrize("at", [4, 9, 23])
def test_repeated_goes_on_alike(raw_bundle, at):
    events = made(7)
    once = raw_bundle.context()
    add_all(once, events, stop=at)
    many = once.repeated(3)
    many.state()
    add_all(many, events, at, 40)
    add_all(once, events, at, 40)
    np.testing.assert_allclose(many.state(), once.state().expand(3, -1), atol=2e-5)


def test_rows_may_differ(raw_bundle):
    """Two histories in which other streams speak, beside each other and each alone."""
    events = prefix(made(7), 8)
    both = raw_bundle.context()
    both.read(events)
    both = both.repeated(2)
    state, action = np.array([[0.3]]), np.array([[0.7]], np.float32)
    one, two = (raw_bundle.context() for _ in range(2))
    one.read(events)
    two.read(events)
    at = int(events.arrival_ns[-1])
    for first, second in (("state", "action"), ("action", "state"), ("state", "state")):
        at += 5_000_000
        parts: dict[str, list[int]] = {}
        for row, name in enumerate((first, second)):
            parts.setdefault(name, []).append(row)
        of = {"state": state, "action": action}
        both.put(
            [Part(stream=name, rows=np.array(rows), values=np.repeat(of[name], len(rows), 0))
             for name, rows in parts.items()],
            capture_ns=at, arrival_ns=np.array([at, at + 7]),
        )  # fmt: skip
        one.add(first, of[first], capture_ns=at, arrival_ns=at)
        two.add(second, of[second], capture_ns=at, arrival_ns=at + 7)
        np.testing.assert_allclose(both.state()[0], one.state()[0], atol=2e-5)
        np.testing.assert_allclose(both.state()[1], two.state()[0], atol=2e-5)
    back = both.taken(np.array([1, 0, 1]))
    np.testing.assert_allclose(back.state()[1], one.state()[0], atol=2e-5)
    back.add("state", np.repeat(state, 3, 0), capture_ns=at + 9, arrival_ns=at + 9)
    one.add("state", state, capture_ns=at + 9, arrival_ns=at + 9)
    np.testing.assert_allclose(back.state()[1], one.state()[0], atol=2e-5)


def test_bits_are_the_same_live(raw_bundle):
    events = made(7)
    read = bits(raw_bundle, events)
    live = raw_bundle.context()
    for at in range(len(events)):
        name = events.streams[events.stream[at]].name
        found = added_bits(
            live, name, events.values[name][events.row[at]],
            capture_ns=int(events.capture_ns[at]), arrival_ns=int(events.arrival_ns[at]),
        )  # fmt: skip
        np.testing.assert_allclose(found, read.bits[at], atol=1e-4)
    newest = bits(raw_bundle, events, newest=7)
    np.testing.assert_allclose(newest.bits, read.bits[-7:], atol=1e-5)
    sums = read.per_stream()
    assert sum(each["bits"] for each in sums.values()) == pytest.approx(read.total)
    assert sum(each["events"] for each in sums.values()) == len(events)


def test_refusals(raw_bundle):
    context = raw_bundle.context()
    with pytest.raises(TokenError, match="no stream 'sonar'"):
        context.add("sonar", np.zeros((1, 2)), capture_ns=0, arrival_ns=0)
    with pytest.raises(TokenError, match=r"'state': element 'x' is nan"):
        context.add("state", np.array([[np.nan]]), capture_ns=0, arrival_ns=0)
    assert len(context) == 0
    context.add("state", np.zeros((1, 1)), capture_ns=0, arrival_ns=0)
    with pytest.raises(TokenError, match="only into one empty history"):
        context.read(made(7))
