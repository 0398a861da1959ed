"""What a plan says: counts that are exact, paths that fit, and the command that prints it."""

import json

import numpy as np
import pytest
import yaml

from builders import ACTION, CAMERA, STATE, png, samples, write
from clips import groups, moving
from viae.cli.load import in_units, seconds, size
from viae.errors import UsageError
from viae.load import Windows
from viae.load.access import Access
from viae.load.cost import in_groups_of, on_demand, once
from viae.load.plan import calibrate, plan
from viae.schema import Take, WindowSpec
from viae.store import Store
from viae.verbs.load import Beginning

FRAME = 3 * 32 * 48
AT = np.arange(24) * 33_000_000
SPEC = WindowSpec(decision=STATE.name, inputs=(Take(stream="camera", steps=(-1, 0)),))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store.create(tmp_path_factory.mktemp("store"))
    for seed in range(3):
        video = groups(moving(24, seed=seed), AT, group=12)
        state = samples(STATE, np.zeros((24, 2)), AT)
        write(store, str(seed), [state, samples(ACTION, np.zeros((24, 2)), AT), *video])
    return store


def planned(store, spec=SPEC, **access):
    windows = Windows(store, spec, store.episodes(), access=Access(path="decode"))
    return plan(windows, Access(**access), batch=8, threads=2)


def test_work_is_counted_on_the_windows_themselves(store):
    windows = Windows(store, SPEC, store.episodes(), access=Access(path="decode"))
    stream = windows.frames["camera"].stream
    alone = on_demand(stream, windows.index, 1)
    # A window's newest frame is 0 to 11 in its group: 6.5 packets on average, and where it is the
    # first, all 12 of the group before.
    assert alone.packets == pytest.approx(7.3, abs=2.5)
    assert 1 <= alone.groups <= 1.5
    assert 1.8 <= alone.frames <= 2
    every = once(stream, windows.index)
    assert (every.packets, every.pictures) == (1, 1)
    short = on_demand(in_groups_of(stream, 2), windows.index, 1)
    assert short.packets < alone.packets / 2


def test_all_decoded_frames_fit(store):
    found = planned(store)
    assert [path.path for path in found.paths] == ["decode", "cache", "pool"]
    assert (found.chosen, found.why) == ("cache", "all decoded frames fit in memory")
    assert (found.windows, found.frames, found.decoded_bytes) == (72, 72, 72 * FRAME)
    cache, decode = found.of("cache"), found.of("decode")
    assert cache.fits
    assert cache.windows_s > decode.windows_s > 0
    assert 72 * FRAME <= cache.memory_bytes <= 72 * FRAME + 8192
    assert (cache.disk_bytes, decode.disk_bytes) == (0, 0)
    assert decode.packets_per_frame > cache.packets_per_frame == pytest.approx(0.5, abs=0.05)


def test_what_does_not_fit_is_advised_about(store):
    found = planned(store, memory_bytes=4 * FRAME)
    assert found.chosen == "decode"
    assert not found.of("cache").fits
    assert any("a cache of all decoded frames needs" in sentence for sentence in found.advice)


def test_disk_is_used_where_it_is_given(store):
    found = planned(store, memory_bytes=0, disk_bytes=1 << 24)
    assert (found.chosen, found.why) == ("cache", "all decoded frames fit on disk")
    assert found.of("cache").memory_bytes == 0
    assert found.of("cache").disk_bytes >= 72 * FRAME


def test_a_pool_is_measured_and_compared_with_a_shuffle(store):
    windows = Windows(store, SPEC, store.episodes(), access=Access(path="decode"))
    access = Access(path="pool", mixing=0.5, mixing_batch=8)
    found = plan(windows, access, batch=8, threads=1)
    pool = found.of("pool")
    assert found.chosen == "pool"
    assert pool.mixing.low <= 0.5
    assert pool.mixing.distance > found.shuffle.distance
    assert pool.mixing.batches == found.shuffle.batches == 9


def test_windows_without_pictures_have_one_path(store):
    blind = WindowSpec(decision=STATE.name, inputs=(Take(stream=STATE.name, steps=(0,)),))
    found = planned(store, blind)
    assert [path.path for path in found.paths] == ["decode"]
    assert found.why == "the windows have no pictures"
    assert found.of("cache") is None


def test_images_are_planned_like_video(tmp_path):
    store = Store.create(tmp_path)
    pixels = moving(6, *CAMERA.shape[:2])
    images = samples(CAMERA, [png(p) for p in pixels], AT[:6])
    write(store, "a", [images, samples(STATE, np.zeros((6, 2)), AT[:6])])
    found = planned(store)
    assert found.of("decode").packets_per_frame <= 1
    assert found.chosen == "cache"


