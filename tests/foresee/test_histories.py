"""Histories: what had arrived, and what is to blame."""

from dataclasses import replace

import numpy as np
import pytest
from foresee_system import NOISE, STATE, STEP_NS, columns, made

from viae.errors import QueryRefusedError
from viae.foresee import (
    Usual,
    Watch,
    bits,
    embed,
    embed_moments,
    foresee,
    listen,
    of_events,
    of_live,
    of_store,
    outlook,
    signs,
    surprise,
    usual_moments,
)
from viae.foresee.embedding import BaseEmbedder
from viae.load.embedding import embed_windows, misfit
from viae.load.events import Column, assemble, known, prefix
from viae.load.live import LiveEvents
from viae.load.windows import Windows
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema import StreamSpec
from viae.schema.names import StreamNames

NO_STOPS = np.empty((0, 2), np.int64)


@pytest.fixture(scope="module")
def usual(bundle):
    return Usual.fit(bundle, [made(seed) for seed in range(300, 330)], robots=["point"])


def faults(history):
    return {(blame.fault, blame.stream) for blame in history.blame}


def test_only_what_had_arrived(bundle, point_store, usual):
    episode = point_store.episode("e1000")
    history, every = of_store(bundle, point_store, episode, 5 * STEP_NS, usual=usual)
    assert history.events.arrival_ns.max() == 5 * STEP_NS
    assert len(history.events) == 1 + 4 + 5  # a goal, actions before, states up to now
    assert len(every) > 40
    assert history.blame == ()
    whole, _ = of_store(bundle, point_store, episode, usual=usual)
    assert len(whole.events) == len(every) - 1  # not how it ended


def test_live_is_the_same(bundle, point_store, usual):
    episode = point_store.episode("e1000")
    own = columns(1000)
    live = LiveEvents([c.spec for c in own], "")
    order = sorted((int(t), -i, k) for i, c in enumerate(own) for k, t in enumerate(c.arrival_ns))
    for at, i, k in order:
        live.add(own[-i].spec.name, own[-i].values[k], capture_ns=at, arrival_ns=at)
    a = of_live(bundle, live, 12 * STEP_NS, usual=usual)
    b, _ = of_store(bundle, point_store, episode, 12 * STEP_NS, usual=usual)
    np.testing.assert_allclose(a.context.state(), b.context.state(), atol=1e-5)
    assert a.blame == ()


def test_blame(bundle, usual):
    own = columns(1000)
    sonar = Column(
        spec=StreamSpec(name="sonar", shape=(1,)), name="sonar", values=np.zeros((3, 1)),
        capture_ns=own[0].arrival_ns[:3], arrival_ns=own[0].arrival_ns[:3],
    )  # fmt: skip
    far = own[0].values.copy()
    far[-1, 0] = 99.0
    strange = assemble(
        [Column(spec=own[0].spec, name="state", capture_ns=own[0].capture_ns,
                arrival_ns=own[0].arrival_ns, values=far), own[1], sonar],
        first=None, last=None, stops=NO_STOPS,
    )  # fmt: skip
    history = of_events(bundle, strange, robot="hydra", usual=usual)
    assert faults(history) == {
        ("unknown", "sonar"), ("robot", ""), ("missing", "goal"), ("outside", "state"),
    }  # fmt: skip
    [outside] = [blame for blame in history.blame if blame.fault == "outside"]
    assert outside.element == "x" and "outside the" in str(outside) and "'state'" in str(outside)
    found = foresee(history, n=1, seed=0, temperature=1.0, horizon=1)
    assert found.blame == history.blame
    assert outlook(history).blame == history.blame
    assert surprise(history, usual)["state"].blame == history.blame


def test_frozen_silent_and_jumping(bundle, usual):
    own = columns(1000)
    values = own[0].values.copy()
    values[8:] = values[8]
    frozen = Column(spec=own[0].spec, name="state", capture_ns=own[0].capture_ns,
                    arrival_ns=own[0].arrival_ns, values=values)  # fmt: skip
    history = of_events(
        bundle, assemble([frozen, *own[1:]], first=None, last=None, stops=NO_STOPS), usual=usual
    )
    assert ("frozen", "state") in faults(history)
    early = made(1000, outcome=False)
    history = of_events(bundle, early, at_ns=int(early.arrival_ns[-1]) + 10**9, usual=usual)
    assert ("silent", "state") in faults(history)
    back = own[0].capture_ns.copy()
    back[10:] -= 10**9
    jumped = Column(spec=own[0].spec, name="state", capture_ns=back,
                    arrival_ns=own[0].arrival_ns, values=own[0].values)  # fmt: skip
    history = of_events(
        bundle, assemble([jumped, *own[1:]], first=None, last=None, stops=NO_STOPS), usual=usual
    )
    assert ("clock", "state") in faults(history)
    history = of_events(bundle, early)
    assert faults(history) == {("not judged", "")}


