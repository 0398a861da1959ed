"""Ingest: everything once, whole, and with an account of the rest."""

import shutil
from pathlib import Path

import pytest

from viae import Recorder, Store, StreamSpec
from viae.schema import LossKind
from viae.verbs.ingest import episode_id_of, ingest

JOINTS = StreamSpec(name="joints", shape=(2,))


def recording(path: Path, *, samples: int = 5, outcome: bool | None = True) -> Path:
    with Recorder(
        path, streams=[JOINTS], robot="arm", task="wave", agent="human", conditions={"light": "dim"}
    ) as recorder:
        for i in range(samples):
            recorder.write("joints", [i, -i], capture_ns=10 * i, arrival_ns=10 * i + 3)
        recorder.state(weather="rain")
        recorder.finish(outcome)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def versions(store: Store) -> dict[str, int]:
    return dict(store.snapshot().versions)


def test_what_the_log_says_is_in_the_store(store: Store, tmp_path: Path):
    path = recording(tmp_path / "a.mcap")
    report = ingest([path], store, now_ns=lambda: 42)
    [episode] = store.episodes()
    assert report.logs[0].ingested == [episode.episode_id]
    assert episode.episode_id == episode_id_of(episode.log_hash, "")
    assert (episode.robot, episode.task, episode.agent) == ("arm", "wave", "human")
    assert (episode.outcome, episode.conditions) == (True, {"light": "dim"})
    assert (episode.start_ns, episode.end_ns) == (3, 43)
    assert (episode.log_uri, episode.log_format) == (str(path), "mcap")
    facts = {fact.key: (fact.value, fact.author, fact.time_ns) for fact in store.facts()}
    assert facts == {"weather": ("rain", "log", 42), "outcome": (True, "log", 42)}
    samples = store.samples([episode.episode_id], ["joints"])[episode.episode_id, "joints"]
    assert samples.arrival_ns.tolist() == [3, 13, 23, 33, 43]


def test_second_run_ingests_nothing(store: Store, tmp_path: Path):
    recording(tmp_path / "logs" / "a.mcap")
    recording(tmp_path / "logs" / "b.mcap", samples=6)
    assert ingest([tmp_path / "logs"], store).ingested == 2
    before = versions(store)
    report = ingest([tmp_path / "logs"], store)
    assert (report.ingested, report.known, report.streams()) == (0, 2, [])
    assert versions(store) == before


def test_same_content_under_another_path_is_known(store: Store, tmp_path: Path):
    path = recording(tmp_path / "a.mcap")
    shutil.copy(path, tmp_path / "b.mcap")
    report = ingest([path, tmp_path / "b.mcap"], store)
    assert (report.ingested, report.known) == (1, 1)
    assert len(store.episodes()) == 1


def test_a_path_given_twice_is_read_once(store: Store, tmp_path: Path):
    path = recording(tmp_path / "a.mcap")
    assert len(ingest([path, path, tmp_path], store).logs) == 1


def test_files_that_are_no_logs_are_named(store: Store, tmp_path: Path):
    logs = tmp_path / "logs"
    recording(logs / "run" / "a.mcap")
    (logs / "README").write_text("how we recorded this")
    (logs / "run" / "scene.jpg").write_bytes(b"\xff\xd8")
    report = ingest([logs], store)
    assert report.ingested == 1
    assert report.skipped == [str(logs / "README"), str(logs / "run" / "scene.jpg")]
    assert report.complete  # nobody asked for these


def test_one_bad_log_does_not_stop_the_others(store: Store, tmp_path: Path):
    logs = tmp_path / "logs"
    for name in ("a.mcap", "c.mcap"):
        recording(logs / name, samples=4 + (name == "c.mcap"))
    (logs / "b.mcap").write_bytes(b"\x89MCAP0\r\n but no more")
    report = ingest([logs], store)
    assert (report.ingested, report.complete) == (2, False)
    [loss] = report.losses
    assert (loss.kind, loss.name, loss.path) == (LossKind.LOST, "refused", str(logs / "b.mcap"))


def test_losses_are_kept_as_facts(store: Store, tmp_path: Path):
    path = recording(tmp_path / "a.mcap", samples=50_000)
    path.write_bytes(path.read_bytes()[:-1000])
    report = ingest([path], store)
    [loss] = report.losses
    [fact] = [fact for fact in store.facts() if fact.author == "viae ingest"]
    assert (fact.key, fact.value) == ("loss.0.truncated", loss.to_json())


def test_nothing_is_ingested_if_a_path_is_missing(store: Store, tmp_path: Path):
    before = versions(store)
    with pytest.raises(FileNotFoundError):
        ingest([recording(tmp_path / "a.mcap"), tmp_path / "nope"], store)
    assert versions(store) == before


def test_cancelled_between_logs_keeps_whole_episodes(store: Store, tmp_path: Path):
    for number in range(4):
        recording(tmp_path / "logs" / f"{number}.mcap", samples=3 + number)

    def cancel(moment) -> None:
        if moment.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest([tmp_path / "logs"], store, tell=cancel)
    before = len(store.episodes())
    report = ingest([tmp_path / "logs"], store)
    assert report.known == before
    assert sorted(row["samples"] for row in store.streams()) == [3, 4, 5, 6]
