"""The training loop: seeded, resumable to the bit, stopped early by what it never trained on.

With an `accelerate.Accelerator`, several processes train one model; each calls `fit` alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from viae.errors import UsageError
from viae.train.guards import Guards, Watch

Measured: TypeAlias = float | tuple[float, Mapping[str, float]]
"""A loss, or a loss and its parts by name."""


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
        parts: of that loss, by name; empty where it has none.
        norm: mean norm of the gradients since the last point, before they were clipped.
        skipped: batches since the last point that did harm: the weights were rolled back to the
            last point, and these were left out.
    """

    step: int
    train: float
    held_out: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    norm: float = math.nan
    skipped: tuple[int, ...] = ()


@dataclass(slots=True)
class _State:
    model: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    watch: Watch
    step: int = 0
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    curve: list[Point] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)

    @property
    def batch(self) -> int:
        """Number of the batch of this update: those that did harm are passed over."""
        number = self.step
        for skipped in sorted(self.skipped):
            number += skipped <= number
        return number


def fit(
    model: nn.Module,
    loss: Callable[[nn.Module, int], Tensor],
    held_out: Callable[[nn.Module], Measured] | None,
    config: LoopConfig,
    *,
    checkpoint: Path,
    identity: str,
    guards: Guards | None = None,
    accelerator: Any = None,
    progress: Callable[[Point], None] = lambda point: None,
) -> list[Point]:
    """Train a model in place; it ends with the best averaged weights.

    Args:
        model: its initial weights come from the caller; it may be divided among processes (FSDP2).
        loss: of a model on a batch, by number: a function of its arguments only. With several
            processes, the mean of theirs is descended.
        held_out: loss on held-out windows; None where nothing is held out.
        config: how.
        checkpoint: file to resume from and to write; removed at the end.
        identity: what is being trained; a checkpoint of anything else is ignored.
        guards: against updates that do harm; None only looks for numbers that are not finite.
        accelerator: an `accelerate.Accelerator`; None trains in this process alone.
        progress: called at every point of the curve, by the main process.

    Returns:
        The loss curve.

    Raises:
        TrainingError: too many batches did harm.

    Invariant: killed at any moment and called again, it ends with the same weights.
    """
    guards = guards or Guards()
    whole = not any(hasattr(p, "full_tensor") for p in model.parameters())
    run = model if accelerator is None or not whole else accelerator.prepare_model(model)
    main = accelerator is None or accelerator.is_main_process
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    state = _State(model, average, _optimizer(model, config), Watch(guards))
    resumed = _resume(state, checkpoint, identity)
    if accelerator is not None:
        accelerator.wait_for_everyone()  # nobody writes while another looks
    if not resumed:
        _save(state, checkpoint, identity, main)
    since: list[float] = []
    norms: list[float] = []
    while state.step < config.steps and not _stale(state, config, held_out is not None):
        for group in state.optimizer.param_groups:
            group["lr"] = config.lr_at(state.step)
        number = state.batch
        value = loss(run, number)
        state.optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        norm = _clip(model, guards)
        descended = _mean(value, accelerator)
        if trouble := state.watch.trouble(descended, norm):
            _roll_back(state, checkpoint, identity, number, trouble, main)
            since, norms = [], []
            continue
        state.optimizer.step()
        since.append(descended)
        norms.append(norm)
        state.step += 1
        _follow(state, config)
        if state.step % config.check_every == 0 or state.step == config.steps:
            point = _point(state, held_out, since, norms)
            since, norms = [], []
            state.curve.append(point)
            if _is_best(state):
                state.best_step = state.step
                with _averaged(state):
                    state.best = {k: v.clone() for k, v in gathered(model).items()}
            _save(state, checkpoint, identity, main)
            if main:
                progress(point)
    put(model, state.best)
    if accelerator is not None:
        accelerator.wait_for_everyone()
    if main:
        checkpoint.unlink(missing_ok=True)
    return state.curve


