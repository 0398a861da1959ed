"""Embed and search: resumable, causal windows, hits apart in time, pages with pictures."""

from types import MappingProxyType

import numpy as np
import pytest

from builders import ACTION, CAMERA, STATE, png, reaching_store, samples, write
from viae import Fact, Store, Take, WindowSpec
from viae.errors import NoSuchEpisodeError, QueryError, UsageError
from viae.schema import Kind, StreamSpec
from viae.store.vectors import Vectors
from viae.verbs.embed import embed
from viae.verbs.search import Moment, search
from viae.verbs.search_page import search_page

SPEECH = StreamSpec(name="speech", kind=Kind.TEXT, dtype="")
S = 10**9


class Here:
    """A window's vector is its last state, and one, so that none is zero."""

    embedder_id = "here"
    window = WindowSpec(
        decision=STATE.name,
        inputs=(Take(stream=STATE.name, steps=(-2, 0)),),
        targets=(Take(stream=ACTION.name, steps=(0, 1)),),
    )
    picture_sizes = MappingProxyType({})
    streams = (STATE, ACTION)

    def __init__(self):
        self.seen = 0

    def refuses(self, episode):
        return "it is forbidden" if episode.task == "forbidden" else ""

    def embed(self, windows):
        self.seen += len(windows)
        last = windows.inputs[STATE.name][:, -1].astype(np.float32)
        return np.hstack([last, np.ones((len(last), 1), np.float32)])


