"""Training a tokenizer of pictures: the network on single frames, then what to send on episodes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viae.errors import UsageError
from viae.load import Windows
from viae.model.bundle import Provenance
from viae.model.tokens.grid import Painter, Pixels
from viae.model.tokens.picture import PictureConfig, PictureNet, as_input, reconstruction_loss
from viae.model.tokens.runs import PictureCodec
from viae.model.tokens.spending import Spent, dense_errors, look_at, psnr, spend
from viae.model.tokens.tokenizer import PictureTokenizer
from viae.schema import Episode, Kind, Take, WindowSpec
from viae.sequence import held_out, iid_order
from viae.store import Store
from viae.train.loop import LoopConfig, Point, fit

PICTURES = (Kind.IMAGE, Kind.VIDEO)
THRESHOLDS = (0.1, 10_000.0)
"""Between which the price of a token is sought, in squares of levels of 0 to 255."""
HALVINGS = 7
TRIED_EPISODES = 8
ROOMY = 0.995
"""Share of pictures whose tokens all find room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerRecipe:
    """What to train.

    Args:
        stream: of pictures; empty takes the only one there is.
        size: (H, W) that pictures are scaled to; None takes the recorded size, cut down to patches.
        patch: pixels a side of a patch.
        levels: of the quantiser: ``prod(levels)`` codes.
        width: of the network.
        depth: of the network.
        batch_size: pictures per update.
        loss_db: PSNR given up, against sending every patch, for sending few.
        room: tokens of a picture after the first, at most; 0 takes what nearly all of them need.
        tried_on: pictures in a row, in all, that ``loss_db`` is measured on: of the held-out
            episodes where there are any.
        bf16: compute in bfloat16 while training: faster on processors that have it.
        held_out_share: of the episodes, for early stopping.
        loop: how to descend.
    """

    stream: str = ""
    size: tuple[int, int] | None = None
    patch: int = 8
    levels: tuple[int, ...] = (8, 5, 5, 5)
    width: int = 48
    depth: int = 2
    batch_size: int = 32
    loss_db: float = 0.1
    room: int = 0
    tried_on: int = 400
    bf16: bool = False
    held_out_share: float = 0.1
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=3000, lr=2e-3, ema=0.995, check_every=100)
    )

    def __post_init__(self) -> None:
        if min(self.batch_size, self.tried_on) < 1 or self.room < 0 or self.loss_db <= 0:
            raise UsageError(f"there is no training with {self}")

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def train_tokenizer(
    store: Store,
    episodes: Sequence[Episode],
    recipe: TokenizerRecipe,
    *,
    work: Path,
    progress: Callable[[Point], None] = lambda point: None,
) -> PictureTokenizer:
    """Train a tokenizer.

    Args:
        store: at the snapshot to read.
        episodes: to learn from; some of them are held out.
        recipe: what to train.
        work: folder for the checkpoint, to resume after a kill.
        progress: called at every point of the loss curve.

    Returns:
        The tokenizer, not yet saved. A function of its arguments: equal snapshot, episodes and
        recipe give equal weights on one machine and one thread.

    Raises:
        UsageError: no episodes, no such stream, or a size that does not divide into patches.
    """
    if not episodes:
        raise UsageError("there are no episodes to learn from; widen --where, or ingest some")
    episodes = sorted(episodes, key=lambda episode: episode.episode_id)
    stream, config = _definite(store, episodes, recipe)
    kept_out = _kept_out(episodes, recipe)
    split = {
        "trained_on": [e for e in episodes if e.episode_id not in kept_out],
        "held_out": [e for e in episodes if e.episode_id in kept_out],
    }
    frames = _frames(store, stream, config, split["trained_on"])
    others = _frames(store, stream, config, split["held_out"]) if split["held_out"] else None
    torch.manual_seed(recipe.loop.seed)
    net = PictureNet(config)

    def loss(network: nn.Module, step: int) -> Tensor:
        which = iid_order(len(frames), seed=recipe.loop.seed, draw=step, size=recipe.batch_size)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            return reconstruction_loss(network, _shown(frames, stream, which))

    ids = {name: tuple(e.episode_id for e in part) for name, part in split.items()}
    identity = json.dumps([recipe.to_json(), store.snapshot().to_json(), ids], sort_keys=True)
    curve = fit(
        net, loss, _held_out_loss(others, stream, recipe) if others else None, recipe.loop,
        checkpoint=work / "checkpoint.safetensors",
        identity=hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
        progress=progress,
    )  # fmt: skip
    stretches = _stretches(others or frames, stream, recipe)
    codec, tried = settle(Painter(net), stretches, recipe)
    tried["of"] = "of held-out episodes" if others else "of those trained on"
    return PictureTokenizer(
        codec=codec,
        stream=stream,
        provenance=Provenance(
            store=store.uri,
            snapshot=store.snapshot().versions,
            episodes=ids,
            training=recipe.to_json(),
            metrics={
                "pictures": len(frames),
                "parameters": sum(p.numel() for p in net.parameters()),
                "curve": [[p.step, p.train, p.held_out] for p in curve],
                "tried": tried,
            },
        ),
    )


