"""Rows of one clock: causal, and late samples as asked."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import episode
from viae.errors import UsageError
from viae.export.exporter import ExportOptions
from viae.export.naming import distinct_names, plain_name
from viae.export.resample import rows_of, shared_clock
from viae.export.source import EpisodeSource, Stamps, natural
from viae.schema import Role, StreamSpec

MS = 1_000_000


@dataclass
class NoStore:
    uri = "none"


def stamps(arrival_ms, capture_ms=None) -> Stamps:
    arrival = np.array([round(t * MS) for t in arrival_ms], np.int64)
    capture = arrival if capture_ms is None else np.array([round(t * MS) for t in capture_ms])
    return Stamps(capture_ns=capture, arrival_ns=arrival, seq=np.arange(len(arrival)))


def source(**roles: Role) -> EpisodeSource:
    specs = {name: StreamSpec(name=name, role=role) for name, role in roles.items()}
    return EpisodeSource(
        store=NoStore(), episode=episode("e"), specs=specs, counts={}, facts=[]
    )  # fmt: skip


def rows(given, rate_hz=10, late="hold", **roles):
    made = source(**{name: roles.get(name, Role.OBSERVATION) for name in given})
    options = ExportOptions(rate_hz=rate_hz, late=late)
    return rows_of(made, given, options, fps=Fraction(rate_hz))


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 400)), min_size=2, max_size=40),
    st.integers(0, 3000),
)
def test_a_row_does_not_change_with_what_arrives_after_it(moments, cut_ms):
    moments.sort()
    whole = stamps([a for a, _ in moments], [a - d for a, d in moments])
    anchor = stamps([0, 4000])
    full = rows({"q": whole, "tick": anchor}).index["q"]
    at = rows({"q": whole, "tick": anchor}).at_ns
    kept = whole.arrival_ns <= cut_ms * MS
    if not kept.any():
        return
    part = Stamps(
        capture_ns=whole.capture_ns[kept], arrival_ns=whole.arrival_ns[kept], seq=whole.seq[kept]
    )
    again = rows({"q": part, "tick": anchor})
    before = int((at <= cut_ms * MS).sum())
    if np.array_equal(again.at_ns, at):
        assert np.array_equal(again.index["q"][:before], full[:before])


def test_late_samples_are_held_dropped_or_kept_where_they_were_due():
    captured = list(range(0, 1000, 50))
    arrived = [t + 5 for t in captured]
    arrived[10] = 805  # due at 505 ms
    given = {"q": stamps(arrived, captured), "tick": stamps([5, 1000])}
    held, dropped, kept = (rows(given, late=late) for late in ("hold", "drop", "keep"))
    assert held.at_ns[5] == 505 * MS
    assert (held.index["q"][5], dropped.index["q"][5], kept.index["q"][5]) == (9, 9, 10)
    assert [loss.name for loss in held.losses if "late" in loss.name] == ["late-held"]
    assert [loss.name for loss in dropped.losses if "late" in loss.name] == ["late-dropped"]
    [moved] = [loss for loss in kept.losses if "late" in loss.name]
    assert (moved.name, moved.count) == ("late-moved", 1)
    assert "not yet known" in moved.detail


def test_an_action_answers_its_row():
    given = {"q": stamps(range(0, 1000, 100)), "act": stamps(range(3, 1000, 100))}
    found = rows(given, act=Role.ACTION)
    assert found.index["q"].tolist() == list(range(10))
    assert found.index["act"].tolist() == list(range(10))


@pytest.mark.parametrize("offset_ms", [-2, 2])
def test_with_an_action_as_the_clock_its_companions_are_of_the_same_row(offset_ms):
    given = {
        "left": stamps(range(100, 1000, 100)),
        "right": stamps([t + offset_ms for t in range(100, 1000, 100)]),
        "q": stamps(range(0, 1000, 10)),
    }
    made = source(left=Role.ACTION, right=Role.ACTION, q=Role.OBSERVATION)
    found = rows_of(made, given, ExportOptions(clock="left"), fps=Fraction(10))
    assert found.index["left"].tolist() == found.index["right"].tolist() == list(range(9))
    assert found.index["q"].tolist() == list(range(10, 100, 10))


def test_a_clock_that_stands_still_is_not_believed():
    given = {"q": stamps(range(0, 5000, 100), [0] * 50), "tick": stamps([0, 4900])}
    found = rows(given)
    assert found.index["q"].tolist() == list(range(50))
    assert "clock-unusable" in {loss.name for loss in found.losses}


def test_rows_begin_where_all_is_known():
    given = {"q": stamps(range(0, 1000, 100)), "act": stamps(range(550, 1000, 100))}
    found = rows(given, act=Role.ACTION)
    assert found.at_ns[0] == 500 * MS
    [loss] = [loss for loss in found.losses if loss.name == "rows-before"]
    assert (loss.stream, loss.count) == ("act", 5)


def test_ticks_do_not_drift():
    given = {"q": stamps(np.arange(0, 3_600_000, 1000))}
    found = rows(given, rate_hz=30)
    assert len(found) == 3599 * 30 + 1
    assert found.at_ns[-1] == 3_599_000 * MS


def test_one_table_has_one_clock():
    table = stamps([0, 100, 200])
    specs = {name: StreamSpec(name=name) for name in "abc"}
    assert shared_clock(specs, {"a": table, "b": table}) in "ab"
    assert shared_clock(specs, {"a": table, "b": stamps([0, 100, 201])}) == ""
    assert shared_clock(specs, {"a": table, "b": stamps([0, 100])}) == ""
    assert shared_clock(specs, {"a": stamps([0, 100], [5, 100])}) == ""


def test_options_that_contradict_each_other_are_refused():
    for wrong in (
        {"clock": "grid"}, {"clock": "q", "rate_hz": 10}, {"rate_hz": 0}, {"fps": 0},
        {"fps": 10, "rate_hz": 10}, {"codec": "gif"}, {"chunks_size": 0},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            ExportOptions(**wrong)


@given(st.lists(st.text("aA/._ é", min_size=1), unique=True, max_size=8))
def test_names_are_plain_distinct_and_always_the_same(streams):
    names, _ = distinct_names(streams, plain_name, taken=["a"])
    again, _ = distinct_names(streams[::-1], plain_name, taken=["a"])
    assert names == again
    lowered = [name.lower() for name in names.values()]
    assert len(set(lowered)) == len(streams)
    assert "a" not in lowered
    assert all(name and "/" not in name and not name.startswith(".") for name in names.values())


def test_episode_2_comes_before_episode_10():
    assert sorted(["e10", "e2", "e"], key=natural) == ["e", "e2", "e10"]
