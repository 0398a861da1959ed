"""The bounded queue: order, bounds, policies, and what it calls safe."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viae.errors import RecorderError, UsageError
from viae.record.queue import MessageQueue, Overflow


def make(overflow=Overflow.DROP, messages=100, size=1000):
    return MessageQueue(name="q", overflow=overflow, max_messages=messages, max_bytes=size)


def drain(queue, into):
    """Empty it, as the writing thread does."""
    while block := queue.cut():
        into += [(data, ns) for _, data, ns in block.entries]
        queue.drained(block)


def test_order_is_kept_and_blocks_are_small():
    queue = make(messages=10_000, size=10**6)
    given_ = [(bytes([i % 256]), i) for i in range(2000)]
    for data, ns in given_:
        assert queue.put("s", print, data, ns)
    taken = []
    drain(queue, taken)
    assert taken == given_


def test_drop_counts_by_stream_and_keeps_what_waits():
    queue = make(messages=3, size=1000)
    kept = [queue.put("a" if i % 2 else "b", print, b"x", i) for i in range(8)]
    assert kept == [True] * 3 + [False] * 5
    assert queue.dropped == {"a": 3, "b": 2}
    taken = []
    drain(queue, taken)
    assert [ns for _, ns in taken] == [0, 1, 2]
    assert queue.put("a", print, b"x", 9)


def test_bytes_are_bounded_but_one_large_message_goes_alone():
    queue = make(size=100)
    assert queue.put("a", print, b"x" * 500, 0)
    assert not queue.put("a", print, b"x", 1)
    drain(queue, [])
    assert queue.put("a", print, b"x" * 60, 2)
    assert not queue.put("a", print, b"x" * 60, 3)
    assert queue.put("a", print, b"x" * 40, 4)


def test_many_at_once_are_dropped_in_blocks():
    queue = make(messages=40, size=10**6)
    assert queue.put_all("a", print, [b"x"] * 55, list(range(55))) == 40
    assert queue.dropped == {"a": 15}
    taken = []
    drain(queue, taken)
    assert [ns for _, ns in taken] == list(range(40))


def test_block_waits_for_room():
    queue = make(Overflow.BLOCK, messages=4, size=1000)
    taken = []

    def write():
        for i in range(100):
            queue.put("s", print, b"x", i)
        queue.close()

    writer = threading.Thread(target=write)
    writer.start()
    while not queue.is_over:
        if block := queue.take(10):
            assert len(block.entries) <= 4
            taken += [ns for *_, ns in block.entries]
            queue.drained(block)
    writer.join()
    assert taken == list(range(100))
    assert queue.dropped == {}


def test_who_waits_for_room_hears_of_a_failure():
    queue = make(Overflow.BLOCK, messages=1)
    queue.put("s", print, b"x", 0)
    errors = []

    def write():
        try:
            queue.put("s", print, b"x", 1)
        except RecorderError as error:
            errors.append(str(error))

    writer = threading.Thread(target=write)
    writer.start()
    queue.fail(RecorderError("full"))
    writer.join()
    assert errors == ["full"]
    with pytest.raises(RecorderError, match="full"):
        queue.flush()


def test_statements_are_never_dropped():
    queue = make(messages=1)
    queue.put("s", print, b"x", 5)
    assert not queue.put("s", print, b"x", 6)
    queue.insist(print)
    taken = []
    drain(queue, taken)
    assert taken == [(b"x", 5), (b"", None)]


def test_closed_is_closed():
    queue = make()
    queue.close()
    with pytest.raises(UsageError, match="q: the recording is closed"):
        queue.put("s", print, b"x", 0)


@given(
    st.lists(st.one_of(st.integers(0, 50), st.sampled_from(["drain", "cut", "safe"])), max_size=60)
)
def test_durable_is_what_it_says(steps):
    """All that was put and arrived by then is safe; and no later time would do."""
    queue = make(messages=1000, size=10**6)
    put, safe, drained = [], [], []
    for step in steps:
        if step == "drain":
            drain(queue, drained)
        elif step == "cut":
            if block := queue.cut():
                drained += [(data, ns) for _, data, ns in block.entries]
                queue.drained(block)
        elif step == "safe":
            queue.safe()
            safe = [ns for _, ns in drained]
        else:
            put.append(step)
            queue.put("s", print, b"x", step)
        until = queue.durable_until_ns
        at_risk = sorted(put)
        for ns in safe:
            at_risk.remove(ns)
        expected = at_risk[0] - 1 if at_risk else max(put, default=-1)
        assert until == expected
