"""ROS messages by column give what rosbags gives one by one, for any type and any content."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from viae.logs.messages import Channel, Topic, one_by_one
from viae.logs.messages import topic as topic_module

NUMBERS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float32", "float64"]
HEADER = """
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
================================================================================
MSG: pkg/Inner
uint8 flag
float64[2] pair
string word
"""


@st.composite
def definitions(draw):
    """Fields of every form, in any order, so that every alignment comes up."""
    kinds = st.one_of(
        st.sampled_from([*NUMBERS, *FLOATS, "string", "pkg/Inner", "builtin_interfaces/Time"]),
        st.builds("{}[{}]".format, st.sampled_from(NUMBERS + FLOATS), st.integers(1, 3)),
        st.builds("{}[]".format, st.sampled_from([*NUMBERS, *FLOATS, "string", "pkg/Inner"])),
        st.builds("{}[<={}]".format, st.sampled_from(["float32", "string"]), st.just(4)),
        st.just("string<=9"),
    )
    fields = [f"{kind} f{i}" for i, kind in enumerate(draw(st.lists(kinds, max_size=6)))]
    header = draw(st.booleans())
    return "\n".join((["std_msgs/Header header"] if header else []) + fields)


def fill(store, name, rng, lengths):
    """A random message; ``lengths`` decides how often sizes change."""
    cls = store.types[name]
    values = []
    for _, (kind, of) in store.fielddefs[name][1]:
        values.append(value_of(store, kind, of, rng, lengths))
    return cls(*values)


def value_of(store, kind, of, rng, lengths):
    if kind == 2:  # a message
        return fill(store, of, rng, lengths)
    if kind == 1:
        if of[0] == "string":
            return "".join(rng.choice(list("abcä"), lengths(rng)))
        dtype = np.dtype(of[0])
        return numbers(rng, dtype, 1)[0].item()
    (inner, base), size = of
    count = size if kind == 3 else min(lengths(rng), size or 9)
    if inner == 1 and base[0] != "string":
        return numbers(rng, np.dtype(base[0]), count)
    return [value_of(store, inner, base, rng, lengths) for _ in range(count)]


def numbers(rng, dtype, count):
    if dtype.kind == "f":
        return rng.standard_normal(count).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, count).astype(bool)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, count, dtype=dtype, endpoint=True)


def read(channel, messages, *, columns):
    """Everything a topic gives, per stream."""
    topic = Topic("log", channel, set())
    if not columns:
        topic._type = type(topic._type)(
            **{f: getattr(topic._type, f) for f in ("shape", "decode", "pick", "plain", "ns")}
        )
    blocks = [*topic.add(messages), *topic.flush()]
    found = {}
    for block in blocks:
        values = [v.tolist() if isinstance(v, np.ndarray) else v for v in block.values]
        spec = json.dumps(block.spec.to_json())
        times = (block.capture_ns.tolist(), block.arrival_ns.tolist(), block.seq.tolist())
        old = found.setdefault(spec, ([], [], [], []))
        for mine, more in zip(old, (*times, values), strict=True):
            mine.extend(more)
    return found, list(topic.losses())


@settings(max_examples=60, deadline=None)
@given(definitions(), st.integers(0, 2**32), st.booleans(), st.booleans(), st.sampled_from([0, 9]))
def test_columns_equal_messages(definition, seed, is_cdr, is_little, change_every):
    rng = np.random.default_rng(seed)
    text = definition + HEADER
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, "pkg/msg/Made"))
    constant = int(rng.integers(0, 4))

    def lengths(rng):
        return int(rng.integers(0, 4)) if change_every else constant

    data = []
    message = fill(store, "pkg/msg/Made", rng, lengths)
    for i in range(40):
        if not change_every or i % change_every < 2:
            message = fill(store, "pkg/msg/Made", rng, lengths)
        if is_cdr:
            raw = store.serialize_cdr(message, "pkg/msg/Made", little_endian=is_little)
        else:
            raw = store.serialize_ros1(message, "pkg/msg/Made")
        data.append(bytes(raw))
    if seed % 3 == 0:
        data[20] = data[20][:-5]  # one that does not decode
    channel = Channel(
        topic="/made",
        encoding="cdr" if is_cdr else "ros1",
        schema_name="pkg/msg/Made",
        schema_encoding="ros2msg" if is_cdr else "ros1msg",
        schema=text.encode(),
    )
    times = list(range(1000, 1040))
    messages = one_by_one(data, times, times, [0] * 40)
    assert read(channel, messages, columns=True) == read(channel, messages, columns=False)


def test_runs_are_really_taken_by_column(monkeypatch):
    """Else the property above would hold of a fast path that never runs."""
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg("float64 x\nstring s\nstring[] names", "pkg/msg/Made"))
    made = store.types["pkg/msg/Made"]
    data = [
        bytes(store.serialize_cdr(made(float(i), "abc", ["left", "right"]), "pkg/msg/Made"))
        for i in range(100)
    ]
    monkeypatch.setattr(topic_module.Topic, "_decode", _only_the_first)
    channel = Channel(
        topic="/made", encoding="cdr", schema_name="pkg/msg/Made", schema_encoding="ros2msg",
        schema=b"float64 x\nstring s\nstring[] names",
    )  # fmt: skip
    topic = Topic("log", channel, set())
    blocks = [*topic.add(one_by_one(data, [0] * 100, [0] * 100, [0] * 100)), *topic.flush()]
    assert {block.spec.name: len(block) for block in blocks} == {
        "/made.x": 100, "/made.s": 100, "/made.names": 100,
    }  # fmt: skip


_decode = topic_module.Topic._decode


def _only_the_first(self, run, seq):
    assert len(run) == 1 and seq[0] == 0, "a run was decoded message by message"
    _decode(self, run, seq)
