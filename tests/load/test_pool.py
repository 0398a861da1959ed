"""The decoded shuffle pool: its order, how well it mixes, and how seldom it decodes."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import STATE, samples, write
from clips import groups, moving
from viae.errors import LoaderError, UsageError, WindowError
from viae.load import Windows
from viae.load.access import Access
from viae.load.loader import Loader
from viae.load.mixing import chunks_needed, expected_distance, measure
from viae.load.pool import CHUNK_WINDOWS, PoolOrder, chunk_starts, masses
from viae.schema import Take, WindowSpec
from viae.sequence import InOrder, Shuffled, Weighted
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
    with pytest.raises(UsageError, match="would decode the whole pool again: give threads"):
        Loader(windows, batch_size=4, workers=1)
    with pytest.raises(WindowError, match="weights must be"):
        Loader(windows, batch_size=4, weights=np.full(len(windows), -1.0))


@given(sizes=sizes, held=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_weights_draw_the_windows_that_they_draw_without_a_pool(sizes, held, seed, data):
    count = sum(sizes)
    some = st.sampled_from([0.0, 0.0, 1.0, 2.5])
    weights = np.array(data.draw(st.lists(some, min_size=count, max_size=count)))
    weights[data.draw(st.integers(0, count - 1))] = 1
    order = PoolOrder(starts_of(sizes), held, seed, weights)
    for epoch in (0, 3):
        whole = order.take(epoch, 0, count)
        drawn = Weighted(weights, seed).take(epoch, 0, count)
        assert sorted(whole.tolist()) == sorted(drawn.tolist())
    start = data.draw(st.integers(0, count))
    again = pickle.loads(pickle.dumps(order))
    assert again.take(3, start, count).tolist() == whole[start:].tolist()


def same_pairs(windows, starts, batch):
    """Share of the pairs of a batch that are of one chunk."""
    drawn = windows[: len(windows) // batch * batch].reshape(-1, batch)
    chunk = np.searchsorted(starts, drawn, side="right") - 1
    same = (chunk[:, :, None] == chunk[:, None, :]).sum(axis=(1, 2)) - batch
    return float(same.mean()) / batch / (batch - 1)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_a_weighted_pool_is_mixed_as_well_as_expected(spread):
    random = np.random.default_rng(0)
    sizes, batch, held = random.integers(20, 60, 400), 32, 20
    starts = starts_of(sizes)
    weights = np.repeat(np.exp(spread * random.standard_normal(400)), sizes)
    weights[: starts[100]] = 0  # chunks that nobody asks for take no part
    order = PoolOrder(starts, held, 1, weights)
    whole = np.concatenate([order.take(epoch, 0, len(order)) for epoch in range(4)])
    expected = masses(weights, starts)
    assert expected.sum() == pytest.approx(len(order))
    lost = expected_distance(expected[100:], held, batch, drawn=True)
    alone = float((expected**2).sum()) / expected.sum() ** 2
    found = 1 - (1 + (batch - 1) * alone) / (1 + (batch - 1) * same_pairs(whole, starts, batch))
    assert found == pytest.approx(lost, abs=0.05)
    needed = chunks_needed(expected[100:], batch, lost, drawn=True)
    assert needed == held


def test_weights_hold_more_chunks_or_say_that_memory_is_short(store):
    windows = opened(store, path="pool", mixing=0.6, mixing_batch=16)
    pool = windows.choice.pool
    even = Loader(windows, batch_size=16, weights=np.ones(len(windows)))
    assert even.order.held >= pool.held
    few = np.where(windows.episode_of < 2, 1.0, 0.05)
    loader = Loader(windows, batch_size=16, weights=few, seed=2)
    assert loader.order.held > pool.held
    seen = [episode for batch in loader for episode in batch.episodes.tolist()]
    drawn = Weighted(few, 2).take(0, 0, len(windows))
    assert sorted(seen) == sorted(windows.episode_of[drawn].tolist())
    short = replace(pool, memory_bytes=pool.needed_bytes // 4)
    with pytest.raises(UsageError, match=r"holds \d+ chunks \(\d+ without weights\) and needs"):
        short.order(0, few)


def test_a_pool_mixed_otherwise_is_another_order(store):
    state = Loader(opened(store, path="pool", mixing=0.6, mixing_batch=16), batch_size=8)
    state = state.state_dict()
    for access, text in (
        ({"path": "pool", "mixing": 0.5, "mixing_batch": 16}, "mixing is 0.5; .* with 0.6"),
        ({"path": "pool", "mixing": 0.6, "mixing_batch": 8}, "mixing_batch is 8; .* with 16"),
        ({"path": "decode"}, "kind is shuffled; .* with pool"),
    ):
        with pytest.raises(LoaderError, match=text):
            Loader(opened(store, **access), batch_size=8).load_state_dict(state)
