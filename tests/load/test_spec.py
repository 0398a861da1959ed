"""What to load, as a file: what it may say, and what it is told when it does not make sense."""

import json

import numpy as np
import pytest

from builders import ACTION, STATE, reaching_store
from viae.errors import UsageError
from viae.load.spec import LoadSpec, read_spec
from viae.schema import Take
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
    assert (spec.where, spec.batch_size) == ("outcome", 8)
    again = tmp_path / "again.json"
    again.write_text(json.dumps(spec.to_json()))
    assert read_spec(again) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("decision: x", "a spec needs 'decision' and 'inputs'"),
        ("- 1", "a spec is a mapping"),
        ("decision: [", "neither YAML nor JSON"),
        ("decision: x\ninputs: {q: {stepz: 1}}", r"unknown \['stepz'\] of stream 'q'"),
        ("decision: x\ninputs: {q: }\nfps: 3", "unknown 'fps'; there are"),
        ("decision: x\ninputs: {q: {steps: 0..z}}", "invalid literal"),
        ("decision: x\ninputs: {q: {steps: 1}}", "input 'q' looks ahead"),
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
