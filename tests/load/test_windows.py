"""Windows over episodes: padding, skipping, masks, and what cannot be cut."""

from dataclasses import replace

import numpy as np
import pytest

from builders import ACTION, CAMERA, STATE, png, samples, write
from viae.errors import WindowError
from viae.load import Windows as FastWindows
from viae.load import reference
from viae.load.reference import ReferenceWindows
from viae.schema import Kind, Role, StreamSpec, Take, WindowSpec
from viae.store import Store
from viae.video import PictureView

NOW = Take(stream=STATE.name, steps=(-1, 0))
NEXT = Take(stream=ACTION.name, steps=(0, 1))
SPEC = WindowSpec(decision=STATE.name, inputs=(NOW,), targets=(NEXT,))


Windows = FastWindows


@pytest.fixture(autouse=True, params=[FastWindows, ReferenceWindows], ids=["fast", "reference"])
def both(request, monkeypatch):
    """Every test holds for the fast path and for the reference."""
    monkeypatch.setitem(globals(), "Windows", request.param)


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path)


def counted(spec, n, start=1, at=0):
    """Values start, start + 1, … in every element, at times at, at + 10, …"""
    values = np.arange(start, start + n)[:, None] * np.ones(2)
    return samples(spec, values, range(at, at + 10 * n, 10))


def every(windows):
    return windows.batch(np.arange(len(windows)))


def test_windows_pad_what_is_missing_with_zeros_and_say_so(store):
    write(store, "a", [counted(STATE, 3), counted(ACTION, 3, start=7)], task="t")
    windows = Windows(store, SPEC, store.episodes())
    batch = every(windows)
    assert batch.inputs[STATE.name][..., 0].tolist() == [[0, 1], [1, 2], [2, 3]]
    assert batch.masks[f"inputs/{STATE.name}"].tolist() == [
        [False, True],
        [True, True],
        [True, True],
    ]
    assert batch.targets["action"][..., 0].tolist() == [[7, 8], [8, 9], [9, 0]]
    assert batch.masks["targets/action"].tolist() == [[True, True], [True, True], [True, False]]
    assert (batch.inputs[STATE.name].dtype, batch.targets["action"].dtype) == ("float64", "float32")
    assert (batch.tasks, batch.decisions_ns.tolist()) == (("t",) * 3, [0, 10, 20])
    assert windows.skipped == 0


def test_windows_without_an_input_are_skipped_and_counted_if_asked(store):
    write(store, "a", [counted(STATE, 3), counted(ACTION, 3)])
    spec = WindowSpec(decision=STATE.name, inputs=(NOW,), targets=(NEXT,), missing="skip")
    windows = Windows(store, spec, store.episodes())
    assert windows.decisions_ns.tolist() == [10, 20]
    assert windows.skipped == 1


def test_windows_without_any_target_are_always_skipped(store):
    write(store, "a", [counted(STATE, 4), counted(ACTION, 2)])
    windows = Windows(store, SPEC, store.episodes())
    assert windows.decisions_ns.tolist() == [0, 10]
    assert windows.skipped == 2


def test_a_window_never_reaches_into_another_episode(store):
    write(store, "a", [counted(STATE, 2), counted(ACTION, 2)], task="first")
    write(store, "b", [counted(STATE, 2, start=50), counted(ACTION, 2, start=60)], task="second")
    batch = every(Windows(store, SPEC, store.episodes()))
    assert batch.inputs[STATE.name][..., 0].tolist() == [[0, 1], [1, 2], [0, 50], [50, 51]]
    assert batch.targets["action"][..., 0].tolist() == [[1, 2], [2, 0], [60, 61], [61, 0]]
    assert batch.episodes.tolist() == [0, 0, 1, 1]
    assert batch.tasks == ("first", "first", "second", "second")
    turned = Windows(store, SPEC, store.episodes()[::-1])
    assert every(turned).tasks == ("second", "second", "first", "first")


def test_an_episode_that_lacks_an_input_stream_is_padded(store):
    extra = StreamSpec(name="extra", shape=(2,))
    write(store, "a", [counted(STATE, 2), counted(ACTION, 2), counted(extra, 2, start=5)])
    write(store, "b", [counted(STATE, 2), counted(ACTION, 2)])
    take = Take(stream="extra", steps=(0,))
    spec = WindowSpec(decision=STATE.name, inputs=(NOW, take), targets=(NEXT,))
    windows = Windows(store, spec, store.episodes())
    assert every(windows).masks["inputs/extra"][:, 0].tolist() == [True, True, False, False]
    assert every(windows).inputs["extra"][:, 0, 0].tolist() == [5, 6, 0, 0]
    assert windows.stream_spec("extra") == extra
    assert windows.values("extra")[:, 0].tolist() == [5, 6]


def test_decisions_that_arrive_together_are_one(store):
    write(store, "a", [samples(STATE, [[1, 1], [2, 2], [3, 3]], [0, 10, 10]), counted(ACTION, 3)])
    assert every(Windows(store, SPEC, store.episodes())).decisions_ns.tolist() == [0, 10]


def test_a_late_sample_enters_no_earlier_window(store):
    state = samples(STATE, [[1, 1], [2, 2], [3, 3]], arrival_ns=[0, 20, 10], capture_ns=[0, 10, 20])
    write(store, "a", [state, counted(ACTION, 3)])
    batch = every(Windows(store, SPEC, store.episodes()))
    assert batch.inputs[STATE.name][..., 0].tolist() == [[0, 1], [1, 3], [2, 3]]


