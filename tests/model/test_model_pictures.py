"""The pictures of the documents, drawn from made-up data; and what is chosen to be shown."""

import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from viae.schema import Episode
from viae.worlds.metaworld import ACTION, PERIOD_NS, STATE, SUCCESS

MOST_BYTES = 150_000


@pytest.fixture
def pictures(monkeypatch, request):
    monkeypatch.syspath_prepend(str(Path(request.config.rootpath) / "benchmarks"))
    import model_pictures

    yield model_pictures
    sys.modules.pop("model_pictures", None)


def futures(pictures):
    rng = np.random.default_rng(0)
    real = np.cumsum(rng.normal(0, 0.005, (81, 6)), axis=0)
    steps = rng.normal(0, 0.005, (30, 41, 6)).cumsum(1)
    return pictures.draw_foreseen(
        pictures.Futures(
            title="made up", names=[f"{what} {a}" for what in ("hand", "object") for a in "xyz"],
            real_s=np.arange(81) / 80, real=real, moment_s=0.5, future_s=np.arange(40, 81) / 80,
            drawn=real[40] + steps - steps[:, :1],
        )
    )  # fmt: skip


def reliability(pictures):
    rng = np.random.default_rng(1)
    estimate = np.concatenate([rng.random(98), [0.0, 1.0]])
    return pictures.draw_reliability(rng.random(100) < estimate, estimate, "made up")


def course(pictures, outcome):
    steps = np.array([0.2, 0.4, 0.6] if outcome else [0.2, 0.4, 0.6, 0.8])
    real_s = np.linspace(0, 0.7 if outcome else 3.75, 50)
    return pictures.Course(
        name="right0" if outcome else "wrong0", task="push", outcome=outcome, said_s=steps,
        said=np.full(3, 0.8) if outcome else np.array([0.5, 0.3, 0.1, 0.05]), level=0.2,
        alarm_s=np.inf if outcome else 0.6, real_s=real_s, away_m=np.full(50, 0.2),
    )  # fmt: skip


def alarm(pictures):
    failed, succeeded = (course(pictures, outcome) for outcome in (False, True))
    return pictures.draw_alarm(failed, succeeded, "made up")


def search(pictures):
    rng = np.random.default_rng(2)
    found = []
    for number in range(6):
        episode = Episode(
            episode_id=f"{number}abcdef", log_uri="made", log_hash="h", log_range="",
            log_format="made", task="push", robot="sawyer", outcome=True,
        )  # fmt: skip
        hit = pictures.Hit(episode=episode, at_s=0.5, start_ns=0, end_ns=1, distance=0.01 * number)
        places = np.cumsum(rng.normal(0, 0.01, (60, 6)), axis=0)
        found.append(pictures.Found(hit=hit, at_s=np.arange(60) / 80, places=places))
    return pictures.draw_search(found)


@pytest.mark.parametrize("draw", [futures, reliability, alarm, search])
def test_equal_data_give_equal_small_files(pictures, draw, tmp_path):
    files = [tmp_path / "first.svg", tmp_path / "again.svg"]
    for file in files:
        pictures.save(draw(pictures), file)
    first, again = (file.read_bytes() for file in files)
    assert first == again
    assert len(first) < MOST_BYTES
    assert ElementTree.fromstring(first).tag.endswith("svg")
    assert b"<dc:date>" not in first


def test_panels_of_futures_are_equally_high(pictures):
    figure = futures(pictures)
    assert len(figure.axes) == 6
    heights = [np.ptp(panel.get_ylim()) for panel in figure.axes]
    assert heights == pytest.approx([heights[0]] * 6)


def test_every_attempt_is_in_a_bin(pictures):
    above, below = reliability(pictures).axes
    assert sum(int(text.get_text()) for text in below.texts) == 100
    for bar in above.containers:
        [[_, seen]] = bar.lines[0].get_xydata()
        low, high = bar.lines[2][0].get_segments()[0][:, 1]
        assert 0 <= low <= seen <= high <= 1


def test_the_failure_shown_is_of_the_middle_alarm_that_was_seen_to_rise(pictures):
    outcome = np.array([False, False, False, False, True, True, True, False])
    alarm_at = np.array([0.05, 0.3, 0.1, 0.2, 0.1, np.inf, np.inf, np.inf])
    tasks = np.array(["push"] * 5 + ["drawer-open", "push", "push"])
    assert pictures.telling(outcome, alarm_at, tasks, first=0.05) == (3, 6)
    early = np.minimum(alarm_at, 0.05)
    assert pictures.telling(outcome, early, tasks, first=0.05) is None
    early[6] = np.inf
    assert pictures.telling(outcome, early, tasks, first=0.05) == (2, 6)
    assert pictures.telling(outcome, np.full(8, np.inf), tasks, first=0.05) is None


def test_a_history_ends_with_what_the_decision_sees(pictures):
    robot = SimpleNamespace(streams=(STATE, ACTION, SUCCESS), task="push")
    attempt = pictures.Attempt(
        states=np.arange(6)[:, None] * np.ones(39), actions=np.ones((5, 4), np.float32),
        moments=[SimpleNamespace(now_ns=10**9 + n * PERIOD_NS) for n in range(5)], succeeded=True,
    )  # fmt: skip
    history = pictures.history_of(robot, attempt, 3)
    counts = {spec.name: len(history.values[spec.name]) for spec in history.streams}
    assert counts == {"instruction": 1, STATE.name: 4, ACTION.name: 3, SUCCESS.name: 2}
    assert history.values[STATE.name][-1][0] == 3
    assert history.arrival_ns.max() == 10**9 + 3 * PERIOD_NS
