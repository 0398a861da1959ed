"""Are `viae.load.lerobot`'s items LeRobot's own, and does `lerobot-train` end at equal weights?

``python benchmarks/lerobot_dropin.py --json``. LeRobot lives in an environment of its own, found or
made as `roundtrip.py` says; what viae needs beside it is installed there, without changing it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roundtrip import DATA, LEROBOT, MINUTES, lerobot_python, stored, whole_of
from rows import Row

PEER = Path(__file__).with_name("lerobot_items_peer.py")
PLAIN = Path(__file__).with_name("lerobot_peer.py")
"""Records features that LeRobot's policies can take, and converts."""
SOURCE = Path(__file__).parents[1] / "src"
NEEDS = ["pylance>=14", "duckdb>=1.1", "scipy>=1.13", "mcap>=1.2", "lz4>=4", "zstandard>=0.22",
         "rich>=13", "typer>=0.12"]  # fmt: skip
"""What viae needs to load from a store, beside what LeRobot brings."""
FRAME_S = {"made": 1 / 10, "g1": 1 / 30}
CAMERA = "observation.images.cam_high"
STEPS = 20
TINY = {
    "act": [
        "--policy.type=act", "--policy.pretrained_backbone_weights=null", "--policy.dim_model=64",
        "--policy.n_heads=4", "--policy.dim_feedforward=64", "--policy.n_encoder_layers=1",
        "--policy.n_vae_encoder_layers=1", "--policy.latent_dim=8", "--policy.chunk_size=10",
        "--policy.n_action_steps=10", "--batch_size=2",
    ],
    "diffusion": [
        "--policy.type=diffusion", "--policy.crop_shape=[56,80]", "--policy.down_dims=[32,64]",
        "--policy.horizon=8", "--policy.n_action_steps=4", "--policy.n_obs_steps=2",
        "--policy.num_train_timesteps=10", "--policy.spatial_softmax_num_keypoints=4",
        "--policy.diffusion_step_embed_dim=16", "--policy.drop_n_last_frames=2", "--batch_size=4",
    ],
}  # fmt: skip
"""Policies small enough for a CPU, without weights from the network."""


class Peer:
    """LeRobot in its own environment, with viae on its path."""

    def __init__(self, python: Path, work: Path) -> None:
        self.python, self.work = python, work
        work.mkdir(parents=True, exist_ok=True)
        home = str(work / "home")
        self._environment = {
            **os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": home, "HF_LEROBOT_HOME": home,
            "PYTHONPATH": str(SOURCE), "SVT_LOG": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def prepare(self) -> None:
        """Install what viae needs and is not there; what is there keeps its version."""
        if self._done([self.python, "-c", "import lance, duckdb, viae.store"]).returncode == 0:
            return
        frozen = self._done([self.python, "-m", "pip", "freeze"]).stdout
        (self.work / "kept.txt").write_text(frozen)
        pip = [self.python, "-m", "pip", "install", "--quiet", "-c", self.work / "kept.txt"]
        self._must([*pip, *NEEDS])

    def ask(self, verb: str, **job: Any) -> dict[str, Any]:
        """What the peer prints."""
        path = self.work / "job.json"
        path.write_text(json.dumps(job, default=str))
        return dict(json.loads(self._must([self.python, PEER, verb, path]).splitlines()[-1]))

    def make(self, root: Path, codec: str, script: Path) -> None:
        """A dataset of version 3.0, recorded by LeRobot."""
        self._must([self.python, script, "make", root, codec])

    def converted(self, source: Path, root: Path) -> None:
        """A copy of a dataset of version 2.1, converted to 3.0 by LeRobot."""
        shutil.copytree(source, root)
        self._must([self.python, PLAIN, "convert", root])

    def train(self, root: Path, policy: str, *, plugin: bool) -> dict[str, str]:
        """Train by LeRobot's own program; the weights' and processors' digests by name."""
        out = self.work / f"trained-{policy}-{'viae' if plugin else 'lerobot'}"
        words = [
            self.python.with_name("lerobot-train"), "--dataset.repo_id=viae/peer",
            f"--dataset.root={root}", f"--output_dir={out}", "--policy.device=cpu",
            "--policy.push_to_hub=false", "--seed=7", "--num_workers=0", f"--steps={STEPS}",
            f"--save_freq={STEPS}", "--log_freq=1", "--eval_freq=0", *TINY[policy],
        ]  # fmt: skip
        if plugin:
            words.append("--dataset.discover_packages_path=viae.load.lerobot_plugin")
        self._must(words)
        files = sorted((out / "checkpoints" / f"{STEPS:06d}").rglob("*.safetensors"))
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def _done(self, words: list[Any]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, words)), capture_output=True, text=True, timeout=60 * MINUTES,
            env=self._environment, check=False,
        )  # fmt: skip

    def _must(self, words: list[Any]) -> str:
        done = self._done(words)
        if done.returncode:
            raise RuntimeError(f"LeRobot failed on {words[1:4]}: {done.stderr[-3000:]}")
        return done.stdout.strip()


