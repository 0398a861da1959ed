"""Real sets as tables: each is described in fewer than 40 lines, and every value is there."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from viae.logs.tabular import TabularFormat
from viae.schema import Loss, Samples

COMMA = """
viae_tabular: 1
root: {root}
episodes: {{folders: "*/*"}}
time: {{unit: s, clock: boot}}
statements: {{robot: comma EON}}
tables:
  - time: {{file: global_pose/frame_times}}
    streams:
      pose/position: {{file: global_pose/frame_positions, unit: m}}
      pose/orientation: {{file: global_pose/frame_orientations, names: [w, x, y, z]}}
      pose/velocity: {{file: global_pose/frame_velocities, unit: m/s}}
      pose/gps_time: {{file: global_pose/frame_gps_times, names: [week, second]}}
  - time: {{file: processed_log/CAN/raw_can/t}}
    streams:
      can/src: {{file: processed_log/CAN/raw_can/src}}
      can/address: {{file: processed_log/CAN/raw_can/address}}
      can/data: {{file: processed_log/CAN/raw_can/data}}
"""
COMMA_SIMPLE = {
    "CAN": ("radar", "speed", "steering_angle", "wheel_speed"),
    "GNSS": ("live_gnss_qcom", "live_gnss_ublox", "raw_gnss_qcom", "raw_gnss_ublox"),
    "IMU": (
        "accelerometer", "gyro", "gyro_bias", "gyro_uncalibrated", "magnetometer",
        "magnetometer_uncalibrated",
    ),
}  # fmt: skip


@pytest.mark.data
def test_real_car(data_dir: Path, tmp_path: Path):
    """Every value and time of comma2k19 equals numpy.load's."""
    root = data_dir / "comma2k19_example" / "Example_1"
    text = COMMA.format(root=root)
    for group, names in COMMA_SIMPLE.items():
        for name in names:
            folder = f"processed_log/{group}/{name}"
            time = f"time: {{file: {folder}/t}}"
            text += f"  - {{file: {folder}/value, {time}, streams: {{{name}: }}}}\n"
    assert len(text.splitlines()) < 40
    path = tmp_path / "comma.viae.yaml"
    path.write_text(text)
    [episode] = TabularFormat().open(path).episodes
    values: dict[str, list] = {}
    times: dict[str, list] = {}
    for item in episode.read():
        assert not isinstance(item, Loss)
        if isinstance(item, Samples):
            values.setdefault(item.spec.name, []).append(item.values)
            times.setdefault(item.spec.name, []).append(item.capture_ns)
            assert item.spec.clock == "boot"
    drive = root / episode.range
    files = {
        name: (f"processed_log/{group}/{name}/t", f"processed_log/{group}/{name}/value")
        for group, names in COMMA_SIMPLE.items()
        for name in names
    }
    can = "processed_log/CAN/raw_can"
    files |= {f"can/{name}": (f"{can}/t", f"{can}/{name}") for name in ("src", "address")}
    for name in ("position", "orientation", "velocity"):
        files[f"pose/{name}"] = (
            "global_pose/frame_times",
            f"global_pose/frame_{name}s".replace("ys", "ies"),
        )
    files["pose/gps_time"] = ("global_pose/frame_times", "global_pose/frame_gps_times")
    assert set(values) == {*files, "can/data"}
    for name, (time, value) in files.items():
        theirs = np.load(drive / value)
        np.testing.assert_array_equal(np.concatenate(values[name]), theirs.reshape(len(theirs), -1))
        seconds = np.load(drive / time)
        np.testing.assert_array_equal(np.concatenate(times[name]), np.rint(seconds * 1e9))
    data = [one for block in values["can/data"] for one in block]
    assert data == [one.ljust(8, b"\0") for one in np.load(drive / can / "data").tolist()]
    assert len(data) == 135_468
    assert times["can/data"][0][0] == 46_408_584_930_395


