"""The decoded shuffle pool: its order, how well it mixes, and how seldom it decodes."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import STATE, samples, write
from clips import groups, moving
from viae.errors import UsageError
from viae.load import Windows
from viae.load.access import Access
from viae.load.loader import Loader
from viae.load.mixing import chunks_needed, expected_distance, measure
from viae.load.pool import CHUNK_WINDOWS, PoolOrder, chunk_starts
from viae.schema import Take, WindowSpec
from viae.sequence import InOrder, Shuffled
from viae.store import Store

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=30)


def starts_of(sizes):
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


@given(sizes=sizes, held=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_each_window_comes_once_and_any_part_can_be_computed(sizes, held, seed, data):
    order = PoolOrder(starts_of(sizes), held, seed)
    whole = order.take(2, 0, len(order))
    assert sorted(whole.tolist()) == list(range(sum(sizes)))
    start = data.draw(st.integers(0, len(order)))
    stop = data.draw(st.integers(start, len(order)))
    again = pickle.loads(pickle.dumps(order))
    assert again.take(2, start, stop).tolist() == whole[start:stop].tolist()


def test_the_order_depends_on_seed_epoch_and_pool():
    starts = starts_of([8] * 20)
    orders = {
        tuple(PoolOrder(starts, held, seed).take(epoch, 0, 160))
        for held in (3, 4) for seed in (0, 1) for epoch in (0, 1)
    }  # fmt: skip
    assert len(orders) == 8


def test_no_more_chunks_than_the_pool_holds_are_open():
    held, chunks, size = 7, 50, 40
    order = PoolOrder(starts_of([size] * chunks), held, 0)
    chunk = order.take(0, 0, len(order)) // size
    for start in range(0, len(chunk) - size, size):
        assert len(set(chunk[start : start + size].tolist())) <= held + 2


def test_chunks_are_runs_of_whole_groups_of_one_episode():
    episode_of = np.repeat([4, 1, 9], [100, 10, 64])
    group = np.concatenate([np.arange(100) // 20, [7] * 10, 8 + np.arange(64) // 2])
    starts = chunk_starts(episode_of, group)
    assert starts.tolist() == [0, 40, 80, 100, 110, 142, 174]
    assert CHUNK_WINDOWS == 32
    assert chunk_starts(episode_of[:0], group[:0]).tolist() == [0]


@pytest.mark.parametrize("held", [3, 10, 40, 100])
def test_the_distance_measured_is_the_one_expected(held):
    random = np.random.default_rng(0)
    sizes = random.integers(20, 60, 400)
    starts = starts_of(sizes)
    episode_of = np.repeat(np.arange(100), [sizes[i : i + 4].sum() for i in range(0, 400, 4)])
    found = measure(PoolOrder(starts, held, 1), starts, episode_of, 32)
    expected = expected_distance(sizes, held, 32)
    assert found.low - 0.01 <= expected <= found.high + 0.01
    assert found.by_episode <= found.distance + 0.02
    assert abs(found.time) < 0.15


def test_a_full_shuffle_has_no_distance_and_no_shuffle_a_great_one():
    starts = starts_of([50] * 100)
    episode_of = np.repeat(np.arange(50), 100)
    full = measure(Shuffled(5000, 0), starts, episode_of, 50)
    assert full.low < 0.01
    assert abs(full.distance) < 0.02
    none = measure(InOrder(5000), starts, episode_of, 50)
    assert none.distance == pytest.approx(1 - (1 + 49 / 100) / 50)
    assert none.batches == 100
    everything = measure(PoolOrder(starts, 100, 0), starts, episode_of, 50)
    assert abs(everything.distance) < 0.02


@given(sizes=sizes, bound=st.floats(0.01, 0.9), batch=st.integers(2, 64))
def test_the_smallest_pool_within_the_bound(sizes, bound, batch):
    sizes = np.array(sizes)
    held = chunks_needed(sizes, batch, bound)
    assert expected_distance(sizes, held, batch) <= bound
    if held > 1:
        assert expected_distance(sizes, held - 1, batch) > bound


SPEC = WindowSpec(decision="camera", inputs=(Take(stream="camera", steps=(-1, 0)),))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("store"))
    for seed in range(6):
        at = np.arange(80) * 33_000_000
        video = groups(moving(80, seed=seed), at, group=40)
        write(store, str(seed), [samples(STATE, np.zeros((80, 2)), at), *video])
    return store


def opened(store, **access):
    return Windows(store, SPEC, store.episodes(), access=Access(**access))


def test_groups_are_decoded_seldom(store):
    windows = opened(store, path="pool", mixing=0.6, mixing_batch=16)
    pool, frames = windows.choice.pool, windows.frames["camera"]
    assert pool.held < len(pool.starts) - 1 == 12
    frames.memory_bytes = pool.needed_bytes
    loader = Loader(windows, batch_size=16)
    assert sum(len(batch) for batch in loader) == len(windows)
    assert frames.decoded <= 12 * 3
    assert frames.held_bytes <= pool.needed_bytes


def test_ranks_and_resuming_see_one_order(store):
    windows = opened(store, path="pool", mixing=0.6, mixing_batch=16)
    one = Loader(windows, batch_size=24, seed=5)
    whole = [batch.decisions_ns.tolist() for batch in one]
    parts = [Loader(windows, batch_size=8, seed=5, rank=rank, ranks=3) for rank in range(3)]
    first = next(iter(parts[0]))
    parts[1].load_state_dict({**parts[0].state_dict(), "position": 24})
    second = next(iter(parts[1])).decisions_ns.tolist()
    assert first.decisions_ns.tolist() == whole[0][:8]
    assert second == whole[1][8:16]


def test_auto_takes_a_pool_only_if_its_mixing_is_allowed(store):
    some = 240 * 3 * 32 * 48
    assert opened(store, memory_bytes=some).choice.path == "cache"
    assert opened(store, memory_bytes=some, mixing=0.8, mixing_batch=8).choice.path == "pool"
    assert opened(store, mixing=0.8).choice.path == "cache"
    tight = opened(store, memory_bytes=some, mixing=0.01)
    assert tight.choice.path == "cache"


def test_a_pool_that_cannot_be_is_refused(store):
    with pytest.raises(UsageError, match=r"holds \d+ chunks and needs [\d,]+ bytes of memory"):
        opened(store, path="pool", memory_bytes=1000)
    blind = WindowSpec(decision=STATE.name, inputs=(Take(stream=STATE.name, steps=(0,)),))
    with pytest.raises(UsageError, match="no pictures: there is nothing to pool"):
        Windows(store, blind, store.episodes(), access=Access(path="pool"))
    windows = opened(store, path="pool")
    with pytest.raises(UsageError, match="each process would fill one of its own"):
        Loader(windows, batch_size=4, workers=1)
    with pytest.raises(UsageError, match="windows drawn by weight come from anywhere"):
        Loader(windows, batch_size=4, weights=np.ones(len(windows)))
