"""Text: byte-level byte-pair encoding, fitted locally or from a tokenizer's folder.

Shapes: N texts, S slots, F features.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from viae.errors import MissingExtraError, TokenError
from viae.model.tokens.codec import SILENT, Codec, Floats, Tokens

VOCABULARY = 4096
LEAST_COUNT = 8
"""A pair that is seen less often is not merged: few texts would be learnt by heart."""
LEAST_SLOTS = 32
FEATURES = 64
PIECE = 3
"""Bytes of a piece of text that `describe` counts."""


class TextCodec(Codec):
    """Byte pairs of a text, then an end; one token where it is the same text as before.

    Every string comes back as it was: what the vocabulary lacks is spelled in bytes. A text that
    needs more than S slots is refused, never cut.

    Args:
        stream: its name.
        pairs: the tokenizer, as `tokenizers` writes it.
        most: S.
    """

    kind = "text"

    def __init__(self, stream: str, pairs: Mapping[str, Any], most: int) -> None:
        self.stream, self.pairs, self.most = stream, pairs, most
        self._pairs = _tokenizer(pairs)
        self.same = self._pairs.get_vocab_size()
        """The token of a text that repeats the one before."""
        self.end = self.same + 1
        """The token that ends a text."""
        self.slots = (self.end + 1,) * most
        self.features = FEATURES

    @classmethod
    def fit(
        cls, texts: Sequence[str], *, stream: str = "", vocabulary: int = VOCABULARY,
        most: int | None = None,
    ) -> TextCodec:  # fmt: skip
        """Fit byte pairs on texts.

        Args:
            texts: of the stream.
            stream: its name, for errors.
            vocabulary: tokens, at most; 256 are the bytes.
            most: slots; None: twice what the longest text takes, and at least 32.

        Raises:
            TokenError: a text is no Unicode.
            MissingExtraError: ``tokenizers`` is not installed.
        """
        try:
            from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        except ImportError as error:
            raise MissingExtraError("tokenizers", extra="train") from error

        for row, text in enumerate(texts):
            _bytes(text, stream, row)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, min_frequency=LEAST_COUNT, special_tokens=[],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
        )  # fmt: skip
        tokenizer.train_from_iterator(_batches(texts), trainer, length=len(texts))
        return cls._sized(stream, json.loads(tokenizer.to_str()), texts, most)

    @classmethod
    def pretrained(
        cls, folder: Path, texts: Sequence[str], *, stream: str = "", most: int | None = None
    ) -> TextCodec:
        """With the tokenizer of a folder that ``transformers`` can read; nothing is downloaded.

        Args:
            folder: of the tokenizer.
            texts: of the stream; only their lengths are looked at.
            stream: its name, for errors.
            most: as for `fit`.

        Raises:
            TokenError: the folder has no fast tokenizer, or it does not give a text back as it was.
            MissingExtraError: ``transformers`` is not installed.
        """
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise MissingExtraError("transformers", extra="train") from error

        try:
            found = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            card = json.loads(found.backend_tokenizer.to_str())
        except (OSError, ValueError, AttributeError) as error:
            raise TokenError(
                f"{folder}: no tokenizer that viae can use ({error}); name the folder of a fast "
                "tokenizer, with its tokenizer.json"
            ) from error
        return cls._sized(stream, card, texts, most)

    @classmethod
    def _sized(
        cls, stream: str, card: Mapping[str, Any], texts: Sequence[str], most: int | None
    ) -> TextCodec:
        codec = cls(stream, card, 1)
        longest = max((len(codec.token_ids(text)) for text in set(texts)), default=0) + 1
        return cls(stream, card, most or max(2 * longest, LEAST_SLOTS))

    def token_ids(self, text: str) -> list[int]:
        """The byte pairs of a text of any length, no end."""
        return list(self._pairs.encode(text, add_special_tokens=False).ids)

    def encode(self, values: Any, before: Any) -> Tokens:
        """Tokens of texts: int32 [N, S], `SILENT` after the end.

        Args:
            values: N strings.
            before: N strings, the text before each; None where there is none.

        Raises:
            TokenError: a text that does not fit, is no Unicode, or that the tokenizer would not
                give back as it was.
        """
        tokens = np.full((len(values), self.most), SILENT, np.int32)
        known: dict[str, list[int]] = {}
        for row, text in enumerate(values):
            if before is not None and before[row] == text:
                tokens[row, 0] = self.same
                continue
            if text not in known:
                known[text] = self._ids(text, row)
            ids = known[text]
            tokens[row, : len(ids)] = ids
        return tokens

    def decode(self, tokens: Tokens, before: Any) -> list[str]:
        """Texts that tokens stand for; bytes that are no Unicode become U+FFFD.

        Raises:
            TokenError: a token that does not exist, or the text before is asked for and there is
                none.
        """
        given = np.asarray(tokens)
        if given.ndim != 2 or (given > self.end).any() or (given < SILENT).any():
            raise TokenError(
                f"stream '{self.stream}': tokens are [N, S] from {SILENT} to {self.end}, not "
                f"{list(given.shape)} up to {given.max(initial=0)}"
            )
        texts = []
        for row, line in enumerate(given.tolist()):
            ids = []
            for token in line:
                if token in (self.end, SILENT, self.same):
                    break
                ids.append(token)
            if line and line[0] == self.same:
                if before is None or before[row] is None:
                    raise TokenError(
                        f"stream '{self.stream}': row {row} repeats the text before, and there is "
                        "none"
                    )
                texts.append(before[row])
            else:
                texts.append(self._text(ids))
        return texts

    def describe(self, values: Any, before: Any) -> Floats:
        """A hashed bag: float32 [N, 64].

        Each run of three bytes (a shorter text is one run) adds 1 or -1 to one of 64 places, by
        its BLAKE2b digest; the sum is divided by the root of how many there are. It does not
        depend on what the tokenizer was fitted on.
        """
        known: dict[str, Floats] = {}
        out = np.zeros((len(values), FEATURES), np.float32)
        for row, text in enumerate(values):
            if text not in known:
                known[text] = _bag(_bytes(text, self.stream, row))
            out[row] = known[text]
        return out

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": self.kind, "stream": self.stream, "pairs": dict(self.pairs), "most": self.most
        }  # fmt: skip

    @classmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> TextCodec:
        """The inverse of `to_json`."""
        return cls(card["stream"], card["pairs"], card["most"])

    def _ids(self, text: str, row: int) -> list[int]:
        _bytes(text, self.stream, row)
        ids = self.token_ids(text)
        if len(ids) >= self.most:
            raise TokenError(
                f"stream '{self.stream}': the text in row {row} takes {len(ids) + 1} tokens, and "
                f"its codec has {self.most} slots; fit one with more"
            )
        if self._text(ids) != text:
            raise TokenError(
                f"stream '{self.stream}': the tokenizer does not give back the text in row {row} "
                f"as it was: {text[:40]!r}; use one of bytes"
            )
        return [*ids, self.end]

    def _text(self, ids: list[int]) -> str:
        return str(self._pairs.decode(ids, skip_special_tokens=False))


def _bag(raw: bytes) -> Floats:
    pieces = [raw[at : at + PIECE] for at in range(max(len(raw) - PIECE + 1, 1))]
    bag = np.zeros(FEATURES, np.float32)
    for piece in pieces if raw else []:
        digest = int.from_bytes(blake2b(piece, digest_size=4).digest(), "little")
        bag[digest % FEATURES] += 1.0 if (digest // FEATURES) % 2 else -1.0
    return bag / np.float32(np.sqrt(len(pieces)))


def _bytes(text: str, stream: str, row: int) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TokenError(
            f"stream '{stream}': the text in row {row} is no Unicode: {error}"
        ) from error


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), 1000):
        yield list(texts[start : start + 1000])


def _tokenizer(card: Mapping[str, Any]) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", extra="train") from error
    return Tokenizer.from_str(json.dumps(dict(card)))
