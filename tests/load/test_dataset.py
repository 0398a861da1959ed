"""Windows as a PyTorch dataset, drawn independently, resumable."""

import numpy as np
import pytest
import torch

from builders import ACTION, STATE, reaching_store
from viae.load import Windows
from viae.load.dataset import IidSampler, WindowDataset
from viae.schema import Take, WindowSpec
from viae.sequence import iid_order

SPEC = WindowSpec(
    decision=STATE.name,
    inputs=(Take(stream=STATE.name, steps=(-1, 0)),),
    targets=(Take(stream=ACTION.name, steps=(0, 1, 2)),),
)


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    store = reaching_store(tmp_path_factory.mktemp("store"), episodes=2, steps=6)
    return Windows(store, SPEC, store.episodes())


def load(windows, **options):
    sampler = IidSampler(len(windows), batch_size=4, batches=5, seed=7, **options)
    loader = torch.utils.data.DataLoader(
        WindowDataset(windows), batch_sampler=sampler, collate_fn=WindowDataset.collate
    )
    assert len(loader) == len(sampler)
    return list(loader)


def test_a_loader_gives_whole_batches(windows):
    batches = load(windows)
    assert len(batches) == 5
    for draw, batch in enumerate(batches):
        wanted = windows.batch(iid_order(len(windows), seed=7, draw=draw, size=4))
        assert set(batch) == {
            f"inputs/{STATE.name}", "targets/action", f"masks/inputs/{STATE.name}",
            "masks/targets/action", "tasks", "episodes", "decisions_ns",
        }  # fmt: skip
        assert batch["tasks"] == ("reach",) * 4
        assert batch[f"inputs/{STATE.name}"].shape == (4, 2, 2)
        assert (batch[f"inputs/{STATE.name}"].numpy() == wanted.inputs[STATE.name]).all()
        assert batch["targets/action"].dtype == torch.float32
        assert (batch["targets/action"].numpy() == wanted.targets["action"]).all()
        assert (batch["masks/targets/action"].numpy() == wanted.masks["targets/action"]).all()
        assert (batch["decisions_ns"].numpy() == wanted.decisions_ns).all()
        assert (batch["episodes"].numpy() == wanted.episodes).all()


def test_a_resumed_loader_goes_on_where_it_stopped(windows):
    resumed, whole = load(windows, start=3), load(windows)[3:]
    for one, other in zip(resumed, whole, strict=True):
        assert (one["decisions_ns"] == other["decisions_ns"]).all()
        assert (one["episodes"] == other["episodes"]).all()


def test_one_window_is_a_batch_of_one(windows):
    dataset = WindowDataset(windows)
    assert len(dataset) == len(windows) == 12
    assert dataset[5]["decisions_ns"].tolist() == windows.decisions_ns[5:6].tolist()


def test_changing_a_tensor_leaves_the_windows_alone(windows):
    before = windows.batch(np.arange(3)).inputs[STATE.name].copy()
    WindowDataset(windows).__getitems__([0, 1, 2])[f"inputs/{STATE.name}"].zero_()
    assert (windows.batch(np.arange(3)).inputs[STATE.name] == before).all()
