"""Dangers said as functions, expressions and events."""

import numpy as np
import pytest

from viae.errors import QueryRefusedError, UsageError
from viae.foresee.danger import Danger, DangerOf, EventDanger, danger
from viae.foresee.dynamics import came
from viae.foresee.expression import Expression
from viae.schema import Kind, StreamSpec

STREAMS = (
    StreamSpec(name="observation.state", shape=(3,), names=("x", "y", "grip")),
    StreamSpec(name="/imu/data", shape=(2,), names=("ax", "x")),
    StreamSpec(name="load", shape=(1,)),
    StreamSpec(name="wide", shape=(2, 2)),
    StreamSpec(name="fallen", dtype="bool", shape=(1,)),
    StreamSpec(name="note", kind=Kind.TEXT, dtype=""),
)
RNG = np.random.default_rng(0)
SAMPLES = {
    "observation.state": RNG.normal(size=(5, 4, 3)),
    "/imu/data": RNG.normal(size=(5, 4, 2)),
    "load": RNG.normal(size=(5, 4, 1)),
    "wide": RNG.normal(size=(5, 4, 2, 2)),
    "fallen": RNG.random((5, 4, 1)) < 0.5,
    came("note"): RNG.random((5, 4)) < 0.5,
}
X, Y, GRIP = np.moveaxis(SAMPLES["observation.state"], -1, 0)
AX, X2 = np.moveaxis(SAMPLES["/imu/data"], -1, 0)
LOAD, FALLEN = SAMPLES["load"][..., 0], SAMPLES["fallen"][..., 0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hypot(y - 0.1, grip + 1) < 0.9", np.hypot(Y - 0.1, GRIP + 1) < 0.9),
        ("observation.state.x > 0", X > 0),
        ('of("/imu/data", "x") >= observation.state.x', X2 >= X),
        ('of("/imu/data", 0) > ax * 0.5', AX > AX * 0.5),
        ("observation.state[2] < 0 or load > 1", (GRIP < 0) | (LOAD > 1)),
        ("wide[3] ** 2 > 0.3", SAMPLES["wide"][..., 1, 1] ** 2 > 0.3),
        ("-1 < y <= 0.5 and not grip < 0", (Y > -1) & (Y <= 0.5) & ~(GRIP < 0)),
        ("not fallen and y > 0", ~FALLEN & (Y > 0)),
        ("max(abs(y), abs(grip), 0.5) != 0.5", np.maximum(abs(Y), abs(GRIP)) > 0.5),
        ("where(y > 0, y, -y) > +1", abs(Y) > 1),
        ("clip(y, -1, 1) == 1", Y >= 1),
        ("sqrt(min(y * y, 4)) % 1 > 0.5 / 1", np.minimum(abs(Y), 2) % 1 > 0.5),
        ("1 < 2", np.ones((5, 4), bool)),
    ],
)
def test_expression(text, expected):
    said = danger(text, STREAMS)
    assert isinstance(said, Danger)
    assert said.name == text
    found = said.violated(SAMPLES)
    assert found.dtype == np.bool_
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "cannot be read"),
        ("y <", "cannot be read"),
        ("y < 1; x", "cannot be read"),
        ("y = 1", "cannot be read"),
        ("__import__('os').system('true') < 1", "may stand here"),
        ("open('f') < 1", "no function 'open'"),
        ("y.__class__ == 1", "no stream 'y'"),
        ("(lambda: 1)() < 1", "may stand here"),
        ("[z for z in y] == 1", "may stand here"),
        ("hypot(*y) < 1", "hypot takes"),
        ("abs(x=1) < 1", "no function 'abs'|may stand"),
        ("'a' < 'b'", "may stand here"),
        ("True and y > 0", "may stand here"),
        ("1j < 2", "may stand here"),
        ("1e400 < y", "may stand here"),
        ("x < 1", "several streams have an element 'x'"),
        ("yy < 1", "did you mean y"),
        ("observation.state.z < 1", "has no element 'z'"),
        ("observation.state[3] < 1", "elements 0 to 2"),
        ("observation.state[True] < 1", "elements 0 to 2"),
        ("observation.other.y < 1", "no stream 'observation.other'"),
        ("note[0] < 1", "is text"),
        ("(y < 1) & (grip < 1)", "write 'and', 'or'"),
        ("(y < 1) + 1 > 0", "a number"),
        ("fallen + 1 > 0", "a number"),
        ("y and grip", "true or false"),
        ("y is grip", "may stand here"),
        ("y + 1", "is a number, not a danger"),
        ("(" * 400 + "y" + ")" * 400 + "<1", "cannot be read|too long"),
        ("+".join(["y"] * 200) + " < 1", "too long"),
        ("y < " + "1" * 3000, "at most 2000"),
    ],
)
def test_refused(text, why):
    with pytest.raises(UsageError, match=why):
        danger(text, STREAMS)


def test_large_powers_cost_nothing():
    assert danger("9 ** 9 ** 9 > y", STREAMS).violated(SAMPLES).all()


def test_what_is_not_a_number_is_never_safe():
    broken = {**SAMPLES, "load": np.full((5, 4, 1), np.nan)}
    with pytest.raises(QueryRefusedError, match="element 0 of stream 'load' is not a finite"):
        danger("load < 1", STREAMS).violated(broken)
    with pytest.raises(QueryRefusedError, match="no value in"):
        danger("sqrt(y) < 1", STREAMS).violated(SAMPLES)
    with pytest.raises(QueryRefusedError, match="'load', which was not foreseen"):
        danger("load < 1", STREAMS).violated({"observation.state": SAMPLES["observation.state"]})
    with pytest.raises(QueryRefusedError, match="no samples"):
        danger("1 < 2", STREAMS).violated({})


def test_a_number_is_a_value():
    read = Expression("hypot(y, grip) - 1", STREAMS)
    assert not read.is_truth
    assert read.uses == ("observation.state",)
    assert np.allclose(read.value(SAMPLES), np.hypot(Y, GRIP) - 1)
    with pytest.raises(QueryRefusedError, match="is a number"):
        read.violated(SAMPLES)


def test_events():
    note = danger("note", STREAMS)
    assert isinstance(note, EventDanger)
    assert np.array_equal(note.violated(SAMPLES), SAMPLES[came("note")])
    assert np.array_equal(danger("fallen", STREAMS).violated(SAMPLES), FALLEN)
    with pytest.raises(QueryRefusedError, match="not foreseen"):
        note.violated({"load": SAMPLES["load"]})


def test_functions():
    said = danger(lambda samples: samples["load"][..., 0] > 0, STREAMS)
    assert np.array_equal(said.violated(SAMPLES), LOAD > 0)
    assert danger(said, STREAMS) is said
    for wrong in (lambda s: s["load"] > 0, lambda s: s["load"][..., 0]):
        with pytest.raises(QueryRefusedError, match="has to give bool"):
            DangerOf(wrong, "wrong").violated(SAMPLES)
