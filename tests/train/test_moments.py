"""Moments: what is shown there in training is what a policy without memory shows while acting."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from base_events import made, network
from viae.errors import TokenError
from viae.model import Context
from viae.model.tokens.vocabulary import Vocabulary
from viae.model.windows import event_batch, newest
from viae.train.draws import Draws
from viae.train.moments import Moments
from viae.train.recipe import BaseRecipe

torch.set_num_threads(1)
EPISODES = [made(seed) for seed in range(6)]
VOCABULARY = Vocabulary.fit(EPISODES, chunk=3, bins=16)
ENCODED = [VOCABULARY.encode(events) for events in EPISODES]
MODEL = network(VOCABULARY)
RECIPE = BaseRecipe(length=16, batch_size=2)
DRAWS = Draws(ENCODED, ["t"] * 6, VOCABULARY, RECIPE)
MOMENTS = Moments(DRAWS, VOCABULARY)
GROUP = VOCABULARY.question("next/action")


def told(events, until, count=1):
    """A context that was told the first events of an episode."""
    context = Context(MODEL, VOCABULARY, length=16, count=count)
    for at in range(until):
        name = events.streams[int(events.stream[at])].name
        row = int(events.row[at])
        values = events.values[name][row : row + 1]
        many = [*values] * count if isinstance(values, list) else np.repeat(values, count, 0)
        context.add(
            name, many,
            capture_ns=int(events.capture_ns[at]), arrival_ns=int(events.arrival_ns[at]),
        )  # fmt: skip
    return context


def shown(encoded, at):
    """The trunk's state of the present after an event, as training has it."""
    where = np.sort(newest(encoded, len(VOCABULARY.streams))[at])
    where = where[where >= 0]
    batch = event_batch(
        [encoded], where[None], np.zeros((1, len(where)), bool), len(VOCABULARY.types)
    )
    with torch.inference_mode():
        return MODEL.states(batch)[:, -1]


@pytest.mark.parametrize("episode", [0, 3])
def test_a_policy_is_shown_what_training_showed(episode):
    events, encoded = EPISODES[episode], ENCODED[episode]
    for at in encoded.asked[GROUP][0][::4].tolist():
        live = told(events, at + 1).present()
        assert (live - shown(encoded, at)).abs().max() < 1e-5


def test_many_histories_are_shown_as_one_is():
    events = EPISODES[1]
    at = int(ENCODED[1].asked[GROUP][0][5])
    one, many = told(events, at + 1), told(events, at + 1, count=3)
    assert (many.present() - one.present()).abs().max() < 1e-5
    assert (one.repeated(2).present() - one.present()).abs().max() < 1e-6


def test_reading_an_episode_shows_the_same_present():
    read = Context(MODEL, VOCABULARY, length=16)
    read.read(EPISODES[2])
    assert (read.present() - told(EPISODES[2], len(ENCODED[2])).present()).abs().max() < 1e-5


def test_actions_and_the_past_leave_no_trace():
    encoded = ENCODED[0]
    at = int(encoded.asked[GROUP][0][-1])
    kept = set(newest(encoded, len(VOCABULARY.streams))[at].tolist())
    features = {stream: values.copy() for stream, values in encoded.features.items()}
    for event in range(at):
        if event not in kept:
            features[int(encoded.stream[event])][encoded.row[event]] += 5
    other = replace(encoded, features=features)
    assert torch.equal(shown(encoded, at), shown(other, at))


def test_nothing_that_comes_after_a_moment_is_shown():
    for encoded in ENCODED:
        table = newest(encoded, len(VOCABULARY.streams))
        assert (table <= np.arange(len(encoded))[:, None]).all()
        assert not encoded.action[table[table >= 0]].any()


def test_a_batch_asks_for_what_came():
    events, asked = MOMENTS.batch(0, 5, 64)
    at, tokens = asked.groups[GROUP]
    assert len(at) == 64
    length = events.types.shape[1]
    assert len(set((at // length).tolist())) == 64
    known = {tuple(row) for encoded in ENCODED for row in encoded.asked[GROUP][1].tolist()}
    assert {tuple(row) for row in tokens.tolist()} <= known
    assert (events.types.flatten()[at] >= 0).all()


def test_ranks_share_a_batch():
    whole, _ = MOMENTS.batch(3, 1, 7)
    parts = [MOMENTS.batch(3, 1, 7, rank=rank, ranks=2)[0] for rank in range(2)]
    assert torch.equal(whole.types[0::2], parts[0].types)
    assert torch.equal(whole.types[1::2], parts[1].types)


def test_before_anything_has_arrived_there_is_no_present():
    with pytest.raises(TokenError, match="nothing has arrived"):
        Context(MODEL, VOCABULARY, length=16).present()


def test_a_present_is_disturbed_in_pairs():
    context = told(EPISODES[1], len(ENCODED[1]), count=2)
    still = context.present()
    same = context.present(copies=4)
    assert (same - still.repeat_interleave(4, 0)).abs().max() < 1e-5
    blurred = context.present(blur=0.1, copies=4, seed=3)
    assert blurred.shape == (8, still.shape[1])
    assert (blurred[:4] - blurred[4:]).abs().max() < 1e-5  # equal histories, equal noise
    assert (blurred[0] - blurred[1]).abs().max() > 1e-3
    small = context.present(blur=1e-3, copies=4, seed=3).view(2, 4, -1)
    assert (small.mean(1) - still).abs().max() < 0.1 * (small[:, 0] - still).abs().max() + 1e-5
    assert torch.equal(blurred, context.present(blur=0.1, copies=4, seed=3))
