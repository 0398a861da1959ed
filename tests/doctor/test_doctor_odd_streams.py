"""Whatever numbers and times a stream has, the doctor compares and draws it without a warning."""

from pathlib import Path

import numpy as np
import pytest
from traces import numbers, seconds, text, trace

from viae.doctor.checks import check_episode
from viae.doctor.dataset import check_dataset
from viae.doctor.digest import digest_of
from viae.doctor.latency import Latencies
from viae.doctor.report import Page
from viae.doctor.timing import timing_of
from viae.schema import Role

RNG = np.random.default_rng(0)
VALUES = {
    "normal": RNG.standard_normal((120, 3)),
    "nan": np.full((120, 3), np.nan),
    "some nan": np.where(RNG.random((120, 3)) < 0.3, np.nan, RNG.standard_normal((120, 3))),
    "infinite": np.where(RNG.random((120, 3)) < 0.3, np.inf, RNG.standard_normal((120, 3))),
    "huge": RNG.standard_normal((120, 3)) * 1e300,
    "tiny": RNG.standard_normal((120, 3)) * 1e-300,
    "constant": np.ones((120, 3)),
    "integers": RNG.integers(-(2**62), 2**62, (120, 3)),
    "flags": RNG.random((120, 1)) < 0.5,
}
TIMES = {
    "steady": seconds(120, 30),
    "stuck": np.zeros(120, np.int64),
    "backwards": seconds(120, 30)[::-1].copy(),
    "far": seconds(120, 30) + 2**62,
    "negative": seconds(120, 30) - 2**61,
    "shuffled": RNG.permutation(seconds(120, 30)),
}


@pytest.mark.parametrize("of", TIMES)
def test_odd_times(of: str, tmp_path: Path):
    look(TIMES[of], {"normal": VALUES["normal"]}, tmp_path, capture_ns=seconds(120, 30))


def test_odd_values(tmp_path: Path):
    look(TIMES["steady"], VALUES, tmp_path)


def look(times: np.ndarray, values: dict, tmp_path: Path, **stamps: np.ndarray) -> None:
    blocks = [numbers(name, value, times, **stamps) for name, value in values.items()]
    blocks += [
        numbers(f"action {name}", value, times, role=Role.ACTION) for name, value in values.items()
    ]
    one = text("said", ["once"], times[:1].copy())
    traces = [trace(*blocks, one, episode=f"e{i}") for i in range(9)]
    page, latencies = Page(), Latencies()
    findings = check_episode(traces[0])
    timings = {name: timing_of(stream) for name, stream in traces[0].streams.items()}
    page.add(traces[0], timings, findings)
    for made in traces:
        latencies.add(made)
    findings += latencies.findings("d")
    findings += check_dataset("d", [digest_of(made) for made in traces])
    out = page.write(tmp_path / "page.html", title="odd", findings=findings, logs=[])
    assert out.stat().st_size > 1000


def test_an_episode_of_nothing(tmp_path: Path):
    empty = trace(episode="nothing")
    assert check_episode(empty) == []
    page = Page()
    page.add(empty, {}, [])
    assert check_dataset("d", [digest_of(empty)] * 9) == []
    page.write(tmp_path / "page.html", title="nothing", findings=[], logs=[])
    assert "Nothing was found" in (tmp_path / "page.html").read_text()
