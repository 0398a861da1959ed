"""Requests that make no sense: one sentence that says what to do, and exit code 2."""

import subprocess
import sys
from pathlib import Path

import lance
import pytest

from viae import Recorder, Store, StreamSpec
from viae.schema.tables import COMPATIBILITY, COMPATIBILITY_KEY, TABLES


def test_path_that_does_not_exist(viae, tmp_path: Path):
    said = viae("ingest", tmp_path / "nope", "--store", tmp_path / "store")
    assert (said.code, said.out) == (2, "")
    assert said.err == f"error {tmp_path / 'nope'}: there is nothing here. Check the path\n"
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "words",
    [("ls",), ("show", "x"), ("query", "SELECT 1"), ("select",), ("train", "b"), ("trust", "b")],
    ids=lambda words: words[0],
)
def test_missing_store(viae, tmp_path: Path, words: tuple[str, ...], monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = viae(*words, "--store", tmp_path / "nope")
    assert (said.code, said.out) == (2, "")
    assert said.err.endswith(
        f"error {tmp_path / 'nope'}: there is no viae store here. "
        f"Make one with  viae ingest PATH… --store {tmp_path / 'nope'}\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_store_from_a_newer_version(viae, tmp_path: Path):
    store = Store.create(tmp_path / "store")
    newer = TABLES["episodes"].with_metadata({COMPATIBILITY_KEY: str(COMPATIBILITY + 1)})
    lance.write_dataset(newer.empty_table(), f"{store.uri}/episodes.lance", mode="overwrite")
    with Recorder(tmp_path / "a.mcap", streams=[StreamSpec(name="q", shape=(1,))]) as recorder:
        recorder.write("q", [1], capture_ns=0, arrival_ns=0)
    for words in (("ls",), ("ingest", tmp_path / "a.mcap")):
        said = viae(*words, "--store", store.uri)
        assert (said.code, said.out) == (2, "")
        assert said.err == (
            f"error {store.uri}: this store has compatibility number {COMPATIBILITY + 1}; this "
            f"viae reads up to {COMPATIBILITY}. Upgrade with  pip install -U viae\n"
        )


def test_unknown_episode(viae, improved):
    said = viae("show", "zzz", "--store", improved.store.uri)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"error {improved.store.uri}: no episode begins with 'zzz'. "
        f"List them with  viae ls --store {improved.store.uri}\n"
    )


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT nope FROM episodes", "FROM nowhere"])
def test_bad_sql(viae, improved, sql: str):
    said = viae("query", sql, "--store", improved.store.uri)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"error {improved.store.uri}: the query was refused: ")
    assert "The tables are chunks, episodes, facts, runs, samples, streams, video" in said.err


def test_bad_condition(viae, improved, tmp_path: Path):
    said = viae("train", tmp_path / "b", "--where", "nope = 1", "--store", improved.store.uri)
    assert (said.code, said.out) == (2, "")
    assert "nope" in said.err


def test_unknown_task(viae, tmp_path: Path):
    said = viae("record", "--task", "juggle", "--store", tmp_path / "s", "--workers", "1")
    assert said.code == 2
    assert "error Meta-World has no task 'juggle'; it has assembly, " in said.err


def test_unknown_world(viae, tmp_path: Path):
    said = viae("record", "--task", "push", "--world", "mars", "--store", tmp_path / "s")
    assert said.code == 2
    assert said.err == "error there is no world 'mars'; installed are ['metaworld']\n"


@pytest.mark.parametrize("command", ["evaluate", "trust"])
def test_bundle_that_is_not_there(viae, improved_copy, tmp_path: Path, command: str):
    said = viae(command, tmp_path / "nope", "--store", improved_copy.store.uri)
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith(
        f"error {tmp_path / 'nope'}: there is no bundle here (bundle.json is missing). "
        "Train one with  viae train\n"
    )


