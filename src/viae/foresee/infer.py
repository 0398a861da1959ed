"""Infer: what a stream that is absent may have said, given the others.

Sequential importance sampling. n particles read what was observed, event after event. Where the
model expects the absent stream next, each particle lets it speak, from the model; at every observed
event a particle is weighted by how probable it made it. When the weights are too unequal, particles
are drawn again by weight (systematic resampling).

Two approximations. *When* the absent stream speaks is decided for all particles together, by the
weighted mean of what they expect (they run in lockstep), though each draws its own time, not after
the next observed event; for streams that follow a rate this is next to exact. And with a
finite n the weights are noisy: the effective sample size says how much, and how many different
beginnings have survived the resampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from viae.errors import QueryRefusedError
from viae.foresee.history import Blame, History, without
from viae.foresee.sampling import Noise, possible_types, say_event
from viae.model import Context
from viae.model.context import Part
from viae.schema import OUTCOME, StreamSpec

Ints: TypeAlias = npt.NDArray[np.int64]
Doubles: TypeAlias = npt.NDArray[np.float64]

MOST_AT_ONCE = 64
"""Samples of the absent stream between two observed events, at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inferred:
    """Weighted samples of a stream that was absent.

    Args:
        spec: the stream.
        values: [n, m, *shape]; texts as lists of m.
        arrival_ns: int64 [n, m].
        weights: float64 [n], of each sample; they sum to 1.
        effective: effective sample size of the weights, 1 to n.
        least_effective: the smallest that it was before a resampling.
        ancestors: how many of the n beginnings are still among the samples.
        log_evidence: estimated log probability of what was observed, nats.
        seed: of the samples.
        temperature: always 1: others would need other weights.
        blame: what is wrong with the history.
    """

    spec: StreamSpec
    values: Any
    arrival_ns: Ints
    weights: Doubles
    effective: float
    least_effective: float
    ancestors: int
    log_evidence: float
    seed: int
    temperature: float
    blame: Sequence[Blame] = field(default_factory=tuple)

    def mean(self) -> Doubles:
        """Posterior mean of every sample of a vector stream: float64 [m, *shape]."""
        found: Doubles = np.tensordot(self.weights, self.values.astype(np.float64), axes=1)
        return found

    def std(self) -> Doubles:
        """Posterior standard deviation: float64 [m, *shape]."""
        square = np.tensordot(self.weights, (self.values - self.mean()) ** 2, axes=1)
        return np.sqrt(np.maximum(square, 0.0))


def infer(
    history: History, missing: str, *, n: int, seed: int, temperature: float = 1.0
) -> Inferred:
    """What an absent stream may have said.

    Args:
        history: what was observed; samples of ``missing`` in it are not looked at.
        missing: the stream.
        n: particles.
        seed: of the samples.
        temperature: 1.

    Raises:
        QueryRefusedError: the model does not know the stream, it is the outcome (ask `outlook`), or
            the model never expects it where it could have spoken.

    Cost: a step of the trunk with n rows per event of the history.
    """
    vocabulary = history.bundle.vocabulary
    if missing == OUTCOME or missing not in {spec.name for spec in vocabulary.streams}:
        raise QueryRefusedError(
            f"'{missing}' cannot be inferred; the model knows "
            f"{sorted({spec.name for spec in vocabulary.streams} - {OUTCOME})}"
        )
    if n < 1 or temperature != 1.0:
        raise QueryRefusedError(
            f"n={n}, temperature={temperature}: at least one particle, and a posterior is that of "
            "the model itself, at temperature 1"
        )
    known = [spec.name for spec in vocabulary.streams]
    observed = without(
        history.events,
        [s.name for s in history.events.streams if s.name == missing or s.name not in known],
    )
    particles = _Particles(history, missing, n, seed)
    for at in range(len(observed)):
        name = observed.streams[int(observed.stream[at])].name
        row = int(observed.row[at])
        particles.observe(
            name, observed.values[name][row : row + 1],
            capture_ns=int(observed.capture_ns[at]), arrival_ns=int(observed.arrival_ns[at]),
        )  # fmt: skip
    return particles.found(next(s for s in vocabulary.streams if s.name == missing))


