"""The usual alignment: nearest stamps on a grid, and what of them had not arrived."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viae.schema import Role, Take
from viae.sequence import Timeline
from viae.sequence.alignment import frame_leads, frame_times, nearest

MS = 1_000_000


def line(capture_ms, late_ms=0, role=Role.OBSERVATION) -> Timeline:
    capture = (np.array(capture_ms) * MS).astype(np.int64)
    late = (np.broadcast_to(late_ms, capture.shape) * MS).astype(np.int64)
    return Timeline(role=role, capture_ns=capture, arrival_ns=capture + late)


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=20),
    st.lists(st.integers(-70, 70), max_size=20),
)
def test_nearest_is_nearest(stamps: list[int], at: list[int]) -> None:
    found = nearest(np.array(stamps, np.int64), np.array(at, np.int64))
    for when, index in zip(at, found.tolist(), strict=True):
        assert abs(stamps[index] - when) == min(abs(stamp - when) for stamp in stamps)


def test_frames_go_from_the_first_to_the_last_capture() -> None:
    frames, period = frame_times(line([100, 130, 170, 200]))
    assert (frames // MS).tolist() == [100, 133, 166, 200]
    assert period == pytest.approx(100 / 3 * MS)
    frames, period = frame_times(line([0, 95]), rate_hz=20)
    assert (frames // MS).tolist() == [0, 50]
    assert frame_times(line([7]))[0].tolist() == [7 * MS]
    assert frame_times(line([]))[0].tolist() == []


def test_what_is_late_is_led_by_its_delay() -> None:
    times = line(range(0, 100, 10), late_ms=25)
    frames, period = frame_times(times)
    lead, there = frame_leads(times, Take(stream="x", steps=(-3, 0)), frames, period)
    assert (lead[3:] == [-5 * MS, 25 * MS]).all()
    assert there.tolist() == [[False, True]] * 3 + [[True, True]] * 7


def test_a_slower_stream_leads_by_half_its_period_at_most() -> None:
    frames, period = frame_times(line(range(0, 1000, 10)))
    lead, _ = frame_leads(line(range(0, 1001, 100)), Take(stream="x", steps=(0,)), frames, period)
    assert lead.max() == 40 * MS
    assert (lead > 0).mean() == pytest.approx(0.4)


def test_actions_of_a_frame_answer_it() -> None:
    actions = line(range(0, 100, 10), role=Role.ACTION)
    frames, period = frame_times(actions)
    lead, there = frame_leads(actions, Take(stream="x", steps=(0,)), frames, period)
    assert (lead[1:] == -10 * MS + 1).all()
    assert there.ravel().tolist() == [False] + [True] * 9


def test_nothing_leads_where_there_is_nothing() -> None:
    frames, period = frame_times(line([0, 10]))
    _, there = frame_leads(line([]), Take(stream="x", offsets_s=(0.0,)), frames, period)
    assert not there.any()
