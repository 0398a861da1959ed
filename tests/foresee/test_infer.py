"""What an absent stream may have said."""

import numpy as np
import pytest
from foresee_system import NOISE, A, B, C, made, simulate

from viae.errors import QueryRefusedError
from viae.foresee import infer, of_events
from viae.foresee.history import without
from viae.load.events import prefix


def test_goal_from_states(bundle):
    """The goal is +1 or -1 with equal chances: its posterior is known."""
    p, truth = [], []
    for seed in range(1000, 1008):
        events = without(prefix(made(seed), 1 + 2 * 12), ["goal"])
        found = infer(of_events(bundle, events), "goal", n=32, seed=0)
        assert found.values.shape == (32, 1, 1)
        assert np.isclose(found.weights.sum(), 1)
        assert 1 <= found.least_effective <= 32 and 1 <= found.ancestors <= 32
        p.append(float(found.weights @ (found.values[:, 0, 0] > 0)))
        states, actions, _ = simulate(seed)
        log_odds = 0.0
        for t in range(11):
            rest = float((states[t + 1] - A * states[t] - B * actions[t])[0])
            log_odds += 2 * rest * C / NOISE**2
        truth.append(1 / (1 + np.exp(-log_odds)))
    assert np.corrcoef(p, truth)[0, 1] > 0.8
    assert np.mean(np.abs(np.array(p) - truth)) < 0.25


def test_action_between_states(bundle):
    """An action moves the state by half of it: seen the state after, it is known to about 0.4."""
    events = without(prefix(made(1003), 1 + 2 * 8), ["action"])
    found = infer(of_events(bundle, events), "action", n=128, seed=1)
    _, actions, _ = simulate(1003)
    m = found.values.shape[1]
    assert 6 <= m <= 8
    error = found.mean()[: m - 1, 0] - actions[: m - 1, 0]
    assert np.sqrt(np.mean(error**2)) < 0.75  # 1 without looking
    again = infer(of_events(bundle, events), "action", n=128, seed=1)
    assert np.array_equal(found.values, again.values)
    assert found.log_evidence == again.log_evidence


def test_refusals(bundle):
    history = of_events(bundle, prefix(made(1000), 9))
    for missing in ("sonar", "outcome"):
        with pytest.raises(QueryRefusedError, match=f"'{missing}' cannot be inferred"):
            infer(history, missing, n=4, seed=0)
    with pytest.raises(QueryRefusedError, match="at temperature 1"):
        infer(history, "goal", n=4, seed=0, temperature=0.5)
