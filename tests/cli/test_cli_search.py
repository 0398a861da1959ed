"""embed and search on the command line."""

import json

import pytest
import torch

from builders import reaching_store, write
from viae import CloneRecipe, LoopConfig
from viae.schema import Fact
from viae.train import train_clone


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of which nothing is embedded, and a bundle; only to be copied."""
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("search")
    store = reaching_store(work / "store")
    recipe = CloneRecipe(
        width=8, depth=1, chunk=3, batch_size=8, loop=LoopConfig(steps=2, check_every=2)
    )
    train_clone(store, store.episodes(), recipe, work=work / "w").save(work / "bundle")
    fact = Fact(episode_id="e1", key="note", value="it slipped", author="me", time_ns=1)
    store.add_facts([fact])
    return store, work / "bundle"


def test_embed_then_search(viae, made, tmp_path):
    store, bundle = made
    said = viae("search", "--like", "e0@0s", "--store", store.uri)
    assert (said.code, said.out) == (2, "")
    assert "nothing is embedded in this store yet. Do it with  viae embed --bundle" in said.err
    said = viae("embed", "--bundle", bundle, "--store", store.uri)
    assert said.code == 0
    assert "48 windows of 4 episodes embedded" in said.out
    said = viae("embed", "--bundle", bundle, "--store", store.uri, "--json")
    report = json.loads(said.out)
    assert (report["windows"], report["known"], report["rows"]) == (0, 4, 48)
    said = viae("search", "--like", "e0@0s", "-k", 3, "--apart", 0, "--json", "--store", store.uri)
    found = json.loads(said.out)
    assert (said.code, len(found["hits"]), found["like"]["episode_id"]) == (0, 3, "e0")
    assert set(found["hits"][0]) >= {"episode_id", "at_s", "distance", "task", "outcome"}
    page = tmp_path / "hits.html"
    said = viae(
        "search", "--like", "e0@0s", "--event", "slip", "--where", "task = 'reach'",
        "--out", page, "--store", store.uri,
    )  # fmt: skip
    assert said.code == 0
    assert "e1@" in said.out and "note it slipped" in said.out
    assert "<svg" in page.read_text()


def test_search_that_embeds_first(viae, made):
    store, bundle = made
    said = viae("search", "--like", "e0@0s", "--bundle", bundle, "--store", store.uri)
    assert said.code == 0
    assert "hits in " in said.out
    said = viae("search", "--like", "e0@0s", "--bundle", bundle, "--embedder", "x")
    assert (said.code, said.err) == (
        2,
        "error --bundle says whose vectors to use, and so does --embedder: give one\n",
    )


def test_nothing_is_found(viae, made):
    store, _ = made
    said = viae("search", "--event", "ladder", "--store", store.uri)
    assert said.code == 0
    assert "nothing was found" in said.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "error search for what? Give a moment (--like) or words (--event), or both\n"),
        (("--like", "e0@9s"), "episode e0 is 0.000 s long, and 9 s is outside of it\n"),
        (("--like", "e@0s"), "4 episodes begin with 'e'"),
        (("--like", "e0"), "is no moment"),
        (("--event", "x", "--where", "SELEC"), "the query was refused: "),
    ],
)
def test_what_cannot_be_asked(viae, made, words, says):
    store, _ = made
    said = viae("search", *words, "--store", store.uri)
    assert (said.code, said.out) == (2, "")
    assert says in said.err


def test_episodes_left_out_are_told(viae, tmp_path, made):
    _, bundle = made
    store = reaching_store(tmp_path / "store", episodes=2)
    write(store, "empty")
    said = viae("embed", "--bundle", bundle, "--store", store.uri)
    assert said.code == 1
    assert "it has no stream" in said.out
    assert "24 windows of 2 episodes embedded" in said.out