def test_refused(bundle, usual):
    events = made(1000)
    events.values["state"][3, 0] = np.nan
    with pytest.raises(QueryRefusedError, match=r"stream 'state': element 'x' is nan in row"):
        of_events(bundle, events, usual=usual)
    with pytest.raises(QueryRefusedError, match=r"nothing has arrived by -1\.000 s"):
        of_events(bundle, made(1000), at_ns=-(10**9))
    own = columns(1000)
    wide = Column(
        spec=StreamSpec(name="state", shape=(3,)), name="state", values=np.zeros((25, 3)),
        capture_ns=own[0].capture_ns, arrival_ns=own[0].arrival_ns,
    )  # fmt: skip
    with pytest.raises(QueryRefusedError, match=r"stream 'state' is vector\[3\]"):
        of_events(bundle, assemble([wide], first=None, last=None, stops=NO_STOPS))


def test_surprise(bundle, usual):
    own = columns(1000)
    values = own[0].values.copy()
    values[12] += 2.0  # 7 standard deviations of the noise
    struck = Column(spec=own[0].spec, name="state", capture_ns=own[0].capture_ns,
                    arrival_ns=own[0].arrival_ns, values=values)  # fmt: skip
    events = assemble([struck, *own[1:]], first=None, last=None, stops=NO_STOPS)
    at = 13 * STEP_NS
    found = surprise(of_events(bundle, events, at_ns=at, usual=usual), usual)
    plain = surprise(of_events(bundle, made(1000), at_ns=at, usual=usual), usual)
    assert found["state"].quantile > 0.99
    assert 0.01 < plain["state"].quantile < 0.99
    assert found["state"].bits == pytest.approx(sum(found["state"].parts.values()))
    watch = Watch(bundle, usual)
    for i in range(len(events)):
        name = events.streams[events.stream[i]].name
        last = watch.add(
            name, events.values[name][events.row[i]], capture_ns=int(events.capture_ns[i]),
            arrival_ns=int(events.arrival_ns[i]),
        )  # fmt: skip
        if name == "state" and events.row[i] == 12:
            break
    assert last.bits == pytest.approx(found["state"].bits, abs=1e-3)
    assert last.quantile == pytest.approx(found["state"].quantile, abs=0.01)


def test_bits_are_near_the_true_density(bundle):
    """Per state sample: bits less what the bins' width is worth, against the true entropy."""
    episodes = [made(seed) for seed in range(400, 420)]
    codec = bundle.vocabulary.codec("state")
    spent, count = 0.0, 0
    for events in episodes:
        content = bits(bundle, events).of("state")[1:, 3]
        values = events.values["state"]
        tokens = codec.encode(values[1:], values[:-1])
        width = codec.log_width(tokens, values[:-1])
        inside = np.isfinite(width)
        spent += (content[inside] * np.log(2) + width[inside]).sum()
        count += int(inside.sum())
    entropy = np.log(2 * np.pi * np.e * NOISE**2) / 2
    assert 0 < spent / count - entropy + 0.05 < 0.4


def test_usual_comes_back(bundle, usual, tmp_path):
    usual = replace(usual, of="held_out", vectors=usual_moments(bundle, [made(300), made(301)]))
    usual.save(tmp_path)
    again = Usual.load(tmp_path)
    assert (again.of, again.episodes) == ("held_out", 30)
    assert np.array_equal(again.vectors, usual.vectors)
    assert 20 < len(again.vectors) <= 48
    np.testing.assert_allclose(np.linalg.norm(again.vectors, axis=1), 1, atol=1e-6)
    assert again.robots == usual.robots and again.habits == usual.habits
    assert np.array_equal(again.bits["state"], usual.bits["state"])
    assert Usual.load(tmp_path / "none") is None


def test_embed(bundle):
    events = made(1000)
    at = np.array([5, 9, 20]) * STEP_NS
    vectors = embed_moments(bundle, events, at)
    assert vectors.dtype == np.float32 and vectors.shape == (3, 48)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for row, moment in enumerate(at.tolist()):
        one = embed(of_events(bundle, made(1000, outcome=False), at_ns=moment))
        np.testing.assert_allclose(one, vectors[row], atol=1e-5)
    with pytest.raises(QueryRefusedError, match="nothing had arrived"):
        embed_moments(bundle, events, np.array([-5]))


def test_embedder_of_windows(bundle, point_store):
    embedder = BaseEmbedder(bundle, decision="state", steps=4)
    episodes = point_store.episodes()
    specs = {row["stream"]: row["spec"] for row in point_store.streams([episodes[0].episode_id])}
    assert misfit(embedder, episodes[0], specs) == ""
    found = list(embed_windows(Windows(point_store, embedder.window, episodes), embedder))
    assert [len(each) for each in found] == [25, 25]
    assert found[0].vectors.shape == (25, 48)
    np.testing.assert_allclose(np.linalg.norm(found[0].vectors, axis=1), 1, atol=1e-6)