def spec_file(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(
        "decision: observation.state\ninputs:\n  camera: {steps: '-1..0'}\nbatch_size: 8\n"
    )
    return path


def test_the_command_prints_a_table_and_tries_the_path(store, tmp_path, viae):
    said = viae("load", "plan", spec_file(tmp_path), "--store", store.uri, "--measure", "0.2s")
    assert said.code == 0
    for text in ("→", "decode", "cache", "pool", "all decoded frames fit in memory", "achieved"):
        assert text in said.out


def test_the_command_prints_json(store, tmp_path, viae):
    said = viae(
        "load", "plan", spec_file(tmp_path), "--store", store.uri, "--json", "--measure", "0.1",
        "--path", "pool", "--mixing", "0.6", "--where", "episode_id <> '0'",
    )  # fmt: skip
    assert said.code == 0
    found = json.loads(said.out)
    assert (found["chosen"], found["episodes"], found["windows"]) == ("pool", 2, 48)
    assert found["achieved_windows_s"] > 0
    assert {path["path"]: path["fits"] for path in found["paths"]} == {
        "decode": True, "cache": True, "pool": True,
    }  # fmt: skip


def test_the_command_heeds_weights(store, tmp_path, viae):
    path = spec_file(tmp_path)
    fields = yaml.safe_load(path.read_text())
    for weights, measure, code, text in (
        ("episode_id = '1'", "0.1", 0, "achieved"),
        ("nope + 1", "0", 2, "the query was refused"),
        ("-1", "0", 2, "weights are finite numbers from 0 up"),
    ):
        path.write_text(yaml.safe_dump({**fields, "weights": weights}))
        said = viae("load", "plan", path, "--store", store.uri, "--measure", measure)
        assert (said.code, text in said.out + said.err) == (code, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--memory", "much"), "'much' is no size; write such as 2GiB"),
        (("--measure", "soon"), "'soon' is no time in seconds"),
        (("--path", "cache", "--memory", "1kB"), "the decoded frames need"),
        (("--path", "guess"), "there is no access path 'guess'"),
        (("--where", "task = 'none'"), "no episode fits"),
        (("--folder", "x"), "of no use without disk_bytes"),
    ],
)
def test_what_the_command_refuses(store, tmp_path, viae, words, text):
    said = viae("load", "plan", spec_file(tmp_path), "--store", store.uri, *words)
    assert said.code == 2
    assert text in said.err.replace("\n", " ")


def test_a_folder_that_is_a_file_is_refused_before_anything_is_planned(store, tmp_path, viae):
    path = spec_file(tmp_path)
    for folder in (path, path / "below"):
        said = viae(
            "load", "plan", path, "--store", store.uri, "--disk", "1GiB", "--folder", folder,
            "--measure", "0",
        )  # fmt: skip
        assert said.code == 2
        assert f"{path} is no folder" in said.err.replace("\n", " ")


def test_a_spec_that_the_data_cannot_honour_is_the_callers_mistake(store, tmp_path, viae):
    path = tmp_path / "spec.yaml"
    path.write_text("decision: observation.state\ninputs: {nothing: }\n")
    for command in (("load", "plan"), ("leak",), ("stats",)):
        said = viae(*command, path, "--store", store.uri)
        assert (said.code, "nothing" in said.err) == (2, True)


def test_costs_are_measured_apart_from_each_other(store):
    windows = Windows(store, SPEC, store.episodes(), access=Access(path="decode"))
    costs = calibrate(windows.frames["camera"])
    assert costs.first_s > 0
    assert costs.next_s > 0
    assert costs.convert_s > 0


def test_sizes_and_times():
    assert [size(text) for text in ("0", "10", "1kB", "2GiB", "1.5 MiB", "500MB", "7b", "1G")] == [
        0, 10, 1000, 2 << 30, 3 << 19, 500_000_000, 7, 1 << 30,
    ]  # fmt: skip
    with pytest.raises(UsageError):
        size("-1")
    assert (seconds("10s"), seconds("0.5")) == (10.0, 0.5)
    assert [in_units(n) for n in (0, 1500, 3 << 19, 5 << 30, 1 << 41)] == [
        "0 B", "1.5 KiB", "1.5 MiB", "5.0 GiB", "2.00 TiB",
    ]  # fmt: skip


def test_the_beginning_of_an_order_comes_again_and_again():
    from viae.sequence import Shuffled

    order = Beginning(Shuffled(10, 0), 4)
    assert len(order) == 4
    assert order.take(3, 1, 3).tolist() == Shuffled(10, 0).take(0, 1, 3).tolist()
