"""The training loop: seeded, resumable to the bit, stopped early by what it never trained on."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from viae.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How to descend.

    Args:
        steps: updates, at most; also the length of the cosine.
        lr: peak of the learning rate, after a linear warm-up.
        warmup: updates of the warm-up.
        weight_decay: AdamW's, of matrices only.
        ema: decay of the averaged weights, which are the ones kept.
        check_every: updates between measurements on held-out windows, and between checkpoints.
        patience: measurements without improvement before stopping; 0 never stops early.
        seed: of the weights and of the order of windows.
    """

    steps: int = 4000
    lr: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-3
    ema: float = 0.999
    check_every: int = 250
    patience: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.check_every < 1 or self.warmup < 0 or self.patience < 0:
            raise UsageError(f"there is no training with {self}")

    def lr_at(self, step: int) -> float:
        """The learning rate of update ``step`` (0 is the first)."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return self.lr * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of the loss curve.

    Args:
        step: updates done.
        train: mean training loss since the last point.
        held_out: loss of the averaged weights on held-out windows; None without any.
    """

    step: int
    train: float
    held_out: float | None


@dataclass(slots=True)
class _State:
    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    curve: list[Point] = field(default_factory=list)


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, int], Tensor],
    held_out: Callable[[nn.Module], float] | None,
    config: LoopConfig,
    *,
    checkpoint: Path,
    identity: str,
    progress: Callable[[Point], None] = lambda point: None,
) -> list[Point]:
    """Train a model in place; it ends with the best averaged weights.

    Args:
        model: its initial weights come from the caller.
        loss: of a model on the batch of an update, by number: a function of its arguments only.
        held_out: loss on held-out windows; None where nothing is held out.
        config: how.
        checkpoint: file to resume from and to write; removed at the end.
        identity: what is being trained; a checkpoint of anything else is ignored.
        progress: called at every point of the curve.

    Returns:
        The loss curve.

    Invariant: killed at any moment and called again, it ends with the same weights.
    """
    state = _State(model, copy.deepcopy(model), _optimizer(model, config))
    _resume(state, checkpoint, identity)
    since: list[float] = []
    while state.step < config.steps and not _stale(state, config, held_out is not None):
        for group in state.optimizer.param_groups:
            group["lr"] = config.lr_at(state.step)
        value = loss(model, state.step)
        state.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        since.append(value.item())
        state.step += 1
        _average(state, config)
        if state.step % config.check_every == 0 or state.step == config.steps:
            measured = held_out(state.average) if held_out else None
            point = Point(step=state.step, train=sum(since) / len(since), held_out=measured)
            since = []
            state.curve.append(point)
            if _is_best(state):
                state.best_step = state.step
                state.best = {k: v.clone() for k, v in state.average.state_dict().items()}
            _save(state, checkpoint, identity)
            progress(point)
    model.load_state_dict(state.best)
    checkpoint.unlink(missing_ok=True)
    return state.curve


def _optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def _average(state: _State, config: LoopConfig) -> None:
    """Move the average towards the weights, faster at the start, when they are far from good."""
    decay = min(config.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        pairs = zip(state.average.parameters(), state.model.parameters(), strict=True)
        for average, weight in pairs:
            average.lerp_(weight, 1 - decay)


def _is_best(state: _State) -> bool:
    newest = state.curve[-1].held_out
    if newest is None or not state.best:
        return True
    earlier = [p.held_out for p in state.curve[:-1] if p.held_out is not None]
    return not math.isnan(newest) and all(math.isnan(p) or newest <= p for p in earlier)


def _stale(state: _State, config: LoopConfig, measured: bool) -> bool:
    waited = (state.step - state.best_step) // config.check_every
    return measured and config.patience > 0 and waited >= config.patience


def _save(state: _State, checkpoint: Path, identity: str) -> None:
    tensors = {f"model/{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"average/{k}": v for k, v in state.average.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in state.best.items()}
    for number, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"adam/{number}/{k}": v for k, v in moments.items()}
    note = {
        "identity": identity,
        "step": state.step,
        "best_step": state.best_step,
        "curve": [[p.step, p.train, p.held_out] for p in state.curve],
    }
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    partial = checkpoint.with_name(f"{checkpoint.name}.partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"note": json.dumps(note)})
    partial.replace(checkpoint)


def _resume(state: _State, checkpoint: Path, identity: str) -> None:
    if not checkpoint.exists():
        return
    with safe_open(checkpoint, framework="pt") as file:
        note = json.loads(file.metadata()["note"])
        if note["identity"] != identity:
            return
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
    state.model.load_state_dict(_part(tensors, "model/"))
    state.average.load_state_dict(_part(tensors, "average/"))
    state.best = _part(tensors, "best/")
    moments: dict[int, dict[str, Any]] = {}
    for key, value in _part(tensors, "adam/").items():
        number, name = key.split("/")
        moments.setdefault(int(number), {})[name] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    state.step, state.best_step = note["step"], note["best_step"]
    state.curve = [Point(step=s, train=t, held_out=h) for s, t, h in note["curve"]]


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
