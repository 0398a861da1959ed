"""What was usual in training: how streams behave, which robots there were, how surprising logs are.

Fitted beside a base model, saved in its bundle's folder. Queries blame by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from viae.errors import BundleError
from viae.foresee.likelihood import bits
from viae.load.suspects import Habits
from viae.model import BaseBundle
from viae.schema import Events

Doubles: TypeAlias = npt.NDArray[np.float64]
Floats32: TypeAlias = npt.NDArray[np.float32]

FILE, VECTORS = "usual.json", "usual.safetensors"
POINTS = 513
"""Quantiles that are kept of each stream's bits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Usual:
    """What was usual.

    Args:
        robots: that were seen; empty where nobody said.
        habits: of the streams.
        bits: per stream ascending quantiles of the bits of its events: float64 [Q].
        of: whose bits: ``"held_out"`` or ``"trained_on"`` episodes; empty where nobody said.
        episodes: how many these are.
        vectors: of moments, from `viae.foresee.usual_moments`: float32 [M, D].
    """

    robots: tuple[str, ...]
    habits: Habits
    bits: Mapping[str, Doubles]
    of: str = ""
    episodes: int = 0
    vectors: Floats32 = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @classmethod
    def fit(
        cls,
        bundle: BaseBundle,
        episodes: Sequence[Events],
        robots: Iterable[str] = (),
        *,
        also: Sequence[Events] = (),
        of: str = "",
    ) -> Usual:
        """Learn what is usual.

        Args:
            bundle: the model.
            episodes: whole ones that the model was not trained on, or it is surprised too late;
                those of training where there are no others.
            robots: of the episodes of training.
            also: others, from which streams' habits alone are learnt: it does not matter to these
                what the model was trained on.
            of: see `Usual`.
        """
        found: dict[str, list[Doubles]] = {}
        for events in episodes:
            scored = bits(bundle, events)
            for name in scored.names:
                found.setdefault(name, []).append(scored.of(name).sum(axis=1))
        at = np.linspace(0, 1, POINTS)
        return cls(
            robots=tuple(sorted(set(robots))),
            habits=Habits.fit([*episodes, *also]),
            bits={name: np.quantile(np.concatenate(each), at) for name, each in found.items()},
            of=of,
            episodes=len(episodes),
        )

    def quantile(self, stream: str, of_bits: Doubles) -> Doubles:
        """The share of the stream's events that cost no more: float64 [N]; NaN if unknown."""
        known = self.bits.get(stream)
        if known is None:
            return np.full(len(of_bits), np.nan)
        below = np.searchsorted(known, of_bits, side="left")
        above = np.searchsorted(known, of_bits, side="right")
        return (below + above) / (2 * len(known))

    def save(self, folder: Path) -> None:
        """Write into a bundle's folder."""
        card = {
            "robots": list(self.robots), "habits": self.habits.to_json(),
            "bits": {name: values.tolist() for name, values in self.bits.items()},
            "of": self.of, "episodes": self.episodes,
        }  # fmt: skip
        save_file({"vectors": self.vectors}, folder / VECTORS)
        partial = folder / f"{FILE}.partial"
        partial.write_text(json.dumps(card) + "\n")
        partial.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Usual | None:
        """From a bundle's folder; None where it was never fitted.

        Raises:
            BundleError: the file is damaged.
        """
        try:
            card: Mapping[str, Any] = json.loads((folder / FILE).read_text())
            return cls(
                robots=tuple(card["robots"]), habits=Habits.from_json(card["habits"]),
                bits={name: np.array(values, np.float64) for name, values in card["bits"].items()},
                of=card["of"], episodes=card["episodes"],
                vectors=load_file(folder / VECTORS)["vectors"],
            )  # fmt: skip
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{folder / FILE}: this cannot be read: {error!r}. Remove it, and fit it again"
            ) from error
