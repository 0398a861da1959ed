"""Stream specs refuse what contradicts itself."""

import pytest

from viae.errors import SchemaError
from viae.schema import Kind, Role, StreamSpec


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": ""}, "a stream needs a name"),
        ({"kind": Kind.TEXT}, "stream 'q': text has no dtype, not 'float64'"),
        ({"dtype": "<U3"}, "dtype '<U3' is not a number of at most 64 bits"),
        ({"dtype": "complex64"}, "is not a number"),
        ({"dtype": "longdouble"}, "is not a number of at most 64 bits"),
        ({"dtype": "floaty"}, "dtype 'floaty' is not a number"),
        ({"dtype": ""}, "dtype '' is not a number"),
        ({"shape": (-1, 3)}, "only a stream of one dimension may vary"),
        ({"shape": (-2,)}, "is not allowed"),
        ({"shape": (3,), "names": ("x", "y")}, "2 names for 3 elements"),
    ],
)
def test_contradictions_are_refused(fields, text):
    with pytest.raises(SchemaError) as caught:
        StreamSpec(**{"name": "q"} | fields)
    assert text in str(caught.value)


def test_size_and_varying():
    assert StreamSpec(name="q", shape=(2, 3)).size == 6
    assert StreamSpec(name="q").size == 1
    assert StreamSpec(name="q", shape=(0,)).size == 0
    ragged = StreamSpec(name="q", shape=(-1,), names=("any", "number"))
    assert ragged.varies
    assert ragged.size == -1


def test_roles_rank_in_causal_order():
    assert [role.rank for role in (Role.OBSERVATION, Role.ACTION, Role.OUTCOME)] == [0, 1, 2]


def test_json_leaves_out_what_is_empty():
    spec = StreamSpec(name="note", kind=Kind.TEXT, dtype="")
    assert spec.to_json() == {
        "name": "note", "kind": "text", "role": "observation", "clock": "log"
    }  # fmt: skip
