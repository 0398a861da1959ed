"""The network's shapes."""

import pytest
import torch

from viae.model import Clone, CloneConfig


@pytest.mark.parametrize("pictures", [{}, {"inputs/camera.left": 6}])
def test_vectors_and_pictures_to_a_chunk(pictures):
    config = CloneConfig(
        vectors={"inputs/q": 6, "inputs/task": 2}, pictures=pictures, target="targets/a",
        chunk=5, action=3, width=16, depth=2,
    )  # fmt: skip
    model = Clone(config)
    inputs = {"inputs/q": torch.zeros(4, 2, 3), "inputs/task": torch.zeros(4, 2)}
    inputs |= {key: torch.zeros(4, 2, 3, 24, 32) for key in pictures}
    assert model(inputs).shape == (4, 5, 3)
    assert model.features(inputs).shape == (4, 16)
    assert CloneConfig(**config.to_json()) == config
