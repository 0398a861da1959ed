"""A bundle: everything needed to act as trained, in one folder of safetensors and JSON.

Loading a bundle reads numbers and text; it never executes code from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from viae.errors import BundleError, SchemaError
from viae.model.clone import Clone, CloneConfig
from viae.model.folder import read_folder, write_folder
from viae.model.pipeline import Flat, Pipeline
from viae.schema import Batch, StreamSpec, WindowSpec
from viae.sequence.clock import ClockUse

COMPATIBILITY = 1
CARD, WEIGHTS = "bundle.json", "weights.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a bundle comes from.

    Args:
        store: address of the store.
        snapshot: table versions it was trained on.
        episodes: ids trained on, and held out for early stopping.
        initial_states: per world, task and condition, what was trained on: an evaluation must not
            use these. Sorted strings, as `viae.evaluate.plan` writes them.
        training: the configuration.
        metrics: how training ended.
    """

    store: str
    snapshot: Mapping[str, int]
    episodes: Mapping[str, tuple[str, ...]]
    initial_states: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "store": self.store,
            "snapshot": dict(self.snapshot),
            "episodes": {name: list(ids) for name, ids in self.episodes.items()},
            "initial_states": list(self.initial_states),
            "training": dict(self.training),
            "metrics": dict(self.metrics),
        }

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> Provenance:
        """The inverse of `to_json`."""
        return cls(
            store=card["store"],
            snapshot=card["snapshot"],
            episodes={name: tuple(ids) for name, ids in card["episodes"].items()},
            initial_states=tuple(card["initial_states"]),
            training=card["training"],
            metrics=card["metrics"],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What a network was shown, and what it made of it, in its own units.

    Args:
        shown: the windows after the pipeline, targets included where there were any.
        features: float32 [B, F], last activations.
        said: float32 [B, K, A], a chunk of standardised actions.
    """

    shown: Flat
    features: npt.NDArray[np.float32]
    said: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A trained policy.

    Args:
        model: the network, in evaluation mode.
        pipeline: forward and inverse transforms.
        window: what it is shown and what it predicts.
        picture_sizes: (height, width) per picture stream.
        streams: the schema of every stream in the window.
        tasks: the instructions it knows.
        provenance: where it comes from.
        clocks: of streams whose captures were corrected in training, how; see
            `ClockUse`. Those dated by arrival always are so when acting.
    """

    model: Clone
    pipeline: Pipeline
    window: WindowSpec
    picture_sizes: Mapping[str, tuple[int, int]]
    streams: tuple[StreamSpec, ...]
    tasks: tuple[str, ...]
    provenance: Provenance
    clocks: Mapping[str, ClockUse] = field(default_factory=dict)

    @property
    def bundle_id(self) -> str:
        """Digest of all that acts, not of where it comes from: equal policies have equal ids."""
        acts = {key: value for key, value in self._card().items() if key != "provenance"}
        digest = hashlib.blake2b(json.dumps(acts, sort_keys=True).encode(), digest_size=6)
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def look(self, batch: Batch) -> Look:
        """Show windows to the network."""
        shown = self.pipeline.forward(batch)
        config = self.model.config
        inputs = {k: torch.from_numpy(shown[k]) for k in (*config.vectors, *config.pictures)}
        with torch.inference_mode():
            features = self.model.features(inputs)
            said = self.model.head(features)
        return Look(shown=shown, features=features.numpy(), said=said.numpy())

    def features(self, batch: Batch) -> npt.NDArray[np.float32]:
        """The network's last activations for windows: float32 [B, F]."""
        return self.look(batch).features

    def predict(self, batch: Batch) -> dict[str, npt.NDArray[Any]]:
        """What the policy would do: per target stream [B, K, *shape], in recorded units."""
        said = self.look(batch).said
        target = self.model.config.target
        spec = self.stream(target.removeprefix("targets/"))
        shaped = said.reshape(len(batch), self.model.config.chunk, *spec.shape)
        back = self.pipeline.inverse({target: shaped}, batch)
        return {
            key.removeprefix("targets/"): value.astype(
                self.stream(key.removeprefix("targets/")).dtype
            )
            for key, value in back.items()
        }

    def stream(self, name: str) -> StreamSpec:
        """The spec of a stream in the window."""
        return next(spec for spec in self.streams if spec.name == name)

    def save(self, folder: Path) -> None:
        """Write the bundle; the folder appears whole or not at all.

        An existing bundle in the folder is replaced.

        Raises:
            BundleError: the folder is there and holds something else.
        """
        state = {name: value.contiguous() for name, value in self.model.state_dict().items()}
        fields = {"bundle_id": self.bundle_id} | self._card()
        write_folder(folder, CARD, fields, lambda into: save_file(state, into / WEIGHTS))

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Read a bundle.

        Raises:
            BundleError: there is none, it was written by a newer viae, or it is damaged.
        """
        folder = Path(folder)
        card = read_folder(folder, CARD, newest=COMPATIBILITY)
        if "kind" in card:
            raise BundleError(
                f"{folder}: this is a bundle of kind '{card['kind']}', not a cloned policy. Train "
                "one with  viae train, or ask a base model by  viae foresee"
            )
        try:
            bundle = cls(
                model=Clone(CloneConfig(**card["model"])).eval(),
                pipeline=Pipeline.from_json(card["pipeline"]),
                window=WindowSpec.from_json(card["window"]),
                picture_sizes={k: (v[0], v[1]) for k, v in card["picture_sizes"].items()},
                streams=tuple(StreamSpec.from_json(spec) for spec in card["streams"]),
                tasks=tuple(card["tasks"]),
                provenance=Provenance.from_json(card["provenance"]),
                clocks={k: ClockUse.from_json(v) for k, v in card.get("clocks", {}).items()},
            )
        except BundleError:
            raise
        except (KeyError, TypeError, ValueError, SchemaError) as error:
            raise BundleError(
                f"{folder / CARD}: a field is missing or wrong: {error!r}. Train it again"
            ) from error
        try:
            bundle.model.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise BundleError(
                f"{folder / WEIGHTS}: the weights cannot be read: {error}. Train it again"
            ) from error
        return bundle

    def _card(self) -> dict[str, Any]:
        clocks = {name: use.to_json() for name, use in sorted(self.clocks.items())}
        return {
            "compatibility": COMPATIBILITY,
            "model": self.model.config.to_json(),
            "pipeline": self.pipeline.to_json(),
            "window": self.window.to_json(),
            "picture_sizes": {name: list(size) for name, size in self.picture_sizes.items()},
            "streams": [spec.to_json() for spec in self.streams],
            "tasks": list(self.tasks),
            "provenance": self.provenance.to_json(),
            **({"clocks": clocks} if clocks else {}),  # bundles without keep the ids they had
        }
