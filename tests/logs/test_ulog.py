"""ULog: the rules for topics, what is said about loss, and real files against pyulog itself."""

from pathlib import Path

import numpy as np
import pytest
from pyulog import ULog

from viae.errors import DamagedLogError, LogError
from viae.logs import Statement
from viae.logs.ulog import UlogFormat
from viae.logs.ulog.framing import too_many_fields, walk
from viae.logs.ulog.layout import columns_of
from viae.logs.ulog.parse import Source
from viae.schema import Kind, Loss, LossKind, Role, Samples
from viae.testing.ulog import UlogMaker, write_ulog

FILES = ["sample.ulg", "sample_log_small.ulg", "sample_appended_multiple.ulg"]


def test_topics_become_streams(tmp_path: Path, read):
    contents = read(write_ulog(tmp_path / "log.ulg", samples=9))
    shapes = {name: (s.dtype, s.shape, s.names) for name, s in contents.specs.items()}
    assert shapes == {
        "rates_setpoint": ("float32", (3,), ("roll", "pitch", "yaw")),
        "sensor_accel": ("float32", (3,), ()),
        "sensor_accel#1": ("float32", (3,), ()),
        "vehicle_attitude.q": ("float32", (4,), ()),
        "vehicle_attitude.resets": ("uint8", (1,), ()),
        "vehicle_attitude.ok": ("bool", (1,), ()),
        "log": ("", (), ()),
        "log.3": ("", (), ()),
        "ulog.changed_parameters": ("", (), ()),
    }
    assert contents.specs["rates_setpoint"].role is Role.ACTION
    assert contents.arrival["sensor_accel"][0] == 1_000_000_000
    assert contents.capture["sensor_accel"][0] == 999_700_000
    assert contents.capture["vehicle_attitude.q"][0] == 1_000_010_000
    assert contents.values["vehicle_attitude.ok"][2:4] == [[False], [True]]
    assert contents.values["log"] == ["INFO: armed"]
    assert contents.values["log.3"] == ["WARNING: tagged"]
    assert contents.values["ulog.changed_parameters"] == ['{"name": "MC_ROLL_P", "value": 7.5}']
    assert contents.arrival["ulog.changed_parameters"] == [1_028_000_000 + 10_000]
    assert contents.statements == {
        "robot": "PX4 TOY",
        "ulog.info": {"sys_name": "PX4", "ver_hw": "TOY"},
        "ulog.parameters": {"MC_ROLL_P": 6.5, "SYS_AUTOSTART": 4001},
    }
    assert not contents.losses


def test_nested_types_and_text():
    fields = [
        ("timestamp", "uint64_t"), ("esc[0].rpm", "int32_t"), ("esc[0].amps", "int32_t"),
        ("esc[1].rpm", "int32_t"), ("esc[1].amps", "int32_t"), ("name[0]", "char"),
        ("name[1]", "char"), ("pose.x", "float"), ("pose.q[0]", "float"), ("pose.q[1]", "float"),
        ("_padding0[0]", "uint8_t"),
    ]  # fmt: skip
    columns = columns_of("esc_status", "esc_status", fields)
    assert [(c.spec.name, c.spec.shape, c.spec.names) for c in columns] == [
        ("esc_status.esc[0]", (2,), ("rpm", "amps")),
        ("esc_status.esc[1]", (2,), ("rpm", "amps")),
        ("esc_status.name", (), ()),
        ("esc_status.pose.x", (1,), ()),
        ("esc_status.pose.q", (2,), ()),
    ]
    name = columns[2]
    assert name.spec.kind is Kind.TEXT
    data = {"name[0]": np.array([65, 66], np.int8), "name[1]": np.array([0, 67], np.int8)}
    assert name.values(data) == ["A", "BC"]


