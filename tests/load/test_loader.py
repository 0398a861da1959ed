"""The global order: determinism, elastic resume, weights, threads and processes."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builders import ACTION, STATE, reaching_store
from clips import groups, moving
from viae.errors import LoaderError, UsageError, WindowError
from viae.load import Access, Loader, Windows
from viae.schema import Take, WindowSpec
from viae.sequence import Shuffled, Weighted
from viae.store import Store

SPEC = WindowSpec(
    decision=STATE.name,
    inputs=(Take(stream=STATE.name, steps=(-1, 0)),),
    targets=(Take(stream=ACTION.name, steps=(0, 1, 2)),),
)


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    store = reaching_store(tmp_path_factory.mktemp("store"), episodes=5, steps=13)
    return Windows(store, SPEC, store.episodes())


def names(batch):
    """Which windows a batch has."""
    return list(zip(batch.episodes.tolist(), batch.decisions_ns.tolist(), strict=True))


def seen(loader, batches=None):
    found = []
    for batch in loader:
        found += names(batch)
        if batches is not None:
            batches -= 1
            if not batches:
                break
    return found


def test_an_epoch_has_each_window_once_and_another_order_than_the_next(windows):
    loader = Loader(windows, batch_size=8, seed=3)
    assert len(loader) == 9
    first, second = seen(loader), seen(loader)
    assert loader.epoch == 2
    assert len(first) == len(windows) == 65
    assert sorted(first) == sorted(second) == sorted(set(first))
    assert first != second
    assert first == seen(Loader(windows, batch_size=8, seed=3))
    assert first != seen(Loader(windows, batch_size=8, seed=4))
    in_order = seen(Loader(windows, batch_size=8, shuffle=False))
    assert in_order == sorted(in_order)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 64, 100])
def test_threads_and_batch_sizes_do_not_change_the_order(windows, threads, batch_size):
    wanted = seen(Loader(windows, batch_size=8, seed=3))
    assert seen(Loader(windows, batch_size=batch_size, seed=3, threads=threads)) == wanted


def run(windows, state, *, ranks, steps, batch_size=5, **options):
    """All ranks for some steps from a state: what they saw in global order, and the state."""
    loaders = [
        Loader(windows, batch_size=batch_size, seed=9, rank=r, ranks=ranks, **options)
        for r in range(ranks)
    ]
    for loader in loaders:
        loader.load_state_dict(state)
    iterators = [iter(loader) for loader in loaders]
    found = []
    for _ in range(steps):
        for iterator in iterators:
            batch = next(iterator, None)
            found += names(batch) if batch is not None else []
    states = [loader.state_dict() for loader in loaders]
    for iterator in iterators:
        iterator.close()
    return found, states


def test_a_run_goes_on_with_any_number_of_ranks(windows):
    start = Loader(windows, batch_size=5, seed=9).state_dict()
    whole, _ = run(windows, start, ranks=1, steps=13)
    assert len(whole) == len(windows)
    for before, after, steps in [(1, 2, 3), (2, 1, 4), (2, 3, 2), (3, 2, 1), (3, 1, 4), (1, 3, 12)]:
        head, states = run(windows, start, ranks=before, steps=steps)
        assert all(state == states[0] for state in states)
        tail, _ = run(windows, states[0], ranks=after, steps=20, threads=2)
        assert head + tail == whole, (before, after, steps)


def test_prefetched_batches_do_not_count_as_seen(windows):
    loader = Loader(windows, batch_size=4, seed=1, threads=3, prefetch=4)
    head = seen(loader, batches=2)
    assert loader.state_dict()["position"] == 8
    assert head + seen(loader) == seen(Loader(windows, batch_size=4, seed=1))


def test_ranks_take_equally_many_steps_where_the_rest_is_dropped(windows):
    loaders = [
        Loader(windows, batch_size=4, ranks=3, rank=rank, drop_last=True) for rank in range(3)
    ]
    assert [len(list(loader)) for loader in loaders] == [5, 5, 5] == [5] * 3
    short = [Loader(windows, batch_size=32, ranks=3, rank=rank) for rank in range(3)]
    assert [sum(map(len, loader)) for loader in short] == [21, 22, 22]


@given(
    ranks=st.integers(1, 5),
    batch_size=st.integers(1, 40),
    drop_last=st.booleans(),
    position=st.integers(0, 65),
)
@example(ranks=2, batch_size=16, drop_last=False, position=0)
def test_the_length_of_a_loader_is_how_often_it_gives(
    windows, ranks, batch_size, drop_last, position
):
    loaders = [
        Loader(windows, batch_size=batch_size, rank=rank, ranks=ranks, drop_last=drop_last)
        for rank in range(ranks)
    ]
    for loader in loaders:
        loader.position = position
        said = len(loader)
        assert said == sum(1 for _ in loader)


def test_a_state_of_other_windows_is_refused(windows):
    loader = Loader(windows, batch_size=4)
    state = loader.state_dict() | {"epoch": 3}
    with pytest.raises(LoaderError, match="windows is 65; the state was saved with 3"):
        loader.load_state_dict(state | {"windows": 3})
    with pytest.raises(LoaderError, match="position 66 of epoch 3 is none of 65 windows"):
        loader.load_state_dict(state | {"position": 66})
    with pytest.raises(LoaderError, match="does not say of which order it is"):
        loader.load_state_dict({"epoch": 3, "position": 0, "windows": 65})
    assert loader.epoch == 0
    loader.load_state_dict(json.loads(json.dumps(state)))
    assert loader.epoch == 3


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"epoch": "x"}, "epoch of the state is 'x', not a whole number"),
        ({"epoch": None}, "epoch of the state is None"),
        ({"position": 1.5}, "position of the state is 1.5"),
        ({"position": True}, "position of the state is True"),
        ({"epoch": -1}, "position 0 of epoch -1 is none of"),
        ({"order": None}, "does not say of which order it is"),
        ({"order": "x"}, "does not say of which order it is"),
        ({"global_batch": 0}, "global_batch of the state is 0; it is at least 1"),
        ({"global_batch": "x"}, "global_batch of the state is 'x'"),
    ],
)
def test_a_malformed_state_is_refused(windows, part, text):
    loader = Loader(windows, batch_size=4, drop_last=True)
    with pytest.raises(LoaderError, match=text):
        loader.load_state_dict(loader.state_dict() | part)
    with pytest.raises(LoaderError, match=r"no state of viae\.Loader, but list"):
        loader.load_state_dict([1])
    assert (loader.epoch, loader.position) == (0, 0)


WEIGHTS = np.arange(65.0)


class Backwards:
    def __len__(self):
        return 65

    def take(self, epoch, start, stop):
        return 64 - np.arange(start, stop)


class Rotated(Backwards):
    def take(self, epoch, start, stop):
        return (np.arange(start, stop) + 1) % 65


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"seed": 1}, {"seed": 2}, "seed is 2; the state was saved with 1"),
        ({}, {"shuffle": False}, "kind is in order; the state was saved with shuffled"),
        ({}, {"weights": WEIGHTS}, "kind is weighted; the state was saved with shuffled"),
        ({"weights": WEIGHTS + 1}, {"weights": WEIGHTS}, r"weights is \w+; the state was saved"),
        ({}, {"drop_last": True}, "drop_last is True; the state was saved with False"),
        ({"drop_last": True}, {"drop_last": True, "batch_size": 7}, r"ranks is 7; .* with 4\."),
        ({"drop_last": True}, {"drop_last": True, "ranks": 3}, r"ranks is 12; .* with 4\."),
        ({}, {"order": Backwards()}, "kind is Backwards; the state was saved with shuffled"),
        ({"order": Backwards()}, {"order": Rotated()}, "kind is Rotated"),
    ],
)  # fmt: skip
def test_whatever_changes_the_order_is_named(windows, before, after, text):
    saved = Loader(windows, **{"batch_size": 4, **before})
    next(iter(saved))
    state = {**saved.state_dict(), "position": 8}
    other = Loader(windows, **{"batch_size": 4, **after})
    with pytest.raises(LoaderError, match=text):
        other.load_state_dict(state)
    assert (other.epoch, other.position) == (0, 0)
    same = Loader(windows, **{"batch_size": 4, **before})
    same.load_state_dict(state)
    assert same.position == 8


def test_what_does_not_change_the_order_may_change(windows):
    state = Loader(windows, batch_size=4, seed=1).state_dict()
    Loader(windows, batch_size=7, seed=1, threads=2, prefetch=5, ranks=3).load_state_dict(state)
    state = Loader(windows, batch_size=6, drop_last=True).state_dict()
    Loader(windows, batch_size=2, ranks=3, drop_last=True).load_state_dict(state)


def test_the_same_number_of_other_windows_is_another_order(windows):
    state = Loader(windows, batch_size=4).state_dict()
    turned = Windows(windows.store, SPEC, tuple(reversed(windows.episodes)))
    with pytest.raises(LoaderError, match="load the same episodes, in the same order"):
        Loader(turned, batch_size=4).load_state_dict(state)
    spec = replace(SPEC, rate_hz=7.0)
    with pytest.raises(LoaderError, match=r"(decisions|windows) is"):
        Loader(Windows(windows.store, spec, windows.episodes), batch_size=4).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rank": 2, "ranks": 2}, "rank 2 is none of 2 ranks"),
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 2.5}, "batch_size is a whole number, not 2.5"),
        ({"threads": True}, "threads is a whole number, not True"),
        ({"ranks": 2.0}, "ranks is a whole number, not 2.0"),
        ({"weights": np.ones(3)}, "3 weights for 65 windows"),
        ({"weights": np.ones(65), "shuffle": False}, "weights need shuffle"),
    ],
)
def test_options_that_make_no_sense_are_refused(windows, options, text):
    with pytest.raises(UsageError, match=text):
        Loader(windows, **({"batch_size": 4} | options))


def test_weights_draw_windows_in_proportion_and_resume(windows):
    weights = np.zeros(len(windows))
    weights[[3, 40]] = 1, 3
    loader = Loader(windows, batch_size=8, seed=1, weights=weights)
    found = seen(loader)
    assert len(found) == 65
    third, fortieth = (names(windows.batch(np.array([i])))[0] for i in (3, 40))
    assert set(found) == {third, fortieth}
    assert 35 < found.count(fortieth) < 60
    again = Loader(windows, batch_size=8, seed=1, weights=weights)
    head = seen(again, batches=3)
    assert head + seen(again) == found
    for bad in (np.full(65, -1.0), np.zeros(65), np.full(65, np.nan), np.full(65, 1e307)):
        with pytest.raises(WindowError, match="weights must be"):
            Loader(windows, batch_size=8, weights=bad)


def test_orders_are_permutations_computed_from_anywhere():
    for n in (1, 2, 3, 31, 32, 33, 1000):
        order = Shuffled(n, 5)
        whole = order.take(2, 0, n)
        assert sorted(whole.tolist()) == list(range(n))
        parts = [order.take(2, at, min(at + 7, n)) for at in range(0, n, 7)]
        assert (np.concatenate(parts) == whole).all()
    drawn = Weighted(np.arange(10.0), 5)
    whole = drawn.take(1, 0, 10)
    assert (np.concatenate([drawn.take(1, 0, 3), drawn.take(1, 3, 10)]) == whole).all()


def test_an_order_passes_for_random():
    n = 20_000
    places = np.concatenate([Shuffled(n, seed).take(0, 0, n) for seed in range(5)]).reshape(5, n)
    for row in places:
        assert abs(np.corrcoef(row, np.arange(n))[0, 1]) < 0.03
        assert abs(np.corrcoef(row[1:], row[:-1])[0, 1]) < 0.03
        counts = np.bincount(row[: n // 2] * 16 // n, minlength=16)
        assert np.abs(counts - n / 32).max() < 6 * np.sqrt(n / 32)
    assert (places[0] == places[1]).mean() < 0.01


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    from builders import write

    store = Store.create(tmp_path_factory.mktemp("filmed"))
    times = np.arange(40) * 33_000_000
    write(store, "a", groups(moving(40), times, group=2))
    take = Take(stream="camera", steps=(-1, 0))
    return Windows(store, WindowSpec(decision="camera", inputs=(take,)), store.episodes())


def test_worker_processes_give_the_batches_of_threads(filmed):
    ours = list(Loader(filmed, batch_size=16, seed=2))
    theirs = list(Loader(filmed, batch_size=16, seed=2, workers=2))
    assert len(ours) == len(theirs) == 3
    for one, other in zip(ours, theirs, strict=True):
        assert names(one) == names(other)
        assert (one.inputs["camera"] == other.inputs["camera"]).all()
        assert (one.masks["inputs/camera"] == other.masks["inputs/camera"]).all()


KILLED = """
import os, signal, sys
from multiprocessing import active_children
from viae import Store, Take, WindowSpec, Windows, Loader

