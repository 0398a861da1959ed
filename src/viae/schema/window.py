"""Windows: what a model is shown at a decision, and what it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from viae.errors import SchemaError
from viae.schema.time import NS_PER_S

Missing = Literal["pad", "skip"]

MOST_S = 4e9
"""Seconds that offsets and ages can say: with times below 2^62 ns their sums are int64."""
MOST_STEPS = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Which samples of one stream enter a window, relative to its decision.

    Exactly one of ``steps`` and ``offsets_s`` is given.

    As an *input*, step 0 is the latest sample known at the decision, step -1 the one before it; an
    offset of -0.1 s is what was known 0.1 s before the decision. Neither may be positive.
    As a *target*, step 0 is the first sample after the decision, step 1 the next; an offset of
    0.1 s is the sample in force 0.1 s after it. Neither may be negative.

    Args:
        stream: the stream's name.
        steps: native samples, whole numbers.
        offsets_s: seconds, finite.
        max_age_s: an input older than this (decision time - capture time) counts as missing; above
            0 and finite.
        age: whether the age of each sample comes with it (`Batch.ages`); inputs only.

    Raises:
        SchemaError: none or both of steps and offsets given, or none in them; or a value is not
            what is said above.
    """

    stream: str
    steps: tuple[int, ...] = ()
    offsets_s: tuple[float, ...] = ()
    max_age_s: float | None = None
    age: bool = False

    def __post_init__(self) -> None:
        if bool(self.steps) == bool(self.offsets_s):
            raise SchemaError(f"stream '{self.stream}': give either steps or offsets_s")
        _check_name("stream", self.stream)
        for step in self.steps:
            if not _is(Integral, step) or abs(step) >= MOST_STEPS:
                raise SchemaError(
                    f"stream '{self.stream}': steps are whole numbers below 2^31, not {step!r}"
                )
        for offset in self.offsets_s:
            if not _is(Real, offset) or not abs(offset) <= MOST_S:
                raise SchemaError(
                    f"stream '{self.stream}': offsets_s are seconds, finite and at most 4e9, not "
                    f"{offset!r}"
                )
        age = self.max_age_s
        if age is not None and (not _is(Real, age) or not 0 < age <= MOST_S):
            raise SchemaError(
                f"stream '{self.stream}': max_age_s is seconds, above 0 and at most 4e9, not "
                f"{age!r}; leave it out for no limit"
            )
        if not isinstance(self.age, bool):
            raise SchemaError(f"stream '{self.stream}': age is true or false, not {self.age!r}")

    def __len__(self) -> int:
        return len(self.steps) or len(self.offsets_s)

    @property
    def signs(self) -> set[int]:
        """The signs that occur among the offsets: a subset of {-1, 0, 1}."""
        return {int(np.sign(offset)) for offset in (self.steps or self.offsets_s)}

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        fields: dict[str, Any] = {"stream": self.stream}
        if self.steps:
            fields["steps"] = list(self.steps)
        else:
            fields["offsets_s"] = list(self.offsets_s)
        if self.max_age_s is not None:
            fields["max_age_s"] = self.max_age_s
        if self.age:
            fields["age"] = True
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Take:
        """The inverse of `to_json`."""
        return cls(
            stream=fields["stream"],
            steps=tuple(fields.get("steps", ())),
            offsets_s=tuple(fields.get("offsets_s", ())),
            max_age_s=fields.get("max_age_s"),
            age=fields.get("age", False),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpec:
    """How windows are cut from an episode. Part of every bundle.

    Args:
        decision: the stream each of whose arrivals is a decision time.
        rate_hz: decide at this rate instead, from the first to the last arrival of ``decision``.
        inputs: what the model is shown; only samples that had arrived by the decision.
        targets: what the model is asked for; samples from the decision on.
        missing: what to do with a window that lacks an input: ``"pad"`` it with zeros and a mask
            of False, or ``"skip"`` it. A window without any target is always skipped.
        stops: keys of facts about a span of an episode, such as an intervention, at whose begin
            and end targets stop: a target counts as missing where one lies after the decision and
            not after the target.

    Raises:
        SchemaError: the rate is not above 0 or is above 1e9, an input looks ahead, a target looks
            back, a stream is taken twice, or stops are no tuple of names.
    """

    decision: str
    inputs: tuple[Take, ...]
    targets: tuple[Take, ...] = ()
    missing: Missing = "pad"
    rate_hz: float | None = None
    stops: tuple[str, ...] = ("intervention",)

    def __post_init__(self) -> None:
        _check_name("decision", self.decision)
        if not _are_names(self.stops):
            raise SchemaError(
                f"stops is a tuple of keys of facts, each text, not {self.stops!r}; for one key "
                "write ('intervention',)"
            )
        if self.rate_hz is not None and not _is(Real, self.rate_hz):
            raise SchemaError(f"rate_hz is a number, not {self.rate_hz!r}")
        if self.rate_hz is not None and not 0 < self.rate_hz <= NS_PER_S:
            raise SchemaError(
                f"a rate of {self.rate_hz} Hz makes no decisions; it is above 0 and, as times are "
                "whole nanoseconds, at most 1e9"
            )
        if self.missing not in ("pad", "skip"):
            raise SchemaError(f"missing is {self.missing!r}; it can be 'pad' or 'skip'")
        for take in self.inputs:
            if 1 in take.signs:
                raise SchemaError(f"input '{take.stream}' looks ahead of its decision")
        for take in self.targets:
            if -1 in take.signs:
                raise SchemaError(f"target '{take.stream}' looks back before its decision")
            if take.max_age_s is not None:
                raise SchemaError(f"target '{take.stream}' cannot have a max_age_s")
            if take.age:
                raise SchemaError(f"target '{take.stream}' has no age: it is yet to come")
        for takes in (self.inputs, self.targets):
            names = [take.stream for take in takes]
            if len(set(names)) != len(names):
                raise SchemaError(f"a stream is taken twice among {names}")

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream the windows read, each once, sorted."""
        return tuple(sorted({self.decision, *(t.stream for t in (*self.inputs, *self.targets))}))

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        fields: dict[str, Any] = {
            "decision": self.decision,
            "inputs": [take.to_json() for take in self.inputs],
            "targets": [take.to_json() for take in self.targets],
            "missing": self.missing,
            "stops": list(self.stops),
        }
        if self.rate_hz is not None:
            fields["rate_hz"] = self.rate_hz
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> WindowSpec:
        """The inverse of `to_json`."""
        return cls(
            decision=fields["decision"],
            inputs=tuple(Take.from_json(take) for take in fields["inputs"]),
            targets=tuple(Take.from_json(take) for take in fields["targets"]),
            missing=fields["missing"],
            rate_hz=fields.get("rate_hz"),
            stops=tuple(fields.get("stops", ())),  # bundles made before there were any have none
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """B windows, as arrays.

    Args:
        inputs: per stream [B, T, *shape]; pictures are uint8 [B, T, C, H, W].
        targets: per stream [B, T, *shape].
        masks: bool [B, T] per entry of inputs and targets, False where padded; the keys are
            ``"inputs/STREAM"`` and ``"targets/STREAM"``.
        tasks: the instruction of each window's episode.
        episodes: int64 [B], index into the loader's episodes.
        decisions_ns: int64 [B], decision times on the log clock.
        ages: float32 [B, T] seconds per input that asks for them: decision time - capture time;
            0 where padded.

    Raises:
        SchemaError: an array or mask has another number of windows.
    """

    inputs: Mapping[str, npt.NDArray[Any]]
    targets: Mapping[str, npt.NDArray[Any]]
    masks: Mapping[str, npt.NDArray[np.bool_]]
    tasks: tuple[str, ...]
    episodes: npt.NDArray[np.int64]
    decisions_ns: npt.NDArray[np.int64]
    ages: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group in (self.inputs, self.targets, self.masks, self.ages):
            for name, array in group.items():
                if len(array) != len(self.tasks):
                    raise SchemaError(f"'{name}' has {len(array)} windows, not {len(self.tasks)}")

    def __len__(self) -> int:
        return len(self.tasks)


def _is(kind: type[Integral] | type[Real], value: object) -> bool:
    """Whether a value is a number of a kind; true and false are none."""
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def _are_names(value: object) -> bool:
    """Whether this is a tuple or list of texts; a text is none, though it has letters."""
    return isinstance(value, tuple | list) and all(isinstance(each, str) for each in value)


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise SchemaError(f"{what} is the name of a stream, not {name!r}; YAML may need quotes")