def made_cases() -> list[dict[str, Any]]:
    """Past, future and both, of numbers, movies and pictures; few episodes; transforms."""
    f = FRAME_S["made"]
    top, side, still = (f"observation.images.{name}" for name in ("top", "side", "still"))
    return [
        {},
        {"delta_timestamps": {
            "observation.state": [-2 * f, -f, 0], "action": [0, f, 2 * f, 3 * f],
            top: [-3 * f, 0, f], still: [-f, 0], "observation.cube.uint8": [0, f],
        }},
        {"delta_timestamps": {
            top: [0], still: [0], "observation.state": [0], side: [-100 * f, 100 * f],
            "timestamp": [-f], "index": [0, f], "observation.matrix.float64": [-f],
        }, "episodes": [2, 0]},
        {"delta_timestamps": {side: [f]}, "transforms": True, "episodes": [1], "memory_gb": 0},
    ]  # fmt: skip


def g1_cases() -> list[dict[str, Any]]:
    """The window that the loader is measured with, and one that leaves its episode."""
    f = FRAME_S["g1"]
    return [
        {"delta_timestamps": {
            CAMERA: [-2 * f, 0], "observation.state": [-2 * f, 0],
            "action": [i * f for i in range(16)],
        }},
        {"delta_timestamps": {CAMERA: [-1, -0.5, 0, 0.5]}, "episodes": [4, 1]},
    ]  # fmt: skip


def g1_sets(peer: Peer) -> tuple[Path, str] | None:
    """The real dataset converted by LeRobot, and a store of it as it was; None without it."""
    source = DATA / "g1_inspire_lerobot_v21"
    if not source.is_dir():
        print(f"g1: skipped, no real logs at {DATA}; set VIAE_DATA", file=sys.stderr)
        return None
    folder = peer.work / "g1"
    if not folder.exists():
        whole_of(source, folder / "whole")
        peer.converted(folder / "whole", folder / "converted")
        stored(folder / "whole", folder)
    return folder / "converted", str(folder / "store")


def made_sets(peer: Peer, codec: str, script: Path = PEER) -> tuple[Path, str]:
    """A dataset that LeRobot recorded, and a store of it."""
    folder = peer.work / f"{script.stem}-{codec}"
    if not folder.exists():
        folder.mkdir(parents=True)
        peer.make(folder / "set", codec, script)
        stored(folder / "set", folder)
    return folder / "set", str(folder / "store")


def opened(work: Path) -> Peer | None:
    """LeRobot ready to run viae; None without it."""
    python = lerobot_python()
    if python is None:
        return None
    peer = Peer(python, work / "dropin")
    peer.prepare()
    return peer


def lerobot_items(work: Path) -> Iterator[Row]:
    """The share of values and metadata that are equal to the bit; items per second by LeRobot's."""
    peer = opened(work)
    if peer is None:
        return
    found = []
    for codec in ("libsvtav1", "h264"):
        root, store = made_sets(peer, codec)
        backends = ["torchcodec", "pyav"] if codec == "h264" else ["torchcodec"]
        found.append(
            peer.ask("compare", root=root, store=store, cases=made_cases(), backends=backends)
        )
    if real := g1_sets(peer):
        root, store = real
        for backend, items in (("torchcodec", 80), ("pyav", 6)):
            found.append(
                peer.ask(
                    "compare", root=root, store=store, cases=g1_cases(), backends=[backend],
                    items=items, loose=True,
                )
            )  # fmt: skip
    for failure in (failure for each in found for failure in each["failures"]):
        print(f"  not equal: {failure}", file=sys.stderr)
    checks = sum(each["checks"] for each in found)
    equal = sum(each["equal"] for each in found)
    yield Row(
        name="lerobot_items_equal", value=equal / checks, unit="share", target=">= 1", n=checks,
        peer=LEROBOT,
    )  # fmt: skip
    if real:
        rates = {
            which: peer.ask(
                "rate", which=which, root=real[0], store=real[1], batch_size=8, workers=2,
                batches=40, **g1_cases()[0],
            )
            for which in ("lerobot", "viae")
        }  # fmt: skip
        ratio = rates["viae"]["items_per_s"] / rates["lerobot"]["items_per_s"]
        yield Row(
            name="lerobot_dropin_ratio", value=ratio, unit="x", n=rates["viae"]["items"],
            peer=f"{LEROBOT} w2, {rates['lerobot']['items_per_s']:.1f} items/s",
        )  # fmt: skip


def lerobot_train(work: Path) -> Iterator[Row]:
    """The share of files of weights that are equal after training by `lerobot-train` on both."""
    peer = opened(work)
    if peer is None:
        return
    runs = [(made_sets(peer, "h264", PLAIN), "diffusion")]
    if real := g1_sets(peer):
        runs.append((real, "act"))
    files = equal = 0
    for (root, store), policy in runs:
        theirs = peer.train(root, policy, plugin=False)
        ours = peer.train(Path(store), policy, plugin=True)
        files += len(theirs)
        equal += sum(ours.get(name) == digest for name, digest in theirs.items())
    yield Row(
        name="lerobot_train_equal", value=equal / files, unit="share", target=">= 1", n=files,
        peer=f"{LEROBOT}, {STEPS} steps of {', '.join(policy for _, policy in runs)}",
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--only", choices=["items", "train"], help="default: both")
    parser.add_argument("--work", type=Path, help="folder to keep; default: a temporary one")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, rows in (("items", lerobot_items), ("train", lerobot_train)):
            if arguments.only in (None, name):
                for row in rows(work):
                    row.print(as_json=arguments.json)


if __name__ == "__main__":
    main()
