"""Chunks of actions as FAST codes them: DCT along time, rounded, then byte-pair encoding.

Pertsch et al. 2025, "FAST: Efficient Action Tokenization for Vision-Language-Action Models",
arXiv:2501.09747. Fitted here on the data at hand; nothing is downloaded.

Shapes: N chunks, K steps, A elements of an action, S slots.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viae.errors import MissingExtraError, TokenError
from viae.model.tokens.chunk import chunks, floating, present, read_lengths
from viae.model.tokens.codec import SILENT, Codec, Floats, Tokens
from viae.model.tokens.elements import Elements, fit_elements
from viae.model.tokens.numbers import number, recorded
from viae.model.tokens.scaling import centre_and_scale, shown, thinned
from viae.schema import StreamSpec

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VOCABULARY = 1024
SCALE = 10.0
"""Coefficients are multiplied by this and rounded; FAST's own value."""
LOW, HIGH = 0.01, 0.99
TAILS = 20.0
"""Actions reach at most so far, in half-widths: long tails widen the range."""
FIRST_CHAR = 0xE000
"""Whole coefficients are characters of Unicode's private area, which no rule of text touches."""
MOST_LETTERS = 6400
FAR = 2.0**52
MARGIN = 1.5
"""The alphabet reaches so many times as far as the fit's coefficients."""
FITTED = 20_000
ROOM = 1.25
"""Chunks that were not fitted on may be so much longer."""


