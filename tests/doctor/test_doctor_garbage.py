"""Whatever the times and values are, the doctor says something and does not fall over."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from viae.doctor.checks import check_episode
from viae.doctor.timing import timing_of
from viae.doctor.tracing import trace_episode
from viae.schema import Samples, StreamSpec

EPOCH = 1_760_000_000_000_000_000
anything = st.one_of(
    st.sampled_from([0, 1, -1, 2**62, -(2**62), 2**63 - 1, -(2**63), EPOCH]),
    st.integers(EPOCH, EPOCH + 10**11),
    st.integers(-(2**63), 2**63 - 1),
)
values = st.one_of(st.sampled_from([0.0, np.nan, np.inf, -np.inf, 1e308, -1e308]), st.floats())


@given(
    st.lists(st.tuples(anything, anything, values), min_size=1, max_size=120),
    st.integers(1, 3),
)
def test_any_times_and_values(rows: list[tuple[int, int, float]], repeats: int) -> None:
    capture, arrival, value = zip(*(rows * repeats), strict=True)
    n = len(capture)
    samples = Samples(
        spec=StreamSpec(name="s", shape=(1,)), seq=np.arange(n, dtype=np.int64),
        capture_ns=np.array(capture, np.int64), arrival_ns=np.array(arrival, np.int64),
        values=np.array(value, np.float64)[:, None],
    )  # fmt: skip
    trace = trace_episode([samples], path="p", format="mcap")
    for finding in check_episode(trace):
        assert finding.evidence
        assert finding.to_json()["name"]
    assert timing_of(trace.streams["s"]).count == n
