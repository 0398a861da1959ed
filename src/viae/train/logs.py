"""A loss curve for others to draw: TensorBoard, Weights & Biases.

Both are told the same: per point the learning rate, the loss in training and on held-out windows in
nats, its parts in bits per token, the gradients' norm, and how many batches were left out so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from viae.errors import MissingExtraError
from viae.train.loop import LoopConfig, Point

Hear: TypeAlias = Callable[[Point], None]


def scalars(point: Point, loop: LoopConfig, skipped: int) -> dict[str, float]:
    """What is told of a point, by name.

    Args:
        point: of the curve.
        loop: how it descends.
        skipped: batches left out so far.
    """
    found = {
        "loss/train": point.train, "lr": loop.lr_at(point.step - 1), "gradient_norm": point.norm,
        "skipped": float(skipped),
    }  # fmt: skip
    if point.held_out is not None:
        found["loss/held_out"] = point.held_out
    return found | {f"bits/{name}": bits for name, bits in point.parts.items()}


def tensorboard(folder: Path, loop: LoopConfig) -> Hear:
    """Write event files of TensorBoard; a training that goes on adds to them.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", extra="train") from error
    writer: Any = SummaryWriter(str(folder))

    def write(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return _hear(write, loop)


def wandb(project: str, name: str, config: Mapping[str, Any], loop: LoopConfig) -> Hear:
    """Tell a run of Weights & Biases, which goes on under the same name after a kill.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import wandb as service
    except ImportError as error:
        raise MissingExtraError("wandb", extra="wandb") from error
    run = service.init(project=project, id=name, config=dict(config), resume="allow")
    return _hear(lambda values, step: run.log(dict(values), step=step), loop)


def _hear(write: Callable[[Mapping[str, float], int], None], loop: LoopConfig) -> Hear:
    skipped = 0

    def hear(point: Point) -> None:
        nonlocal skipped
        skipped += len(point.skipped)
        write(scalars(point, loop, skipped), point.step)

    return hear


__all__ = ["Hear", "scalars", "tensorboard", "wandb"]
