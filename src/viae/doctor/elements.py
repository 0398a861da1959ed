"""Elements of vectors that do not move, or hardly, in any episode of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from viae.doctor.digest import EpisodeDigest, StreamDigest
from viae.doctor.finding import Finding, Severity, rule
from viae.schema import Role

Floats: TypeAlias = npt.NDArray[np.float64]

SHOWN = 5
LEAST_EPISODES = 3
"""Episodes in which an element has to stay where it is before that says something."""
LEAST_ELEMENTS = 4
HARDLY = 0.05
"""Of what the vector's livelier elements cover, and of the element's own size."""

CONSTANT_DIMENSION = rule(
    "constant-dimension",
    Severity.WARNING,
    "an element has one value in every episode",
    consequence="it carries nothing, and scaling by its spread divides by zero; a policy that "
    "meets another value is outside all it has seen",
    fix="Leave the element out of the window spec; if it should move, find out what is unplugged.",
)
NEARLY_CONSTANT_DIMENSION = rule(
    "nearly-constant-dimension",
    Severity.NOTE,
    "an element keeps its value in every episode, but for a tremor",
    consequence="scaled by its own spread, the tremor counts as much as the motion of the others, "
    "and a policy spends itself on noise; a pose elsewhere is outside all it has seen",
    fix="Leave the element out of the window spec, or scale it by a range that you choose; if it "
    "should move, record episodes in which it does.",
)


def check_elements(
    path: str, digests: Sequence[EpisodeDigest], *, padded: bool = False
) -> list[Finding]:
    """Elements that never change, or hardly, of streams that do.

    Args:
        path: the dataset, for the findings.
        digests: of its episodes.
        padded: whether message types fix what vectors hold, so that axes which a robot does not
            have lie at 0 or 1, and say nothing.
    """
    found: list[Finding] = []
    for name in dict.fromkeys(name for digest in digests for name in digest.streams):
        streams = [d.streams[name] for d in digests if name in d.streams]
        first = streams[0]
        known = [s for s in streams if s.still is not None and s.form == first.form]
        if len(known) > 1 and first.role is not Role.OUTCOME and first.form.startswith(
            "vector float"
        ):  # fmt: skip
            found += _check_stream(path, name, known, padded)
    return found


def _check_stream(
    path: str, name: str, known: Sequence[StreamDigest], padded: bool
) -> Iterator[Finding]:
    names = known[0].names
    lows = np.stack([s.low for s in known if s.low is not None])
    highs = np.stack([s.high for s in known if s.high is not None])
    still = np.stack([s.still for s in known if s.still is not None]).all(axis=0)
    low, high = lows.min(axis=0), highs.max(axis=0)
    constant = still & (np.ptp(lows, axis=0) == 0)
    if constant.all():
        return
    told = constant & ~(np.isin(low, [0.0, 1.0, -1.0]) if padded else np.False_)
    if told.any():
        which = np.flatnonzero(told)
        shown = [f"{_element(names, i)} = {low[i]:.4g}" for i in which.tolist()]
        yield Finding(
            rule=CONSTANT_DIMENSION,
            path=path,
            stream=name,
            count=len(which),
            evidence=f"{len(which)} of {len(constant)} elements never change in "
            f"{len(known)} episodes: {_listed(shown)}",
            values={"elements": which.tolist(), "of": len(constant), "episodes": len(known)},
        )
    hardly = hardly_moves(low, high) & ~constant
    if len(known) >= LEAST_EPISODES and hardly.any():
        which = np.flatnonzero(hardly)
        shown = [f"{_element(names, i)} {low[i]:.4g} to {high[i]:.4g}" for i in which.tolist()]
        lively = float(np.quantile(high - low, 0.75))
        yield Finding(
            rule=NEARLY_CONSTANT_DIMENSION,
            path=path,
            stream=name,
            count=len(which),
            evidence=f"{len(which)} of {len(constant)} elements stay where they are in "
            f"{len(known)} episodes: {_listed(shown)}; the livelier quarter covers {lively:.3g} "
            "or more",
            values={
                "elements": which.tolist(),
                "ranges": (high - low)[which].tolist(),
                "of": len(constant),
                "episodes": len(known),
            },
        )


def hardly_moves(low: Floats, high: Floats) -> npt.NDArray[np.bool_]:
    """Which elements cover little of what the others do, and little of their own size.

    The second keeps elements of another unit out: a gripper's 0 to 0.04 m is small beside joint
    angles, and yet all it can do.

    Args:
        low: float64 [D], least values over all episodes; NaN where there is none.
        high: float64 [D], greatest.

    Returns:
        bool [D].
    """
    covered = high - low
    if len(covered) < LEAST_ELEMENTS or not np.isfinite(covered).all():
        return np.zeros(len(covered), bool)
    size = np.maximum(np.abs(low), np.abs(high))
    return (covered < HARDLY * np.quantile(covered, 0.75)) & (covered < HARDLY * size)


def _element(names: Sequence[str], i: int) -> str:
    return f"{names[i]} ({i})" if i < len(names) else f"element {i}"


def _listed(shown: Sequence[str]) -> str:
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more
