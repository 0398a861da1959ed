"""What to load, as a file: what it may say, and what it is told when it does not make sense."""

import json

import numpy as np
import pytest

from builders import ACTION, STATE, reaching_store, samples, write
from viae.errors import UsageError
from viae.load.spec import LoadSpec, read_spec
from viae.schema import Take
from viae.store import Store
from viae.verbs import loader
from viae.video import PictureView

WHOLE = """
decision: observation.state
rate_hz: 10
inputs:
  observation.state: {steps: -2..0, age: true}
  camera: {offsets_s: [-0.1, 0.0], max_age_s: 0.2}
  action:
targets:
  action: {steps: 0..3}
pictures:
  camera: {size: [96, 96], crop: [0, 80, 480, 480]}
missing: skip
where: outcome
weights: "CASE WHEN outcome THEN 2 ELSE 1 END"
mass: episode
batch_size: 8
"""


def test_a_file_says_all_there_is_to_say(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(WHOLE)
    spec = read_spec(path)
    assert spec.window.inputs == (
        Take(stream="observation.state", steps=(-2, -1, 0), age=True),
        Take(stream="camera", offsets_s=(-0.1, 0.0), max_age_s=0.2),
        Take(stream="action", steps=(0,)),
    )
    assert spec.window.targets == (Take(stream="action", steps=(0, 1, 2, 3)),)
    assert (spec.window.rate_hz, spec.window.missing) == (10, "skip")
    assert spec.pictures == {"camera": PictureView((96, 96), (0, 80, 480, 480))}
    assert (spec.where, spec.batch_size, spec.mass) == ("outcome", 8, "episode")
    again = tmp_path / "again.json"
    again.write_text(json.dumps(spec.to_json()))
    assert read_spec(again) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("decision: x", "a spec needs 'decision' and 'inputs'"),
        ("- 1", "a spec is a mapping"),
        ("decision: [", "neither YAML nor JSON"),
        ("decision: x\ninputs: {q: {stepz: 1}}", "unknown 'stepz' of stream 'q'"),
        ("decision: x\ninputs: {q: }\nfps: 3", "unknown 'fps'; there are"),
        ("decision: x\ninputs: {q: {steps: 0..z}}", "'q': steps '0..z' is no range; write such as"),
        ("decision: x\ninputs: {q: {steps: 3..1}}", "steps '3..1' is no range"),
        ("decision: x\ninputs: {q: {steps: -9999999999..0}}", "is no range"),
        ("decision: x\ninputs: {q: {steps: [-1.5, 0]}}", "'q': steps are whole numbers .* -1.5"),
        ("decision: x\ninputs: {q: {steps: 1.5}}", "'q': steps is a whole number, or a list, not"),
        ("decision: x\ninputs: {q: {steps: [yes]}}", "steps are whole numbers .* True"),
        ("decision: x\ninputs: {q: {offsets_s: soon}}", "offsets_s is a number .* a list, not"),
        ("decision: x\ninputs: {q: {offsets_s: [.nan]}}", "offsets_s are seconds, finite"),
        ("decision: x\ninputs: {q: {max_age_s: 0}}", "max_age_s is seconds, above 0 .* not 0;"),
        ("decision: x\ninputs: {q: {max_age_s: .inf}}", "max_age_s is seconds, above 0 .* not inf"),
        ("decision: x\ninputs: {q: {age: 'no'}}", "age is true or false, not 'no'"),
        ("decision: x\ninputs: {q: 3}", "stream 'q': a take is a mapping such as"),
        ("decision: x\ninputs: q", "inputs is a mapping from stream to take, or a list, not 'q'"),
        ("decision: x\ninputs: [q]", "each of the list inputs is a mapping with 'stream', not 'q'"),
        ("decision: x\ninputs: [{steps: 0}]", "is a mapping with 'stream'"),
        ("decision: x\ninputs: {y: }\ntargets: 4", "targets is a mapping"),
        ("decision: x\ninputs: {true: }", "stream is the name of a stream, not True"),
        ("decision: [x]\ninputs: {q: }", "decision is the name of a stream"),
        ("decision:\ninputs: {q: }", "a spec needs 'decision' and 'inputs'"),
        ("decision: x\ninputs:", "a spec needs 'decision' and 'inputs'"),
        ("decision: x\ninputs: {q: }\n1: 2", "unknown 1; there are"),
        ("decision: x\ninputs: {q: }\nrate_hz: '10'", "rate_hz is a number, not '10'"),
        ("decision: x\ninputs: {q: }\nstops:", r"stops has no value; write \[\]"),
        ("decision: x\ninputs: {q: }\nstops: 3", "stops is text, or a list, not 3"),
        ("decision: x\ninputs: {q: }\nstops: [3]", "stops is a tuple of keys of facts"),
        ("decision: x\ninputs: {q: }\nbatch_size: 2.7", "batch_size is a whole number .* not 2.7"),
        ("decision: x\ninputs: {q: }\nbatch_size: 0", "batch_size is .* from 1 up, not 0"),
        ("decision: x\ninputs: {q: }\nbatch_size: -3", "batch_size is a whole number .* not -3"),
        ("decision: x\ninputs: {q: }\nwhere: [a]", "where is SQL over episodes"),
        ("decision: x\ninputs: {q: }\npictures: [a]", "pictures is a mapping from stream to view"),
        ("decision: x\ninputs: {q: }\npictures: {q: 3}", "pictures of 'q': .* not 3"),
        ("decision: x\ninputs: {q: }\npictures: {q: {sise: [4, 4]}}", "unknown 'sise' .* 'size'"),
        ("decision: x\ninputs: {q: }\npictures: {q: {size: [4, a]}}", "size is 2 whole numbers"),
        (
            "decision: x\ninputs: {q: }\npictures: {q: {size: 96}}",
            "size is 2 whole numbers, not 96",
        ),
        ("decision: x\ninputs: {q: }\npictures: {q: {crop: [1, 2]}}", "crop is 4 whole numbers"),
        ("decision: x\ninputs: {q: {steps: 1}}", "input 'q' looks ahead"),
        ("decision: x\ninputs: {q: }\nweights: 1\nmass: both", "mass is 'window' or 'episode'"),
        ("decision: x\ninputs: {q: }\nmass: episode", "there are none; to draw episodes alike"),
        ("decision: x\ninputs: {q: }\nrate_hz: 0", "a rate of 0 Hz makes no decisions"),
        ("decision: x\ninputs: {q: }\npictures: {q: {size: [0, 4]}}", "has no pixels"),
    ],
)
def test_what_makes_no_sense_is_said_with_the_file(tmp_path, text, said):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        read_spec(path)
    assert str(path) in str(caught.value)


