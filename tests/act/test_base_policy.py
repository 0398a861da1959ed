"""A base model acts: it is told what a robot saw, in the order of training."""

import numpy as np
import pytest
import torch

from builders import ACTION, STATE, PointRobot, reaching_store
from viae.act.base_policy import BasePolicy
from viae.errors import BundleError
from viae.load.events import EventReader, known, prefix
from viae.schema import StreamSpec
from viae.train.base import BaseRecipe, Source, train_base
from viae.train.loop import LoopConfig


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    torch.set_num_threads(1)
    work = tmp_path_factory.mktemp("policy")
    store = reaching_store(work / "store")
    recipe = BaseRecipe(
        length=10, batch_size=2, chunk=3, bins=16, width=16, depth=1, heads=2, depth_width=16,
        depth_layers=1, bf16=False, loop=LoopConfig(steps=2, check_every=2),
    )  # fmt: skip
    source = Source(store=store, episodes=tuple(store.episodes()))
    return train_base([source], recipe, work=work / "w"), store


def test_it_is_shown_what_training_was(trained):
    bundle, store = trained
    events = EventReader(store, [store.episode("e1")], facts=()).events(0)
    policy = BasePolicy(bundle, hide_actions=False)
    policy.reset("reach", [STATE, ACTION])
    order = np.flatnonzero([s.name in (STATE.name, ACTION.name) for s in events.streams])
    for at in range(len(events)):
        if events.stream[at] not in order:
            continue
        name = events.streams[events.stream[at]].name
        now = int(events.arrival_ns[at])
        if name == ACTION.name:
            said = policy.act(now)["action"]
            assert (said.shape, said.dtype) == ((2,), np.float32)
            shown = bundle.context()
            shown.read(prefix(events, known(events, now)))
            np.testing.assert_allclose(policy._context.state(), shown.state(), atol=2e-5)
        policy.add(name, events.values[name][events.row[at]], capture_ns=now, arrival_ns=now)


def test_same_seed_same_actions(trained):
    bundle, _ = trained
    policy = BasePolicy(bundle, stride=3, temperature=1.0, seed=4)
    runs = []
    for _ in range(2):
        policy.reset("reach", PointRobot.streams)
        policy.add(STATE.name, np.zeros(2), capture_ns=1, arrival_ns=1)
        runs.append([policy.act(1)["action"] for _ in range(4)])
    assert np.array_equal(*runs)


def test_refusals(trained):
    bundle, _ = trained
    with pytest.raises(BundleError, match="cannot do 4"):
        BasePolicy(bundle, stride=4)
    policy = BasePolicy(bundle)
    with pytest.raises(BundleError, match="reset the policy"):
        policy.act(0)
    with pytest.raises(BundleError, match=r"this robot has \['observation.state'\]"):
        policy.reset("reach", [STATE])
    other = StreamSpec(name=STATE.name, shape=(3,))
    with pytest.raises(BundleError, match=r"this robot's is vector\[3\]"):
        policy.reset("reach", [other, ACTION])
