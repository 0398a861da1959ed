"""Trust, as the model has it: how will this end? Raw; `viae.trust` calibrates.

Two sources: the answer to the outcome question, from the state at the moment; and the spread of
futures drawn from there, with the share of them that end well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from viae.errors import QueryRefusedError
from viae.foresee.history import Blame, History
from viae.foresee.roll import Foreseen
from viae.model import BaseModel, Context
from viae.model.tokens import VectorCodec
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema import OUTCOME, Kind

Doubles: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outlook:
    """How an episode may end.

    Args:
        success: probability of success, of the outcome question; not calibrated. NaN where it is
            ``certain``.
        foreseen: the share of ended futures that succeed; NaN where none ended, or it is
            ``certain``.
        ended: how many of the n futures ended.
        n: futures drawn; 0 for none.
        spread: per vector stream how far futures differ at the k-th sample: standard deviation over
            futures ÷ that of training, root mean square over elements: float64 [m].
        seed: of the futures.
        temperature: of the futures.
        blame: what is wrong with the history.
        certain: how all episodes of training ended, if alike: then the model has learnt nothing
            about how else one may end, and says nothing; empty where they differed.
    """

    success: float
    foreseen: float
    ended: int
    n: int
    spread: Mapping[str, Doubles]
    seed: int
    temperature: float
    blame: Sequence[Blame] = field(default_factory=tuple)
    certain: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "success": self.success if np.isfinite(self.success) else None,
            "ended": self.ended, "n": self.n, "seed": self.seed, "certain": self.certain,
            "foreseen": self.foreseen if np.isfinite(self.foreseen) else None,
            "temperature": self.temperature,
            "spread": {name: values.tolist() for name, values in self.spread.items()},
            "blame": [blame.to_json() for blame in self.blame],
        }  # fmt: skip


def success_of(context: Context) -> Doubles:
    """Probability of success from the outcome question, of P histories: float64 [P].

    Raises:
        QueryRefusedError: the model was trained without outcomes, or all were the same.
    """
    return success_at(context.model, context.vocabulary, context.state())


def success_at(model: BaseModel, vocabulary: Vocabulary, state_PD: torch.Tensor) -> Doubles:
    """Probability of success from the outcome question, at states of the trunk: float64 [P].

    Raises:
        QueryRefusedError: see `success_of`.
    """
    group, codec, slot = _question(vocabulary)
    values = codec.slots[slot]
    tokens = torch.arange(values, device=state_PD.device)[:, None]
    with torch.inference_mode():
        log_p = torch.stack(
            [model.log_p(state_PD, group, t.expand(len(state_PD), 1)) for t in tokens], 1
        )[..., 0]
    means = np.asarray(codec.decode(np.arange(values, dtype=np.int32)[:, None], None), np.float64)
    good = means.reshape(values, -1)[:, 0] > 0.5
    p = log_p.double().exp().cpu().numpy()
    found: Doubles = p[:, good].sum(1)
    return found


def outlook(history: History, futures: Foreseen | None = None) -> Outlook:
    """How this may end.

    Args:
        history: up to a moment.
        futures: of the same history, from `foresee`; None leaves out what needs them.

    Raises:
        QueryRefusedError: the model was trained without outcomes.
    """
    certain = history.bundle.vocabulary.certain.get(OUTCOME, "")
    success = np.nan if certain else float(success_of(history.context)[0])
    found = history.blame
    if futures is None:
        return Outlook(success=success, foreseen=np.nan, ended=0, n=0, spread={}, seed=0,
                       temperature=1.0, blame=found, certain=certain)  # fmt: skip
    ended = int(np.isfinite(futures.outcome).sum())
    share = np.nan if certain or not ended else float(np.nanmean(futures.outcome))
    return Outlook(
        success=success, foreseen=share, ended=ended, n=len(futures),
        spread=spread(futures, history.bundle.vocabulary), seed=futures.seed,
        temperature=futures.temperature, blame=found, certain=certain,
    )  # fmt: skip


def spread(futures: Foreseen, vocabulary: Vocabulary) -> dict[str, Doubles]:
    """How far the futures of each plan differ, mean over plans; see `Outlook`."""
    found = {}
    for name, stream in futures.streams.items():
        codec = vocabulary.codec(name)
        if stream.spec.kind is not Kind.VECTOR or not isinstance(codec, VectorCodec):
            continue
        shown = list(codec.elements.shown)
        if not shown:
            continue
        scales = codec.scaling.values[:, 1]
        flat = stream.values.reshape(*stream.values.shape[:2], -1)[..., shown].astype(np.float64)
        z = np.where(stream.there[..., None], flat / scales, np.nan)
        z = z.reshape(futures.plans, futures.n, *z.shape[1:])
        there = np.isfinite(z)
        count = there.sum(1)  # [k, m, D]
        mean = np.where(there, z, 0).sum(1) / np.maximum(count, 1)
        square = np.where(there, (z - mean[:, None]) ** 2, 0).sum(1)
        variance = np.where(count > 1, square / np.maximum(count - 1, 1), np.nan)
        kept = np.isfinite(variance).any((0, 2))
        if kept.any():
            found[name] = np.sqrt(np.nanmean(variance[:, kept], (0, 2)))
    return found


def _question(vocabulary: Vocabulary) -> tuple[int, VectorCodec, int]:
    names = [question.name for question in vocabulary.questions]
    if OUTCOME not in names:
        raise QueryRefusedError(
            "the model was trained on episodes without an outcome: it cannot say how one ends"
        )
    codec = vocabulary.questions[names.index(OUTCOME)].codec
    assert isinstance(codec, VectorCodec)
    if len(codec.slots) != 1:
        raise QueryRefusedError(
            "all episodes of training ended alike: the model cannot say how else one may end. "
            "Train on failures, too"
        )
    return vocabulary.question(OUTCOME), codec, 0
