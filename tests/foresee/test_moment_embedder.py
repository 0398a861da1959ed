"""Moments of recorded episodes as vectors of a base model, by `viae embed` and `viae search`."""

from dataclasses import replace

import numpy as np
import pytest
from foresee_system import STATE, STEP_NS, STEPS, columns

from builders import samples, write
from viae.foresee import embed as embed_history
from viae.foresee import of_store
from viae.foresee.moments import MomentEmbedder
from viae.model import Bundle
from viae.schema import NS_PER_S, Samples
from viae.schema.names import StreamNames
from viae.store import Store
from viae.verbs.embed import embed, opened
from viae.verbs.search import search


def blocks(seed, name="state"):
    return [
        Samples(
            spec=replace(c.spec, name=name) if c.spec.name == "state" else c.spec,
            capture_ns=c.capture_ns, arrival_ns=c.arrival_ns,
            seq=np.arange(len(c.arrival_ns)), values=c.values,
        )
        for c in columns(seed)
    ]  # fmt: skip


@pytest.fixture()
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    for seed in (1, 2):
        write(store, f"e{seed}", blocks(seed), robot="point", start_ns=0, outcome=seed > 1,
              end_ns=STEP_NS * (STEPS + 1))  # fmt: skip
    return store


@pytest.fixture()
def folder(raw_bundle, tmp_path):
    raw_bundle.save(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_base_model_embeds_every_moment(store, folder, raw_bundle):
    report = embed(store, folder)
    assert (report.episodes, report.windows, report.dimension) == (2, 2 * STEPS, 16)
    assert report.embedder == MomentEmbedder(raw_bundle).embedder_id
    assert not report.left_out
    again = embed(store, folder)
    assert (again.episodes, again.known, again.rows) == (0, 2, 2 * STEPS)


def test_a_vector_is_that_of_the_history_at_the_moment(store, raw_bundle):
    """So it does not depend on what came later."""
    made = MomentEmbedder(raw_bundle)
    episode = store.episodes()[0]
    specs = {row["stream"]: row["spec"] for row in store.streams([episode.episode_id])}
    assert made.decision(specs, "point") == "action"
    [found], left = made.embed_episodes(store, [episode], {episode.episode_id: specs})
    assert not left and len(found) == STEPS
    for row in (0, 3, 11, 23):
        at_ns = int(found.decision_ns[row])
        history, _ = of_store(raw_bundle, store, episode, at_ns)
        np.testing.assert_allclose(found.vectors[row], embed_history(history), atol=1e-5)
        assert found.end_ns[row] == history.events.arrival_ns[-1] <= at_ns
        first = max(0, len(history.context) - made.over)
        assert found.start_ns[row] == history.events.arrival_ns[first]


def test_search_by_a_base_model(store, folder):
    found = search(store, like="e1@0.12s", embedder=folder, k=3, apart_s=0.03)
    assert len(found.hits) == 3 and found.like is not None
    assert found.like.end_ns <= 0.12 * NS_PER_S
    assert found.hits[0].distance <= found.hits[-1].distance


def test_what_cannot_be_embedded_is_counted(store, folder):
    write(store, "odd", [samples(replace(STATE, shape=(2,), names=()), [[1, 1]])], robot="point")
    bad = blocks(3)
    bad[0].values[5] = np.nan
    write(store, "nan", bad, robot="point")
    report = embed(store, folder)
    assert report.episodes == 2
    nan, odd = sorted(report.left_out)
    assert report.left_out == {nan: 1, odd: 1}
    assert "without a token" in nan and odd == "it has no vectors that the model knows"


def test_streams_are_called_as_in_training(raw_bundle):
    """A ``state`` that training called ``point:state`` is not the model's ``state``."""
    meaning = "float64[1] observation"
    same = StreamNames({"state": meaning, "point:state": meaning})
    other = StreamNames({"state": None, "point:state": meaning})
    for names, found in ((same, ["state"]), (other, [])):
        made = MomentEmbedder(replace(raw_bundle, names=names))
        assert made.known({"state": STATE}, "point") == found


def test_a_bundle_is_opened_as_what_it_is(folder):
    assert isinstance(opened(folder), MomentEmbedder)
    with pytest.raises(ValueError, match="of kind 'base'"):
        Bundle.load(folder)
