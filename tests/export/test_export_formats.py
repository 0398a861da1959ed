"""MCAP, Rerun and plain Parquet: every stream at its own rate, opened by their own tools."""

import json
import subprocess
import sys

import av
import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from builders import samples, write
from viae import Store
from viae.errors import UsageError
from viae.load.clocks import clock_fact, read_clocks
from viae.logs import open_log
from viae.schema import Kind, Samples, StreamSpec, VideoGroup
from viae.sequence.clock import ArrivalClock, clock_by_hand
from viae.testing.making import CAMERA, write_lerobot
from viae.verbs.export import export
from viae.verbs.ingest import ingest


@pytest.fixture
def filmed(tmp_path):
    """A store of one episode with a video in H.264 without B-frames."""
    options = {"bf": "0", "g": "4"}
    root = write_lerobot(tmp_path / "in", codec="h264", frames=9, episodes=1, options=options)
    store = Store.create(tmp_path / "filmed")
    ingest([root], store)
    return store


def pixels(packets, codec="h264"):
    """Decoded luma of packets that need nothing beside them."""
    decoder = av.CodecContext.create(codec, "r")
    frames = [f for p in packets for f in decoder.decode(av.Packet(p))] + decoder.decode(None)
    return [frame.to_ndarray(format="gray") for frame in frames]


def test_mcap_and_back_is_the_same(mixed, folder, tmp_path):
    report = export(mixed, "mcap", folder)
    assert report.files == ["episode_000000.mcap", "episode_000001.mcap"]
    assert {loss.name for loss in report.losses} == {"facts-of-spans"}
    back = Store.create(tmp_path / "back")
    ingest([folder], back)
    before, after = mixed.episodes(), back.episodes()
    for field in ("robot", "task", "agent", "outcome", "conditions"):
        assert [getattr(e, field) for e in before] == [
            getattr(e, field) for e in sorted(after, key=lambda e: e.conditions["seed"])
        ]
    first = next(e.episode_id for e in after if e.conditions == {"seed": 0})
    facts = {f.key: f.value for f in back.facts() if f.episode_id == first}
    assert facts["note"] == {"by": "me"}
    names = [row["stream"] for row in mixed.streams(["e0"])]
    was, now = mixed.samples(["e0"], names), back.samples([first], names)
    for name in names:
        one, other = was["e0", name], now[first, name]
        assert one.spec.to_json() | {"topic": name} == other.spec.to_json()
        assert np.array_equal(one.capture_ns, other.capture_ns)
        assert np.array_equal(one.arrival_ns, other.arrival_ns)
        for a, b in zip(one.values, other.values, strict=True):
            assert np.array_equal(a, b)


def test_the_mcap_package_opens_it_in_the_order_of_arrival(mixed, folder):
    from mcap.reader import make_reader

    export(mixed, "mcap", folder, episodes=["e1"])
    with (folder / "episode_000000.mcap").open("rb") as file:
        reader = make_reader(file)
        counts = {}
        for schema, channel, _ in reader.iter_messages(log_time_order=False):
            counts[channel.topic, schema.name] = counts.get((channel.topic, schema.name), 0) + 1
    assert counts["/arm/pose", "viae.Vector"] == 100
    assert counts["cam", "foxglove.CompressedImage"] == 20
    with (folder / "episode_000000.mcap").open("rb") as file:
        reader = make_reader(file)
        times = [m.log_time for _, _, m in reader.iter_messages(log_time_order=False)]
    assert times == sorted(times)


def test_video_becomes_packets_that_decode_alone(filmed, folder):
    report = export(filmed, "mcap", folder)
    assert [loss.name for loss in report.losses] == ["video-annex-b"]
    [episode] = open_log(folder / "episode_000000.mcap").episodes
    groups = [item for item in episode.read() if isinstance(item, VideoGroup)]
    packets = [packet for group in groups for packet in group.packets]
    assert len(packets) == 9
    [(_, stored)] = filmed.video(filmed.episode_ids(), [CAMERA]).items()
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = stored[0].extradata
    data = [av.Packet(p) for group in stored for p in group.packets]
    source = [f for p in data for f in decoder.decode(p)] + decoder.decode(None)
    for ours, theirs in zip(pixels(packets), source, strict=True):
        assert np.array_equal(ours, theirs.to_ndarray(format="gray"))


def test_b_frames_are_coded_anew_and_said_so(tmp_path, folder):
    options = {"bf": "2", "b_strategy": "0", "g": "6"}
    root = write_lerobot(tmp_path / "in", codec="h264", frames=9, episodes=1, options=options)
    store = Store.create(tmp_path / "store")
    ingest([root], store)
    report = export(store, "mcap", folder)
    assert [(loss.name, loss.count) for loss in report.losses] == [("video-coded-anew", 9)]


