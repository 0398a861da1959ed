"""torchcodec gives the frames of PyAV, bit for bit, or says why it does not."""

import numpy as np
import pytest

from builders import write
from clips import groups, moving
from viae.errors import MissingExtraError, UsageError, WindowError
from viae.load import Access, Windows
from viae.load.torchcodec import TorchcodecFrames
from viae.schema import Take, WindowSpec
from viae.store import Store
from viae.video import PictureView

SPEC = WindowSpec(decision="camera", inputs=(Take(stream="camera", steps=(-3, 0)),))
TIMES = np.arange(20) * 33_000_000


def frames(tmp_path, view=None, decoder="pyav", **coding):
    store = Store.create(tmp_path)
    for seed in range(2):
        write(store, str(seed), groups(moving(20, seed=seed), TIMES, **coding))
    sizes = {"camera": view} if view else {}
    access = Access(path="decode", decoder=decoder)
    windows = Windows(store, SPEC, store.episodes(), picture_sizes=sizes, access=access)
    return windows.frames["camera"]


@pytest.fixture
def torchcodec():
    try:
        import torchcodec  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        pytest.skip(f"torchcodec does not load here: {str(error).splitlines()[0]}")


@pytest.mark.usefixtures("torchcodec")
@pytest.mark.parametrize("coding", [{"group": 1}, {"group": 7}, {"group": 4, "codec": "mpeg4"}])
@pytest.mark.parametrize("view", [None, PictureView(crop=(3, 5, 10, 20))])
def test_the_frames_are_those_of_pyav(tmp_path, coding, view):
    ours = frames(tmp_path, view, **coding)
    theirs = TorchcodecFrames(ours, "torchcodec")
    assert len(theirs) == len(ours) == 40
    which = np.array([39, 0, 7, -1, 20, 7, 19])
    one, other = (np.empty((len(which), *ours.shape), np.uint8) for _ in range(2))
    ours.read(which, one)
    theirs.read(which, other)
    assert (one == other).all()
    assert (other[3] == 0).all()


@pytest.mark.usefixtures("torchcodec")
def test_what_would_change_a_pixel_or_cannot_be_decoded_is_refused(tmp_path):
    scaled = frames(tmp_path / "a", PictureView((8, 8)), group=2)
    with pytest.raises(UsageError, match=r"is scaled to \(8, 8\): torchcodec scales otherwise"):
        TorchcodecFrames(scaled, "torchcodec")
    b_frames = TorchcodecFrames(frames(tmp_path / "b", group=6, b_frames=2), "torchcodec")
    with pytest.raises(WindowError, match=r"stream 'camera' of episode 0, from 0.000 s: its"):
        b_frames.read(np.array([3]), np.empty((1, *b_frames.shape), np.uint8))


@pytest.mark.usefixtures("torchcodec")
def test_windows_ask_for_it(tmp_path):
    assert isinstance(frames(tmp_path, decoder="torchcodec", group=2), TorchcodecFrames)


def test_options_that_contradict_each_other():
    with pytest.raises(UsageError, match="'nvdec' works on demand"):
        Access(decoder="nvdec")
    with pytest.raises(UsageError, match="there is no decoder 'magic'"):
        Access(path="decode", decoder="magic")


def test_it_has_to_be_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("viae.load.torchcodec.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="torchcodec"):
        TorchcodecFrames(frames(tmp_path, group=2), "torchcodec")
