"""Bundles: saved and loaded alike, and every way a folder can fail to be one."""

import json
from dataclasses import replace

import numpy as np
import pytest

from builders import ACTION, STATE, reaching_store
from viae.errors import BundleError
from viae.load import Windows
from viae.load.clocks import clock_fact, clock_uses
from viae.model import Bundle
from viae.model.bundle import COMPATIBILITY
from viae.sequence.clock import ArrivalClock, ClockUse, clock_by_hand
from viae.train import CloneRecipe, LoopConfig, train_clone

RECIPE = CloneRecipe(
    width=8, depth=1, chunk=3, batch_size=8, loop=LoopConfig(steps=2, check_every=2)
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return reaching_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def bundle(store, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    return train_clone(store, store.episodes(), RECIPE, work=work, initial_states=["b", "a"])


@pytest.fixture
def folder(bundle, tmp_path):
    bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture(scope="module")
def batch(bundle, store):
    windows = Windows(store, bundle.window, store.episodes())
    return windows.batch(np.arange(len(windows)))


def test_it_comes_back_the_same(bundle, folder, batch):
    loaded = Bundle.load(folder)
    assert loaded.bundle_id == bundle.bundle_id
    for field in ("pipeline", "window", "picture_sizes", "streams", "tasks"):
        assert getattr(loaded, field) == getattr(bundle, field)
    assert loaded.provenance.to_json() == json.loads(json.dumps(bundle.provenance.to_json()))
    one, other = bundle.predict(batch), loaded.predict(batch)
    assert one.keys() == other.keys() == {"action"}
    assert one["action"].tobytes() == other["action"].tobytes()
    assert bundle.features(batch).tobytes() == loaded.features(batch).tobytes()
    assert not loaded.model.training


def test_it_predicts_in_recorded_units_and_range(bundle, batch):
    said = bundle.predict(batch)["action"]
    assert said.shape == (len(batch), 3, 2)
    assert said.dtype == np.float32
    recorded = batch.targets["action"]
    assert said.min() >= recorded.min() - 1e-6
    assert said.max() <= recorded.max() + 1e-6
    assert bundle.features(batch).shape == (len(batch), 8)


def test_it_knows_where_it_comes_from(bundle, store):
    said = bundle.provenance
    assert said.store == store.uri
    assert said.snapshot == store.snapshot().versions
    assert sorted(said.episodes["trained_on"] + said.episodes["held_out"]) == [
        f"e{n}" for n in range(4)
    ]
    assert said.initial_states == ("a", "b")
    assert [spec.name for spec in bundle.streams] == [ACTION.name, STATE.name]


def test_a_folder_holds_numbers_and_text_only(folder):
    assert sorted(p.name for p in folder.iterdir()) == ["bundle.json", "weights.safetensors"]
    card = json.loads((folder / "bundle.json").read_text())
    assert card["bundle_id"] == Bundle.load(folder).bundle_id


def test_saving_replaces_a_bundle_and_leaves_nothing_behind(bundle, folder):
    other = replace(bundle, tasks=("something else",))
    other.save(folder)
    assert Bundle.load(folder).bundle_id == other.bundle_id != bundle.bundle_id
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


def test_saving_replaces_nothing_else(bundle, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/final.tex").write_text("years of work")
    with pytest.raises(BundleError, match="is no bundle"):
        bundle.save(tmp_path / "thesis")
    assert (tmp_path / "thesis/final.tex").read_text() == "years of work"


def test_no_bundle(tmp_path):
    with pytest.raises(BundleError) as caught:
        Bundle.load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: there is no bundle here (bundle.json is missing). Train one with  viae train"
    )


def change(folder, **fields):
    card = json.loads((folder / "bundle.json").read_text()) | fields
    (folder / "bundle.json").write_text(json.dumps(card))


def test_a_newer_bundle_is_named(folder):
    change(folder, compatibility=COMPATIBILITY + 1, unheard_of=1)
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder)
    assert str(caught.value) == (
        f"{folder}: this bundle has compatibility number {COMPATIBILITY + 1}; this viae reads up "
        f"to {COMPATIBILITY}. Upgrade with  pip install -U viae"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"model": 5}', "null"])
def test_a_card_that_is_damaged(folder, text):
    (folder / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match="Train it again"):
        Bundle.load(folder)


def test_a_transform_from_elsewhere(folder):
    change(folder, pipeline=[{"name": "Whiten"}])
    with pytest.raises(BundleError, match="uses the transform 'Whiten', which this viae does not"):
        Bundle.load(folder)


def test_weights_that_are_missing_damaged_or_of_another_network(bundle, folder):
    weights = folder / "weights.safetensors"
    whole = weights.read_bytes()
    for damage in (None, b"", b"nonsense" * 20, whole[:-10], whole[:100]):
        weights.unlink(missing_ok=True)
        if damage is not None:
            weights.write_bytes(damage)
        with pytest.raises(BundleError, match=r"weights.safetensors: the weights cannot be read"):
            Bundle.load(folder)
    weights.write_bytes(whole)
    change(folder, model=bundle.model.config.to_json() | {"width": 4})
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(folder)


def test_a_task_that_was_never_trained_on(bundle, batch):
    strange = replace(batch, tasks=("juggle",) * len(batch))
    with pytest.raises(BundleError) as caught:
        bundle.predict(strange)
    assert str(caught.value) == (
        "the policy was never trained on the task 'juggle'; it knows ['reach']. Record "
        "demonstrations of it and train again"
    )


def test_how_clocks_were_corrected_goes_with_it(bundle, folder, tmp_path):
    assert bundle.clocks == {}
    assert "clocks" not in json.loads((folder / "bundle.json").read_text())
    store = reaching_store(tmp_path / "store")
    ids = sorted(store.episode_ids())
    by_hand = clock_by_hand(at_ns=0, offset_ns=3)
    store.add_facts(
        [clock_fact(id_, STATE.name, ArrivalClock(), author="me", time_ns=5) for id_ in ids]
        + [clock_fact(ids[0], ACTION.name, by_hand, author="me", time_ns=5)]
    )  # fmt: skip
    uses = clock_uses(store, ids, [STATE.name, ACTION.name])
    assert uses == {
        STATE.name: ClockUse(by_arrival=4), ACTION.name: ClockUse(stamped=3, modelled=1),
    }  # fmt: skip
    assert uses[STATE.name].is_by_arrival
    assert not uses[ACTION.name].is_by_arrival
    trained = train_clone(store, store.episodes(), RECIPE, work=tmp_path)
    count = len(trained.provenance.episodes["trained_on"])
    assert trained.clocks == {STATE.name: ClockUse(by_arrival=count)}
    trained.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").clocks == trained.clocks
    assert Bundle.load(tmp_path / "bundle").bundle_id == trained.bundle_id != bundle.bundle_id