def test_store_without_what_is_asked_for(viae, tmp_path: Path):
    store = Store.create(tmp_path / "store")
    for words, text in (
        (("select",), f"{store.uri} holds no rollout in world 'metaworld' of a bundle trained"),
        (
            ("report", tmp_path / "r.html"),
            f"{store.uri} holds no improvement yet: run  viae improve",
        ),
        (
            ("train", tmp_path / "b"),
            "there are no episodes to learn from; widen --where, or ingest",
        ),
    ):
        said = viae(*words, "--store", store.uri)
        assert (said.code, said.out) == (2, "")
        assert f"error {text}" in said.err


def test_folder_that_is_no_bundle_is_left_alone(viae, improved_copy):
    said = viae("train", improved_copy.work, "--store", improved_copy.store.uri)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"error {improved_copy.work}: this exists and is no bundle. Name a new folder\n"
    )
    assert Store.open(improved_copy.store.uri).episodes()


def test_old_bundle_does_not_pass_for_a_new_one(viae, improved, tmp_path: Path):
    bundle = improved.work / "bundles" / "round-0"
    said = viae("train", bundle, "--steps", "61", "--store", improved.store.uri)
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"error {bundle}: the bundle here was trained with another recipe. "
        "Give another folder, or remove this one\n"
    )
    other = Store.create(tmp_path / "other").uri
    said = viae("train", bundle, "--steps", "60", "--store", other)
    assert (said.code, said.out) == (2, "")
    assert f"the bundle here was not trained from {other}" in said.err


@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("torch", "train", ("train", "new")),
        ("torch", "train", ("evaluate", "BUNDLE")),
        ("sklearn", "trust", ("trust", "BUNDLE")),
        ("metaworld", "worlds", ("record", "--task", "push")),
        ("jinja2", "report", ("report", "new.html")),
        ("matplotlib", "report", ("report", "new.html")),
        ("torch", "train", ("improve", "--task", "push")),
        ("sklearn", "trust", ("improve", "--task", "push")),
        ("matplotlib", "report", ("improve", "--task", "push")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else value,
)
def test_missing_extra(viae, improved_copy, monkeypatch, package, extra, words):
    """As if the package were not installed."""
    monkeypatch.chdir(improved_copy.work)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    words = [improved_copy.work / "bundles" / "round-1" if w == "BUNDLE" else w for w in words]
    said = viae(*words, "--store", improved_copy.store.uri)
    assert (said.code, said.out) == (2, "")
    assert said.err.endswith(
        f"error this needs the package '{package}', which is not installed: "
        f"run  pip install 'viae[{extra}]'\n"
    )


@pytest.mark.parametrize(
    "words",
    [("dance",), ("ls", "--jsn"), ("ingest",), ("train",), ("train", "b", "--steps", "0")],
    ids=" ".join,
)
def test_misspelt(viae, words: tuple[str, ...]):
    said = viae(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err


def test_an_interrupt_says_how_to_go_on(viae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("viae.store.Store.open", interrupted)
    said = viae("ls", "--store", tmp_path)
    assert said.code == 130
    assert said.err.endswith("interrupted; run the same command again to go on\n")


INTERRUPTED = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
from viae.cli import main
main()
"""


@pytest.mark.parametrize("package", ["typer", "rich.console", "viae.cli.trust"])
def test_an_interrupt_is_heard_from_the_very_start(package: str):
    run = [sys.executable, "-c", INTERRUPTED, package]
    said = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 130
    assert said.stderr == "interrupted; run the same command again to go on\n"


@pytest.mark.parametrize("command", ["record", "improve"])
def test_an_object_store_keeps_no_recordings(viae, command: str):
    said = viae(command, "--task", "push", "--store", "s3://bucket/store")
    option = {"record": "--logs", "improve": "--work"}[command]
    assert said.code == 2
    assert said.err == (
        f"error s3://bucket/store is no folder: say where files go, with {option}\n"
    )
