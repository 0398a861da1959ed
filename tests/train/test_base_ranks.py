"""Several processes train what one does: gloo, on CPU."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from base_stores import store_of

pytest.importorskip("accelerate")
JOB = Path(__file__).with_name("ranks_job.py")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def train(folder, how, ranks):
    """Run the job in so many processes."""
    common = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(JOB.parents[1]),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(ranks),
        "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    jobs = [
        subprocess.Popen(
            [sys.executable, str(JOB), str(folder), how],
            env=common | ({"RANK": str(r), "LOCAL_RANK": str(r)} if ranks > 1 else {}),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for r in range(ranks)
    ]  # fmt: skip
    try:
        said = [job.communicate(timeout=120)[0] for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    assert [job.returncode for job in jobs] == [0] * ranks, "\n".join(said)[-4000:]
    return json.loads((folder / f"{how}.json").read_text()), load_file(
        folder / how / "weights.safetensors"
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    store_of(folder / "store")
    return folder, *train(folder, "alone", 1)


@pytest.mark.parametrize("how", ["whole", "sharded"])
def test_two_processes_train_what_one_does(alone, how):
    """To 1e-4 of the loss: sums are in another order."""
    folder, losses, weights = alone
    found, others = train(folder, how, 2)
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    assert others.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_allclose(others[name], value, atol=2e-3, err_msg=name)
