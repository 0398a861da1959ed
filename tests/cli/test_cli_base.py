"""viae train base."""

import json

import numpy as np
import pytest

from base_stores import recipe, store_of


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    store_of(folder / "one")
    store_of(folder / "two", first=40, episodes=4, robot="other")
    (folder / "recipe.yaml").write_text(json.dumps(recipe().to_json()))
    return folder


def words(stores, out):
    return (
        "train", "base", "--store", stores / "one", "--store", stores / "two", "--weight", 1,
        "--weight", 2.5, "--recipe", stores / "recipe.yaml", "--steps", 4, "--out", out,
    )  # fmt: skip


def test_it_trains_from_two_stores(viae, stores, tmp_path):
    pytest.importorskip("tensorboard")
    from viae.foresee import Usual
    from viae.model import BaseBundle

    out = tmp_path / "base"
    said = viae(*words(stores, out), "--json", "--log-to", tmp_path / "runs")
    assert said.code == 0, said.err
    card = json.loads(said.out)
    assert card["bundle"] == BaseBundle.load(out).bundle_id
    assert [point[0] for point in card["curve"]] == [2, 4]
    assert set(card["bits"][-1]) >= {"type", "state", "action"}
    assert sum(card["episodes"].values()) == 10
    assert list((tmp_path / "runs").glob("events.out.tfevents.*"))
    usual, made = Usual.load(out), BaseBundle.load(out)
    held_out = made.provenance.episodes["held_out"]
    assert card["usual"] == {"of": "held_out", "episodes": len(held_out)}
    assert usual.robots == ("other", "point")
    assert set(usual.bits) >= {"state", "action"}
    assert usual.vectors.shape[1] == 16
    assert made.names.reserved >= {"intervention", "outcome"}
    (out / "usual.json").unlink()  # as if killed before it was written
    assert not (tmp_path / "base.training").exists()
    again = viae(*words(stores, out))
    assert again.code == 0
    assert "bits per token" in again.out
    assert np.array_equal(Usual.load(out).vectors, usual.vectors)
    other = viae(*words(stores, out), "--seed", 5)
    assert other.code == 2
    assert "the bundle here was trained with other options" in other.err


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--weight", 3), "3 --weight for 2 --store: give one each"),
        (("--where", "false"), "there are no episodes to learn from"),
        (("--recipe", "none.yaml"), "none.yaml: cannot be read"),
    ],
)
def test_what_makes_no_sense(viae, stores, tmp_path, more, text):
    said = viae(*words(stores, tmp_path / "b"), *more)
    assert said.code == 2
    assert text in said.err.replace("\n", " ")


def test_weights_and_biases_are_asked_for_by_name(viae, stores, tmp_path):
    from importlib.util import find_spec

    if find_spec("wandb"):
        pytest.skip("wandb is installed")
    said = viae(*words(stores, tmp_path / "b"), "--wandb", "project")
    assert said.code != 0
    assert "wandb" in said.err