def test_numbers_too_large_for_a_recording_are_left_out(tmp_path, folder):
    store = Store.create(tmp_path / "store")
    spec = StreamSpec(name="id", dtype="uint64", shape=(1,))
    small = StreamSpec(name="n", dtype="int64", shape=(1,))
    write(store, "e", [samples(spec, [1 << 60, 3]), samples(small, [1 << 53, -3])])
    report = export(store, "mcap", folder)
    assert [(loss.name, loss.stream) for loss in report.losses] == [("number-too-large", "id")]


def test_options_of_lerobot_are_refused_elsewhere(mixed, folder):
    for to in ("mcap", "rrd", "parquet"):
        with pytest.raises(UsageError, match="for  --to lerobot"):
            export(mixed, to, folder, rate_hz=10)


def test_parquet_is_read_by_duckdb(mixed, folder):
    report = export(mixed, "parquet", folder)
    assert report.losses == []
    assert report.names["/arm/pose"] == "arm.pose"
    with duckdb.connect() as connection:
        connection.execute(f"SET file_search_path = '{folder}'")
        [(count, first, last)] = connection.sql(
            "SELECT count(*), min(seq), max(seq) FROM 'samples/arm.pose/*.parquet'"
        ).fetchall()
        assert (count, first, last) == (200, 0, 99)
        streams = connection.sql("SELECT stream, sum(samples) FROM 'streams.parquet' GROUP BY 1")
        assert dict(streams.fetchall())["force"] == 100
        said = connection.sql("SELECT value FROM 'facts.parquet' WHERE key = 'note'").fetchall()
        assert [json.loads(value) for (value,) in said] == [{"by": "me"}] * 2
        tasks = connection.sql("SELECT DISTINCT task, outcome FROM 'episodes.parquet'").fetchall()
        assert tasks == [("wave", True)]


def test_parquet_has_every_value_and_both_stamps(mixed, folder):
    export(mixed, "parquet", folder)
    for row in mixed.streams(["e0"]):
        name, spec = row["stream"], row["spec"]
        stored = mixed.samples(["e0"], [name])["e0", name]
        folder_name = "arm.pose" if name == "/arm/pose" else name
        table = pq.read_table(folder / "samples" / folder_name / "e0.parquet")
        for column in ("capture_ns", "arrival_ns", "seq"):
            assert table[column].to_pylist() == getattr(stored, column).tolist()
        values = table["value"].to_pylist()
        if spec.kind is Kind.VECTOR:
            expected = [np.asarray(v).reshape(-1).tolist() for v in stored.values]
            if spec.shape == ():
                expected = np.asarray(stored.values).tolist()
            assert values == expected
        else:
            assert values == list(stored.values)


def test_parquet_moves_video(filmed, folder):
    export(filmed, "parquet", folder)
    [movie] = folder.rglob("*.mp4")
    with av.open(str(movie)) as container:
        found = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    [groups] = filmed.video(filmed.episode_ids(), [CAMERA]).values()
    assert found == [packet for group in groups for packet in group.packets]
    assert pq.read_table(movie.with_suffix(".parquet"))["seq"].to_pylist() == list(range(9))


def corrected(store):
    """The store of `mixed`, whose force was stamped by a clock an hour ahead; facts say so."""
    again = Store.create(f"{store.uri}-corrected")
    hour = 3_600 * 10**9
    at = 1_700_000_000_000_000_000 + np.arange(60) * 20_000_000
    force = samples(StreamSpec(name="force", shape=(1,)), np.arange(60)[:, None], at + 5, at + hour)
    zeros = samples(StreamSpec(name="zeros", shape=(1,)), np.arange(60)[:, None], at, 0 * at)
    plain = samples(StreamSpec(name="plain", shape=(1,)), np.arange(60)[:, None], at, at - 7)
    write(again, "e0", [force, zeros, plain])
    by_hand = clock_by_hand(at_ns=int(at[0]), offset_ns=hour)
    facts = [("force", by_hand), ("zeros", ArrivalClock()), ("plain", ArrivalClock()),
             ("plain", None)]  # fmt: skip
    again.add_facts(
        [clock_fact("e0", name, clock, author="me", time_ns=5 + i)
         for i, (name, clock) in enumerate(facts)]
    )  # fmt: skip
    return again, at