def gathered(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model, whole also where each process holds a part of it."""
    return {name: _whole(value) for name, value in model.state_dict().items()}


def put(model: nn.Module, whole: Mapping[str, Tensor]) -> None:
    """The inverse of `gathered`.

    Raises:
        KeyError: something is missing.
    """
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(_like(whole[name], value))


def _point(
    state: _State,
    held_out: Callable[[nn.Module], Measured] | None,
    since: list[float],
    norms: list[float],
) -> Point:
    found: Measured | None = None
    if held_out:
        with _averaged(state):
            found = held_out(state.model)
    measured, parts = found if isinstance(found, tuple) else (found, {})
    told = {number for point in state.curve for number in point.skipped}
    return Point(
        step=state.step, train=sum(since) / len(since), held_out=measured, parts=parts,
        norm=sum(norms) / len(norms), skipped=tuple(n for n in state.skipped if n not in told),
    )  # fmt: skip


def _optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def _clip(model: nn.Module, guards: Guards) -> float:
    """Clip the gradients; their norm before."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), guards.clip or math.inf)
    return float(_whole(norm))


def _mean(value: Tensor, accelerator: Any) -> float:
    """A loss, over all processes."""
    if accelerator is None:
        return value.item()
    return float(accelerator.reduce(value.detach(), "mean"))


def _follow(state: _State, config: LoopConfig) -> None:
    """Move the average towards the weights, faster at the start, when they are far from good."""
    decay = min(config.ema, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, weight in state.model.named_parameters():
            state.average[name].lerp_(weight, 1 - decay)


@contextmanager
def _averaged(state: _State) -> Iterator[None]:
    """The model has the averaged weights."""
    own = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    _set(state.model, state.average)
    try:
        yield
    finally:
        _set(state.model, own)


def _set(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    if again := getattr(model, "reshard", None):  # FSDP2 keeps it whole after a forward pass
        again()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(weights[name])


def _whole(value: Tensor) -> Tensor:
    """A tensor of which each process holds a part, put together; all processes must call."""
    together = getattr(value, "full_tensor", None)
    return value if together is None else together()


def _like(whole: Tensor, value: Tensor) -> Tensor:
    """The part of a tensor that this process holds of another one like it."""
    if not hasattr(value, "full_tensor"):
        return whole
    from torch.distributed.tensor import distribute_tensor

    shared: Any = value
    return distribute_tensor(whole.to(shared.device), shared.device_mesh, shared.placements)


def _is_best(state: _State) -> bool:
    newest = state.curve[-1].held_out
    if newest is None or not state.best:
        return True
    earlier = [p.held_out for p in state.curve[:-1] if p.held_out is not None]
    return not math.isnan(newest) and all(math.isnan(p) or newest <= p for p in earlier)


def _stale(state: _State, config: LoopConfig, measured: bool) -> bool:
    waited = (state.step - state.best_step) // config.check_every
    return measured and config.patience > 0 and waited >= config.patience


def _roll_back(
    state: _State, checkpoint: Path, identity: str, number: int, trouble: str, main: bool
) -> None:
    """Back to the last checkpoint, without the batch that did harm from now on."""
    skipped = [*state.skipped, number]
    state.watch.check(skipped, trouble, state.step)
    _resume(state, checkpoint, identity)
    state.skipped = skipped
    _save(state, checkpoint, identity, main)


def _save(state: _State, checkpoint: Path, identity: str, main: bool) -> None:
    tensors = {f"model/{k}": v for k, v in gathered(state.model).items()}
    tensors |= {f"average/{k}": _whole(v) for k, v in state.average.items()}
    tensors |= {f"best/{k}": v for k, v in state.best.items()}
    for number, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"adam/{number}/{k}": _whole(v) for k, v in moments.items()}
    if not main:
        return
    note = {
        "identity": identity,
        "step": state.step,
        "best_step": state.best_step,
        "curve": [asdict(point) for point in state.curve],
        "skipped": state.skipped,
        "watch": state.watch.to_json(),
    }
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    partial = checkpoint.with_name(f"{checkpoint.name}.partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"note": json.dumps(note)})
    partial.replace(checkpoint)


def _resume(state: _State, checkpoint: Path, identity: str) -> bool:
    """Go on from a checkpoint; whether there was one."""
    if not checkpoint.exists():
        return False
    with safe_open(checkpoint, framework="pt") as file:
        note = json.loads(file.metadata()["note"])
        if note["identity"] != identity or "watch" not in note:
            return False
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator)
    put(state.model, _part(tensors, "model/"))
    with torch.no_grad():
        for name, value in _part(tensors, "average/").items():
            state.average[name].copy_(_like(value, state.average[name]))
    state.best = _part(tensors, "best/")
    moments: dict[int, dict[str, Any]] = {}
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    for key, value in _part(tensors, "adam/").items():
        number, name = key.split("/")
        held = value if name == "step" else _like(value, parameters[int(number)])
        moments.setdefault(int(number), {})[name] = held
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    state.step, state.best_step = note["step"], note["best_step"]
    state.curve = [Point(**{**p, "skipped": tuple(p["skipped"])}) for p in note["curve"]]
    state.skipped = note["skipped"]
    state.watch = Watch.from_json(state.watch.guards, note["watch"])
    return True


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
