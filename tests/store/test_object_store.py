"""A store on an S3-compatible server: the same rows, queries and batches as in a folder."""

import json
import logging
import urllib.request
import uuid

import numpy as np
import pytest

from builders import ACTION, STATE, samples, write
from clips import groups, moving
from viae.errors import StoreError, StoreNotFoundError
from viae.load import Access, Loader, Windows
from viae.load import packets as packets_module
from viae.load.packets import TakenPackets
from viae.record import Recorder
from viae.schema import Take, WindowSpec
from viae.store import Store, query

pytest.importorskip("moto.server", reason="the S3 server of the tests: pip install 'moto[server]'")

KEYS = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
}  # fmt: skip


@pytest.fixture(scope="module")
def endpoint():
    """The URL of a server with a bucket ``viae``."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"{url}/viae", method="PUT")).close()
    yield url
    server.stop()


@pytest.fixture
def uri(endpoint, monkeypatch):
    """An address in the bucket, where nothing is; the environment says the rest."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    return f"s3://viae/{uuid.uuid4().hex}"


def filled(uri):
    """Two episodes with a camera; the second one's state ends earlier."""
    store = Store.create(uri)
    for number, count in enumerate((24, 16)):
        times = [100 * t + number for t in range(count)]
        values = np.arange(2 * count).reshape(count, 2) + number
        blocks = [samples(STATE, values, times), samples(ACTION, -values, times)]
        blocks += groups(moving(count, seed=number), times)
        write(store, f"e{number}", blocks, task="push")
    return store


SPEC = WindowSpec(
    decision=STATE.name,
    inputs=(Take(stream="camera", steps=(-3, 0)), Take(stream=STATE.name, steps=(0,))),
    targets=(Take(stream=ACTION.name, steps=(0, 1)),),
)


def test_there_is_no_store_until_one_is_made(uri):
    with pytest.raises(StoreNotFoundError, match="there is no viae store here"):
        Store.open(uri)
    assert Store.create(uri).episodes() == []
    assert Store.create(uri).episodes() == Store.open(uri).episodes() == []


def test_rows_and_queries_are_those_of_a_folder(uri, tmp_path):
    remote, local = filled(uri), filled(tmp_path / "store")
    assert remote.episodes() == local.episodes()
    ids = ["e0", "e1"]
    for key, read in local.samples(ids, [STATE.name, ACTION.name]).items():
        assert (remote.samples(ids, [key[1]])[key].values == read.values).all()
    for key, found in local.video(ids, ["camera"]).items():
        assert [g.packets for g in remote.video(ids, ["camera"])[key]] == [g.packets for g in found]
    sql = "SELECT episode_id, stream, count(*) AS n FROM samples GROUP BY ALL ORDER BY ALL"
    assert query(remote, sql).to_pylist() == query(local, sql).to_pylist()
    remote.compact(fragments=1)
    assert Store.open(uri).episode_ids() == {"e0", "e1"}


@pytest.mark.parametrize("memory_bytes", [0, 1 << 30])
def test_batches_are_those_of_a_folder(uri, tmp_path, memory_bytes):
    access = Access(path="decode", memory_bytes=memory_bytes)
    found = []
    for store in (filled(uri), filled(tmp_path / "store")):
        windows = Windows(store, SPEC, store.episodes(), access=access)
        taken = isinstance(windows.frames["camera"].packets, TakenPackets)
        assert taken is not bool(memory_bytes)
        found.append(list(Loader(windows, batch_size=5, seed=2, threads=2)))
    for one, other in zip(*found, strict=True):
        assert (one.inputs["camera"] == other.inputs["camera"]).all()
        assert (one.inputs[STATE.name] == other.inputs[STATE.name]).all()
        assert (one.targets[ACTION.name] == other.targets[ACTION.name]).all()


def test_processes_read_it_too(uri):
    store = filled(uri)
    windows = Windows(store, SPEC, store.episodes(), access=Access(path="decode", memory_bytes=0))
    threads, processes = (
        list(Loader(windows, batch_size=8, seed=1, **how)) for how in ({}, {"workers": 1})
    )
    for one, other in zip(threads, processes, strict=True):
        assert (one.inputs["camera"] == other.inputs["camera"]).all()


def test_commands(uri, tmp_path, viae):
    log = tmp_path / "log.mcap"
    with Recorder(log, streams=[STATE], task="wave") as recorder:
        for t in range(30):
            recorder.write(STATE.name, [t, t], capture_ns=t, arrival_ns=t)
    said = viae("ingest", log, "--store", uri, "--json")
    assert json.loads(said.out)["ingested"] == 1
    [one] = json.loads(viae("ls", "--store", uri, "--json").out)
    assert viae("show", one["episode_id"], "--store", uri).code == 0
    said = viae("query", "SELECT count(*) AS n FROM samples", "--store", uri, "--json")
    assert json.loads(said.out) == [{"n": 30}]
    again = viae("ingest", log, "--store", uri, "--json")
    assert json.loads(again.out)["known"] == 1
    spec = tmp_path / "spec.json"
    take = {"stream": STATE.name, "steps": [0]}
    window = {"decision": STATE.name, "inputs": [take], "targets": [take | {"steps": [1]}]}
    spec.write_text(json.dumps(window))
    assert viae("load", "plan", spec, "--store", uri, "--measure", "0").code == 0


def test_what_cannot_be_reached_is_said(uri, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL of another than Amazon's"):
        Store(uri, storage_options={"client_max_retries": "0"}).table("episodes")


def test_an_endpoint_in_the_options(endpoint, uri, monkeypatch):
    for name in (*KEYS, "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    options = {name.lower(): value for name, value in KEYS.items()} | {"aws_endpoint": endpoint}
    write(Store.create(uri, storage_options=options), "a", [samples(STATE, [[1, 2]])])
    assert Store.open(uri, storage_options=options).episode_ids() == {"a"}


def test_packets_are_read_ahead_of_their_batch(tmp_path, monkeypatch):
    store = filled(tmp_path / "store")
    windows = Windows(store, SPEC, store.episodes(), access=Access(path="decode", memory_bytes=0))
    packets = windows.frames["camera"].packets
    taken = []
    monkeypatch.setattr(
        packets,
        "_take",
        lambda rows, take=packets._take: taken.append(rows.tobytes()) or take(rows),
    )
    list(Loader(windows, batch_size=4))
    assert len(taken) == 10
    assert not packets._coming
    assert packets._coming_rows == 0
    which = np.arange(8)
    windows.ahead(which)
    windows.ahead(which)
    ahead = windows.batch(which).inputs["camera"]
    assert len(taken) == 11
    assert (ahead == windows.batch(which).inputs["camera"]).all()
    monkeypatch.setattr(packets_module, "AHEAD_BYTES", 0)
    windows.ahead(which)
    assert not packets._coming
