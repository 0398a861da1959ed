"""The cache of decoded frames: what it keeps, what it believes, and what it refuses."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from builders import STATE, samples, write
from clips import groups, moving
from viae.errors import LoaderError, UsageError
from viae.load import Windows
from viae.load.access import Access
from viae.load.cache import Cached
from viae.load.slots import checksum, kept_file, shared_memory, temporary_file
from viae.schema import Take, WindowSpec
from viae.store import Store

SPEC = WindowSpec(decision="camera", inputs=(Take(stream="camera", steps=(-1, 0)),))
SHAPE = (3, 32, 48)
FRAME = 3 * 32 * 48
N = 20


def times(n=N):
    return np.arange(n) * 33_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("store"))
    for seed in range(2):
        video = groups(moving(N // 2, seed=seed), times(), group=5)
        write(store, str(seed), [samples(STATE, np.zeros((10, 2)), times(10)), *video])
    return store


def opened(store, spec=SPEC, **access):
    windows = Windows(store, spec, store.episodes(), access=Access(**access))
    return windows, windows.frames["camera"]


def on_demand(store):
    return opened(store, path="decode")[0].values("camera")


class Counted:
    """How many packets' rows were asked for."""

    def __init__(self, source):
        self.source, self.rows = source, 0

    def of(self, rows):
        self.rows += len(rows)
        return self.source.of(rows)


def counted(frames):
    frames.source.packets = Counted(frames.source.packets)
    return frames.source.packets


def test_each_group_is_decoded_once(store):
    windows, frames = opened(store, path="cache")
    asked = counted(frames)
    for _ in range(3):
        windows.batch(np.arange(len(windows)))
    assert asked.rows == len(frames.source.stream.rows) == 4
    assert frames.held == N


def test_only_frames_that_windows_use_are_kept(store):
    slow = WindowSpec(decision="camera", rate_hz=10.0, inputs=(Take(stream="camera", steps=(0,)),))
    windows, frames = opened(store, slow, path="cache")
    windows.batch(np.arange(len(windows)))
    assert frames.held == frames.tiers[0].count < N
    assert (windows.values("camera") == on_demand(store)).all()


def test_what_fits_is_kept_the_rest_decoded_each_time(store):
    windows, frames = opened(store, memory_bytes=14 * FRAME, disk_bytes=5 * FRAME)
    assert windows.choice.path == "cache"
    assert "of the decoded frames fit; the rest is decoded on demand" in windows.choice.why
    expected = on_demand(store)
    assert (windows.values("camera") == expected).all()
    held = frames.held
    assert 0 < held == sum(tier.count for tier in frames.tiers) < N
    assert len(frames.tiers) == 2
    some = np.array([19, -1, 3, 3, 0])
    out = np.empty((5, *SHAPE), np.uint8)
    frames.read(some, out)
    assert (out[[0, 2, 3, 4]] == expected[[19, 3, 3, 0]]).all()
    assert not out[1].any()


def test_a_cache_that_was_demanded_and_does_not_fit_is_refused(store):
    with pytest.raises(
        UsageError, match=r"the decoded frames need [\d,]+ bytes; the cache may take 10"
    ):
        opened(store, path="cache", memory_bytes=10)


def test_a_kept_file_serves_the_next_run(store, tmp_path):
    access = {"path": "cache", "disk_bytes": 1 << 24, "folder": tmp_path}
    first = opened(store, **access)[0].values("camera")
    [path] = tmp_path.iterdir()
    windows, frames = opened(store, **access)
    asked = counted(frames)
    assert (windows.values("camera") == first).all()
    assert asked.rows == 0
    assert list(tmp_path.iterdir()) == [path]
    opened(store, WindowSpec(decision="camera", rate_hz=10.0, inputs=SPEC.inputs), **access)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["page", "sums", "short", "head"])
def test_a_torn_file_is_never_believed(store, tmp_path, damage):
    access = {"path": "cache", "disk_bytes": 1 << 24, "folder": tmp_path}
    expected = opened(store, **access)[0].values("camera")
    [path] = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "page":  # of the tenth frame, as if it had never reached the disk
        start = len(content) - 10 * FRAME
        content[start + 100 : start + 4196] = bytes(4096)
    elif damage == "sums":
        content[4096 : 4096 + 8 * N] = bytes(range(8)) * N
    elif damage == "short":
        del content[-FRAME:]
    else:
        content[:4096] = b"?" * 4096
    path.write_bytes(content)
    windows, frames = opened(store, **access)
    asked = counted(frames)
    assert (windows.values("camera") == expected).all()
    assert asked.rows == (1 if damage == "page" else 4)
    assert (opened(store, **access)[0].values("camera") == expected).all()