class FastChunk(Codec):
    """How many steps a chunk has, then byte pairs of its rounded DCT coefficients, then an end.

    Actions are scaled so that their 1st and 99th percentile are -1 and 1, low frequencies come
    first. A chunk that an episode's end cut short (last steps NaN) is held at its last action.
    A coefficient outside the alphabet is held at its end (`check` names the element). A chunk that
    needs more than S slots loses its highest frequencies until it fits.

    Args:
        elements: of an action; those that never moved are not coded.
        steps: K.
        scale: of coefficients, before rounding: greater is finer.
        ranges: float64 [L, 2], middle and half-width of live elements, recorded units.
        reach: the alphabet is -reach … reach.
        pairs: the fitted tokenizer, as `tokenizers` writes it.
        most: S.
        scales: float64 [L, 2], of what `describe` shows.
    """

    kind = "fast-chunk"

    def __init__(
        self, elements: Elements, *, steps: int, scale: float, ranges: Doubles, reach: int,
        pairs: Mapping[str, Any], most: int, scales: Doubles,
    ) -> None:  # fmt: skip
        self.elements, self.steps, self.scale, self.ranges = elements, steps, scale, ranges
        self.reach, self.pairs, self.most, self.scales = reach, pairs, most, scales
        self._pairs = _tokenizer(pairs)
        self.end = self._pairs.get_vocab_size()
        """The token that ends a chunk."""
        self.slots = (steps, *[self.end + 1] * most)
        self.features = steps * len(scales) + 1
        words = sorted(self._pairs.get_vocab().items(), key=lambda item: item[1])
        letters = [[ord(c) - FIRST_CHAR - reach for c in word] for word, _ in words]
        self._said = np.array([one for each in letters for one in each], np.int64)
        self._count = np.array([len(each) for each in letters], np.int64)
        self._start = np.cumsum(self._count) - self._count

    @classmethod
    def fit(
        cls, values: Any, spec: StreamSpec, *, scale: float = SCALE, vocabulary: int = VOCABULARY,
        most: int | None = None,
    ) -> FastChunk:  # fmt: skip
        """Fit on chunks; byte pairs on at most 20 000 of them.

        Args:
            values: [N, K, *shape]; missing last steps are NaN.
            spec: of the stream of actions.
            scale: coefficients are multiplied by this and rounded.
            vocabulary: byte pairs, at most, whole coefficients included.
            most: slots after the length, the end included; None: a quarter more than the longest
                chunk of the fit takes, and never more than its coefficients could.

        Raises:
            TokenError: there are no actions, or of another shape, or fewer than 2 slots, or
                ``scale`` is too fine for an alphabet of 6400 letters.
            MissingExtraError: ``tokenizers`` is not installed.
        """
        flat, lengths = chunks(values, spec.shape, spec.name)
        here = present(lengths, flat.shape[1])
        actions = flat[here].reshape(-1, *spec.shape)
        elements = fit_elements(actions, None, spec, first=True)
        elements.refuse_strange(elements.flat(actions))
        columns = [number(elements.flat(actions)[:, j]) for j in elements.live]
        bounds = np.array([np.quantile(x, (LOW, HIGH)) for x in columns]).reshape(-1, 2)
        half = (bounds[:, 1] - bounds[:, 0]) / 2
        whole = np.array([np.ptp(x) / 2 for x in columns])
        half = np.maximum(half, whole / TAILS)  # it may nearly always be at one value
        ranges = np.stack([bounds.mean(axis=1), half], axis=1).reshape(-1, 2)
        scales = np.array([centre_and_scale(thinned(x)) for x in columns]).reshape(-1, 2)
        codes = _coefficients(_held(flat, lengths), elements, ranges, scale)
        reach = int(np.ceil(MARGIN * np.abs(codes).max(initial=1)))
        if 2 * reach + 1 > MOST_LETTERS:
            raise TokenError(
                f"stream '{spec.name}': coefficients reach {reach}, and the alphabet has "
                f"{MOST_LETTERS} letters; take a smaller scale than {scale:g}"
            )
        if most is not None and most < 2:
            raise TokenError(f"stream '{spec.name}': chunks need 2 slots at least, not {most}")
        some = codes[np.linspace(0, len(codes) - 1, min(len(codes), FITTED)).astype(np.int64)]
        pairs = _fit_pairs(_texts(some, reach), vocabulary, reach)
        if most is None:
            found = _tokenizer(pairs).encode_batch(_texts(codes, reach))
            longest = max(len(each.ids) for each in found)
            most = max(min(int(np.ceil(ROOM * longest)), codes.shape[1]) + 1, 2)
        return cls(
            elements, steps=flat.shape[1], scale=scale, ranges=ranges, reach=reach, pairs=pairs,
            most=most, scales=scales,
        )  # fmt: skip

    def coefficients(self, values: Any) -> Ints:
        """What is coded exactly: int64 [N, K L], rounded, low frequencies first.

        Raises:
            TokenError: of another shape, not finite before the last step, or no step at all.
        """
        flat, lengths = self._chunks(values)
        codes = _coefficients(_held(flat, lengths), self.elements, self.ranges, self.scale)
        return np.clip(codes, -self.reach, self.reach)

    def encode(self, values: Any, before: Any = None) -> Tokens:
        """Tokens of chunks: int32 [N, 1 + S], `SILENT` after the end; see `coefficients`."""
        _, lengths = self._chunks(values)
        codes = self.coefficients(values)
        tokens = np.full((len(codes), len(self.slots)), SILENT, np.int32)
        tokens[:, 0] = lengths - 1
        for row, found in enumerate(self._pairs.encode_batch(_texts(codes, self.reach))):
            ids = found.ids if len(found.ids) < self.most else self._shortened(codes[row])
            tokens[row, 1 : len(ids) + 1] = ids
            tokens[row, len(ids) + 1] = self.end
        return tokens

    def read(self, tokens: Tokens) -> Ints:
        """The coefficients that tokens say: int64 [N, K L].

        What says too few is filled up with zeros, what says too many is cut: a model may say
        either.

        Raises:
            TokenError: a token that its slot does not have.
        """
        given = np.asarray(tokens)
        if given.ndim != 2 or given.shape[1] != len(self.slots):
            raise TokenError(
                f"stream '{self.elements.stream}': tokens of shape {list(given.shape)}; its chunks "
                f"have {len(self.slots)} slots"
            )
        said = given[:, 1:].astype(np.int64)
        if (said > self.end).any() or (said < SILENT).any():
            raise TokenError(
                f"stream '{self.elements.stream}': a token of a chunk is {said.max()}; its slots "
                f"have {self.end + 1} values"
            )
        stops = (said == self.end) | (said == SILENT)
        on = np.logical_and.accumulate(~stops, axis=1)
        row, _ = np.nonzero(on)
        word = said[on]
        count = self._count[word]
        which = np.repeat(np.arange(len(word)), count)
        within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        letters = self._said[self._start[word][which] + within]
        per_row = np.bincount(row, count, minlength=len(given)).astype(np.int64)
        place = np.arange(len(letters)) - np.repeat(np.cumsum(per_row) - per_row, per_row)
        codes = np.zeros((len(given), self.steps * len(self.ranges)), np.int64)
        kept = place < codes.shape[1]
        codes[row[which][kept], place[kept]] = letters[kept]
        return codes

    def decode(self, tokens: Tokens, before: Any = None) -> Any:
        """Chunks that tokens stand for: floating-point [N, K, *shape], NaN after the last step.

        Raises:
            TokenError: a token that its slot does not have.
        """
        from scipy.fft import idct

        codes = self.read(tokens)
        lengths = read_lengths(np.asarray(tokens)[:, 0], self.steps, self.elements.stream)
        waves = codes.reshape(len(codes), self.steps, -1) / self.scale
        actions = idct(waves, axis=1, norm="ortho") * self.ranges[:, 1] + self.ranges[:, 0]
        flat = np.empty((len(codes) * self.steps, len(self.elements.names)), self.elements.dtype)
        for place, j in enumerate(self.elements.live):
            flat[:, j] = recorded(actions[:, :, place].ravel(), self.elements.dtype)
        self.elements.fill(flat, None)
        out = flat.astype(floating(self.elements.dtype)).reshape(len(codes), self.steps, -1)
        out[~present(lengths, self.steps)] = np.nan
        return out.reshape(len(codes), self.steps, *self.elements.shape)

    def describe(self, values: Any, before: Any = None) -> Floats:
        """Standardised actions, held after the last; then the share of steps there."""
        flat, lengths = self._chunks(values)
        held = _held(flat, lengths)
        out = np.empty((*held.shape[:2], len(self.scales)), np.float32)
        for place, (j, scale) in enumerate(
            zip(self.elements.live, self.scales.tolist(), strict=True)
        ):
            out[:, :, place] = shown(held[:, :, j].astype(np.float64), *scale)
        share = (lengths / self.steps).astype(np.float32)
        return np.concatenate([out.reshape(len(flat), -1), share[:, None]], axis=1)

    def check(self, values: Any, before: Any = None) -> list[tuple[str, str]]:
        """Elements that never moved and do, or whose coefficients leave the alphabet.

        Under the name ``all``: chunks that lose frequencies because they need more slots.
        """
        flat, lengths = self._chunks(values)
        actions = flat[present(lengths, self.steps)].reshape(-1, *self.elements.shape)
        found = self.elements.check(self.elements.flat(actions), None)
        codes = _coefficients(_held(flat, lengths), self.elements, self.ranges, self.scale)
        beyond = (np.abs(codes) > self.reach).reshape(len(flat), self.steps, -1)
        for place, j in enumerate(self.elements.live):
            name, rows = self.elements.names[j], np.flatnonzero(beyond[:, :, place].any(axis=1))
            if not len(rows):
                continue
            found.append(
                (
                    name,
                    f"moves further than {MARGIN:g} times the most in the fit in chunk {rows[0]} "
                    f"({len(rows)} of {len(flat)} chunks)",
                )
            )
        kept = np.clip(codes, -self.reach, self.reach)
        short = np.flatnonzero((self.read(self.encode(values)) != kept).any(axis=1))
        if len(short):
            said = f"chunk {short[0]} needs more than {self.most} slots"
            lost = f"its highest frequencies are lost ({len(short)} of {len(flat)} chunks)"
            found.append(("all", f"{said}: {lost}"))
        return found

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": self.kind, "elements": self.elements.to_json(), "steps": self.steps,
            "scale": self.scale, "ranges": self.ranges.tolist(), "reach": self.reach,
            "pairs": dict(self.pairs), "most": self.most, "scales": self.scales.tolist(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, card: Mapping[str, Any], folder: Path | None = None) -> FastChunk:
        """The inverse of `to_json`."""
        return cls(
            Elements.from_json(card["elements"]), steps=card["steps"], scale=card["scale"],
            ranges=np.array(card["ranges"], np.float64).reshape(-1, 2), reach=card["reach"],
            pairs=card["pairs"], most=card["most"],
            scales=np.array(card["scales"], np.float64).reshape(-1, 2),
        )  # fmt: skip

    def _chunks(self, values: Any) -> tuple[npt.NDArray[Any], Ints]:
        flat, lengths = chunks(values, self.elements.shape, self.elements.stream, self.steps)
        actions = flat[present(lengths, self.steps)].reshape(-1, *self.elements.shape)
        self.elements.refuse_strange(self.elements.flat(actions))
        return flat, lengths

    def _shortened(self, codes: Ints) -> Sequence[int]:
        """The byte pairs of as many low frequencies as fit."""
        fits, fails = 0, len(codes)
        best: Sequence[int] = ()
        while fits < fails:
            tried = (fits + fails + 1) // 2
            kept = np.where(np.arange(len(codes)) < tried, codes, 0)
            [found] = self._pairs.encode_batch(_texts(kept[None, :tried], self.reach))
            if len(found.ids) < self.most:
                fits, best = tried, found.ids
            else:
                fails = tried - 1
        return best