def walk(store, name, values, *, blocks=(), **fields):
    """An episode of a decision a second."""
    times = [n * S for n in range(len(values))]
    write(
        store, name, [samples(STATE, values, times), *blocks],
        start_ns=0, end_ns=(len(values) - 1) * S, **fields,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """Three that go round a circle, the second from the other side, and one that stands still."""
    store = Store.create(tmp_path / "store")
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    walk(store, "aa1", circle, task="round", outcome=True)
    walk(
        store, "ab2", np.roll(circle, 20, axis=0), task="round", outcome=False,
        blocks=[samples(SPEECH, ["the gripper slipped"], [5 * S])],
    )  # fmt: skip
    walk(store, "bc3", circle * 1.001, task="round twice", outcome=True)
    walk(store, "still", np.full((40, 2), 30.0), task="stand")
    return store


def moments(report):
    return [(hit.episode.episode_id, hit.at_s) for hit in report.hits]


def test_every_decision_becomes_a_vector_even_where_no_target_is_left(store):
    report = embed(store, Here())
    assert (report.episodes, report.windows, report.rows, report.dimension) == (4, 160, 160, 3)
    assert (report.known, report.indexed, dict(report.left_out)) == (0, False, {})
    rows = store.table("vectors.here").to_table().to_pylist()
    own = sorted((r for r in rows if r["episode_id"] == "aa1"), key=lambda r: r["decision_ns"])
    assert [r["decision_ns"] for r in own] == [n * S for n in range(40)]
    assert [(r["start_ns"], r["end_ns"]) for r in own[:4]] == [
        (0, 0), (S, S), (0, 2 * S), (S, 3 * S),
    ]  # fmt: skip
    [run] = store.runs("embed")
    assert run["bundle"] == "here"


def test_what_is_embedded_is_left_alone_and_what_is_new_is_added(store):
    embedder = Here()
    embed(store, embedder, where="episode_id = 'aa1'")
    version = store.table("vectors.here").version
    again = embed(store, embedder, where="episode_id = 'aa1'")
    assert (again.episodes, again.known, again.windows) == (0, 1, 0)
    assert store.table("vectors.here").version == version
    rest = embed(store, embedder)
    assert (rest.episodes, rest.known, rest.rows) == (3, 1, 160)
    assert embedder.seen == 160


def test_a_kill_leaves_nothing_half(store):
    class Killed(Here):
        def embed(self, windows):
            if self.seen >= 80:
                raise KeyboardInterrupt
            return super().embed(windows)

    with pytest.raises(KeyboardInterrupt):
        embed(store, Killed(), at_once=1)
    vectors = Vectors(store, "here")
    assert len(vectors) == 40 * len(vectors.episode_ids())
    report = embed(store, Here(), at_once=1)
    assert (report.known, report.episodes) == (2, 2)
    whole = embed(Store.create(store.uri), Here())
    assert (whole.rows, whole.windows) == (160, 0)


def test_what_cannot_be_embedded_is_counted(store):
    write(store, "x", [samples(ACTION, [[0, 0]])])
    wide = StreamSpec(name=STATE.name, shape=(3,))
    write(store, "y", [samples(wide, [[0, 0, 1]])])
    walk(store, "z", [[1, 1]], task="forbidden")
    report = embed(store, Here())
    assert report.episodes == 4
    assert dict(report.left_out) == {
        "it has no stream 'observation.state'": 1,
        "its stream 'observation.state' is vector[3], not vector[2]": 1,
        "it is forbidden": 1,
    }
    with pytest.raises(UsageError, match=r"fits none of 1 episodes: it is forbidden \(1\)"):
        embed(store, Here(), where="episode_id = 'z'")
    with pytest.raises(UsageError, match="no episode fits"):
        embed(store, Here(), where="false")


def test_like_finds_the_same_place_in_other_episodes(store):
    embed(store, Here())
    report = search(store, like="aa1@10s", k=2)
    assert moments(report) == [("bc3", 10.0), ("ab2", 30.0)] or moments(report) == [
        ("ab2", 30.0), ("bc3", 10.0),
    ]  # fmt: skip
    assert report.like is not None
    assert (report.like.at_s, report.like.distance, report.embedder) == (10.0, 0.0, "here")
    assert all(hit.distance < 1e-4 for hit in report.hits)
    assert moments(search(store, like="aa1@10.9s", k=2)) == moments(report)


def test_neighbours_count_once_unless_asked(store):
    embed(store, Here())
    apart = search(store, like="aa1@10s", k=6, apart_s=5)
    by_episode = {}
    for episode_id, at_s in [*moments(apart), ("aa1", 10.0)]:
        by_episode.setdefault(episode_id, []).append(at_s)
    assert all(np.diff(sorted(times)).min(initial=9) >= 5 for times in by_episode.values())
    near = search(store, like="aa1@10s", k=5, apart_s=0)
    assert {("aa1", 9.0), ("aa1", 11.0)} & set(moments(near))
    assert ("aa1", 10.0) not in moments(near)


def test_hits_run_out(store):
    embed(store, Here())
    assert len(search(store, like="aa1@10s", k=500, apart_s=0).hits) == 159
    assert len(search(store, like="aa1@10s", k=500, where="task = 'stand'", apart_s=0).hits) == 40


def test_sql_and_words_narrow_it(store):
    embed(store, Here())
    store.add_facts(
        [
            Fact(
                episode_id="bc3", key="intervention", value=True, author="me", time_ns=1,
                start_ns=20 * S, end_ns=22 * S,
            )
        ]
    )  # fmt: skip
    narrowed = search(store, like="aa1@10s", where="outcome IS FALSE")
    assert {hit.episode.episode_id for hit in narrowed.hits} == {"ab2"}
    at = search(store, like="aa1@10s", event="slip", k=50)
    assert moments(at) and {(e, int(t)) for e, t in moments(at)} <= {("ab2", n) for n in (4, 5, 6)}
    assert {hit.text for hit in at.hits} == {"the gripper slipped"}
    taken = search(store, like="aa1@10s", event="interventions", k=50, apart_s=0.5)
    assert sorted(moments(taken)) == [("bc3", 20.0), ("bc3", 21.0), ("bc3", 22.0)]
    whole = search(store, like="aa1@10s", event="round twice", k=1)
    assert moments(whole) == [("bc3", 10.0)]
    assert search(store, like="aa1@10s", event="ladder").hits == ()


def test_words_alone_need_no_vectors(store):
    report = search(store, event="slipped")
    assert moments(report) == [("ab2", 5.0)]
    [hit] = report.hits
    assert (hit.source, hit.name, hit.text) == ("stream", "speech", "the gripper slipped")
    assert (hit.distance, report.embedder, report.like) == (None, "", None)
    assert {hit.episode.episode_id for hit in search(store, event="round").hits} == {
        "aa1", "ab2", "bc3",
    }  # fmt: skip
    assert moments(search(store, event="failure")) == [("ab2", 0.0)]
    assert search(store, event="slipped", where="outcome").hits == ()


def test_an_embedder_embeds_first_what_is_not_yet(store):
    embedder = Here()
    report = search(store, like="aa1@10s", where="task = 'stand'", embedder=embedder, k=3)
    assert {hit.episode.episode_id for hit in report.hits} == {"still"}
    assert Vectors(store, "here").episode_ids() == {"aa1", "still"}
    search(store, like="aa1@10s", where="task = 'stand'", embedder=embedder)
    assert embedder.seen == 80


def test_a_snapshot_is_searched_as_it_was_and_not_written(store):
    embed(store, Here(), where="episode_id <> 'bc3'")
    then = store.at(store.snapshot())
    embed(store, Here())
    assert {e for e, _ in moments(search(then, like="aa1@10s", k=50))} == {"aa1", "ab2", "still"}
    search(then, like="aa1@10s", embedder=Here())
    assert Vectors(then, "here").episode_ids() == {"aa1", "ab2", "still"}


def test_several_embedders(store):
    class There(Here):
        embedder_id = "there"

    embed(store, Here())
    embed(store, There())
    with pytest.raises(
        UsageError, match=r"more than one .* here, there. Say which with --embedder"
    ):
        search(store, like="aa1@10s")
    assert search(store, like="aa1@10s", embedder="th").embedder == "there"
    with pytest.raises(UsageError, match="no embedder begins with 'x'; there are here, there"):
        search(store, like="aa1@10s", embedder="x")


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({}, UsageError, r"search for what\?"),
        ({"like": "aa1"}, UsageError, r"'aa1' is no moment: write EPISODE@SECONDS"),
        ({"like": "aa1@"}, UsageError, "is no moment"),
        ({"like": "@3s"}, UsageError, "is no moment"),
        ({"like": "aa1@12:30"}, UsageError, "is no moment"),
        ({"like": "aa1@nan"}, UsageError, "is no moment"),
        ({"like": "zz@1s"}, NoSuchEpisodeError, "no episode begins with 'zz'"),
        ({"like": "a@1s"}, NoSuchEpisodeError, "2 episodes begin with 'a'"),
        ({"like": "aa1@40s"}, UsageError, r"aa1 is 39.000 s long, and 40 s is outside of it"),
        ({"like": "aa1@-1s"}, UsageError, "-1 s is outside of it"),
        ({"like": "aa1@1s"}, UsageError, "nothing is embedded in this store yet"),
        ({"event": "!"}, UsageError, "no word to search for"),
        ({"event": "x", "where": "nope = 1"}, QueryError, "the query was refused"),
        ({"event": "x", "where": "false"}, UsageError, "no episode fits  false"),
        ({"event": "x", "k": 0}, UsageError, "at least 1 hit"),
        ({"event": "x", "apart_s": float("nan")}, UsageError, "apart nan s"),
    ],
)
def test_what_cannot_be_asked(store, asked, error, says):
    with pytest.raises(error, match=says):
        search(store, **asked)


