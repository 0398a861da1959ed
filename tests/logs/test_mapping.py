"""Mapping files: names, roles, units, skipped streams, and where capture times are."""

from pathlib import Path

import numpy as np
import pytest

from viae.errors import LogError, SchemaError, UsageError
from viae.logs import Statement
from viae.logs.mapping import read_mapping
from viae.schema import Loss, Role, Samples, StreamSpec


def block(name, values, *, topic="/t", start=0, dtype="float64", capture=None):
    values = np.asarray(values, dtype).reshape(len(values), -1)
    seq = np.arange(start, start + len(values), dtype=np.int64)
    return Samples(
        spec=StreamSpec(name=name, dtype=dtype, shape=values.shape[1:], topic=topic),
        capture_ns=np.array(capture, np.int64) if capture is not None else seq + 5,
        arrival_ns=seq + 10,
        seq=seq,
        values=values,
    )


@pytest.fixture
def apply(tmp_path: Path):
    def apply_text(text: str, items):
        path = tmp_path / "mapping.yaml"
        path.write_text("viae_mapping: 1\n" + text)
        mapping = read_mapping(path)
        return list(mapping.apply(iter(items))), mapping

    return apply_text


def test_names_roles_and_units(apply):
    [out], mapping = apply(
        "streams: {/cmd: {name: action, role: action, unit: rad, names: [a, b], clock: arm}}",
        [block("/cmd", [[1, 2], [3, 4]])],
    )
    spec = out.spec
    assert (spec.name, spec.role, spec.unit, spec.names, spec.clock) == (
        "action", Role.ACTION, "rad", ("a", "b"), "arm",
    )  # fmt: skip
    assert mapping.unused == []


def test_the_first_pattern_that_fits_counts(apply):
    items = [block("/debug/a", [1]), block("/debug/keep", [1]), block("/x", [1])]
    out, mapping = apply(
        'streams: {/debug/keep: {unit: m}, "/debug/*": {skip: true}, /typo: {unit: m}}', items
    )
    assert [item.spec.name for item in out] == ["/debug/keep", "/x"]
    assert mapping.unused == ["/typo"]


def test_capture_from_another_stream_of_the_topic(apply):
    items = [
        block("/imu.x", [1, 2], topic="/imu"),
        block("/imu.us", [100, 200], topic="/imu", dtype="uint64"),
        block("/imu.y", [1, 2], topic="/imu"),
        block("/imu.x", [3], topic="/imu", start=2),
        block("/imu.us", [300], topic="/imu", dtype="uint64", start=2),
        block("/other", [1]),
    ]
    out, _ = apply("topics: {/imu: {capture: /imu.us, unit: us, clock: imu}}", items)
    found = {(b.spec.name, int(b.seq[0])): b.capture_ns.tolist() for b in out}
    assert found == {
        ("/imu.x", 0): [100_000, 200_000], ("/imu.us", 0): [100_000, 200_000],
        ("/imu.y", 0): [100_000, 200_000], ("/imu.x", 2): [300_000], ("/imu.us", 2): [300_000],
        ("/other", 0): [5],
    }  # fmt: skip
    assert {b.spec.clock for b in out} == {"imu", "log"}


def test_capture_is_the_arrival_or_in_another_unit(apply):
    out, _ = apply(
        "topics: {/a: {capture: arrival}, /b: {unit: ms}}",
        [block("/a.x", [1], topic="/a"), block("/b.x", [1], topic="/b", capture=[7])],
    )
    assert [b.capture_ns.tolist() for b in out] == [[10], [7_000_000]]


def test_times_that_never_come_are_said(apply):
    out, _ = apply("topics: {/t: {capture: /t.absent}}", [block("/t.x", [1, 2])])
    [samples, loss] = out
    assert samples.capture_ns.tolist() == [5, 6]
    assert isinstance(loss, Loss)
    assert (loss.name, loss.count) == ("mapped-times-absent", 2)


def test_statements_of_the_mapping_replace_the_logs(apply):
    out, _ = apply(
        "episode: {task: pick, robot: ur5}",
        [Statement(key="task", value="?"), Statement(key="x", value=1)],
    )
    assert {s.key: s.value for s in out} == {"task": "pick", "robot": "ur5", "x": 1}


def test_two_streams_of_one_name(apply):
    with pytest.raises(LogError, match="both '/a' and '/b' get this name"):
        apply("streams: {/a: {name: q}, /b: {name: q}}", [block("/a", [1]), block("/b", [1])])


def test_a_stream_that_cannot_hold_times(apply):
    with pytest.raises(LogError, match="it should hold capture times"):
        apply("topics: {/t: {capture: /t.x}}", [block("/t.x", [[1, 2]])])


def test_names_that_do_not_fit(apply):
    with pytest.raises(SchemaError, match="3 names for 1 elements"):
        apply("streams: {/a: {names: [x, y, z]}}", [block("/a", [1])])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("streams: {/a: {rol: action}}", "cannot say rol; it can say clock, name, names, role"),
        ("streams: {/a: {role: actor}}", "role is 'actor', not one of observation, action"),
        ("streams: {/a: {skip: 3}}", "skip is 3, not true or false"),
        ("streams: {/a: {name: 3}}", "name is 3, not a text"),
        ("streams: {/a: {names: 3}}", "names should be a list"),
        ("streams: 3", "should be 'key: value' pairs"),
        ("topics: {/a: {unit: h}}", "unit is 'h', not one of ns, us, ms, s"),
        ("episode: {colour: red}", "cannot say colour"),
        ("stream: {}", "cannot say stream"),
        ("viae_mapping: 2", "a mapping begins with 'viae_mapping: 1'"),
        ("a: [", "the mapping cannot be read"),
    ],
)
def test_what_no_mapping_can_say(apply, text, said):
    with pytest.raises(UsageError, match=said):
        apply(text, [])