def settle(
    painter: Painter, stretches: Sequence[Pixels], recipe: TokenizerRecipe
) -> tuple[PictureCodec, dict[str, Any]]:
    """The price of a token, and the room for tokens, by trying.

    Args:
        painter: the network.
        stretches: pictures in a row, uint8 [N, 3, H, W] each.
        recipe: says how much PSNR may be given up.

    Returns:
        The codec with the highest price that gives up at most ``loss_db``, with room for nearly
        all that it sends then; and what it does to the stretches, their first pictures included.
    """
    looks = [look_at(painter, stretch) for stretch in stretches]
    dense = psnr(np.concatenate([dense_errors(some) for some in looks]))

    def tried(threshold: float, room: int) -> tuple[PictureCodec, list[Spent]]:
        codec = PictureCodec(painter, threshold=threshold, room=room)
        return codec, [spend(codec, *pair) for pair in zip(stretches, looks, strict=True)]

    roomy = 2 * painter.config.patches
    low, high = np.log(THRESHOLDS)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        _, spent = tried(float(np.exp(middle)), roomy)
        good = psnr(np.concatenate([each.errors for each in spent])) >= dense - recipe.loss_db
        low, high = (middle, high) if good else (low, middle)
    threshold = float(np.exp(low))
    _, spent = tried(threshold, roomy)
    later = np.concatenate([each.tokens[1:] for each in spent])
    needed = int(np.quantile(later, ROOMY, method="higher")) if len(later) else 0
    codec, spent = tried(threshold, recipe.room or min(roomy, max(8, -(-needed // 8) * 8)))
    return codec, {
        "pictures": sum(map(len, stretches)), "dense_psnr": dense,
        "psnr": psnr(np.concatenate([each.errors for each in spent])),
        "tokens": float(np.concatenate([each.tokens for each in spent]).mean()),
    }  # fmt: skip


def _definite(
    store: Store, episodes: Sequence[Episode], recipe: TokenizerRecipe
) -> tuple[str, PictureConfig]:
    """The stream, and the network that fits it."""
    rows = store.streams([episode.episode_id for episode in episodes])
    streams = {row["stream"]: row["spec"] for row in rows if row["spec"].kind in PICTURES}
    if recipe.stream and recipe.stream not in streams:
        raise UsageError(
            f"there is no stream of pictures '{recipe.stream}'; the episodes have {sorted(streams)}"
        )
    if not recipe.stream and len(streams) != 1:
        raise UsageError(
            f"name the stream to learn with --stream: the episodes have {sorted(streams)}"
            if streams
            else "the episodes have no stream of pictures"
        )
    name = recipe.stream or next(iter(streams))
    height, width = streams[name].shape[:2]
    whole = height // recipe.patch * recipe.patch, width // recipe.patch * recipe.patch
    return name, PictureConfig(
        size=recipe.size or whole, patch=recipe.patch, levels=recipe.levels,
        width=recipe.width, depth=recipe.depth,
    )  # fmt: skip


def _kept_out(episodes: Sequence[Episode], recipe: TokenizerRecipe) -> frozenset[str]:
    by_task: dict[str, list[str]] = {}
    for episode in episodes:
        by_task.setdefault(episode.task, []).append(episode.episode_id)
    return held_out(by_task, fraction=recipe.held_out_share, seed=recipe.loop.seed)


def _frames(
    store: Store, stream: str, config: PictureConfig, episodes: Sequence[Episode]
) -> Windows:
    """Single pictures, as windows."""
    spec = WindowSpec(decision=stream, inputs=(Take(stream=stream, steps=(0,)),))
    return Windows(store, spec, episodes, picture_sizes={stream: config.size})


def _shown(frames: Windows, stream: str, which: npt.NDArray[np.int64]) -> Tensor:
    return as_input(torch.from_numpy(frames.batch(which).inputs[stream][:, 0]))


def _held_out_loss(
    frames: Windows, stream: str, recipe: TokenizerRecipe, *, most: int = 128
) -> Callable[[nn.Module], float]:
    """Loss on a fixed choice of pictures of held-out episodes."""
    which = np.random.default_rng(recipe.loop.seed).permutation(len(frames))[:most]
    parts = np.array_split(which, -(-len(which) // recipe.batch_size))
    batches = [_shown(frames, stream, part) for part in parts]

    def measure(network: nn.Module) -> float:
        with torch.inference_mode():
            losses = [reconstruction_loss(network, batch).item() for batch in batches]
        return float(np.average(losses, weights=[len(batch) for batch in batches]))

    return measure


def _stretches(frames: Windows, stream: str, recipe: TokenizerRecipe) -> list[Pixels]:
    """Pictures in a row: the middle of each of some episodes, as long as all may be."""
    own = np.unique(frames.episode_of)[:TRIED_EPISODES]
    each = max(2, recipe.tried_on // len(own))
    found = []
    for episode in own:
        which = np.flatnonzero(frames.episode_of == episode)
        start = max(0, (len(which) - each) // 2)
        found.append(frames.batch(which[start : start + each]).inputs[stream][:, 0].copy())
    return found


__all__ = ["TokenizerRecipe", "settle", "train_tokenizer"]
