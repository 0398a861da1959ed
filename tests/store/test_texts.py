"""Words of a store: which there are, and how they are found."""

import pytest

from builders import STATE, SUCCESS, samples, write
from viae.errors import UsageError
from viae.schema import Fact, Kind, StreamSpec
from viae.store import Store
from viae.store.texts import Text, TextIndex, read_texts

SPEECH = StreamSpec(name="robot.speech", kind=Kind.TEXT, dtype="")


def said(key, value, **subject):
    return Fact(episode_id="a", key=key, value=value, author="me", time_ns=1, **subject)


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store")
    write(
        store, "a",
        [
            samples(STATE, [[1, 2]] * 4),
            samples(SPEECH, ["I see the cup", "the gripper slipped"], [1, 3]),
            samples(SUCCESS, [[False], [True], [True], [False], [True]], [0, 1, 2, 3, 4]),
        ],
        task="pick up the red cup", outcome=False,
    )  # fmt: skip
    write(store, "b", task="open the drawer", outcome=True)
    write(store, "c")
    store.add_facts(
        [
            said("intervention", True, start_ns=2, end_ns=4),
            said("note", {"why": "collided with the shelf"}),
            said("intervention", False, start_ns=7, end_ns=9),
        ]
    )
    return store


def everything(store, ids=("a", "b", "c")):
    return TextIndex(list(read_texts(store, ids)))


def test_all_words_are_there(store):
    found = {
        (t.episode_id, t.source, t.name, t.text, t.start_ns, t.end_ns)
        for t in everything(store).texts
    }
    assert found == {
        ("a", "task", "task", "pick up the red cup", None, None),
        ("a", "outcome", "outcome", "failure", None, None),
        ("a", "fact", "intervention", "", 2, 4),
        ("a", "fact", "note", '{"why": "collided with the shelf"}', None, None),
        ("a", "stream", "robot.speech", "I see the cup", 1, 1),
        ("a", "stream", "robot.speech", "the gripper slipped", 3, 3),
        ("a", "event", "success", "", 1, 1),
        ("a", "event", "success", "", 4, 4),
        ("b", "task", "task", "open the drawer", None, None),
        ("b", "outcome", "outcome", "success", None, None),
    }


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("cup", {("a", "task"), ("a", "stream")}),
        ("red CUPS", {("a", "task")}),
        ("slip", {("a", "stream")}),
        ("intervention", {("a", "fact")}),
        ("interventions", {("a", "fact")}),
        ("collide shelf", {("a", "fact")}),
        ("collide drawer", set()),
        ("failure", {("a", "outcome")}),
        ("success", {("a", "event"), ("b", "outcome")}),
        ("speech", {("a", "stream")}),
        ("ladder", set()),
    ],
)
def test_every_word_must_occur(store, words, found):
    hits = everything(store).find(words)
    assert {(hit.episode_id, hit.source) for hit in hits} == found
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(hit.score > 0 for hit in hits)


def test_only_the_episodes_that_are_wanted_and_the_best_of_them(store):
    assert everything(store, ["b"]).find("cup") == []
    assert len(everything(store).find("cup", 1)) == 1
    assert everything(store, ["c"]).texts == ()
    assert everything(store, ["c"]).find("cup") == []


@pytest.mark.parametrize("words", ["", "  ", "!?"])
def test_no_word_is_no_search(store, words):
    with pytest.raises(UsageError, match="no word"):
        everything(store).find(words)


def test_the_newest_outcome_counts(store):
    store.add_facts([said("outcome", True)])
    texts = [t.text for t in read_texts(store, ["a"]) if t.source == "outcome"]
    assert texts == ["success"]


def test_a_snapshot_says_what_it_said(store):
    then = store.at(store.snapshot())
    store.add_facts([said("note2", "a ladder fell")])
    assert everything(store).find("ladder")
    assert not everything(then).find("ladder")


def test_texts_keep_their_order_where_they_fit_alike():
    texts = [Text(episode_id=str(n), source="task", name="task", text="push it") for n in range(30)]
    assert [t.episode_id for t in TextIndex(texts).find("push")] == [str(n) for n in range(30)]
