"""What a stream's pictures cost by a trained tokenizer, and how they come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from viae.load.events import EventReader
from viae.schema import NS_PER_S, Episode
from viae.schema.names import RESERVED
from viae.store import Store

if TYPE_CHECKING:
    from viae.model.tokens.tokenizer import PictureTokenizer

MOST = 2000
"""Pictures of a stream that are coded, from the begin of each episode on."""
PANELS = 3
"""Pictures that are shown, of the episode with most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """A picture as recorded, with every patch sent, and as it comes back.

    Args:
        at_s: seconds after the episode's begin.
        pixels: uint8 [H, W, 3], see `viae.model.tokens.show.show`.
    """

    at_s: float
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturesReport:
    """One stream of pictures.

    Args:
        stream: its name.
        tokenizer: id of the tokenizer.
        samples: pictures that were coded, at most `MOST`.
        duration_s: robot time in which they came.
        tokens: of them all, without type, gap and age.
        dense_tokens: if every patch of every picture were sent.
        psnr: dB, as they come back.
        dense_psnr: dB, if every patch were sent.
        episode_id: of the panels.
        panels: some of the pictures.
    """

    stream: str
    tokenizer: str
    samples: int
    duration_s: float
    tokens: int
    dense_tokens: int
    psnr: float
    dense_psnr: float
    episode_id: str = ""
    panels: Sequence[Panel] = field(default_factory=tuple)

    @property
    def tokens_per_s(self) -> float:
        """Per second of robot time."""
        return self.tokens / self.duration_s if self.duration_s > 0 else float("nan")

    @property
    def fewer(self) -> float:
        """The dense grid's tokens ÷ these."""
        return self.dense_tokens / max(self.tokens, 1)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, without the panels."""
        return {
            "stream": self.stream, "tokenizer": self.tokenizer, "samples": self.samples,
            "duration_s": self.duration_s, "tokens": self.tokens,
            "dense_tokens": self.dense_tokens, "tokens_per_s": self.tokens_per_s,
            "fewer": self.fewer, "psnr": self.psnr, "dense_psnr": self.dense_psnr,
        }  # fmt: skip


def picture_tokens(
    store: Store, episodes: Sequence[Episode], tokenizer: PictureTokenizer
) -> PicturesReport:
    """Code a stream's pictures and decode them again.

    Args:
        store: that has the episodes.
        episodes: some of which have the tokenizer's stream.
        tokenizer: of the stream.

    Raises:
        WindowError: no episode has the stream, or a picture cannot be decoded.
    """
    from viae.model.tokens.show import show
    from viae.model.tokens.spending import dense_errors, look_at, psnr, spend

    codec, name = tokenizer.codec, tokenizer.stream
    reader = EventReader(
        store, episodes, streams=[name], picture_sizes={name: tokenizer.size}, facts=(), stops=()
    )
    tokens = longest = duration_ns = 0
    left = MOST
    errors: list[npt.NDArray[np.float64]] = []
    dense: list[npt.NDArray[np.float64]] = []
    panels: list[Panel] = []
    shown_of = ""
    for number, episode in enumerate(episodes):
        events = reader.events(number)
        own = [i for i, spec in enumerate(events.streams) if spec.name not in RESERVED]
        if not own or not left:
            continue
        arrival_ns = events.arrival_ns[events.stream == own[0]][:left]
        pictures = np.asarray(events.values[events.streams[own[0]].name][: len(arrival_ns)])
        left -= len(pictures)
        looks = look_at(codec.painter, pictures)
        spent = spend(codec, pictures, looks)
        tokens += int(spent.tokens.sum())
        errors.append(spent.errors)
        dense.append(dense_errors(looks))
        duration_ns += int(arrival_ns[-1] - arrival_ns[0])
        if len(pictures) > longest:
            longest, shown_of = len(pictures), episode.episode_id
            chosen = np.unique(np.linspace(0, len(pictures) - 1, PANELS + 2)[1:-1].astype(np.int64))
            panels = [
                Panel(
                    at_s=float(arrival_ns[at] - episode.start_ns) / NS_PER_S,
                    pixels=show(codec, pictures, at, spent=spent),
                )
                for at in chosen.tolist()
            ]
    count = MOST - left
    return PicturesReport(
        stream=name, tokenizer=tokenizer.tokenizer_id, samples=count,
        duration_s=duration_ns / NS_PER_S, tokens=tokens,
        dense_tokens=count * codec.painter.config.patches, psnr=psnr(np.concatenate(errors)),
        dense_psnr=psnr(np.concatenate(dense)), episode_id=shown_of, panels=tuple(panels),
    )  # fmt: skip
