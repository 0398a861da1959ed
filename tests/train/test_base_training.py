"""Training a base model: mixtures, parts of the loss, what is asked, resuming."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from base_events import ACTION, FORCE, MODE, STATE, made
from base_stores import recipe, source, store_of
from builders import samples, write
from viae.errors import UsageError
from viae.model import BaseBundle
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema import Kind, StreamSpec
from viae.train.base import Draws, Objective, losses, train_base
from viae.train.guards import Guards

torch.set_num_threads(1)


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("store") / "s")


def weights(bundle):
    return {k: v.numpy().tobytes() for k, v in bundle.model.state_dict().items()}


def train(sources, work, at=None, **changes):
    def progress(point):
        if point.step == at:
            raise KilledError

    return train_base(sources, recipe(**changes), work=work, progress=progress)


def test_it_learns_and_says_in_bits_what(store, tmp_path):
    loop = {"steps": 60, "check_every": 30, "lr": 1e-2}
    bundle = train([source(store)], tmp_path, loop=loop)
    first, last = bundle.provenance.metrics["bits"]
    assert {"type", "state", "action", "force", "mode", "next/action", "outcome"} <= set(last)
    assert last["type"] < first["type"]
    assert bundle.provenance.metrics["curve"][1][1] < bundle.provenance.metrics["curve"][0][1]
    assert list(tmp_path.iterdir()) == []
    bundle.save(tmp_path / "b")
    assert BaseBundle.load(tmp_path / "b").provenance.metrics == bundle.provenance.metrics


@pytest.mark.parametrize("at", [2, 4, 6])
def test_interrupted_and_resumed_it_is_the_same(store, tmp_path, at):
    whole = train([source(store)], tmp_path / "whole")
    with pytest.raises(KilledError):
        train([source(store)], tmp_path / "cut", at=at)
    torch.manual_seed(99)
    again = train([source(store)], tmp_path / "cut")
    assert weights(again) == weights(whole)
    assert again.provenance.metrics == whole.provenance.metrics


def test_a_rollback_is_in_the_bundle(store, tmp_path, monkeypatch):
    real = Objective.total

    def total(self, parts):
        count = real.count = getattr(real, "count", 0) + 1  # type: ignore[attr-defined]
        return real(self, parts) * (math.nan if count == 4 else 1.0)

    monkeypatch.setattr(Objective, "total", total)
    bundle = train([source(store)], tmp_path)
    assert bundle.provenance.metrics["skipped"] == [3]


def test_two_robots_of_other_schemas_train_together(tmp_path):
    arm = store_of(tmp_path / "arm", streams=(STATE, ACTION, FORCE), robot="arm")
    legs = store_of(
        tmp_path / "legs", streams=(STATE, ACTION, MODE), robot="legs", first=50, episodes=4
    )
    blind = store_of(tmp_path / "blind", streams=(STATE,), robot="blind", first=80, episodes=3)
    sources = [source(arm), source(legs, 2.0), source(blind)]
    bundle = train(sources, tmp_path / "w")
    assert {"force", "mode", "state", "action"} <= {s.name for s in bundle.vocabulary.streams}
    assert (
        len(bundle.provenance.episodes["trained_on"]) + len(bundle.provenance.episodes["held_out"])
        == 13
    )
    assert len(bundle.provenance.training["snapshots"]) == 3
    assert all(math.isfinite(row[1]) for row in bundle.provenance.metrics["curve"])


def test_streams_of_one_name_and_two_shapes_get_two_names(tmp_path):
    tall = StreamSpec(name="state", shape=(1,))
    one = store_of(tmp_path / "one", streams=(STATE, ACTION), robot="arm")
    other = store_of(tmp_path / "other", episodes=0)
    for number in range(3):
        values = np.random.default_rng(number).normal(0, 1, (9, 1))
        block = samples(tall, values, range(10, 100, 10))
        write(other, f"o{number}", [block], robot="leg", task="t")
    bundle = train([source(one), source(other)], tmp_path / "w")
    names = {spec.name: spec.shape for spec in bundle.vocabulary.streams}
    assert names["arm:state"] == (2,)
    assert names["leg:state"] == (1,)


def test_streams_that_cannot_be_events_are_named_in_the_bundle(tmp_path):
    store = store_of(tmp_path / "s", episodes=0)
    raw = StreamSpec(name="raw", kind=Kind.BYTES, dtype="")
    for number in range(3):
        values = np.random.default_rng(number).normal(0, 1, (9, 2))
        blocks = [samples(STATE, values, range(10, 100, 10)), samples(raw, [b"x"] * 9)]
        write(store, f"e{number}", blocks, task="t")
    bundle = train([source(store)], tmp_path / "w")
    assert bundle.vocabulary.left == {"raw": "its bytes mean nothing to viae"}
    assert bundle.provenance.metrics["left"] == bundle.vocabulary.left


def test_an_answer_that_was_always_the_same_costs_nothing_and_is_noted(tmp_path):
    store = store_of(tmp_path / "s", good=True, episodes=4)
    bundle = train([source(store)], tmp_path / "w")
    assert bundle.provenance.metrics["certain"] == {"outcome": "it was always [True]"}
    group = bundle.vocabulary.question("outcome")
    assert bundle.vocabulary.slots[group] == ()
    said = bundle.model.say(torch.zeros(2, 16), group)
    assert said.tokens.shape == (2, 0)
    decoded = bundle.vocabulary.questions[-1].codec.decode(said.tokens.numpy().astype("i4"), None)
    assert decoded.all()


def parts_of_a_system(**changes):
    episodes = [made(seed) for seed in range(6)]
    vocabulary = Vocabulary.fit(episodes, chunk=2, bins=16)
    own = recipe(**changes)
    encoded = [vocabulary.encode(e) for e in episodes]
    return vocabulary, own, Draws(encoded, ["t"] * 6, vocabulary, own)


def test_a_share_of_places_is_asked_in_every_window():
    vocabulary, own, draws = parts_of_a_system(share={"": 0.25}, batch_size=6)
    objective = Objective(vocabulary, own)
    _, asked = draws.batch(0, 0, 6)
    noise = np.random.default_rng(0).random(6 * own.length)
    for group, (at, _) in asked.groups.items():
        rows = objective._chosen(group, at, own.length, noise)
        if group in vocabulary.mixed and group < len(vocabulary.types):
            assert len(rows) == len(at)  # it costs little
            continue
        chosen = at[rows].numpy()
        assert len(set(rows.tolist())) == len(rows), group
        for window in range(6):
            of = (at.numpy() // own.length == window).sum()
            assert (chosen // own.length == window).sum() == (max(1, round(0.25 * of)) if of else 0)


def test_ranks_share_a_batch():
    vocabulary, own, draws = parts_of_a_system(batch_size=5)
    whole, _ = draws.batch(3, 8, 5)
    for ranks in (1, 2, 3):
        for rank in range(ranks):
            part, _ = draws.batch(3, 8, 5, rank=rank, ranks=ranks)
            assert torch.equal(part.types, whole.types[rank::ranks])
            assert torch.equal(part.hidden, whole.hidden[rank::ranks])
    assert len(vocabulary.types) > 4 and own.batch_size == 5


def test_weights_of_stores_decide_how_often_they_are_drawn():
    vocabulary, own, _ = parts_of_a_system()
    encoded = [vocabulary.encode(made(seed)) for seed in range(2)]
    draws = Draws(encoded, ["a", "a"], vocabulary, replace(own, balance=0.0), [3.0, 0.0])
    assert np.isclose(draws._p, [1, 0]).all()
    with pytest.raises(UsageError, match="no window can be drawn"):
        Draws(encoded, ["a", "a"], vocabulary, own, [0.0, 0.0])


def test_the_loss_is_a_function_of_model_and_number():
    from base_events import network

    vocabulary, own, draws = parts_of_a_system()
    loss = losses(draws, Objective(vocabulary, own), own)
    model = network(vocabulary)
    assert loss(model, 4).item() == loss(model, 4).item() != loss(model, 5).item()


def test_a_pretrained_trunk_is_trained_on(store, tmp_path):
    from transformers import LlamaConfig, LlamaModel

    LlamaModel(
        LlamaConfig(
            vocab_size=3, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=2,
        )
    ).save_pretrained(tmp_path / "llama")  # fmt: skip
    trunk = str(tmp_path / "llama")
    bundle = train([source(store)], tmp_path / "w", trunk=trunk)
    bundle.save(tmp_path / "b")
    (tmp_path / "llama").rename(tmp_path / "gone")
    assert BaseBundle.load(tmp_path / "b").bundle_id == bundle.bundle_id
    with pytest.raises(UsageError, match="trunk: there is none at"):
        train([source(store)], tmp_path / "w", trunk=trunk)
    with pytest.raises(UsageError, match="width 16, the recipe 32; write  width: 16"):
        train([source(store)], tmp_path / "w", trunk=str(tmp_path / "gone"), width=32)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weights": {"torque": 2.0}}, "a weight or share for ['torque']; the model says"),
        ({"streams": ("torque",)}, "there are no streams ['torque']; the episodes have"),
        ({"share": {"": 0.0}}, "a share is above 0 and at most 1"),
        ({"weights": {"type": -1.0}}, "a weight is not below 0"),
        ({"length": 2}, "no window can be made"),
    ],
)
def test_recipes_that_make_no_sense(store, tmp_path, changes, text):
    with pytest.raises(UsageError) as caught:
        train([source(store)], tmp_path, **changes)
    assert text in str(caught.value)


def test_a_recipe_as_a_file(tmp_path):
    from viae.train.base import BaseRecipe

    own = recipe(share={"": 0.5, "next/action": 1.0}, streams=("state", "action"))
    assert BaseRecipe.from_json(own.to_json()) == own
    path = tmp_path / "recipe.yaml"
    path.write_text("chunk: 4\nloop: {lr: 1e-4, steps: 9}\nguards: {clip: 2}\nshare: {'': 1}\n")
    read = BaseRecipe.read(path)
    assert (read.chunk, read.loop, read.guards) == (
        4, replace(BaseRecipe().loop, lr=1e-4, steps=9), Guards(clip=2.0, spike=8.0)
    )  # fmt: skip
    assert read.share == {"": 1.0}
    assert read.width == BaseRecipe().width


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chunks: 4", "recipe.yaml: recipe: there is no chunks; it may say streams, chunk, bins,"),
        ("loop: {speed: 4}", "recipe.yaml: loop: there is no speed; it may say steps, lr, warmup,"),
        ("chunk: 1.5", "recipe: chunk is a whole number, not 1.5"),
        ("bf16: 1", "recipe: bf16 is true or false, not 1"),
        ("dropout: much", "recipe: dropout is a number, not 'much'"),
        ("streams: state", "recipe: streams is a list or a mapping, not 'state'"),
        ("loop: 3", "loop: words and their values, not 3"),
        ("- 1", "recipe: words and their values, not [1]"),
        ("a: [", "recipe.yaml: not YAML"),
    ],
)
def test_a_recipe_that_says_something_else(tmp_path, text, said):
    from viae.train.base import BaseRecipe

    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        BaseRecipe.read(path)
    assert said in str(caught.value)


def test_no_such_recipe(tmp_path):
    from viae.train.base import BaseRecipe

    with pytest.raises(UsageError, match="cannot be read"):
        BaseRecipe.read(tmp_path / "none.yaml")
