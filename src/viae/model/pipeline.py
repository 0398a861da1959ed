"""The road from a recorded window to what a network eats, and back from what it says to an action.

One list of transforms, in forward order; the inverse runs the same list backwards, so the way back
is right by construction. It is stored in the bundle: training and acting run the same code.

A window travels as a flat dict: ``"inputs/STREAM"`` and ``"targets/STREAM"`` arrays [B, T, *shape],
their masks under ``"masks/…"``, the ages of inputs that ask for them under ``"ages/STREAM"``
[B, T], in seconds, and ``"tasks"``, a tuple of B strings. Transforms return new dicts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from viae.errors import BundleError
from viae.schema import Batch

Flat = dict[str, Any]


def flatten(batch: Batch) -> Flat:
    """A batch as the flat dict that transforms read."""
    flat: Flat = {"tasks": batch.tasks}
    for group in ("inputs", "targets", "masks", "ages"):
        flat |= {f"{group}/{name}": array for name, array in getattr(batch, group).items()}
    return flat


@dataclass(frozen=True)
class Transform(ABC):
    """One step of a pipeline; its fields are JSON values or sequences of numbers."""

    registry: ClassVar[dict[str, type[Transform]]] = {}

    def __init_subclass__(cls) -> None:
        Transform.registry[cls.__name__] = cls

    @abstractmethod
    def forward(self, flat: Flat) -> Flat:
        """From recorded units towards the network."""

    @abstractmethod
    def inverse(self, flat: Flat) -> Flat:
        """From the network towards recorded units. ``inputs/…`` are there in recorded units."""

    def to_json(self) -> dict[str, Any]:
        """The transform's name and fields."""
        return {"name": type(self).__name__} | {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Pipeline:
    """Transforms in forward order."""

    transforms: tuple[Transform, ...]

    def forward(self, batch: Batch) -> Flat:
        """What the network eats."""
        flat = flatten(batch)
        for transform in self.transforms:
            flat = transform.forward(flat)
        return flat

    def inverse(self, predicted: Mapping[str, npt.NDArray[Any]], batch: Batch) -> Flat:
        """What the network said (``"targets/STREAM"``), in recorded units.

        Args:
            predicted: network outputs, [B, T, *shape].
            batch: the window it was shown.
        """
        flat = flatten(batch) | dict(predicted)
        for transform in reversed(self.transforms):
            flat = transform.inverse(flat)
        return {key: value for key, value in flat.items() if key.startswith("targets/")}

    def to_json(self) -> list[dict[str, Any]]:
        """As JSON-ready values."""
        return [transform.to_json() for transform in self.transforms]

    @classmethod
    def from_json(cls, steps: Sequence[Mapping[str, Any]]) -> Pipeline:
        """The inverse of `to_json`.

        Raises:
            BundleError: a transform that this viae does not have.
        """
        transforms = []
        for step in steps:
            kind = Transform.registry.get(step["name"])
            if kind is None:
                raise BundleError(
                    f"the bundle uses the transform '{step['name']}', which this viae does not "
                    f"have (it has {sorted(Transform.registry)}): upgrade viae"
                )
            given = {k: tuple(v) if isinstance(v, list) else v for k, v in step.items()}
            transforms.append(kind(**{k: v for k, v in given.items() if k != "name"}))
        return cls(tuple(transforms))


@dataclass(frozen=True)
class Relative(Transform):
    """Expresses a target as its difference from the latest value of an input of the same shape.

    Where that input is masked, the target stays as it is minus zero.
    """

    target: str
    base: str

    def forward(self, flat: Flat) -> Flat:
        """Subtract the base."""
        if self.target not in flat:
            return flat
        difference = np.subtract(flat[self.target], flat[self.base][:, -1:], dtype=np.float64)
        return flat | {self.target: difference}

    def inverse(self, flat: Flat) -> Flat:
        """Add the base."""
        return flat | {self.target: flat[self.target] + flat[self.base][:, -1:]}


@dataclass(frozen=True)
class Standardise(Transform):
    """Zero mean and unit variance per dimension; inputs are then limited to ±``limit``.

    Args:
        key: what to standardise.
        mean: per flattened dimension, for all steps alike or step after step.
        std: likewise, already bounded from below where a dimension hardly moves.
        limit: in standard deviations; 0 for none. The inverse cannot undo it, so targets have none.
    """

    key: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    limit: float = 0.0

    def forward(self, flat: Flat) -> Flat:
        """Standardise, and limit."""
        if self.key not in flat:
            return flat
        value = (flat[self.key] - self._shaped(self.mean, flat)) / self._shaped(self.std, flat)
        if self.limit:
            value = np.clip(value, -self.limit, self.limit)
        return flat | {self.key: value.astype(np.float32)}

    def inverse(self, flat: Flat) -> Flat:
        """Undo the standardisation of a target; inputs are in recorded units already."""
        if self.key not in flat or self.key.startswith("inputs/"):
            return flat
        std, mean = self._shaped(self.std, flat), self._shaped(self.mean, flat)
        return flat | {self.key: flat[self.key].astype(np.float64) * std + mean}

    def _shaped(self, numbers: tuple[float, ...], flat: Flat) -> npt.NDArray[np.float64]:
        return np.asarray(numbers, np.float64).reshape(-1, *flat[self.key].shape[2:])


@dataclass(frozen=True)
class Bound(Transform):
    """Keeps what the network says within the range that an actuator was ever asked for."""

    key: str
    low: tuple[float, ...]
    high: tuple[float, ...]

    def forward(self, flat: Flat) -> Flat:
        """Nothing: recorded values are within their own range."""
        return flat

    def inverse(self, flat: Flat) -> Flat:
        """Clip to the range."""
        shape = flat[self.key].shape[2:]
        low, high = np.reshape(self.low, shape), np.reshape(self.high, shape)
        return flat | {self.key: np.clip(flat[self.key], low, high)}


@dataclass(frozen=True)
class Pixels(Transform):
    """uint8 pixels to float32 in [-1, 1]."""

    key: str

    def forward(self, flat: Flat) -> Flat:
        """Scale."""
        return flat | {self.key: flat[self.key].astype(np.float32) / 127.5 - 1.0}

    def inverse(self, flat: Flat) -> Flat:
        """Nothing: pictures are inputs only."""
        return flat


@dataclass(frozen=True)
class TaskOneHot(Transform):
    """Adds ``"inputs/task"``, float32 [B, n]: which of the known tasks each window belongs to."""

    tasks: tuple[str, ...]

    def forward(self, flat: Flat) -> Flat:
        """Look the tasks up.

        Raises:
            BundleError: a task that was not trained on.
        """
        unknown = sorted(set(flat["tasks"]) - set(self.tasks))
        if unknown:
            raise BundleError(
                f"the policy was never trained on the task {unknown[0]!r}; it knows "
                f"{list(self.tasks)}. Record demonstrations of it and train again"
            )
        which = [self.tasks.index(task) for task in flat["tasks"]]
        return flat | {"inputs/task": np.eye(len(self.tasks), dtype=np.float32)[which]}

    def inverse(self, flat: Flat) -> Flat:
        """Nothing."""
        return flat