class _Particles:
    def __init__(self, history: History, missing: str, n: int, seed: int) -> None:
        self._blame = history.blame
        self._context: Context = history.bundle.context(
            count=n, hide_actions=history.context.hides_actions
        )
        self._missing, self._n, self._seed = missing, n, seed
        self._noise = Noise(seed, np.arange(n))
        self._draws = np.random.default_rng((seed, n, 1))  # of resampling
        self._log_w = np.zeros(n)
        self._log_evidence = 0.0
        self._least = float(n)
        self._ancestor = np.arange(n)
        self._said: list[tuple[Any, Ints]] = []  # values and arrivals of all particles
        types = history.bundle.vocabulary.types
        self._own = [number for number, kind in enumerate(types) if kind.stream == missing]

    def observe(self, name: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """What was observed comes next, after what the absent stream says before it."""
        context = self._context
        for _ in range(MOST_AT_ONCE):
            first = not context.seen(name).any()
            if not self._speaks(context.vocabulary.type_of(name, first=first)):
                break
            self._imagine(arrival_ns)
            context = self._context
        state_PD = context.state()
        values = np.repeat(value, self._n, 0) if isinstance(value, np.ndarray) else value * self._n
        [added] = context.add(name, values, capture_ns=capture_ns, arrival_ns=arrival_ns)
        kinds = torch.full((self._n,), added.kind, device=state_PD.device)
        tokens = torch.from_numpy(added.tokens.astype(np.int64)).to(state_PD.device)
        with torch.inference_mode():
            log_p = context.model.log_p_type(state_PD, kinds).double()
            log_p += context.model.log_p(state_PD, added.kind, tokens).double().sum(1)
        self._weigh(log_p.cpu().numpy())

    def found(self, spec: StreamSpec) -> Inferred:
        if not self._said:
            raise QueryRefusedError(
                f"the model expects nothing of '{self._missing}' between what was observed: there "
                "is nothing to infer"
            )
        weights = _normal(self._log_w)
        values = [values for values, _ in self._said]
        stacked: Any = [list(texts) for texts in zip(*values, strict=True)]
        if isinstance(values[0], np.ndarray):
            stacked = np.stack(values, 1)
        return Inferred(
            spec=spec, values=stacked, arrival_ns=np.stack([a for _, a in self._said], 1),
            weights=weights, effective=_effective(weights),
            least_effective=min(self._least, _effective(weights)),
            ancestors=len(np.unique(self._ancestor)),
            log_evidence=self._log_evidence + _log_mean(self._log_w),
            seed=self._seed, temperature=1.0, blame=self._blame,
        )  # fmt: skip

    def _speaks(self, other: int) -> bool:
        """Whether the absent stream comes before an observed event of this type."""
        absent, observed = self._expected(other)
        return bool(_normal(self._log_w) @ (absent / np.maximum(absent + observed, 1e-300)) > 0.5)

    def _expected(self, other: int) -> tuple[Doubles, Doubles]:
        """Probability that the absent stream comes next, and that this type does: [n] each."""
        with torch.inference_mode():
            logits = self._context.model.next_type(self._context.state()).float()
            p = logits.softmax(-1).double().cpu().numpy()
        p = np.where(possible_types(self._context), p, 0.0)
        return p[:, self._own].sum(1), p[:, other]

    def _imagine(self, until_ns: int) -> None:
        """The absent stream speaks in every particle."""
        context, rows = self._context, np.arange(self._n)
        first = not context.seen(self._missing).any()
        kind = context.vocabulary.type_of(self._missing, first=first)
        state_PD = context.state()
        spoken = say_event(context, kind, rows, self._noise, 1.0)
        kinds = torch.full((self._n,), kind, device=state_PD.device)
        with torch.inference_mode():
            self._log_w += context.model.log_p_type(state_PD, kinds).double().cpu().numpy()
        arrival = np.minimum(spoken.arrival_ns, until_ns)
        age = spoken.arrival_ns - spoken.capture_ns
        part = Part(stream=self._missing, rows=rows, values=spoken.values, after=spoken.after)
        context.put([part], capture_ns=arrival - age, arrival_ns=arrival, said=True)
        self._said.append((spoken.values, arrival))

    def _weigh(self, log_p: Doubles) -> None:
        self._log_w += log_p
        weights = _normal(self._log_w)
        if _effective(weights) >= self._n / 2:
            return
        self._least = min(self._least, _effective(weights))
        places = (np.arange(self._n) + self._draws.random()) / self._n
        rows = np.minimum(np.searchsorted(np.cumsum(weights), places), self._n - 1)
        self._log_evidence += _log_mean(self._log_w)
        self._log_w = np.zeros(self._n)
        self._context = self._context.taken(rows)
        self._ancestor = self._ancestor[rows]
        self._said = [
            (v[rows] if isinstance(v, np.ndarray) else [v[row] for row in rows.tolist()], a[rows])
            for v, a in self._said
        ]


def _normal(log_w: Doubles) -> Doubles:
    w = np.exp(log_w - log_w.max())
    found: Doubles = w / w.sum()
    return found


def _log_mean(log_w: Doubles) -> float:
    return float(np.logaddexp.reduce(log_w) - np.log(len(log_w)))


def _effective(weights: Doubles) -> float:
    return float(1 / np.square(weights).sum())
