"""A trained tokenizer of pictures: a codec, for which stream, and where it comes from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from viae.errors import BundleError
from viae.model.bundle import Provenance
from viae.model.folder import read_folder, write_folder
from viae.model.tokens.runs import PictureCodec

CARD, WHAT = "tokenizer.json", "tokenizer"
COMPATIBILITY = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PictureTokenizer:
    """What `viae train tokenizer` makes: a folder of safetensors and JSON.

    Args:
        codec: of pictures after an episode's first; `PictureCodec.first` is that of the first.
        stream: that it was trained on.
        provenance: where it comes from.
    """

    codec: PictureCodec
    stream: str
    provenance: Provenance

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) that pictures must be loaded at."""
        return self.codec.painter.config.size

    @property
    def tokenizer_id(self) -> str:
        """Digest of all that makes tokens, not of where it comes from."""
        card = json.dumps(self.codec.to_json(), sort_keys=True)
        digest = hashlib.blake2b(card.encode(), digest_size=6)
        for name, tensor in sorted(self.codec.painter.net.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write it; the folder appears whole or not at all, in the place of an older one.

        Raises:
            BundleError: the folder is there and holds something else.
        """
        fields = {
            "compatibility": COMPATIBILITY, "tokenizer_id": self.tokenizer_id,
            "stream": self.stream, "codec": self.codec.to_json(),
            "provenance": self.provenance.to_json(),
        }  # fmt: skip
        write_folder(folder, CARD, fields, self.codec.save_arrays, what=WHAT)

    @classmethod
    def load(cls, folder: str | Path) -> PictureTokenizer:
        """Read a tokenizer.

        Raises:
            BundleError: there is none, it was written by a newer viae, or it is damaged.
        """
        folder = Path(folder)
        card = read_folder(
            folder, CARD, newest=COMPATIBILITY, what=WHAT, made_by="viae train tokenizer"
        )
        try:
            return cls(
                codec=PictureCodec.from_json(card["codec"], folder),
                stream=card["stream"],
                provenance=Provenance.from_json(card["provenance"]),
            )
        except (SafetensorError, OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{folder}: the tokenizer is damaged ({error}). Train it again"
            ) from error