if __name__ == "__main__":
    store = Store.open(sys.argv[1])
    spec = WindowSpec(decision="camera", inputs=(Take(stream="camera", steps=(-1, 0)),))
    batches = iter(Loader(Windows(store, spec, store.episodes()), batch_size=1, workers=1))
    next(batches)
    try:
        os.kill(active_children()[0].pid, signal.SIGKILL)
        for _ in batches:
            pass
        print("ended")
    except RuntimeError as error:  # PyTorch may raise it between two batches, outside the loader
        print(type(error).__name__, error)
"""


def test_a_killed_worker_is_an_error_and_not_a_wait(filmed, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    run = [sys.executable, str(script), filmed.store.uri]
    said = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert re.match("LoaderError a worker died|RuntimeError DataLoader worker", said.stdout), said


def test_a_forked_process_is_told_why_it_may_not_read(filmed, monkeypatch):
    access = Access(path="decode", memory_bytes=0)
    windows = Windows(filmed.store, filmed.spec, filmed.episodes, access=access)
    windows.batch(np.array([3]))
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(LoaderError, match="this process was forked, which Lance does not survive"):
        windows.batch(np.array([3]))


def test_an_array_that_someone_holds_is_not_written_over(filmed):
    first = filmed.batch(np.array([5, 6, 7, 8]))
    kept = first.inputs["camera"][1:2]
    copy = kept.copy()
    del first
    for at in range(20):
        filmed.batch(np.array([at, at + 1, at + 2, at + 3]))
    assert (kept == copy).all()