def test_an_episode_without_vectors(store):
    embed(store, Here(), where="episode_id = 'bc3'")
    with pytest.raises(UsageError, match="no window of episode aa1 is among the vectors of 'here'"):
        search(store, like="aa1@1s")


def test_moments():
    assert Moment.parse(" 3f@12.3s ") == Moment(episode="3f", at_s=12.3)
    assert Moment.parse("3f@7") == Moment(episode="3f", at_s=7.0)
    assert Moment.parse("3f@.5s") == Moment(episode="3f", at_s=0.5)


def test_a_page_of_plots(store, tmp_path):
    embed(store, Here())
    report = search(store, like="aa1@10s", k=3)
    text = search_page(store, report, tmp_path / "new" / "hits.html").read_text()
    assert text.count("<article") == 4
    assert text.count("<svg") == 4
    assert "<img" not in text
    assert "bc3" in text and "round twice" in text


def test_a_page_of_pictures_and_of_one_that_is_broken(store, tmp_path):
    pixels = np.zeros((8, 12, 3), np.uint8)
    shots = [png(pixels + 20 * n) for n in range(4)]
    times = [n * S for n in range(4)]
    blocks = [samples(CAMERA, shots, times), samples(SPEECH, ["a <b>bang</b>"], [2 * S])]
    walk(store, "seen", np.ones((4, 2)), blocks=blocks)
    broken = [samples(CAMERA, [b"no"] * 4, times), samples(SPEECH, ["bang"], [S])]
    walk(store, "torn", np.ones((4, 2)), blocks=broken)
    report = search(store, event="bang")
    text = search_page(store, report, tmp_path / "hits.html").read_text()
    assert text.count("<img") == 3
    assert text.count("data:image/jpeg;base64,") == 3
    assert "a &lt;b&gt;bang" in text
    assert 'class="failed"' in text
    with pytest.raises(UsageError, match="cannot be written"):
        search_page(store, report, tmp_path / "hits.html" / "x.html")


def test_an_embedder_without_a_moment_is_refused(tmp_path):
    store = reaching_store(tmp_path / "store")
    with pytest.raises(UsageError, match="no moment to be like"):
        search(store, event="reach", embedder="anyone")


def test_a_cloned_policy_embeds(tmp_path):
    import torch

    from viae import CloneRecipe, LoopConfig
    from viae.train import train_clone

    torch.set_num_threads(1)
    store = reaching_store(tmp_path / "store")
    recipe = CloneRecipe(
        width=8, depth=1, chunk=3, batch_size=8, loop=LoopConfig(steps=2, check_every=2)
    )
    bundle = train_clone(store, store.episodes(), recipe, work=tmp_path / "work")
    bundle.save(tmp_path / "bundle")
    report = embed(store, tmp_path / "bundle", dtype="float16")
    assert (report.embedder, report.windows, report.dimension) == (bundle.bundle_id, 48, 8)
    write(store, "other", [samples(STATE, [[1, 1]]), samples(ACTION, [[1, 1]])], task="fly")
    again = embed(store, tmp_path / "bundle")
    assert dict(again.left_out) == {"the bundle does not know its task 'fly'": 1}