def test_a_corrected_clock_is_seen_in_tables_and_what_was_stamped_beside_it(tmp_path, folder):
    store, at = corrected(Store.create(tmp_path / "s"))
    report = export(store, "parquet", folder)
    assert {(loss.name, loss.stream) for loss in report.losses} == {
        ("clock-corrected", "force"), ("clock-corrected", "zeros"),
    }  # fmt: skip
    tables = {
        name: pq.read_table(folder / "samples" / name / "e0.parquet")
        for name in ("force", "zeros", "plain")
    }
    found = {name: table["capture_ns"].to_pylist() for name, table in tables.items()}
    assert found == {"force": at.tolist(), "zeros": at.tolist(), "plain": (at - 7).tolist()}
    assert tables["force"]["stamp_ns"].to_pylist() == (at + 3_600 * 10**9).tolist()
    assert set(tables["zeros"]["stamp_ns"].to_pylist()) == {0}
    assert tables["plain"]["stamp_ns"].to_pylist() == found["plain"]


def test_a_recording_is_as_stamped_and_has_the_correction_beside_it(tmp_path, folder):
    store, at = corrected(Store.create(tmp_path / "s"))
    assert "clock-corrected" not in {loss.name for loss in export(store, "mcap", folder).losses}
    back = Store.create(tmp_path / "back")
    ingest([folder], back)
    [episode] = back.episodes()
    [force] = back.samples([episode.episode_id], ["force"]).values()
    assert force.capture_ns.tolist() == (at + 3_600 * 10**9).tolist()
    before, after = read_clocks(store, ["e0"]), read_clocks(back, [episode.episode_id])
    assert after[episode.episode_id, "force"] == before["e0", "force"]
    assert after.keys() == {(episode.episode_id, "force"), (episode.episode_id, "zeros")}


def test_rerun_shows_captures_on_one_clock(tmp_path, folder):
    chunk = pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed")
    store, at = corrected(Store.create(tmp_path / "s"))
    report = export(store, "rrd", folder)
    assert {loss.name for loss in report.losses} == {"clock-corrected"}
    found = {}
    for each in chunk.RrdReader(str(folder / "episode_000000.rrd")).stream():
        if not each.is_static:
            column = each.to_record_batch().column("capture").cast("int64")
            found.setdefault(each.entity_path, []).extend(column.to_pylist())
    assert sorted(found["/force"]) == sorted(found["/zeros"]) == at.tolist()


def test_rerun_reads_its_recording(mixed, folder):
    chunk = pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed")
    report = export(mixed, "rrd", folder)
    assert {(loss.name, loss.stream) for loss in report.losses} == {("stream-not-held", "raw")}
    found = {}
    for each in chunk.RrdReader(str(folder / "episode_000000.rrd")).stream():
        if not each.is_static:
            found.setdefault(each.entity_path, []).append(each.to_record_batch())
    assert set(found) == {"/arm/pose", "/force", "/command", "/reward", "/cam", "/said", "/points"}
    stored = mixed.samples(["e0"], ["/arm/pose"])["e0", "/arm/pose"]
    rows = [row for batch in found["/arm/pose"] for row in batch.to_pylist()]
    rows.sort(key=lambda row: row["seq"])
    key = next(name for name in rows[0] if name.endswith("scalars"))
    assert [row[key] for row in rows] == np.asarray(stored.values).tolist()
    times = [batch.column("arrival") for batch in found["/arm/pose"]]
    ns = sorted(v for column in times for v in column.cast("int64").to_pylist())
    assert ns == stored.arrival_ns.tolist()
    assert {"capture", "arrival", "seq"} <= set(rows[0])


def test_rerun_verifies_video(filmed, folder):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    export(filmed, "rrd", folder)
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "verify", str(folder / "episode_000000.rrd")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert isinstance(filmed, Store)


def test_only_what_is_asked_for(mixed, folder):
    report = export(
        mixed, "parquet", folder, where="episode_id = 'e1' AND outcome", streams=["reward"]
    )
    assert (report.episodes, list(report.names)) == (["e1"], ["reward"])
    with pytest.raises(UsageError, match="no episode is left"):
        export(mixed, "parquet", folder / "x", where="NOT outcome")
    with pytest.raises(UsageError, match="has the task 'fly'"):
        export(mixed, "parquet", folder / "x", tasks=["fly"])
    with pytest.raises(UsageError, match=r"streams \['nope'\]"):
        export(mixed, "parquet", folder / "x", streams=["nope"])
    with pytest.raises(UsageError, match="overwrite nothing"):
        export(mixed, "parquet", folder)
    with pytest.raises(UsageError, match="no export to 'csv'"):
        export(mixed, "csv", folder / "x")
    assert issubclass(Samples, object)
