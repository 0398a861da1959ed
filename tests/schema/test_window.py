"""Takes, window specs and batches refuse what makes no sense."""

import numpy as np
import pytest

from viae.errors import SchemaError
from viae.schema import Batch, Take, WindowSpec

NOW = Take(stream="q", steps=(0,))


@pytest.mark.parametrize("fields", [{}, {"steps": (0,), "offsets_s": (0.0,)}])
def test_a_take_is_of_steps_or_of_offsets(fields):
    with pytest.raises(SchemaError, match="stream 'q': give either steps or offsets_s"):
        Take(stream="q", **fields)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"inputs": (Take(stream="q", steps=(1,)),)}, "input 'q' looks ahead of its decision"),
        ({"inputs": (Take(stream="q", offsets_s=(0.1,)),)}, "input 'q' looks ahead"),
        ({"targets": (Take(stream="a", steps=(-1,)),)}, "target 'a' looks back"),
        ({"targets": (Take(stream="a", offsets_s=(-0.1,)),)}, "target 'a' looks back"),
        (
            {"targets": (Take(stream="a", steps=(0,), max_age_s=1.0),)},
            "target 'a' cannot have a max_age_s",
        ),
        ({"inputs": (NOW, NOW)}, "a stream is taken twice among ['q', 'q']"),
        ({"rate_hz": 2e9}, "a rate of 2000000000.0 Hz makes no decisions"),
        ({"rate_hz": float("nan")}, "a rate of nan Hz makes no decisions"),
        ({"rate_hz": True}, "rate_hz is a number, not True"),
        ({"decision": 3}, "decision is the name of a stream, not 3"),
        ({"stops": "intervention"}, "stops is a tuple of keys of facts, each text, not 'intervent"),
        ({"stops": (1,)}, "stops is a tuple of keys of facts"),
        ({"missing": "guess"}, "missing is 'guess'; it can be 'pad' or 'skip'"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(fields, text):
    with pytest.raises(SchemaError) as caught:
        WindowSpec(**{"decision": "q", "inputs": (NOW,)} | fields)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"stream": ""}, "stream is the name of a stream, not ''"),
        ({"steps": (0.5,)}, "stream 'q': steps are whole numbers below 2^31, not 0.5"),
        ({"steps": (-(1 << 31),)}, "steps are whole numbers"),
        ({"steps": (), "offsets_s": (float("inf"),)}, "offsets_s are seconds, finite"),
        ({"steps": (), "offsets_s": ("1",)}, "offsets_s are seconds, finite and at most 4e9, not"),
        ({"max_age_s": 0}, "max_age_s is seconds, above 0"),
        ({"max_age_s": -1.0}, "max_age_s is seconds, above 0"),
        ({"max_age_s": float("nan")}, "max_age_s is seconds, above 0"),
        ({"max_age_s": 1e300}, "leave it out for no limit"),
        ({"max_age_s": "1"}, "max_age_s is seconds, above 0"),
        ({"age": 1}, "age is true or false, not 1"),
    ],
)
def test_a_take_that_makes_no_sense_is_refused(fields, text):
    with pytest.raises(SchemaError) as caught:
        Take(**{"stream": "q", "steps": (0,)} | fields)
    assert text in str(caught.value)


def test_numbers_of_numpy_are_numbers():
    take = Take(stream="q", steps=tuple(np.arange(-1, 1)), max_age_s=np.float32(0.5))
    assert len(take) == 2


def test_streams_of_a_window_are_named_once_and_sorted():
    spec = WindowSpec(decision="z", inputs=(NOW,), targets=(Take(stream="a", steps=(0,)),))
    assert spec.streams == ("a", "q", "z")


def test_the_length_of_a_take_is_its_number_of_samples():
    assert len(Take(stream="q", steps=(-2, -1, 0))) == 3
    assert len(Take(stream="q", offsets_s=(-0.1, 0.0))) == 2


def test_a_batch_has_one_number_of_windows():
    with pytest.raises(SchemaError, match=r"'q' has 3 windows, not 2"):
        Batch(
            inputs={"q": np.zeros((3, 1))}, targets={}, masks={}, tasks=("a", "b"),
            episodes=np.zeros(2, np.int64), decisions_ns=np.zeros(2, np.int64),
        )  # fmt: skip
