"""A trace, block by block, equals what numpy says of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viae.doctor import tracing
from viae.doctor.tracing import trace_episode
from viae.logs import Statement
from viae.schema import Kind, Loss, LossKind, Samples, StreamSpec


def blocks(values: np.ndarray, size: int, *, name: str = "s") -> list[Samples]:
    spec = StreamSpec(name=name, shape=values.shape[1:], dtype=str(values.dtype))
    at = np.arange(len(values), dtype=np.int64)
    return [
        Samples(
            spec=spec, capture_ns=at[i : i + size] * 10, arrival_ns=at[i : i + size] * 10 + 3,
            seq=at[i : i + size], values=values[i : i + size],
        )
        for i in range(0, len(values), size)
    ]  # fmt: skip


numbers = st.sampled_from([0.0, 1.0, 1.0, 2.5, -3.0, np.nan, np.inf])


def longest_run(column: np.ndarray) -> tuple[int, int]:
    best = end = run = 0
    for i, value in enumerate(column):
        same = i and (value == column[i - 1] or (np.isnan(value) and np.isnan(column[i - 1])))
        run = run + 1 if same else 1
        if run > best:
            best, end = run, i + 1
    return best, end


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30), st.integers(1, 9))
def test_values_in_blocks_equal_values_whole(rows: list[tuple[float, float]], size: int) -> None:
    values = np.array(rows)
    trace = trace_episode(blocks(values, size), path="p", format="mcap")
    summary = trace.streams["s"].values
    assert summary is not None and summary.run_end is not None
    for column in range(2):
        of = values[:, column]
        finite = of[np.isfinite(of)]
        assert summary.not_finite[column] == len(of) - len(finite)
        if len(finite):
            assert summary.low[column] == finite.min()
            assert summary.high[column] == finite.max()
            assert summary.at_low[column] == (finite == finite.min()).sum()
            assert summary.at_high[column] == (finite == finite.max()).sum()
            assert summary.mean[column] == pytest.approx(finite.mean())
        else:
            assert np.isnan(summary.low[column])
        expected = longest_run(of)
        assert (summary.longest_run[column], summary.run_end[column]) == expected


def test_motion_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "HEAD_VALUES", 300)
    values = np.cumsum(np.random.default_rng(0).normal(size=(500, 3)), axis=0)
    whole, parts = (
        trace_episode(blocks(values, size), path="p", format="mcap").streams["s"]
        for size in (500, 7)
    )
    assert whole.head is not None and len(whole.head) == 100
    assert len(whole.motion) == 500
    assert np.isnan(whole.motion[0])
    np.testing.assert_allclose(whole.motion[1:], parts.motion[1:], rtol=1e-5)
    steps = np.diff(values, axis=0) / values[:100].std(axis=0)
    np.testing.assert_allclose(whole.motion[1:], np.linalg.norm(steps, axis=1), rtol=1e-5)


def test_pictures_move_and_broken_ones_are_said() -> None:
    spec = StreamSpec(
        name="c", kind=Kind.IMAGE, dtype="uint8", shape=(4, 4, 1), encoding="mono8"
    )  # fmt: skip
    at = np.arange(3, dtype=np.int64)

    def samples(pictures: list[bytes]) -> Samples:
        return Samples(spec=spec, capture_ns=at, arrival_ns=at, seq=at, values=pictures)

    good = samples([bytes([level] * 16) for level in (10, 10, 30)])
    motion = trace_episode([good], path="p", format="mcap").streams["c"].motion
    assert np.isnan(motion[0])
    np.testing.assert_allclose(motion[1:], [0, 20], atol=1)
    broken = trace_episode([samples([b"", b"", b""])], path="p", format="mcap")
    assert [loss.name for loss in broken.losses] == ["pictures-undecodable"]
    assert not trace_episode([good], path="p", format="mcap", pictures=False).losses


def test_statements_and_losses_are_kept() -> None:
    loss = Loss(kind=LossKind.LOST, name="truncated", path="p", detail="cut")
    trace = trace_episode(
        [Statement(key="task", value="wave"), loss], path="p", episode="3", format="mcap"
    )
    assert trace.statements == {"task": "wave"}
    assert trace.losses == (loss,)
    assert not trace.streams


def test_blocks_that_come_up_late_are_noticed() -> None:
    ones = np.ones((40, 1))
    apart = [*blocks(ones, 10, name="a"), *blocks(ones, 10, name="b")]
    streams = trace_episode(apart, path="p", format="mcap").streams
    assert streams["a"].behind_ns == 0
    assert streams["b"].behind_ns == 200  # its first ten, after thirty of the other
    together = sorted(apart, key=lambda block: int(block.arrival_ns[-1]))
    streams = trace_episode(together, path="p", format="mcap").streams
    assert {stream.behind_ns for stream in streams.values()} == {0}
