"""A base model with all that asking it needs, in one folder of safetensors and JSON.

Loading one reads numbers and text; it never executes code from it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from viae.errors import BundleError
from viae.model.base import BaseConfig, BaseModel
from viae.model.bundle import CARD, WEIGHTS, Bundle, Provenance
from viae.model.context import Context
from viae.model.folder import read_folder, write_folder
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema.names import StreamNames

COMPATIBILITY = 1
KIND = "base"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BaseBundle:
    """A trained base model.

    Args:
        model: the network, in evaluation mode.
        vocabulary: what it sees and says.
        length: events of a window in training.
        provenance: where it comes from.
        names: what its streams are called, by robot; None where each is called as recorded.
    """

    model: BaseModel
    vocabulary: Vocabulary
    length: int
    provenance: Provenance
    names: StreamNames | None = None

    @property
    def bundle_id(self) -> str:
        """Digest of all that answers, not of where it comes from."""
        with tempfile.TemporaryDirectory() as folder:
            self.vocabulary.save(Path(folder))
            digest = hashlib.blake2b(digest_size=6)
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    digest.update(path.read_bytes())
        digest.update(json.dumps(self._acts(), sort_keys=True).encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def context(self, *, hide_actions: bool = False, count: int = 1) -> Context:
        """An empty history.

        Args:
            hide_actions: whether actions are hidden from the trunk.
            count: histories beside each other.
        """
        return Context(
            self.model, self.vocabulary, length=self.length, hide_actions=hide_actions, count=count
        )

    def save(self, folder: Path) -> None:
        """Write the bundle; the folder appears whole or not at all.

        Raises:
            BundleError: the folder is there and holds something else.
        """
        fields = {
            "bundle_id": self.bundle_id, "compatibility": COMPATIBILITY, "kind": KIND,
            **self._acts(), "provenance": self.provenance.to_json(),
            "names": self.names.to_json() if self.names else None,
        }  # fmt: skip
        write_folder(folder, CARD, fields, self._write)

    @classmethod
    def load(cls, folder: str | Path) -> BaseBundle:
        """Read a bundle.

        Raises:
            BundleError: there is none, it is of another kind or a newer viae, or it is damaged.
        """
        folder = Path(folder)
        card = read_card(folder)
        try:
            model = BaseModel(BaseConfig.from_json(card["model"])).eval()
            bundle = cls(
                model=model,
                vocabulary=Vocabulary.load(folder),
                length=card["length"],
                provenance=Provenance.from_json(card["provenance"]),
                names=StreamNames.from_json(card["names"]) if card.get("names") else None,
            )
        except BundleError:
            raise
        except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
            raise BundleError(
                f"{folder / CARD}: a field is missing or wrong: {error!r}. Train it again"
            ) from error
        try:
            model.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            raise BundleError(
                f"{folder / WEIGHTS}: the weights cannot be read: {error}. Train it again"
            ) from error
        return bundle

    def _write(self, folder: Path) -> None:
        self.vocabulary.save(folder)
        state = self.model.state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / WEIGHTS)

    def _acts(self) -> dict[str, Any]:
        config = self.model.config
        if config.trunk and config.trunk_shape is None:  # the folder it came from may be gone
            trunk: Any = self.model.trunk
            config = replace(config, trunk_shape=json.loads(trunk.config.to_json_string()))
        return {"model": config.to_json(), "length": self.length}


def is_base(folder: Path) -> bool:
    """Whether a bundle is a base model's.

    Raises:
        BundleError: there is no bundle, it is damaged, or of a newer viae.
    """
    return read_folder(folder, CARD, newest=COMPATIBILITY).get("kind") == KIND


def load_bundle(folder: Path) -> Bundle | BaseBundle:
    """A bundle of either kind.

    Raises:
        BundleError: there is none, it is damaged, or of a newer viae.
    """
    return BaseBundle.load(folder) if is_base(folder) else Bundle.load(folder)


def read_card(folder: Path) -> Mapping[str, Any]:
    """A base bundle's card.

    Raises:
        BundleError: there is none, or it is of another kind or a newer viae.
    """
    card = read_folder(folder, CARD, newest=COMPATIBILITY)
    if card.get("kind") != KIND:
        raise BundleError(
            f"{folder}: this bundle is no base model. Train one with  viae train base"
        )
    return card