TAUBENCH = """
viae_tabular: 1
root: {root}
episodes: {{records: "historical_trajectories/*.json"}}
statements:
  agent: gpt-4o
  task: {{path: info.task.instruction}}
  outcome: {{path: reward, equals: 1.0}}
tables:
  - rows: traj
    time: {{every_s: 1}}
    ignore: [tool_call_id]
    streams:
      system: {{columns: content, where: {{role: system}}}}
      user: {{columns: content, where: {{role: user}}}}
      tool: {{columns: content, where: {{role: tool}}}}
      tool_name: {{columns: name, where: {{role: tool}}}}
      say: {{columns: content, role: action, where: {{role: assistant}}, nulls: skip}}
      call: {{columns: tool_calls, role: action, where: {{role: assistant}}, nulls: skip}}
"""


@pytest.mark.data
def test_real_agent_conversations(data_dir: Path, tmp_path: Path):
    """Every turn of tau-bench equals what the JSON holds."""
    root = data_dir / "taubench_traces"
    path = tmp_path / "tau.viae.yaml"
    path.write_text(TAUBENCH.format(root=root))
    runs = json.loads((root / "historical_trajectories" / "gpt-4o-airline.json").read_text())
    episodes = list(TabularFormat().open(path).episodes)
    assert len(episodes) == len(runs) == 200
    counts: Counter[str] = Counter()
    outcomes = 0
    for run, episode in zip(runs, episodes, strict=True):
        turns: dict[int, dict[str, str]] = {}
        for item in episode.read():
            if isinstance(item, Samples):
                counts[item.spec.name] += len(item)
                for seq, value in zip(item.seq.tolist(), item.values, strict=True):
                    turns.setdefault(seq, {})[item.spec.name] = value
            elif isinstance(item, Loss):
                assert (item.name, item.count) == ("times-absent", len(run["traj"]))
            elif item.key == "outcome":
                outcomes += item.value
                assert item.value == (run["reward"] == 1.0)
        assert sorted(turns) == list(range(len(run["traj"])))
        for turn, message in zip(map(turns.get, range(len(turns))), run["traj"], strict=True):
            role = "say" if message["role"] == "assistant" else message["role"]
            assert turn.get(role) == message["content"]
            if "call" in turn:
                assert json.loads(turn["call"]) == message["tool_calls"]
    assert outcomes == 84
    assert counts == {
        "user": 1490, "say": 1380, "tool": 1164, "tool_name": 1164, "call": 1164, "system": 200,
    }  # fmt: skip


SWE_AGENT = """
viae_tabular: 1
root: {root}
episodes: {{files: "**/*.traj"}}
statements: {{agent: SWE-agent}}
tables:
  - rows: trajectory
    optional: true
    time: {{every_s: 1}}
    ignore: [messages]
    streams:
      state: {{nulls: skip}}
      thought: {{role: action}}
      action: {{role: action}}
      observation: {{nulls: skip}}
      response:
      execution_time: {{unit: s, nulls: skip}}
  - rows: history
    time: {{every_s: 1}}
    ignore: all
    streams:
      prompt: {{columns: content, where: {{role: [system, user, tool]}}}}
      answer: {{columns: content, role: action, where: {{role: assistant}}}}
"""


@pytest.mark.data
def test_real_agent_trajectories(data_dir: Path, tmp_path: Path, read):
    """All generations of SWE-agent's format; one has a history and no trajectory."""
    root = data_dir / "sweagent_traj"
    path = tmp_path / "swe.viae.yaml"
    path.write_text(SWE_AGENT.format(root=root))
    episodes = list(TabularFormat().open(path).episodes)
    files = sorted(root.glob("**/*.traj"))
    assert [episode.range for episode in episodes] == [
        file.relative_to(root).as_posix() for file in files
    ]
    for n, file in enumerate(files):
        tree, contents = json.loads(file.read_text()), read(path, n)
        steps = tree.get("trajectory", [])
        assert contents.values.get("action", []) == [step["action"] for step in steps]
        assert contents.values.get("thought", []) == [step["thought"] for step in steps]
        answers = [turn["content"] for turn in tree["history"] if turn["role"] == "assistant"]
        assert contents.values["answer"] == answers
        assert {loss.name for loss in contents.losses} == {"times-absent"}
    assert len(files) == 22