def test_outlook(bundle):
    for goal in (-1.0, 1.0):
        history = of_events(bundle, made(1000, goal, outcome=False), at_ns=15 * STEP_NS)
        futures = foresee(history, n=8, seed=0, temperature=1.0, horizon=30)
        found = outlook(history, futures)
        assert (found.success > 0.9) == (goal > 0)
        assert (found.success < 0.1) == (goal < 0)
        assert found.ended > 4
        assert (found.foreseen > 0.5) == (goal > 0)
        spread = found.spread["state"]
        assert 0.1 < spread[0] < spread[3] < 1.5


def test_outlook_needs_both_outcomes(episodes):
    from viae.foresee.outcome import _question
    from viae.model.tokens.vocabulary import Vocabulary

    good = [prefix(made(seed, 1.0), 51) for seed in range(8)]
    with pytest.raises(QueryRefusedError, match="ended alike"):
        _question(Vocabulary.fit(good, chunk=2, bins=24))
    with pytest.raises(QueryRefusedError, match="without an outcome"):
        _question(Vocabulary.fit([made(0, outcome=False)], chunk=2, bins=24))


def test_what_was_always_so_is_not_said_boldly(raw_bundle):
    """A model of successes only has learnt nothing about the outcome; that is what it says."""
    good = [made(seed, 1.0) for seed in range(8)]
    vocabulary = Vocabulary.fit(good, chunk=2, bins=24)
    sure = replace(raw_bundle, vocabulary=replace(raw_bundle.vocabulary, questions=(
        *(q for q in raw_bundle.vocabulary.questions if q.name != "outcome"),
        *(q for q in vocabulary.questions if q.name == "outcome"),
    )))  # fmt: skip
    history = of_events(sure, made(1000, outcome=False), at_ns=15 * STEP_NS)
    found = outlook(history, foresee(history, n=2, seed=0, temperature=1.0, horizon=2))
    assert found.certain == "it was always [True]"
    assert np.isnan(found.success)
    assert np.isnan(found.foreseen)
    card = found.to_json()
    assert (card["success"], card["foreseen"], card["certain"]) == (None, None, found.certain)


def test_streams_are_called_as_in_training(raw_bundle):
    """Of two robots' streams of one name, those of one robot have another name to the model."""
    wide = replace(STATE, shape=(3,), names=())
    names = StreamNames.of([("point", STATE), ("hydra", wide)])
    called = names.name("point", STATE)
    assert called == "point:state"
    bundle = replace(raw_bundle, names=names)
    live = listen(bundle, [STATE], "", robot="point")
    live.add("state", np.zeros(1), capture_ns=5, arrival_ns=5)
    assert [spec.name for spec in live.events().streams] == [called]
    bare = listen(raw_bundle, [STATE], "", robot="point")
    assert [spec.name for spec in bare.streams] == ["state"]


def test_signs_see_what_a_decision_could(bundle):
    """What came later, and that it came, changes nothing."""
    whole = made(1000)
    seen = signs(bundle, whole, [3, 6, 99])
    assert seen.steps.tolist() == [3, 6]
    assert seen.features.shape == (2, 3 * 48 + 3)
    assert list(seen.sources) == ["surprise", "spread", "outcome"]
    early = prefix(whole, int(known(whole, 7 * STEP_NS)))  # six actions, seven states
    live = signs(bundle, early, [3, 6], going=True)
    np.testing.assert_allclose(live.features, seen.features, atol=1e-4)
    over = signs(bundle, early, [3, 6])
    assert over.steps.tolist() == [3]
    one = embed_moments(bundle, whole, np.array([7 * STEP_NS]))
    np.testing.assert_allclose(seen.embedding[1:], one, atol=1e-5)
    nothing = signs(bundle, prefix(whole, 2), [3])
    assert nothing.features.shape == (0, 3 * 48 + 3)


def test_a_blow_is_a_sign(bundle, usual):
    own = columns(1000)
    values = own[0].values.copy()
    values[4:] += 3.0
    struck = Column(spec=own[0].spec, name="state", capture_ns=own[0].capture_ns,
                    arrival_ns=own[0].arrival_ns, values=values)  # fmt: skip
    events = assemble([struck, *own[1:]], first=None, last=None, stops=NO_STOPS)
    far = replace(usual, vectors=usual_moments(bundle, [made(seed) for seed in range(300, 320)]))
    bad, good = (signs(bundle, each, [4, 8], usual=far) for each in (events, made(1000)))
    for name in ("surprise", "far"):
        assert bad.sources[name][0] < good.sources[name][0]
