"""Lines into a log."""

import io
import json

import pytest

from viae.errors import SchemaError, UsageError
from viae.schema import Kind, StreamSpec
from viae.verbs.record_lines import parse_stream, record_lines


def lines(*objects):
    """As a pipe gives them."""
    return [json.dumps(each) + "\n" for each in objects]


def test_everything_a_line_may_say(tmp_path, read):
    path = tmp_path / "log.mcap"
    spec = StreamSpec(name="joints", shape=(2,), unit="rad")
    said = lines(
        {"spec": spec.to_json()},
        {"stream": "joints", "value": [0.5, 1], "capture_ns": 5, "arrival_ns": 7},
        {"stream": "force", "value": 1.5, "arrival_ns": 8},
        {"stream": "pose", "value": [[1, 2], [3, 4]]},
        {"stream": "said", "value": "hello"},
        {"stream": "raw", "base64": "AP8="},
        {"event": "stop", "why": "done", "arrival_ns": 9},
    )
    done = record_lines([*said, "\n"], path, task="wave", clock_ns=lambda: 77)
    assert done.samples == {
        "events": 1, "force": 1, "joints": 1, "pose": 1, "raw": 1, "said": 1
    }  # fmt: skip
    log = read(path)
    assert log.losses == []
    assert log.statements == {"task": "wave"}
    assert log.values == {
        "joints": [[0.5, 1]], "force": [[1.5]], "pose": [[[1, 2], [3, 4]]], "said": ["hello"],
        "raw": [b"\x00\xff"], "events": ['{"event": "stop", "why": "done"}'],
    }  # fmt: skip
    assert log.specs["joints"].unit == "rad"
    assert (log.capture["joints"], log.arrival["joints"]) == ([5], [7])
    assert (log.capture["force"], log.arrival["force"]) == ([8], [8])
    assert (log.capture["pose"], log.arrival["pose"]) == ([77], [77])


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("{", "line 2: this is no JSON: '{'"),
        ("[1]", "line 2: this is no JSON object"),
        ('{"value": 1}', "line 2: a sample has 'stream', 'value' or 'base64'"),
        ('{"stream": "q", "value": 1, "time": 3}', "line 2: a sample has"),
        ('{"stream": "q", "value": 1, "arrival_ns": 1.5}', "1.5, not a whole number of nanosec"),
        ('{"stream": "q", "value": {"a": 1}}', "a value of object, not float64"),
        ('{"stream": "p", "value": {"a": 1}}', "is neither numbers nor text; declare the stream"),
        ('{"stream": "p", "value": [[1], [2, 3]]}', "is neither numbers nor text"),
        ('{"stream": "q", "value": [1, 2]}', "line 2: stream 'q': a value of shape"),
        ('{"stream": "r", "base64": "?"}', "'base64' does not decode"),
        ('{"spec": {"name": "r", "kind": "smell"}}', "is no stream's spec"),
        ('{"spec": {"name": "q", "kind": "text"}}', "there is another stream 'q' already"),
    ],
)
def test_a_bad_line_is_named_and_the_log_is_whole(tmp_path, read, bad, text):
    path = tmp_path / "log.mcap"
    with pytest.raises((UsageError, SchemaError)) as caught:
        record_lines([*lines({"stream": "q", "value": 1}), bad], path)
    assert text in str(caught.value)
    log = read(path)
    assert (log.values, log.losses) == ({"q": [[1]]}, [])


def test_an_interrupt_closes_the_log(tmp_path, read):
    def typed():
        yield from lines({"stream": "q", "value": 1})
        raise KeyboardInterrupt

    path = tmp_path / "log.mcap"
    assert record_lines(typed(), path).interrupted
    assert read(path).losses == []


def test_streams_in_few_words():
    assert parse_stream("q") == StreamSpec(name="q", shape=(1,))
    assert parse_stream("q:vector:2x3:rad") == StreamSpec(name="q", shape=(2, 3), unit="rad")
    assert parse_stream("q::-1") == StreamSpec(name="q", shape=(-1,))
    assert parse_stream("t:text") == StreamSpec(name="t", kind=Kind.TEXT, dtype="")
    assert parse_stream("e:jpeg:48x64x3").shape == (48, 64, 3)
    assert parse_stream("v:h264").kind is Kind.VIDEO
    for bad in ("", "q:smell", "q:vector:a", "q:vector:1:rad:5"):
        with pytest.raises(UsageError, match="is no stream"):
            parse_stream(bad)


def test_command(tmp_path, viae, monkeypatch, read):
    path = tmp_path / "log.mcap"
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(lines({"stream": "q", "value": [1, 2]}))))
    said = viae(
        "record", "--lines", path, "--stream", "q:vector:2:m", "--task", "wave", "--flush-s", "0.1",
        "--fsync", "--json",
    )  # fmt: skip
    assert said.code == 0
    assert json.loads(said.out)["samples"] == {"q": 1}
    log = read(path)
    assert (log.values, log.specs["q"].unit) == ({"q": [[1, 2]]}, "m")
    assert viae("record", "--lines", path).code == 1  # it is there already
    said = viae("record")
    assert said.code == 2
    assert "say what to record: --task NAME, or --lines OUT.mcap" in said.err
