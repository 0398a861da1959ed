"""Every access path gives the windows of the reference, bit for bit: any spec, video, order."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import ACTION, CAMERA, STATE, ns, png, samples, write
from clips import groups, moving
from viae.load import Windows
from viae.load.access import Access
from viae.load.reference import ReferenceWindows
from viae.schema import Fact, Samples, Take, WindowSpec
from viae.store import Store
from viae.video import groups as compiled_groups

MS = 1_000_000
KIB = 1 << 10
N = 14


def late(spec, count, period, seed):
    """Samples at a rate, some of which arrive late and overtaken by others."""
    random = np.random.default_rng(seed)
    capture = np.arange(count) * period
    arrival = capture + random.choice([0, 0, 1, 70], count) * MS
    values = random.normal(size=(count, 2))
    return Samples(
        spec=spec, capture_ns=ns(capture), arrival_ns=ns(arrival), seq=ns(range(count)),
        values=np.asarray(values, spec.dtype),
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three episodes: videos in three codings, images, late packets, an intervention, a gap."""
    store = Store.create(tmp_path_factory.mktemp("store"))
    for seed, coding in enumerate(({"group": 1}, {"group": 6, "b_frames": 2}, {"group": 5})):
        blocks = [late(STATE, 20, 21 * MS, seed), late(ACTION, 17, 25 * MS, seed)]
        if seed != 1:
            pixels = moving(5, 8, 12, seed)
            blocks.append(samples(CAMERA, [png(p) for p in pixels], np.arange(5) * 80 * MS))
        video = groups(moving(N, seed=seed), np.arange(N) * 33 * MS, name="video", **coding)
        facts = [
            Fact(
                episode_id=str(seed), key="intervention", value=True, author="me", time_ns=1,
                start_ns=150 * MS, end_ns=230 * MS,
            )
        ][: seed % 2]  # fmt: skip
        write(store, str(seed), [*blocks, *video], facts=facts, task=f"task {seed}")
    return store


@pytest.fixture(autouse=True, scope="module")
def compiled_at_once():
    """Small as these videos are, what can be decoded by the compiled loop is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_groups, "WORTH", -1)
        yield


steps = st.lists(st.integers(-4, 0), min_size=1, max_size=3, unique=True).map(tuple)
offsets = st.lists(st.floats(-0.2, 0), min_size=1, max_size=3, unique=True).map(tuple)
ahead = st.lists(st.integers(0, 6), min_size=1, max_size=4, unique=True).map(tuple)
max_age = st.none() | st.floats(0.01, 0.2)


@st.composite
def specs(draw):
    inputs = []
    for stream in draw(
        st.sets(st.sampled_from(["video", "camera", STATE.name, "action"]), min_size=1)
    ):
        which = {"steps": draw(steps)} if draw(st.booleans()) else {"offsets_s": draw(offsets)}
        inputs.append(
            Take(stream=stream, max_age_s=draw(max_age), age=draw(st.booleans()), **which)
        )
    return WindowSpec(
        decision=draw(st.sampled_from([STATE.name, "video"])),
        rate_hz=draw(st.none() | st.sampled_from([7.0, 40.0])),
        inputs=tuple(inputs),
        targets=(Take(stream="action", steps=draw(ahead)),) if draw(st.booleans()) else (),
        missing=draw(st.sampled_from(["pad", "skip"])),
        stops=draw(st.sampled_from([(), ("intervention",)])),
    )


def same(one, other):
    for group in ("inputs", "targets", "masks", "ages"):
        ours, theirs = getattr(one, group), getattr(other, group)
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            assert array.dtype == theirs[name].dtype, name
            assert array.shape == theirs[name].shape, name
            assert (array == theirs[name]).all(), name
    assert one.tasks == other.tasks
    assert (one.episodes == other.episodes).all()
    assert (one.decisions_ns == other.decisions_ns).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("frames")


@st.composite
def accesses(draw, folder):
    """Any path; budgets from nothing to plenty."""
    path = draw(st.sampled_from(["decode", "auto", "cache", "pool"]))
    if path == "decode":
        return Access(path=path, memory_bytes=draw(st.sampled_from([0, 1 << 30])))
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


@settings(max_examples=2 * settings.default.max_examples)  # there are four paths
@given(spec=specs(), size=st.sampled_from([None, (20, 32), (9, 14)]), data=st.data())
def test_every_path_gives_the_windows_of_the_reference(store, folder, spec, size, data):
    episodes = store.episodes()
    pictured = {"video", "camera"} & {take.stream for take in spec.inputs}
    sizes = {"video": size} if size and "video" in pictured else {}
    reference = ReferenceWindows(store, spec, episodes, picture_sizes=sizes)
    access = data.draw(accesses(folder))
    if access.path == "pool" and not pictured:
        access = Access()
    windows = Windows(store, spec, episodes, picture_sizes=sizes, access=access)
    assert len(windows) == len(reference)
    assert (windows.skipped, windows.undecided) == (reference.skipped, reference.undecided)
    order = windows.order(seed=3)
    assert sorted(order.take(1, 0, len(windows)).tolist()) == list(range(len(reference)))
    for _ in range(3 if len(reference) else 0):
        some = st.lists(st.integers(0, len(reference) - 1), max_size=12)
        which = np.array(data.draw(some), np.int64)
        same(windows.batch(which), reference.batch(which))


def test_the_compiled_loop_gives_the_windows_of_the_reference(store, monkeypatch):
    pytest.importorskip("numba", reason="the compiled loop needs the extra 'fast'")
    decoded, decode = [], compiled_groups._Ready.decode

    def counted(self, loop, request, target, which):
        left = decode(self, loop, request, target, which)
        decoded.append(len(which) - len(left))
        return left

    monkeypatch.setattr(compiled_groups._Ready, "decode", counted)
    spec = WindowSpec(decision="video", inputs=(Take(stream="video", steps=(-3, -1, 0)),))
    sizes = {"video": (64, 96)}
    reference = ReferenceWindows(store, spec, store.episodes(), picture_sizes=sizes)
    access = Access(path="decode")
    windows = Windows(store, spec, store.episodes(), picture_sizes=sizes, access=access)
    for seed in range(6):
        which = np.random.default_rng(seed).integers(0, len(windows), 16)
        same(windows.batch(which), reference.batch(which))
    assert sum(decoded) > 20


@pytest.mark.parametrize(
    "access",
    [
        Access(path="decode"),
        Access(path="cache"),
        Access(path="cache", memory_bytes=0, disk_bytes=1 << 24),
        Access(memory_bytes=90 * KIB, disk_bytes=20 * KIB),
        Access(path="pool", mixing=0.9),
    ],
    ids=["decode", "memory", "file", "part", "pool"],
)
def test_threads_share_what_is_decoded(store, access):
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
