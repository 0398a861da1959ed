"""A vocabulary: events to tokens and back, saved and loaded."""

import numpy as np
import pytest

from base_events import ACTION, KINDS, MODE, STATE, WIDE, made
from viae.errors import TokenError
from viae.model.tokens.grid import Painter
from viae.model.tokens.picture import PictureConfig, PictureNet
from viae.model.tokens.runs import PictureCodec
from viae.model.tokens.vocabulary import Vocabulary
from viae.schema import Kind, StreamSpec

ALL = (*KINDS, WIDE)
EPISODES = [made(seed, streams=ALL) for seed in range(12)]
VOCABULARY = Vocabulary.fit(EPISODES, chunk=3, bins=32)


def samples(vocabulary, events, stream):
    """Per type of a stream: its tokens, its values and the value before each; times too."""
    encoded = vocabulary.encode(events)
    number = [s.name for s in events.streams].index(stream)
    at = np.flatnonzero(events.stream == number)
    values = events.values[stream]
    gap = np.diff(events.arrival_ns, prepend=events.arrival_ns[:1])[at]
    age = (events.arrival_ns - events.capture_ns)[at]
    for first in (True, False):
        kind = vocabulary.type_of(stream, first=first)
        rows = slice(0, 1) if first else slice(1, None)
        before = None if first else values[:-1]
        yield kind, encoded.tokens[kind], values[rows], before, gap[rows], age[rows]


@pytest.mark.parametrize("stream", [s.name for s in ALL] + ["instruction", "outcome"])
def test_there_and_back(stream):
    seen, errors = 0, []
    for events in EPISODES[:4]:
        for kind, tokens, values, before, gap, age in samples(VOCABULARY, events, stream):
            if not len(values):
                continue
            slots = VOCABULARY.types[kind].slots
            assert tokens.shape == (len(values), len(slots))
            assert (tokens < np.array(slots)).all()
            found_gap, found_age, found = VOCABULARY.decode(kind, tokens, before)
            np.testing.assert_allclose(found_gap, gap, rtol=0.05, atol=2)
            if found_age is None:
                assert len(np.unique(age)) == 1
            else:
                np.testing.assert_allclose(found_age, age, rtol=0.05, atol=2)
            if isinstance(values, list):
                assert list(found) == values
            elif values.dtype.kind in "ib":
                np.testing.assert_array_equal(found, values)
            elif stream == "wide":  # of twelve short episodes: no more than the trend
                assert found.shape == values.shape
            else:
                errors.append(np.abs(found - values))
            seen += len(values)
    assert seen
    if errors:
        spread = np.concatenate([e.values[stream] for e in EPISODES]).std()
        assert np.median(np.concatenate(errors)) < 0.1 * spread


@pytest.mark.parametrize("stream", ["state", "mode", "said", "force"])
def test_the_decoded_has_the_same_tokens(stream):
    for kind, tokens, _, before, _, _ in samples(VOCABULARY, EPISODES[0], stream):
        content = VOCABULARY.types[kind].content
        own = tokens[:, VOCABULARY.types[kind].times :]
        np.testing.assert_array_equal(content.encode(content.decode(own, before), before), own)


def pictures():
    import torch

    torch.manual_seed(0)
    net = PictureNet(PictureConfig(size=(16, 16), patch=8, levels=(4, 4), width=8, depth=1))
    return PictureCodec(Painter(net.eval()), threshold=0.01, room=8)


def test_pictures_there_and_back(tmp_path):
    from base_events import STEP, column
    from viae.load.events import assemble

    camera = StreamSpec(name="camera", kind=Kind.IMAGE, dtype="uint8", shape=(16, 16, 3))
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 256, (3, 3, 16, 16), np.uint8), 2, 0)
    events = assemble(
        [column(camera, np.arange(1, 7) * STEP, frames)], first=None, last=None,
        stops=np.empty((0, 2), np.int64),
    )  # fmt: skip
    vocabulary = Vocabulary.fit([events], pictures={"camera": pictures()})
    assert Vocabulary.fit([events, EPISODES[0]]).left["camera"].startswith("it has pictures")
    encoded = vocabulary.encode(events)
    again = saved(vocabulary, tmp_path).encode(events)
    for kind, tokens in encoded.tokens.items():
        np.testing.assert_array_equal(again.tokens[kind], tokens)
    np.testing.assert_array_equal(again.features[0], encoded.features[0])
    first = vocabulary.type_of("camera", first=True)
    _, _, shown = vocabulary.decode(first, encoded.tokens[first], None)
    assert shown.shape == (1, 3, 16, 16) and shown.dtype == np.uint8


