"""Trust of a base model: labelled attempts, alarms, a running estimate, and what is not known."""

import json

import numpy as np
import pytest
import torch

from builders import samples, write
from viae.errors import BundleError, UsageError
from viae.foresee import Usual, of_store
from viae.model import BaseBundle
from viae.schema import Role, StreamSpec
from viae.store import Store
from viae.train.base import BaseRecipe
from viae.train.loop import LoopConfig
from viae.verbs import trust
from viae.verbs.base import train_base
from viae.verbs.trust_at import trust_at
from viae.verbs.trust_saved import SavedTrust

STATE = StreamSpec(name="state", shape=(2,))
ACTION = StreamSpec(name="action", dtype="float32", shape=(2,), role=Role.ACTION)
STEP, HORIZON = 100_000_000, 16


def attempt(store, name, seed, *, slips, task="reach", **fields):
    """A point goes to the origin and is there after ten steps; one that slips drifts away."""
    rng = np.random.default_rng(seed)
    steps = HORIZON if slips else 10
    state = [rng.uniform(-1, 1, 2)]
    for _ in range(steps - 1):
        state.append(state[-1] * (1.25 if slips else 0.7) + rng.normal(0, 0.05, 2))
    state = np.clip(state, -4, 4)
    times = np.arange(1, steps + 1, dtype=np.int64) * STEP
    blocks = [samples(STATE, state, times), samples(ACTION, -0.3 * state, times)]
    write(store, name, blocks, task=task, robot="point", outcome=not slips, start_ns=STEP,
          end_ns=steps * STEP, **fields)  # fmt: skip


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A base model of twelve demonstrations, and 100 rollouts of which a third fail."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trust")
    store = Store.create(folder / "store")
    for seed in range(12):
        attempt(store, f"demo{seed}", seed, slips=False)
    recipe = BaseRecipe(
        length=24, batch_size=4, chunk=2, bins=16, width=16, depth=1, heads=2, depth_width=16,
        depth_layers=1, bf16=False,
        loop=LoopConfig(steps=40, check_every=40, warmup=5, lr=1e-2, ema=0.9),
    )  # fmt: skip
    train_base([store], folder / "bundle", recipe)
    for seed in range(100):
        attempt(
            store, f"try{seed:03d}", 1000 + seed, slips=seed % 3 == 0, agent="bundle:x",
            conditions={"world": "w", "seed": 1000 + seed, "horizon": HORIZON},
        )  # fmt: skip
    report = trust(folder / "bundle", store, fraction=0.25)
    return folder / "bundle", store, report


def test_failures_are_foretold(known):
    _, store, report = known
    assert report.steps == 4
    assert report.at_s == pytest.approx(0.4)
    assert report.auroc.value > 0.9
    assert report.brier_skill.value > 0.4
    assert report.n_fit + report.n_test == 100
    assert report.n_test == 40
    assert [s.name for s in report.sources] == [
        "probe", "surprise", "spread", "far", "task", "combined",
    ]  # fmt: skip
    assert {rule.kind for rule in report.rules} >= {"constant"}
    assert report.certain["outcome"].startswith("it was always")
    [run] = store.runs("trust")
    assert run["metrics"] == json.loads(json.dumps(report.to_json()))


def test_a_running_estimate(known):
    bundle, store, _ = known
    early = trust_at(bundle, store, "try000@0.05s")
    assert early.probability is None
    assert "nothing is said before step 2" in early.why
    bad, good = (trust_at(bundle, store, f"{name}@0.8s") for name in ("try000", "try001"))
    assert bad.probability < 0.4
    assert good.probability > 0.7
    assert bad.low <= bad.probability <= bad.high
    assert (bad.after, bad.steps) == (8, 8)
    assert bad.alarm["constant"]
    assert not good.alarm["constant"]
    assert good.known
    assert set(good.sources) == {"probe", "surprise", "spread", "far", "task"}
    assert json.dumps(good.to_json())
    between = trust_at(bundle, store, "try001@0.75s")  # nothing observed since the eighth action
    assert (between.after, between.steps) == (6, 8)


def test_what_came_later_changes_nothing(known):
    bundle, store, _ = known
    model, usual = BaseBundle.load(bundle), Usual.load(bundle)
    saved = SavedTrust.load(bundle, model)
    episode = store.episode("try000")
    at = 5 * STEP
    whole, every = of_store(model, store, episode, at, usual=usual)
    assert every.arrival_ns[-1] > at
    said = saved.judge(whole, "reach", usual)
    again = trust_at(bundle, store, "try000@0.4s")
    assert said.probability == again.probability
    assert said.steps == 4


def test_i_do_not_know_this(known):
    bundle, store, _ = known
    model, usual = BaseBundle.load(bundle), Usual.load(bundle)
    saved = SavedTrust.load(bundle, model)
    history, _ = of_store(model, store, store.episode("try001"), 6 * STEP, usual=usual)
    said = saved.judge(history, "juggle", usual)
    assert not said.known
    assert "no attempt at 'juggle' was labelled, only at ['reach']" in said.why
    assert said.probability is not None
    test = saved.familiar[4]
    strange = -test.known[:1]
    assert test.p_value(strange)[0] < 0.05


def test_refusals(known, tmp_path):
    bundle, store, _ = known
    model = BaseBundle.load(bundle)
    model.save(tmp_path / "bare")
    with pytest.raises(BundleError, match="nobody has fitted trust yet"):
        trust_at(tmp_path / "bare", store, "try000@0.5s")
    with torch.no_grad():
        next(model.model.parameters()).add_(0.1)
    with pytest.raises(BundleError, match="was fitted for bundle"):
        SavedTrust.load(bundle, model)
    (tmp_path / "bare/trust").mkdir()
    (tmp_path / "bare/trust/scorers.json").write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        SavedTrust.load(tmp_path / "bare")
    alike = Store.create(tmp_path / "alike")
    for seed in range(12):
        attempt(alike, f"e{seed}", seed, slips=False, agent="bundle:x",
                conditions={"world": "w", "seed": seed, "horizon": HORIZON})  # fmt: skip
    with pytest.raises(UsageError, match="enough of either outcome"):
        trust(bundle, alike)


def test_on_the_command_line(known, viae, tmp_path):
    bundle, store, _ = known
    said = viae("trust", bundle, "--store", store.uri, "--at", "try000@0.8s")
    assert said.code == 0, said.err
    assert "success 0." in said.out
    assert "constant alarm: raised" in said.out
    card = json.loads(
        viae("trust", bundle, "--store", store.uri, "--at", "try001@0.8s", "--json").out
    )
    assert card["known"] is True
    assert card["probability"] > 0.7
    both = viae("trust", bundle, "--store", store.uri, "--at", "try000@1s", "--fraction", 0.2)
    assert both.code == 2
    assert "leave out --fraction" in both.err
    table = viae("trust", "--table", tmp_path / "t.csv", "--at", "x@1s")
    assert table.code == 2
    whole = viae("trust", bundle, "--store", store.uri, "--fraction", 0.25)
    assert whole.code == 0, whole.err
    assert "Sources" in whole.out
    assert "false alarms" in whole.out
    assert "outcome: certain" in whole.err