def make_small() -> UlogMaker:
    made = UlogMaker()
    made.format("t", "uint64_t timestamp", "uint64_t timestamp_sample", "float v")
    made.subscribe("t", 0)
    for k in range(10):
        made.data("t", 0, 1000 + k, 0 if k == 3 else 900 + k, k)
    return made


def test_a_capture_time_that_nobody_set(tmp_path: Path, read):
    contents = read(make_small().write(tmp_path / "log.ulg"))
    assert contents.capture["t"][2:5] == [902_000, 1_003_000, 904_000]


def test_dropouts_are_counted_and_placed(tmp_path: Path, read):
    made = make_small()
    made.dropout(30)
    made.data("t", 0, 2000, 2000, 1)
    made.dropout(12)
    loss = read(made.write(tmp_path / "log.ulg")).loss("dropout")
    assert (loss.kind, loss.count, loss.at_ns) == (LossKind.LOST, 2, 1_009_000)
    assert "42 ms in all" in loss.detail
    assert "12 ms at 0.002 s" in loss.detail


def test_times_beyond_int64(tmp_path: Path, read):
    made = make_small()
    made.data("t", 0, (1 << 64) - 1, 5, 1)
    contents = read(made.write(tmp_path / "log.ulg"))
    assert len(contents.values["t"]) == 10
    assert contents.loss("time-unfit").count == 1


def test_appended_data_continues_its_streams(tmp_path: Path, read):
    """A crash cuts the message before; the offset in the file's flags says where to go on."""
    made = make_small()
    made.body += b"\x40\x00D half a mess"
    offset = made.offset
    made.subscribe("t", 0)
    made.data("t", 0, 5000, 5000, 99)
    contents = read(made.write(tmp_path / "log.ulg", appended=[offset]))
    assert contents.seq["t"] == list(range(11))
    assert contents.values["t"][-1] == [99.0]
    assert contents.loss("cut-message").count == 1


def test_appended_data_that_is_not_there(tmp_path: Path, read):
    contents = read(make_small().write(tmp_path / "log.ulg", appended=[100_000]))
    assert "appended at byte 100000" in contents.loss("truncated").detail
    assert len(contents.values["t"]) == 10


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_cut_inside_the_last_message(tmp_path: Path, read, cut: int):
    path = make_small().write(tmp_path / "log.ulg")
    path.write_bytes(path.read_bytes()[:-cut])
    contents = read(path)
    assert len(contents.values["t"]) == 9
    assert contents.loss("truncated").detail.startswith("the file ends inside")


def test_a_message_that_stops_pyulog_is_told(tmp_path: Path, read):
    """pyulog ends in silence at a dropout of a wrong size; the messages behind are counted."""
    made = make_small()
    made.message("O", b"\0\0\0")
    for k in range(5):
        made.data("t", 0, 3000 + k, 3000, 0)
    contents = read(made.write(tmp_path / "log.ulg"))
    assert contents.loss("messages-unread").count == 15 - len(contents.values["t"]) == 5


def test_pyulog_says_nothing_on_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made = make_small()
    made.message("D", b"\x09\x00 no subscription")
    [episode] = UlogFormat().open(made.write(tmp_path / "log.ulg")).episodes
    losses = [item for item in episode.read() if isinstance(item, Loss)]
    assert [loss.name for loss in losses] == ["damaged"]
    assert "no subscription found for message id 9" in losses[0].detail
    assert capsys.readouterr().out == ""


def test_formats_without_end_are_refused(tmp_path: Path):
    made = make_small()
    made.format("bomb0", "uint64_t timestamp", "bomb1[60000] a")
    made.format("bomb1", "bomb2[60000] a")
    made.format("bomb2", "float[60000] a")
    made.subscribe("bomb0", 4)
    [episode] = UlogFormat().open(made.write(tmp_path / "log.ulg")).episodes
    with pytest.raises(DamagedLogError, match="the format 'bomb0' has more fields"):
        list(episode.read())
    assert too_many_fields([b"a:a b;"]) == "a"
    assert too_many_fields([b"a:float[9] b;b[3] c;", b"b:a_t d;"]) == ""