def test_a_killed_writer_leaves_a_file_that_another_fills(tmp_path):
    code = (
        "import sys, os, signal, numpy as np\n"
        "from pathlib import Path\n"
        "from viae.load.slots import kept_file\n"
        "slots = kept_file(Path(sys.argv[1]), {}, 4, (3, 2, 2))\n"
        "slots.frames[:2] = 7\n"
        "slots.keep(np.array([0]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    slots = kept_file(tmp_path, {}, 4, (3, 2, 2))
    assert slots.held(np.arange(4)).tolist() == [True, False, False, False]
    assert (slots.frames[0] == 7).all()


@pytest.mark.parametrize("make", [shared_memory, temporary_file])
def test_another_process_sees_the_same_frames(make):
    slots = make(3, (3, 4, 5))
    slots.frames[1] = 9
    slots.keep(np.array([1]))
    code = (
        "import pickle, sys\n"
        "import numpy as np\n"
        "slots = pickle.loads(sys.stdin.buffer.read())\n"
        "assert slots.held(np.arange(3)).tolist() == [False, True, False]\n"
        "slots.frames[2] = slots.frames[1] + 1\n"
        "slots.keep(np.array([2]))\n"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(slots), check=True, timeout=60)
    assert slots.held(np.arange(3)).tolist() == [False, True, True]
    assert (slots.frames[2] == 10).all()


def test_a_cache_sent_to_a_process_shares_its_frames(store):
    windows, frames = opened(store, path="cache")
    expected = windows.values("camera")
    other = pickle.loads(pickle.dumps(frames))
    assert isinstance(other, Cached)
    asked = counted(other)
    out = np.empty((N, *SHAPE), np.uint8)
    other.read(np.arange(N), out)
    assert (out == expected).all()
    assert asked.rows == 0


def test_frames_of_a_process_that_is_gone_cannot_be_opened():
    state = pickle.dumps(shared_memory(1, (3, 2, 2)))
    with pytest.raises(LoaderError, match="live as long as the process that made them"):
        pickle.loads(state)


def test_a_folder_that_cannot_be_written_is_named(store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LoaderError, match="decoded frames cannot be kept there"):
        opened(store, path="cache", disk_bytes=1 << 24, folder=tmp_path / "file")


def test_a_damaged_group_hides_only_what_cannot_be_decoded(store, tmp_path):
    video = groups(moving(10, seed=5), times(), group=5)
    broken = video[0].packets[:3] + (b"\x00\x00\x00\x01\xff",) * 2
    object.__setattr__(video[0], "packets", broken)
    damaged = Store.create(tmp_path / "damaged")
    write(damaged, "a", video)
    demanded, _ = opened(damaged, path="decode")
    for access in ({"path": "cache"}, {"path": "pool", "mixing": 0.9}):
        windows, _ = opened(damaged, **access)
        for which in ([1, 2], [6, 2, 9], [0]):
            ours, theirs = (w.batch(np.array(which)).inputs["camera"] for w in (windows, demanded))
            assert (ours == theirs).all()


def test_checksums_see_pages_that_are_missing():
    frame = np.random.default_rng(0).integers(0, 256, (3, 61, 47), np.uint8)
    whole = checksum(frame)
    assert whole == checksum(frame.copy())
    for start in range(0, frame.size, 4096):
        torn = frame.copy()
        torn.reshape(-1)[start : start + 4096] = 0
        assert checksum(torn) != whole
    assert checksum(np.zeros((3, 4, 4), np.uint8)) != 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"path": "fast"}, "there is no access path 'fast'"),
        ({"memory_bytes": -1}, "cannot be negative"),
        ({"folder": "x"}, "of no use without disk_bytes"),
        ({"mixing": 1.0}, "mixing lies between 0 and 1"),
        ({"mixing": 0.1, "path": "cache"}, "mixing is about a pool's order"),
        ({"mixing_batch": 1}, "mixing_batch is at least 2"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, text):
    with pytest.raises(UsageError, match=text):
        Access(**options)
