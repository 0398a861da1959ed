"""Arbitrary streams: late, duplicate and out-of-order, with close times so that ties are common."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from viae.schema import Role, Take
from viae.sequence import Timeline

SECOND = 1_000_000_000
TIMES = st.integers(0, 12).map(lambda n: n * SECOND // 4)
"""Quarters of a second: few enough that captures, arrivals and decisions collide."""
WIDE_TIMES = TIMES | st.integers(1 - 2**62, 2**62 - 1) | st.integers(-3, 3)
"""Also times before the epoch, and as far from it as times may be."""
ROLES = st.sampled_from(Role)


@dataclass(frozen=True)
class Sample:
    """One sample; ``value`` stands for its content and is how tests recognise it."""

    capture_ns: int
    arrival_ns: int
    value: int


@st.composite
def sample_lists(draw, times=TIMES, max_size=8):
    """Any recorded order; often one in which captures, arrivals or both never go back."""
    sample = st.builds(Sample, times, times, st.integers(0, 10**9))
    samples = draw(st.lists(sample, max_size=max_size))
    in_order = draw(st.sampled_from(["nothing", "capture", "arrival", "both"]))
    captures = [s.capture_ns for s in samples]
    arrivals = [s.arrival_ns for s in samples]
    if in_order in ("capture", "both"):
        captures.sort()
    if in_order in ("arrival", "both"):
        arrivals.sort()
    values = [s.value for s in samples]
    return [Sample(*fields) for fields in zip(captures, arrivals, values, strict=True)]


SAMPLES = sample_lists()
MANY_SAMPLES = sample_lists(WIDE_TIMES, max_size=20)
DECISIONS = st.lists(TIMES, min_size=1, max_size=4)
WIDE_DECISIONS = st.lists(WIDE_TIMES, max_size=6)

MAX_AGE = st.none() | st.integers(1, 8).map(lambda n: n / 4)
STEPS = st.lists(st.integers(0, 4), min_size=1, max_size=4)
OFFSETS = st.lists(st.integers(0, 8).map(lambda n: n / 4), min_size=1, max_size=4)


@st.composite
def input_takes(draw):
    max_age_s = draw(MAX_AGE)
    if draw(st.booleans()):
        return Take(stream="q", steps=tuple(-s for s in draw(STEPS)), max_age_s=max_age_s)
    return Take(stream="q", offsets_s=tuple(-s for s in draw(OFFSETS)), max_age_s=max_age_s)


@st.composite
def target_takes(draw):
    if draw(st.booleans()):
        return Take(stream="q", steps=tuple(draw(STEPS)))
    return Take(stream="q", offsets_s=tuple(draw(OFFSETS)))


def times(samples, field):
    return np.array([getattr(sample, field) for sample in samples], np.int64)


def timeline(samples, role):
    return Timeline(
        role=role, capture_ns=times(samples, "capture_ns"), arrival_ns=times(samples, "arrival_ns")
    )  # fmt: skip


def picked(samples, indices):
    """The samples at indices, None where there is none."""
    return [[samples[i] if i >= 0 else None for i in row] for row in indices]
