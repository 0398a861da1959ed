"""Run by LeRobot's own Python, without viae: statistics of a dataset, as LeRobot aggregates them.

``python stats_peer.py EPISODES.npz`` takes one array [N, D] an episode, and prints per statistic
its D values, combined over the episodes.
"""

from __future__ import annotations

import json
import sys

import numpy as np


def main(path: str) -> None:
    from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats

    episodes = np.load(path)
    features = {"values": {"dtype": "float32"}}
    each = [compute_episode_stats({"values": episodes[name]}, features) for name in episodes.files]
    whole = aggregate_stats(each)["values"]
    print(json.dumps({name: value.tolist() for name, value in whole.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
