"""Arbitrary streams: late, duplicate and out-of-order, with close times so that ties are common."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from viae.schema import Role, Take
from viae.sequence import Timeline

SECOND = 1_000_000_000
TIMES = st.integers(0, 12).map(lambda n: n * SECOND // 4)
"""Quarters of a second: few enough that captures, arrivals and decisions collide."""
ROLES = st.sampled_from(Role)


@dataclass(frozen=True)
class Sample:
    """One sample; ``value`` stands for its content and is how tests recognise it."""

    capture_ns: int
    arrival_ns: int
    value: int


@st.composite
def sample_lists(draw):
    """Any recorded order; often one in which captures, arrivals or both never go back."""
    samples = draw(st.lists(st.builds(Sample, TIMES, TIMES, st.integers(0, 10**9)), max_size=8))
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
DECISIONS = st.lists(TIMES, min_size=1, max_size=4)

MAX_AGE = st.none() | st.integers(0, 8).map(lambda n: n / 4)
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


@st.composite
def monotone_samples(draw):
    """Samples whose captures and arrivals both never go back."""
    samples = draw(SAMPLES)
    captures = sorted(s.capture_ns for s in samples)
    arrivals = sorted(s.arrival_ns for s in samples)
    return [Sample(*t, n) for n, t in enumerate(zip(captures, arrivals, strict=True))]


def times(samples, field):
    return np.array([getattr(sample, field) for sample in samples], np.int64)


def timeline(samples, role):
    return Timeline(
        role=role, capture_ns=times(samples, "capture_ns"), arrival_ns=times(samples, "arrival_ns")
    )  # fmt: skip


def picked(samples, indices):
    """The samples at indices, None where there is none."""
    return [[samples[i] if i >= 0 else None for i in row] for row in indices]
