"""How many tokens pictures cost: the dense grid of a tokenizer ÷ what is sent of it.

Two sets, each with a tokenizer of its own, trained by ``viae train tokenizer``'s recipe: five
episodes of a Unitree G1 (its video at 96x128, 30 Hz; two held out) and 40 of gym-pusht (96x96,
10 Hz; eight held out). All that is printed is of held-out episodes, whole, their first pictures
included; the price of a token was settled on the others.

``python benchmarks/image_tokens.py --json [--work FOLDER]``. The ratio counts where PSNR
is within 0.2 dB of the dense grid's. Dense grids of larger patches are printed beside it: they,
too, cost fewer tokens, and this is what they give.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from driver import DATA, main
from rows import Row
from viae.load import Windows
from viae.model.tokens.grid import Pixels
from viae.model.tokens.spending import dense_errors, look_at, psnr, spend
from viae.model.tokens.tokenizer import PictureTokenizer
from viae.schema import Take, WindowSpec
from viae.store import Store
from viae.train.loop import LoopConfig
from viae.train.tokenizer import TokenizerRecipe
from viae.verbs.ingest import ingest
from viae.verbs.tokenizer import train_tokenizer

LOOP = LoopConfig(steps=1200, lr=2e-3, ema=0.995, check_every=100)
PATCHES = (8, 16)
"""Pixels a side: the tokenizer in question, and a coarser one for comparison."""
SLACK_DB = 0.2


@dataclass(frozen=True, kw_only=True)
class Set:
    """Pictures to learn and to measure on.

    Args:
        store: that has them.
        stream: of pictures.
        size: (H, W).
        learnt: SQL condition: the episodes trained on; the others are measured.
        held_out_share: of those trained on, for early stopping and the price of a token.
    """

    store: Store
    stream: str
    size: tuple[int, int]
    learnt: str
    held_out_share: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A held-out episode through one tokenizer."""

    patch: int
    episode: str
    pictures: int
    dense_tokens: int
    dense_psnr: float
    tokens: int
    psnr: float

    @property
    def ratio(self) -> float:
        """Dense ÷ ours."""
        return self.dense_tokens / self.tokens


def g1(work: Path) -> Set:
    """The real robot's video; too few episodes to spare one for early stopping."""
    store = Store.create(work / "store")
    ingest([DATA / "g1_inspire_lerobot_v21"], store)
    names = sorted(episode.log_range for episode in store.episodes())
    learnt = ", ".join(f"'{name}'" for name in names[:3])
    return Set(
        store=store, stream="observation.images.cam_high", size=(96, 128),
        learnt=f"log_range IN ({learnt})", held_out_share=0.0,
    )  # fmt: skip


def pusht(work: Path) -> Set:
    """gym-pusht, its pictures coded by what ``viae ingest --images video`` codes with."""
    from load_frames import frames_96
    from load_store import make_store

    store = make_store(frames_96(work), work / "store")
    return Set(
        store=store, stream="top", size=(96, 96), learnt="episode_id < '0032'", held_out_share=0.1
    )


def trained(data: Set, work: Path, patch: int) -> PictureTokenizer:
    """The tokenizer of a set, made once; how long it took is noted beside it."""
    recipe = TokenizerRecipe(
        stream=data.stream,
        size=data.size,
        patch=patch,
        bf16=True,
        held_out_share=data.held_out_share,
        loop=LOOP,
    )
    note = work / f"seconds-{patch}.json"
    began, cpu = time.monotonic(), time.process_time()
    found = train_tokenizer(data.store, work / f"tokenizer-{patch}", recipe, where=data.learnt)
    if not note.exists():
        spent = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
        note.write_text(json.dumps(spent))
    return found


def held_out_pictures(data: Set) -> Iterator[tuple[str, Pixels]]:
    """Episodes that no tokenizer saw: id, and uint8 [N, 3, H, W]."""
    from viae.verbs.choose import fitting

    seen = {episode.episode_id for episode in fitting(data.store, data.learnt)}
    spec = WindowSpec(decision=data.stream, inputs=(Take(stream=data.stream, steps=(0,)),))
    for episode in data.store.episodes():
        if episode.episode_id not in seen:
            frames = Windows(data.store, spec, [episode], picture_sizes={data.stream: data.size})
            batch = frames.batch(np.arange(len(frames)))
            yield episode.episode_id, batch.inputs[data.stream][:, 0].copy()