TEXT = StreamSpec(name="say", kind=Kind.TEXT, dtype="")
RAGGED = StreamSpec(name="scan", shape=(-1,))


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (samples(TEXT, ["a"]), "stream 'say' is text: a window takes pictures and vectors"),
        (samples(RAGGED, [np.zeros(2)]), "stream 'scan' is vector of varying length: a window"),
    ],
)
def test_what_is_no_array_cannot_enter_a_window(store, block, text):
    write(store, "a", [counted(STATE, 1), block])
    take = Take(stream=block.spec.name, steps=(0,))
    with pytest.raises(WindowError, match=text):
        Windows(store, WindowSpec(decision=STATE.name, inputs=(take,)), store.episodes())


def test_streams_of_one_name_have_one_shape(store):
    other = StreamSpec(name=STATE.name, shape=(3,))
    write(store, "a", [counted(STATE, 1), counted(ACTION, 1)])
    write(store, "b", [samples(other, [[1, 2, 3]]), counted(ACTION, 1)])
    with pytest.raises(WindowError) as caught:
        Windows(store, SPEC, store.episodes())
    assert str(caught.value) == (
        "stream 'observation.state' has shape (3,) in episode b and (2,) in others; choose "
        "episodes of one robot, or a picture size"
    )


RAW = replace(CAMERA, encoding="rgb8")


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (RAW, replace(RAW, encoding="bgr8"), "is raw bgr8 of .8, 12, 3. in episode b and raw rgb8"),
        (RAW, replace(RAW, shape=(12, 8, 3)), "is raw rgb8 of .12, 8, 3. in episode b"),
        (RAW, CAMERA, "is not raw in episode b and raw rgb8"),
        (ACTION, replace(ACTION, role=Role.OBSERVATION), "is of role observation in episode b"),
        (ACTION, replace(ACTION, dtype="float64"), "is vector of float64 in episode b"),
    ],
)
def test_streams_of_one_name_are_alike_or_refused(store, one, other, text):
    for episode_id, spec in (("a", one), ("b", other)):
        size = int(np.prod(spec.shape))
        values = [bytes(size)] * 2 if spec.kind is Kind.IMAGE else np.zeros((2, size))
        write(store, episode_id, [counted(STATE, 2), samples(spec, values)])
    spec = WindowSpec(decision=STATE.name, inputs=(Take(stream=one.name, steps=(0,)),))
    with pytest.raises(WindowError, match=text):
        FastWindows(store, spec, store.episodes(), picture_sizes={"camera": (4, 4)})


def test_streams_of_one_name_have_one_unit(store):
    units = {"a": "", "b": "rad", "c": "rad", "d": "deg"}
    for episode_id, unit in units.items():
        write(store, episode_id, [counted(replace(STATE, unit=unit), 2), counted(ACTION, 2)])
    every(Windows(store, SPEC, store.episodes()[:3]))  # an unknown unit contradicts none
    text = "'observation.state' is in deg in episode d and in rad in b; choose episodes that agree"
    with pytest.raises(WindowError, match=text):
        Windows(store, SPEC, store.episodes())


def test_an_episode_named_twice_is_refused(store):
    write(store, "a", [counted(STATE, 2), counted(ACTION, 2)])
    with pytest.raises(WindowError, match="named twice"):
        FastWindows(store, SPEC, store.episodes() * 2)


def test_a_stream_that_no_episode_has_is_named(store):
    write(store, "a", [counted(STATE, 1)])
    with pytest.raises(WindowError, match="none of 1 episodes has the stream 'action'; list the"):
        Windows(store, SPEC, store.episodes())
    with pytest.raises(WindowError, match="none of 0 episodes has the stream"):
        Windows(store, SPEC, [])


def test_windows_that_would_not_fit_in_memory_are_refused(store, monkeypatch):
    monkeypatch.setattr(reference, "MAX_POOL_BYTES", 30)
    write(store, "a", [counted(STATE, 3), counted(ACTION, 3)])
    with pytest.raises(WindowError, match=r"reached at stream 'observation.state'; choose fewer"):
        ReferenceWindows(store, SPEC, store.episodes())


def test_pictures_enter_windows_channels_first_and_scaled(store):
    pixels = np.random.default_rng(0).integers(0, 256, (3, *CAMERA.shape), np.uint8)
    images = samples(CAMERA, [png(p) for p in pixels], [0, 10, 20])
    write(store, "a", [counted(STATE, 3), counted(ACTION, 3), images])
    take = Take(stream="camera", steps=(-1, 0))
    spec = WindowSpec(decision=STATE.name, inputs=(take,), targets=(NEXT,))
    batch = every(Windows(store, spec, store.episodes()))
    assert batch.inputs["camera"].shape == (3, 2, 3, 8, 12)
    assert (batch.inputs["camera"][2, 1] == pixels[2].transpose(2, 0, 1)).all()
    assert (batch.inputs["camera"][0, 0] == 0).all()
    small = Windows(store, spec, store.episodes(), picture_sizes={"camera": (4, 6)})
    assert every(small).inputs["camera"].shape == (3, 2, 3, 4, 6)
    for name in ("camra", STATE.name):
        with pytest.raises(WindowError, match=f"given for '{name}'; the pictures .* 'camera'"):
            FastWindows(store, spec, store.episodes(), picture_sizes={name: (4, 6)})
    view = PictureView(crop=(5, 0, 4, 6))
    with pytest.raises(WindowError, match=r"'camera': a crop of 4x6 at \(5, 0\) .* 8x12"):
        FastWindows(store, spec, store.episodes(), picture_sizes={"camera": view})
