"""Action errors on recorded episodes, against repeating the last action."""

import numpy as np
import pytest

from builders import ACTION, STATE, reaching_store, samples, write
from viae.errors import UsageError
from viae.evaluate.open_loop import action_errors
from viae.schema import Take, WindowSpec


class Knowing:
    """Stands for a bundle that knows the rule of `reaching_store`: half the way, then a quarter."""

    bundle_id, picture_sizes = "b", {}
    window = WindowSpec(
        decision=STATE.name,
        inputs=(Take(stream=STATE.name, steps=(0,)),),
        targets=(Take(stream=ACTION.name, steps=(0, 1)),),
    )

    def predict(self, batch):
        now = batch.inputs[STATE.name][:, -1]
        return {ACTION.name: np.stack([-0.5 * now, -0.25 * now], axis=1).astype(np.float32)}


def test_the_rule_itself_makes_no_error_and_repeating_does(tmp_path):
    store = reaching_store(tmp_path, episodes=2, steps=6)
    for found in action_errors(Knowing(), store, store.episodes()):
        assert found.decisions == 5  # the first one has no action before it
        assert found.policy.max() < 1e-6
        assert found.ratio < 1e-5
        [actions] = store.samples([found.episode.episode_id], [ACTION.name]).values()
        by_hand = [np.abs(np.diff(actions.values.astype(float), axis=0)).mean(0)]
        by_hand.append(np.abs(actions.values[2:].astype(float) - actions.values[:-2]).mean(0))
        np.testing.assert_allclose(found.persistence, by_hand, rtol=1e-6)


def test_nothing_to_compare(tmp_path):
    store = reaching_store(tmp_path, episodes=1, steps=1)
    with pytest.raises(UsageError, match="there are no episodes to compare actions on"):
        action_errors(Knowing(), store, [])
    with pytest.raises(UsageError, match="episode e0 has no decision with a last 'action'"):
        action_errors(Knowing(), store, store.episodes())


def test_an_episode_shorter_than_the_chunk_is_compared_as_far_as_it_goes(tmp_path):
    store = reaching_store(tmp_path, episodes=0)
    state = [[1.0, 1.0], [0.5, 0.5]]
    write(store, "short", [samples(STATE, state, [10, 20]), samples(ACTION, state, [10, 20])])
    [found] = action_errors(Knowing(), store, store.episodes())
    assert found.policy[0].tolist() == [0.75, 0.75]
    assert np.isnan(found.policy[1]).all()
    assert found.first_step_ratio == 1.5
    assert found.ratio == 1.5