def test_what_is_left_empty_is_as_if_it_were_not_there():
    bare = LoadSpec.from_json({"decision": "x", "inputs": {"q": None}})
    words = ("targets", "rate_hz", "missing", "pictures", "where", "batch_size", "weights", "mass")
    empty = dict.fromkeys(words) | {"decision": "x", "inputs": [{"stream": "q", "steps": None}]}
    assert LoadSpec.from_json(empty) == LoadSpec.from_json({**empty, "where": " "}) == bare
    assert (bare.where, bare.batch_size, bare.window.stops) == ("true", 64, ("intervention",))
    spec = LoadSpec.from_json({**empty, "pictures": {"q": None}, "stops": "reset", "where": True})
    assert (spec.pictures, spec.where) == ({"q": PictureView()}, "true")
    assert spec.window.stops == ("reset",)
    one = LoadSpec.from_json({"decision": "x", "inputs": {"q": {"offsets_s": -0.5}}, "stops": []})
    assert one.window.inputs == (Take(stream="q", offsets_s=(-0.5,)),)
    assert one.window.stops == ()


def test_a_damaged_bundle_is_said(tmp_path):
    for text in ("{", "[]", '{"picture_sizes": {}}'):
        (tmp_path / "bundle.json").write_text(text)
        with pytest.raises(UsageError, match="no bundle of viae, or a damaged one"):
            read_spec(tmp_path)


def test_batches_come_from_a_spec(tmp_path):
    store = reaching_store(tmp_path, episodes=3, steps=9)
    spec = LoadSpec.from_json(
        {
            "decision": STATE.name, "inputs": {STATE.name: None}, "targets": {ACTION.name: None},
            "batch_size": 4, "weights": "CASE WHEN episode_id = 'nobody' THEN 0 ELSE 2 END",
        }
    )  # fmt: skip
    batches = list(loader(store, spec, seed=3, drop_last=True))
    assert [len(batch) for batch in batches] == [4] * (27 // 4)
    [first] = store.episodes()[:1]
    only = loader(store, spec, where=f"episode_id = '{first.episode_id}'", seed=3)
    assert np.concatenate([batch.episodes for batch in only]).max() == 0
    with pytest.raises(UsageError, match="no episode fits"):
        loader(store, spec, where="false")


def test_the_mass_of_an_episode_does_not_grow_with_its_length(tmp_path):
    store = Store.create(tmp_path)
    for name, count in (("long", 90), ("short", 10)):
        at = np.arange(count) * 10_000_000
        write(store, name, [samples(STATE, np.zeros((count, 2)), at)])
    said = {"decision": STATE.name, "inputs": {STATE.name: None}, "weights": 1}
    shares = {}
    for mass in ("window", "episode"):
        batches = loader(store, LoadSpec.from_json({**said, "mass": mass}), seed=3)
        drawn = np.concatenate([batch.episodes for batch in batches])
        shares[mass] = float((drawn == 1).mean())
    assert shares["window"] == pytest.approx(0.1, abs=0.08)
    assert shares["episode"] == pytest.approx(0.5, abs=0.15)
