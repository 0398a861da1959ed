"""Every access path gives the windows of the reference, bit for bit, in any order of requests."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fast_windows import same, specs, store  # noqa: F401 (a fixture)

from viae.load import Windows
from viae.load.access import Access
from viae.load.reference import ReferenceWindows
from viae.schema import Take, WindowSpec

KIB = 1 << 10
FOLDERS = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("frames")


@st.composite
def accesses(draw, folder=None):
    """Any path; budgets from nothing to plenty."""
    path = draw(st.sampled_from(["auto", "cache", "pool"]))
    if path == "pool":
        mixing = draw(st.sampled_from([0.05, 0.5, 0.9]))
        return Access(path=path, memory_bytes=1 << 30, mixing=mixing, mixing_batch=8)
    if path == "cache":
        disk = draw(st.sampled_from([0, 1 << 30]))
        kept = folder if disk and draw(st.booleans()) else None
        memory = 0 if disk and draw(st.booleans()) else 1 << 30
        return Access(path=path, memory_bytes=memory, disk_bytes=disk, folder=kept)
    return Access(
        memory_bytes=draw(st.integers(0, 200)) * KIB,
        disk_bytes=draw(st.sampled_from([0, 40, 90])) * KIB,
        mixing=draw(st.none() | st.just(0.9)),
    )


@given(spec=specs(), size=st.sampled_from([None, (9, 14)]), data=st.data())
def test_every_path_gives_the_windows_of_the_reference(store, folder, spec, size, data):  # noqa: F811
    sizes = {"video": size} if size else {}
    episodes = store.episodes()
    reference = ReferenceWindows(store, spec, episodes, picture_sizes=sizes)
    access = data.draw(accesses(folder))
    pictured = {"video", "camera"} & {take.stream for take in spec.inputs}
    if access.path == "pool" and not pictured:
        access = Access()
    windows = Windows(store, spec, episodes, picture_sizes=sizes, access=access)
    order = windows.order(seed=3)
    assert sorted(order.take(1, 0, len(windows)).tolist()) == list(range(len(reference)))
    for _ in range(3 if len(reference) else 0):
        some = st.lists(st.integers(0, len(reference) - 1), max_size=12)
        which = np.array(data.draw(some), np.int64)
        same(windows.batch(which), reference.batch(which))


@pytest.mark.parametrize(
    "access",
    [
        Access(path="cache"),
        Access(path="cache", memory_bytes=0, disk_bytes=1 << 24),
        Access(memory_bytes=90 * KIB, disk_bytes=20 * KIB),
        Access(path="pool", mixing=0.9),
    ],
    ids=["memory", "file", "part", "pool"],
)
def test_threads_share_what_is_decoded(store, access):  # noqa: F811
    take = Take(stream="video", steps=(-3, 0))
    spec = WindowSpec(decision="video", inputs=(take,))
    reference = ReferenceWindows(store, spec, store.episodes())
    for _ in range(5):
        windows = Windows(store, spec, store.episodes(), access=access)
        for frames in windows.frames.values():
            if hasattr(frames, "memory_bytes"):
                frames.memory_bytes = 30 * KIB  # groups come and go
        wrong = []

        def work(seed, windows=windows, wrong=wrong):
            random = np.random.default_rng(seed)
            for _ in range(8):
                which = random.integers(0, len(windows), 8)
                try:
                    same(windows.batch(which), reference.batch(which))
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not wrong
