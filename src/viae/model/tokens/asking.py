"""Questions about the future: where in an episode each is asked, and the right answers.

An episode is cut where a span begins or ends in which somebody else decided (`Events.asked`), such
as an intervention. What follows from one's own doing ends at a cut, so no answer runs across one:

- *The next actions* are those up to the next cut. They are asked for inside an intervention, too:
  what the person did is what is to be learnt. It is the rule of `WindowSpec.stops`.
- *The outcome* is asked for only after the last cut, and not inside an intervention: before it, the
  end is also that person's doing.

Shapes: N events, n samples of the stream asked for, K steps, m places, S slots.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from viae.model.tokens.codec import Tokens
from viae.model.tokens.kinds import Question
from viae.schema import OUTCOME, Events, Role

Ints: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]


def ask(question: Question, events: Events) -> tuple[Ints, Tokens]:
    """After which events a question is asked, int64 [m] ascending, and the answers int32 [m, S]."""
    names = [spec.name for spec in events.streams]
    if question.stream not in names or not len(events.values[question.stream]):
        return np.empty(0, np.int64), np.empty((0, len(question.codec.slots)), np.int32)
    stretch = np.cumsum(np.diff(events.asked, prepend=events.asked[:1]))
    own = np.flatnonzero(events.stream == names.index(question.stream))
    values = events.values[question.stream]
    if question.name == OUTCOME:
        last = events.asked & (stretch == stretch[-1])
        at = np.flatnonzero(last & (events.stream != names.index(OUTCOME)))
        answer = question.codec.encode(values[-1:], None)
        return at, np.repeat(answer, len(at), axis=0)
    chunks = chunks_ahead(values, question.steps, stretch[own])
    seen = np.where(has_role(events, Role.ACTION), -1, np.arange(len(events)))
    at = np.maximum.accumulate(seen)[own]  # the last that is no action, before each action
    good = (at >= 0) & (stretch[at] == stretch[own]) & np.diff(at, prepend=-1).astype(np.bool_)
    return at[good], question.codec.encode(chunks[good], None)


def chunks_ahead(values: npt.NDArray[Any], steps: int, stretch: Ints | None = None) -> Doubles:
    """Each sample and those after it: float64 [n, K, *shape]; NaN where there are none.

    Args:
        values: [n, *shape].
        steps: K.
        stretch: int64 [n], never decreasing: a chunk ends where it changes.
    """
    end = np.full((steps, *values.shape[1:]), np.nan)
    padded = np.concatenate([values.astype(np.float64), end])
    chunks = np.stack([padded[i : i + len(values)] for i in range(steps)], 1)
    if stretch is not None:
        ahead = np.concatenate([stretch, np.full(steps, -1)])
        ahead = np.stack([ahead[i : i + len(values)] for i in range(steps)], 1)
        chunks[ahead != stretch[:, None]] = np.nan
    return chunks


def has_role(events: Events, role: Role) -> npt.NDArray[np.bool_]:
    """Which events are of streams of a role: bool [N]."""
    has = np.array([spec.role is role for spec in events.streams], np.bool_)
    return has[events.stream] if len(has) else np.empty(0, np.bool_)


__all__ = ["ask", "chunks_ahead", "has_role"]