def test_a_search_through_damage_ends():
    source = Source(bytes(1000))
    reads = 0
    while source.read(10) or not source.exhausted:
        source.seek(0)
        reads += 1
    assert reads < 600_000
    assert source.read(10) == b""


def test_a_newer_format_is_refused(tmp_path: Path):
    path = make_small().write(tmp_path / "log.ulg")
    data = bytearray(path.read_bytes())
    data[16 + 3 + 8] = 2
    path.write_bytes(data)
    [episode] = UlogFormat().open(path).episodes
    with pytest.raises(LogError, match="need a newer reader"):
        list(episode.read())


def test_two_topics_of_one_name_stay_apart(tmp_path: Path, read):
    made = UlogMaker()
    made.format("log", "uint64_t timestamp", "float v")
    made.subscribe("log", 0)
    made.data("log", 0, 1, 1)
    made.say(5, "hello")
    contents = read(made.write(tmp_path / "log.ulg"))
    assert contents.values == {"log": [[1.0]], "log~2": ["INFO: hello"]}


@pytest.mark.data
@pytest.mark.parametrize("name", FILES)
def test_real_files_equal_pyulog(data_dir: Path, name: str, read):
    """Every number and time of every field of every topic, and every string."""
    path = data_dir / "px4_ulog" / name
    ours, theirs = read(path), ULog(str(path))
    assert len({(d.name, d.multi_id) for d in theirs.data_list}) == len(theirs.data_list)
    seen = set()
    for topic in theirs.data_list:
        base = topic.name + (f"#{topic.multi_id}" if topic.multi_id else "")
        us = topic.data["timestamp"].astype(np.int64)
        sampled = topic.data.get("timestamp_sample", us).astype(np.int64)
        fields = {
            field.field_name: topic.data[field.field_name]
            for field in topic.field_data
            if field.field_name not in ("timestamp", "timestamp_sample")
            and "_padding" not in field.field_name
        }
        mine = {k: v for k, v in ours.specs.items() if k == base or k.startswith(base + ".")}
        columns = [column for stream in mine for column in np.array(ours.values[stream]).T]
        np.testing.assert_array_equal(columns, [fields[k] for k in fields])
        for stream in mine:
            assert ours.arrival[stream] == (us * 1000).tolist()
            assert ours.capture[stream] == (np.where(sampled == 0, us, sampled) * 1000).tolist()
        seen |= set(mine)
    assert len(ours.values["log"]) == len(theirs.logged_messages)
    assert set(ours.specs) - seen <= {"log", "ulog.changed_parameters"}
    assert ours.statements["ulog.parameters"] == theirs.initial_parameters
    assert {loss.name for loss in ours.losses} <= {"dropout"}


@pytest.mark.data
def test_real_figures(data_dir: Path, read):
    """Stated, so that an error shared with pyulog would show."""
    sample = read(data_dir / "px4_ulog" / "sample.ulg")
    assert len(sample.values["sensor_combined.gyro_rad"]) == 17070
    assert len(sample.values["vehicle_attitude.q"]) == 6461
    assert sample.loss("dropout").count == 4
    assert "119 ms in all" in sample.loss("dropout").detail
    assert sample.statements["robot"] == "PX4 AUAV_X21"
    small = read(data_dir / "px4_ulog" / "sample_log_small.ulg")
    assert small.loss("dropout").detail.startswith("the vehicle could not write for 30 ms")
    appended = (data_dir / "px4_ulog" / "sample_appended_multiple.ulg").read_bytes()
    framing = walk(appended)
    assert (framing.cut_at, framing.ends_in, framing.broken_at) == ([], None, None)


def test_items_are_known(tmp_path: Path):
    [episode] = UlogFormat().open(write_ulog(tmp_path / "log.ulg")).episodes
    assert all(isinstance(i, Samples | Statement) for i in episode.read())
