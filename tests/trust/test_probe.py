"""The probe: learned from some attempts, calibrated on others, kept as plain numbers."""

import numpy as np
import pytest

from viae.errors import BundleError, UsageError
from viae.trust import Probe, auroc, calibration_error, fit_probe

TASK = "one"


def ones(n):
    return np.full(n, TASK)


def toy(n, *, noise, seed=0):
    """Success where the first of five features is positive, but for some noise."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 5))
    return features, features[:, 0] + noise * rng.standard_normal(n) > 0


def test_what_can_be_separated_is():
    features, outcome = toy(200, noise=0.0)
    probe = fit_probe(features, outcome, ones(200), np.arange(200), steps=7)
    others, truth = toy(500, noise=0.0, seed=1)
    assert auroc(truth, probe.probability(others, ones(len(others)))) > 0.99
    assert probe.steps == 7


def test_what_is_noisy_is_calibrated():
    features, outcome = toy(300, noise=1.0)
    probe = fit_probe(features, outcome, ones(300), np.arange(300), steps=7)
    others, truth = toy(2000, noise=1.0, seed=1)
    assert calibration_error(truth, probe.probability(others, ones(len(others)))) < 0.07


def test_what_says_nothing_gets_about_the_base_rate():
    rng = np.random.default_rng(0)
    outcome = rng.uniform(size=200) < 0.7
    probe = fit_probe(rng.standard_normal((200, 5)), outcome, ones(200), np.arange(200), steps=1)
    said = probe.probability(rng.standard_normal((100, 5)), ones(100))
    assert np.abs(said - 0.7).mean() < 0.15


def test_it_is_a_function_of_its_arguments():
    features, outcome = toy(60, noise=0.5)
    groups = np.arange(60) // 2
    said = [
        fit_probe(features, outcome, ones(60), groups, steps=3).probability(features, ones(60))
        for _ in range(2)
    ]
    assert said[0].tobytes() == said[1].tobytes()


def test_a_feature_that_never_changes_does_no_harm():
    features, outcome = toy(60, noise=0.5)
    features[:, 4] = 3.0
    probe = fit_probe(features, outcome, ones(60), np.arange(60), steps=3)
    assert np.isfinite(probe.probability(features, ones(60))).all()


def test_what_succeeds_may_differ_between_tasks():
    features, outcome = toy(400, noise=0.3)
    tasks = np.where(np.arange(400) % 2, "left", "right")
    shifted = features + np.where(tasks == "left", 50.0, 0.0)[:, None]
    probe = fit_probe(shifted[:300], outcome[:300], tasks[:300], np.arange(300), steps=1)
    assert auroc(outcome[300:], probe.probability(shifted[300:], tasks[300:])) > 0.9
    with pytest.raises(BundleError, match=r"the probe knows the tasks .*, not 'up'"):
        probe.probability(features[:1], np.array(["up"]))


def test_probabilities_of_far_features_stay_probabilities():
    features, outcome = toy(60, noise=0.5)
    probe = fit_probe(features, outcome, ones(60), np.arange(60), steps=3)
    said = probe.probability(features * 1e9, ones(60))
    assert ((said >= 0) & (said <= 1)).all()


@pytest.mark.parametrize(
    ("successes", "groups"),
    [
        (0, range(20)),
        (20, range(20)),
        (1, range(20)),
        (19, range(20)),
        (2, [0, 0, *range(2, 20)]),  # both successes from one initial state
    ],
)
def test_too_few_of_either_outcome(successes, groups):
    features, _ = toy(20, noise=0)
    outcome = np.arange(20) < successes
    with pytest.raises(UsageError, match="are too few to learn trust from: evaluate more"):
        fit_probe(features, outcome, ones(20), np.array(groups), steps=3)


def test_it_comes_back_from_its_file_the_same(tmp_path):
    features, outcome = toy(60, noise=0.5)
    probe = fit_probe(features, outcome, ones(60), np.arange(60), steps=3)
    path = tmp_path / "probe.safetensors"
    probe.save(path)
    loaded = Probe.load(path)
    assert loaded.steps == 3
    said = [p.probability(features, ones(60)).tobytes() for p in (probe, loaded)]
    assert said[0] == said[1]
    assert [found.name for found in tmp_path.iterdir()] == ["probe.safetensors"]


def test_no_probe_yet_or_a_damaged_one(tmp_path):
    path = tmp_path / "probe.safetensors"
    with pytest.raises(BundleError, match="this bundle has no probe yet: run  viae trust"):
        Probe.load(path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(BundleError, match="the probe cannot be read"):
        Probe.load(path)