def saved(vocabulary, folder):
    vocabulary.save(folder)
    return Vocabulary.load(folder)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    again = saved(VOCABULARY, tmp_path)
    assert again.streams == VOCABULARY.streams
    assert (again.slots, again.features, again.stream_of, again.left) == (
        VOCABULARY.slots, VOCABULARY.features, VOCABULARY.stream_of, VOCABULARY.left,
    )  # fmt: skip
    assert [(q.name, q.steps) for q in again.questions] == [
        (q.name, q.steps) for q in VOCABULARY.questions
    ]
    one, other = VOCABULARY.encode(EPISODES[3]), again.encode(EPISODES[3])
    np.testing.assert_array_equal(one.types, other.types)
    for name in ("tokens", "features"):
        for key, value in getattr(one, name).items():
            np.testing.assert_array_equal(getattr(other, name)[key], value)
    for key, (at, answers) in one.asked.items():
        np.testing.assert_array_equal(other.asked[key][0], at)
        np.testing.assert_array_equal(other.asked[key][1], answers)
    (tmp_path / "twice").mkdir()
    again.save(tmp_path / "twice")
    assert (tmp_path / "twice" / "vocabulary.json").read_text() == (
        tmp_path / "vocabulary.json"
    ).read_text()


def test_streams_that_it_does_not_have_are_left_out():
    small = Vocabulary.fit([made(s, streams=(STATE, ACTION)) for s in range(4)], chunk=2, bins=16)
    one, other = small.encode(made(9)), small.encode(made(9, streams=(STATE, ACTION)))
    assert len(one) == len(other) < len(made(9))
    np.testing.assert_array_equal(one.types, other.types)
    for group in one.asked:
        np.testing.assert_array_equal(one.asked[group][1], other.asked[group][1])


def test_an_answer_that_is_certain_says_so():
    assert VOCABULARY.certain == {}
    sure = Vocabulary.fit([made(s, good=True) for s in range(3)], bins=16)
    assert sure.certain == {"outcome": "it was always [True]"}
    assert sure.slots[sure.question("outcome")] == ()


def test_what_it_does_not_have():
    with pytest.raises(TokenError, match="the model has no stream 'x'"):
        VOCABULARY.type_of("x", first=True)
    with pytest.raises(TokenError, match=r"cannot be asked 'x'; it can be asked \['next/action'"):
        VOCABULARY.question("x")
    with pytest.raises(TokenError, match="no stream of these episodes has tokens"):
        Vocabulary.fit([])


def test_chunks_are_the_actions_from_the_next_on():
    events = made(5, streams=(STATE, ACTION, MODE))
    vocabulary = Vocabulary.fit([events], chunk=3, bins=64)
    at, answers = vocabulary.encode(events).asked[vocabulary.question("next/action")]
    codec = vocabulary.questions[0].codec
    names = [s.name for s in events.streams]
    roles = [events.streams[s].role for s in events.stream]
    for place, answer in zip(at.tolist(), answers, strict=True):
        rows = [
            int(events.row[i])
            for i in range(place + 1, len(events))
            if names[events.stream[i]] == "action"
        ]
        assert roles[place] is not ACTION.role
        assert names[events.stream[place + 1]] == "action"
        wanted = np.full((1, 3, 2), np.nan)
        wanted[0, : len(rows[:3])] = events.values["action"][rows[:3]]
        np.testing.assert_array_equal(codec.encode(wanted, None)[0], answer)
    assert len(at) == len(events.values["action"])
