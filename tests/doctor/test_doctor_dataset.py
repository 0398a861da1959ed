"""Episodes against each other: what stands out is said, and only that."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import numbers, seconds, text, trace, wandering

from viae.doctor.dataset import check_dataset
from viae.doctor.digest import digest_of, roughness_hz
from viae.doctor.finding import Severity
from viae.doctor.fold import fold
from viae.doctor.sketch import near_duplicates
from viae.schema import Role

RATE = 20.0


def demo(
    seed: int,
    *,
    length_s: float = 10.0,
    noise: float = 0.0,
    rate_hz: float = RATE,
    task: str = "",
    **extra,
):
    path = wandering(seed, length_s, rate_hz, 3).astype(np.float64)
    path += noise * np.random.default_rng(seed).standard_normal(path.shape)
    times = seconds(len(path), rate_hz)
    blocks = [
        numbers("state", path, times),
        numbers("action", np.roll(path, 1, axis=0), times, role=Role.ACTION),
    ]
    return trace(
        *blocks, *extra.values(), episode=f"e{seed}", said={"task": task or f"task {seed % 3}"}
    )


def found(traces) -> dict[str, object]:
    findings = check_dataset("d", [digest_of(t) for t in traces])
    assert len({(f.name, f.stream) for f in findings}) == len(findings)
    return {f.name: f for f in findings}


def test_a_clean_dataset():
    rng = np.random.default_rng(0)
    assert found(demo(s, length_s=float(rng.uniform(8, 13))) for s in range(30)) == {}


def test_a_single_episode_is_no_dataset():
    assert found([demo(0)]) == {}


def test_lengths_that_stand_out():
    traces = [demo(s, length_s=10 + s % 4) for s in range(20)] + [demo(50, length_s=2)]
    finding = found(traces)["length-outlier"]
    assert finding.values["episodes"] == ["e50"]
    assert "length-outlier" not in found(traces[:7] + traces[-1:][:0])


def test_many_long_ones_are_no_outliers():
    traces = [demo(s, length_s=5 if s % 2 else 25) for s in range(20)]
    assert "length-outlier" not in found(traces)


def test_motion_that_jerks():
    traces = [demo(s) for s in range(20)] + [demo(70, noise=0.5)]
    assert found(traces)["smoothness-outlier"].values["episodes"] == ["e70"]


def test_roughness_is_the_frequency_of_a_sine():
    times = seconds(2000, 200)
    wave = np.sin(2 * np.pi * 1.5 * times / 1e9)[:, None]
    assert roughness_hz(trace(numbers("s", wave, times)).streams["s"]) == pytest.approx(
        1.5, rel=0.01
    )


@pytest.mark.parametrize("how", ["same", "trimmed", "rounded", "float32"])
def test_copies(how: str):
    rng = np.random.default_rng(1)
    paths = [wandering(s, 10, RATE, 4) for s in range(12)]
    copy = {
        "same": paths[3], "trimmed": paths[3][15:-10], "float32": paths[3].astype(np.float32),
        "rounded": paths[3] + 1e-4 * rng.standard_normal(paths[3].shape),
    }[how]  # fmt: skip
    digests = [
        digest_of(trace(numbers("state", p, seconds(len(p), RATE)), episode=str(i)))
        for i, p in enumerate([*paths, copy])
    ]
    assert near_duplicates([d.sketch for d in digests]) == [[3, 12]]
    [finding] = [f for f in check_dataset("d", digests) if f.name == "near-duplicate-episodes"]
    assert finding.values["groups"] == [["3", "12"]]


def test_one_way_repeated_by_hand_is_no_copy():
    base = wandering(0, 10, RATE, 4)
    times = seconds(len(base), RATE)
    again = (base + 0.3 * wandering(seed + 1, 10, RATE, 4) for seed in range(20))
    digests = [digest_of(trace(numbers("s", path, times))) for path in again]
    assert near_duplicates([d.sketch for d in digests]) == []


def test_a_robot_at_rest_is_no_copy():
    home = np.zeros((200, 3))
    digests = []
    for s in range(10):
        moved = np.concatenate([home, wandering(s, 2, RATE, 3)])
        digests.append(digest_of(trace(numbers("s", moved, seconds(len(moved), RATE)))))
    assert near_duplicates([d.sketch for d in digests]) == []


def test_many_copies_of_one():
    path = wandering(0, 5, RATE, 3)
    digest = digest_of(trace(numbers("s", path, seconds(len(path), RATE))))
    assert near_duplicates([digest.sketch] * 60) == [list(range(60))]


@settings(max_examples=20)
@given(st.permutations(range(8)))
def test_the_order_of_episodes_does_not_matter(order: list[int]):
    traces = [demo(s % 6, length_s=4.0) for s in range(8)]  # 6 and 7 repeat 0 and 1
    sketches = [digest_of(traces[i]).sketch for i in order]
    groups = {frozenset(order[i] for i in group) for group in near_duplicates(sketches)}
    assert groups == {frozenset({0, 6}), frozenset({1, 7})}


def test_an_element_that_is_constant_everywhere():
    def with_still(seed: int, value: float):
        path = wandering(seed, 5, RATE, 3)
        path[:, 1] = value
        return trace(numbers("state", path, seconds(len(path), RATE)), episode=str(seed))

    finding = found(with_still(s, 2.5) for s in range(3))["constant-dimension"]
    assert finding.values["elements"] == [1]
    assert "2.5" in finding.evidence
    assert "constant-dimension" not in found(with_still(s, float(s)) for s in range(3))


def test_streams_that_are_missing_or_differ():
    times = seconds(100, 50)
    force = numbers("force", np.random.default_rng(0).standard_normal((100, 2)), times)
    wide = numbers("force", np.random.default_rng(0).standard_normal((100, 3)), times)
    events = text("events", ["a", "b"], seconds(2, 1))
    traces = [demo(s, force=force) for s in range(4)] + [
        demo(9, events=events),
        demo(10, force=wide),
    ]
    said = found(traces)
    assert said["stream-missing"].values["episodes"] == ["e9"]
    assert said["stream-missing"].stream == "force"  # events may be absent
    assert said["shape-differs"].values["episodes"] == ["e10"]


def test_rates_that_differ():
    traces = [demo(s) for s in range(6)] + [demo(7, rate_hz=10)]
    finding = found(traces)["rate-differs"]
    assert finding.values["rates_hz"] == {"e7": pytest.approx(10)}


def test_tasks():
    assert found(demo(s, task="lift") for s in range(3))["one-task"].severity is Severity.NOTE
    path = wandering(8, 5, RATE, 3)
    silent = trace(numbers("state", path, seconds(len(path), RATE)), episode="silent")
    assert found([*(demo(s) for s in range(3)), silent])["task-missing"].values["episodes"] == [
        "silent"
    ]


def test_what_holds_in_many_episodes_is_said_once():
    still = [digest_of(demo(s, task="lift")) for s in range(2)]
    one = check_dataset("d", still)
    from dataclasses import replace

    many = [replace(one[0], episode=f"e{i}", count=i) for i in range(5)]
    [folded] = fold(many)
    assert "in 5 episodes" in folded.evidence
    assert "(e4)" in folded.evidence
    assert folded.count == 10
    assert folded.episode == ""
    assert fold(many[:1]) == many[:1]
    assert len(fold([*many, replace(one[0], stream="other")])) == 2