def measured(tokenizer: PictureTokenizer, episode: str, pictures: Pixels) -> Measured:
    """One episode, dense and ours."""
    looks = look_at(tokenizer.codec.painter, pictures)
    spent = spend(tokenizer.codec, pictures, looks)
    config = tokenizer.codec.painter.config
    return Measured(
        patch=config.patch, episode=episode, pictures=len(pictures),
        dense_tokens=config.patches * len(pictures),
        dense_psnr=psnr(dense_errors(looks)),
        tokens=int(spent.tokens.sum()), psnr=psnr(spent.errors),
    )  # fmt: skip


def rows(name: str, found: Sequence[Measured], seconds: float) -> Iterator[Row]:
    """What is printed of a set; the first row is the ratio, no number where PSNR is not equal."""
    by_patch = {patch: [m for m in found if m.patch == patch] for patch in PATCHES}
    fine = by_patch[PATCHES[0]]
    gaps = [m.dense_psnr - m.psnr for m in fine]
    equal = max(gaps) <= SLACK_DB
    total = sum(m.dense_tokens for m in fine) / sum(m.tokens for m in fine)
    yield Row(
        name=f"image_tokens_{name}", value=total if equal else np.nan, unit="x fewer",
        target=">= 3", n=len(fine), low=min(m.ratio for m in fine),
        high=max(m.ratio for m in fine),
        peer=f"dense grid of the same tokenizer; low, high: over {len(fine)} held-out episodes, "
        f"{sum(m.pictures for m in fine)} pictures; trained in {seconds:.0f} s of a core",
    )  # fmt: skip
    yield Row(
        name=f"image_tokens_{name}_gap", value=max(gaps), unit="dB", target=f"<= {SLACK_DB}",
        n=len(fine), low=min(gaps), high=max(gaps), peer="PSNR, dense - ours, worst episode",
    )  # fmt: skip
    for patch, some in by_patch.items():
        pictures = sum(m.pictures for m in some)
        for what, tokens, levels in (
            ("dense", sum(m.dense_tokens for m in some), [m.dense_psnr for m in some]),
            ("ours", sum(m.tokens for m in some), [m.psnr for m in some]),
        ):
            yield Row(
                name=f"image_tokens_{name}_{what}_{patch}px", value=float(np.mean(levels)),
                unit="dB", n=len(some), low=min(levels), high=max(levels),
                peer=f"{tokens / pictures:.1f} tokens a picture",
            )  # fmt: skip


def measure(name: str, work: Path) -> Iterator[Row]:
    """Train and measure one set; every episode's figures are left in the folder."""
    work.mkdir(parents=True, exist_ok=True)
    data = {"g1": g1, "pusht": pusht}[name](work)
    episodes = list(held_out_pictures(data))
    found = []
    for patch in PATCHES:
        tokenizer = trained(data, work, patch)
        found += [measured(tokenizer, episode, pictures) for episode, pictures in episodes]
    seconds = json.loads((work / f"seconds-{PATCHES[0]}.json").read_text())["cpu"]
    (work / "measured.json").write_text(json.dumps([asdict(m) for m in found], indent=1))
    yield from rows(name, found, seconds)


def image_tokens(work: Path) -> Iterator[Row]:
    """Both sets, then the smaller of the two ratios."""
    torch.set_num_threads(1)
    ratios = []
    for name in ("g1", "pusht"):
        for number, row in enumerate(measure(name, work / name)):
            ratios += [row] if number == 0 else []
            yield row
    worst = min(ratios, key=lambda row: row.value if np.isfinite(row.value) else -np.inf)
    yield replace(worst, name="image_tokens", peer=f"the smaller of both, {worst.name}")


if __name__ == "__main__":
    main(
        {"image_tokens": image_tokens},
        description=__doc__, need_data=frozenset({"image_tokens"}),
    )  # fmt: skip
