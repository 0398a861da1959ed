"""One of several processes that train a base model: a job of test_base_ranks."""

import json
import sys
from pathlib import Path

import torch


def main(folder: Path, how: str) -> None:
    torch.set_num_threads(1)
    from base_stores import recipe, source
    from viae.store import Store
    from viae.train.base import train_base
    from viae.train.processes import accelerator

    several = None if how == "alone" else accelerator(cpu=True)
    points = []
    bundle = train_base(
        [source(Store.open(folder / "store"))], recipe(dropout=0.0), work=folder / f"work-{how}",
        accelerator=several, divide=how == "sharded", progress=points.append,
    )  # fmt: skip
    if several is None or several.is_main_process:
        bundle.save(folder / how)
        losses = [[p.train, p.held_out, p.norm] for p in points]
        (folder / f"{how}.json").write_text(json.dumps(losses))
    if several is not None:
        several.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
