"""Blocks of samples check their lengths, dtypes and shapes when made."""

import numpy as np
import pytest

from builders import ns, samples
from viae.errors import SchemaError
from viae.schema import Kind, Samples, StreamSpec, VideoGroup

Q = StreamSpec(name="q", shape=(2,))
VIDEO = StreamSpec(name="eye", kind=Kind.VIDEO, dtype="uint8", encoding="h264")


def make(spec=Q, **fields):
    given = {"capture_ns": ns([0]), "arrival_ns": ns([0]), "seq": ns([0])}
    return Samples(spec=spec, **{**given, "values": np.zeros((1, 2)), **fields})


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"capture_ns": ns([0, 1])}, "capture_ns is int64[2], not int64[1]"),
        ({"arrival_ns": np.zeros(1)}, "arrival_ns is float64[1], not int64[1]"),
        ({"seq": np.zeros((1, 1), np.int64)}, "seq is int64[1, 1], not int64[1]"),
        ({"values": np.zeros((1, 3))}, "values are float64[1, 3], not float64[1, 2]"),
        ({"values": np.zeros((1, 2), np.float32)}, "values are float32[1, 2], not float64[1, 2]"),
        ({"spec": VIDEO}, "video travels as VideoGroup"),
        (
            {"spec": StreamSpec(name="t", kind=Kind.TEXT, dtype=""), "values": ["a", "b"]},
            "2 values for 1 times",
        ),
        (
            {"spec": StreamSpec(name="r", shape=(-1,)), "values": [np.zeros(2, np.int64)]},
            "stream 'r': a value is int64[2], not float64[any]",
        ),
    ],
)
def test_disagreements_are_refused(fields, text):
    with pytest.raises(SchemaError) as caught:
        make(**fields)
    assert text in str(caught.value)


@pytest.mark.parametrize("seq", [[0, 0], [1, 0]])
def test_seq_increases(seq):
    with pytest.raises(SchemaError, match="seq does not increase"):
        make(
            capture_ns=ns([0, 0]), arrival_ns=ns([0, 0]), seq=ns(seq), values=np.zeros((2, 2))
        )  # fmt: skip


def test_repr_says_how_many():
    assert repr(samples(Q, np.zeros((3, 2)))) == "Samples('q', vector, n=3)"


@pytest.mark.parametrize(
    "fields", [{"packets": ()}, {"pts": ns([0, 1])}, {"spec": Q}, {"arrival_ns": ns([])}]
)
def test_video_groups_agree_in_length(fields):
    given = {
        "spec": VIDEO, "extradata": b"", "packets": (b"x",), "pts": ns([0]), "time_base": (1, 30),
        "capture_ns": ns([0]), "arrival_ns": ns([0]), "seq": ns([0]),
    }  # fmt: skip
    assert repr(VideoGroup(**given)) == "VideoGroup('eye', h264, n=1)"
    with pytest.raises(SchemaError, match="times"):
        VideoGroup(**given | fields)