def _held(flat: npt.NDArray[Any], lengths: Ints) -> npt.NDArray[Any]:
    """Chunks whose missing steps hold the last action."""
    at = np.minimum(np.arange(flat.shape[1]), lengths[:, None] - 1)
    return np.take_along_axis(flat, at[:, :, None], axis=1)


def _coefficients(
    held: npt.NDArray[Any], elements: Elements, ranges: Doubles, scale: float
) -> Ints:
    from scipy.fft import dct

    live = held[:, :, list(elements.live)].astype(np.float64)
    waves = dct((live - ranges[:, 0]) / ranges[:, 1], axis=1, norm="ortho") * scale
    return np.rint(np.clip(waves, -FAR, FAR)).astype(np.int64).reshape(len(held), -1)


def _texts(codes: Ints, reach: int) -> list[str]:
    """Each row as a string, a letter per coefficient."""
    letters = np.ascontiguousarray(np.clip(codes, -reach, reach) + reach + FIRST_CHAR, np.uint32)
    if not letters.shape[1]:
        return [""] * len(letters)
    return [str(text) for text in letters.view(f"<U{letters.shape[1]}")[:, 0]]


def _fit_pairs(texts: list[str], vocabulary: int, reach: int) -> dict[str, Any]:
    try:
        from tokenizers import Tokenizer, models, trainers
    except ImportError as error:
        raise MissingExtraError("tokenizers", extra="train") from error

    letters = [chr(FIRST_CHAR + number) for number in range(2 * reach + 1)]
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocabulary, len(letters)), initial_alphabet=letters, special_tokens=[],
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(_batches(texts), trainer, length=len(texts))
    card: dict[str, Any] = json.loads(tokenizer.to_str())
    return card


def _batches(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), 1000):
        yield texts[start : start + 1000]


def _tokenizer(card: Mapping[str, Any]) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", extra="train") from error
    return Tokenizer.from_str(json.dumps(dict(card)))
