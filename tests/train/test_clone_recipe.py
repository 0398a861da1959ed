"""A recipe made definite by the streams that are there, or refused."""

import numpy as np
import pytest

from builders import ACTION, CAMERA, STATE, png, reaching_store, samples, write
from viae.errors import UsageError, WindowError
from viae.load import Windows
from viae.schema import Role, StreamSpec, Take
from viae.store import Store
from viae.train import CloneRecipe, LoopConfig, train_clone

LOOP = LoopConfig(steps=2, check_every=2)
TINY = {"width": 8, "depth": 1, "chunk": 2, "batch_size": 4, "loop": LOOP}


def train(store, tmp_path, **recipe):
    return train_clone(
        store, store.episodes(), CloneRecipe(**TINY | recipe), work=tmp_path / "work"
    )  # fmt: skip


def test_it_learns_to_reach(tmp_path):
    store = reaching_store(tmp_path / "store", episodes=12)
    loop = LoopConfig(steps=300, check_every=100, warmup=10, ema=0.9, lr=3e-3)
    bundle = train(store, tmp_path, width=32, batch_size=32, loop=loop)
    windows = Windows(store, bundle.window, store.episodes())
    batch = windows.batch(np.arange(len(windows)))
    error = np.abs(bundle.predict(batch)["action"][:, 0] - batch.targets["action"][:, 0]).mean()
    assert error < 0.2 * np.abs(batch.targets["action"][:, 0]).mean()


def test_it_takes_what_is_there(tmp_path):
    bundle = train(reaching_store(tmp_path / "store"), tmp_path, past=2)
    assert bundle.window.decision == STATE.name
    assert bundle.window.inputs == (Take(stream=STATE.name, steps=(-1, 0)),)
    assert bundle.window.targets == (Take(stream=ACTION.name, steps=(0, 1)),)
    assert bundle.tasks == ("reach",)
    metrics = bundle.provenance.metrics
    assert metrics["windows"] == 48
    assert metrics["windows_skipped"] == 0
    assert [point[0] for point in metrics["curve"]] == [2]


def test_pictures_enter_unless_told_otherwise(tmp_path):
    store = Store.create(tmp_path / "store")
    for name in "ab":
        write(
            store, name,
            [
                samples(STATE, np.arange(6)[:, None] * [1, 2]),
                samples(ACTION, np.ones((6, 2))),
                samples(CAMERA, [png(np.zeros(CAMERA.shape, np.uint8))] * 6),
            ],
        )  # fmt: skip
    blind = train(store, tmp_path, images=False)
    assert [take.stream for take in blind.window.inputs] == [STATE.name]
    seeing = train(store, tmp_path, picture_size=(16, 16))
    assert [take.stream for take in seeing.window.inputs] == ["camera", STATE.name]
    assert seeing.picture_sizes == {"camera": (16, 16)}
    windows = Windows(store, seeing.window, store.episodes(), picture_sizes=seeing.picture_sizes)
    assert seeing.predict(windows.batch(np.arange(3)))["action"].shape == (3, 2, 2)


def test_relative_actions_come_back_absolute(tmp_path):
    store = reaching_store(tmp_path / "store")
    bundle = train(store, tmp_path, relative_to=ACTION.name)
    assert bundle.window.missing == "skip"
    windows = Windows(store, bundle.window, store.episodes())
    assert windows.skipped == 4  # the first decision of each episode has no action before it
    batch = windows.batch(np.arange(len(windows)))
    flat = bundle.pipeline.forward(batch)
    back = bundle.pipeline.inverse({"targets/action": flat["targets/action"]}, batch)
    mask = batch.masks["targets/action"]
    np.testing.assert_allclose(
        back["targets/action"][mask], batch.targets["action"][mask], atol=1e-5
    )


def test_no_episodes(tmp_path):
    with pytest.raises(UsageError, match="there are no episodes to learn from"):
        train(Store.create(tmp_path / "store"), tmp_path)


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        ({"action": "torque"}, "there is no stream 'torque'; the episodes have"),
        ({"inputs": ("torque",)}, "there is no stream 'torque'"),
        ({"relative_to": "torque"}, "there is no stream 'torque'"),
        ({"inputs": (ACTION.name,)}, "a policy needs a vector among its inputs"),
        ({"relative_to": "wide"}, "of shape (2,) cannot be relative to 'wide' of shape (3,)"),
        ({"action": ""}, "name the stream to predict with --action: the episodes have ['action', "),
    ],
)
def test_a_recipe_that_does_not_fit(tmp_path, recipe, text):
    store = Store.create(tmp_path / "store")
    wide = StreamSpec(name="wide", shape=(3,))
    other = StreamSpec(name="other", shape=(2,), role=Role.ACTION)
    blocks = [samples(spec, np.ones((4, spec.size))) for spec in (STATE, ACTION, wide, other)]
    write(store, "a", blocks)
    with pytest.raises(UsageError) as caught:
        train(store, tmp_path, **{"action": ACTION.name} | recipe)
    assert text in str(caught.value)


def test_no_action_at_all(tmp_path):
    store = Store.create(tmp_path / "store")
    write(store, "a", [samples(STATE, np.ones((4, 2)))])
    with pytest.raises(UsageError, match="no stream has the role action; name one of"):
        train(store, tmp_path)


def test_numbers_that_are_none(tmp_path):
    store = Store.create(tmp_path / "store")
    state = np.ones((4, 2))
    state[2, 1] = np.nan
    write(store, "a", [samples(STATE, state), samples(ACTION, np.ones((4, 2)))])
    with pytest.raises(WindowError, match=r"stream 'observation.state' holds NaN or infinity"):
        train(store, tmp_path)
