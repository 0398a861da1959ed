"""The peer: an ensemble of five networks that foretell the next state from state and action.

Probabilistic ensembles with trajectory sampling (PETS, Chua et al. 2018, arXiv:1805.12114): each
member says a normal distribution of the change of every element; each future stays with its member.

Shapes: E members, B samples, D inputs, O elements that move.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viae.foresee.dynamics import Imagination, came
from viae.schema import INSTRUCTION, Events

Array: TypeAlias = npt.NDArray[Any]
Doubles: TypeAlias = npt.NDArray[np.float64]

STATE, ACTION = "observation.state", "action"
FRAME = 18
"""Elements of one frame: a state is this frame, the one before, and the goal."""
MEMBERS, WIDTH, LAYERS = 5, 256, 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """An episode for training.

    Args:
        task: which.
        states: float64 [T, 39].
        actions: float32 [T - 1, 4], what was done in each state but the last.
    """

    task: str
    states: Doubles
    actions: Array


class _Members(nn.Module):
    """Five networks side by side: [E, B, D] to means and log variances [E, B, O]."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        sizes = [inputs, *[WIDTH] * LAYERS, 2 * outputs]
        self.weights = nn.ParameterList(
            torch.randn(MEMBERS, a, b, generator=generator) / a**0.5 for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(MEMBERS, 1, b) for b in sizes[1:])

    def forward(self, x_EBD: Tensor) -> tuple[Tensor, Tensor]:
        last = len(self.weights) - 1
        for at, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x_EBD = torch.baddbmm(bias, x_EBD, weight)
            if at < last:
                x_EBD = nn.functional.silu(x_EBD)
        mean, raw = x_EBD.chunk(2, -1)
        return mean, -12 + nn.functional.softplus(raw + 12) - nn.functional.softplus(raw - 4)


class EnsembleDynamics:
    """Five networks as `viae.foresee.dynamics.Dynamics`.

    Args:
        tasks: that a network is told apart.
        seed: of weights and batches.
    """

    groups = MEMBERS

    def __init__(self, tasks: Sequence[str], *, seed: int = 0) -> None:
        self._tasks = list(tasks)
        self._generator = torch.Generator().manual_seed(seed)

    def fit(self, traces: Sequence[Trace], *, epochs: int = 60, batch: int = 256) -> list[float]:
        """Train on episodes; a tenth of them, left out, choose the epoch of each member.

        Returns:
            Squared error of what was left out, in variances, after each epoch.
        """
        rng = np.random.default_rng(0)
        held = set(rng.permutation(len(traces))[: max(1, len(traces) // 10)].tolist())
        parts = [[t for i, t in enumerate(traces) if (i in held) == out] for out in (False, True)]
        x, y = self._pairs(parts[0])
        self._moving = np.flatnonzero(y.std(0) > 1e-6)
        y = y[:, self._moving]
        self._x_mean, self._x_std = x.mean(0), np.maximum(x.std(0), 1e-4)
        self._y_mean, self._y_std = y.mean(0), y.std(0)
        self._low, self._high = (end(x[:, :FRAME], 0)[self._moving] for end in (np.min, np.max))
        x_test, y_test = self._pairs(parts[1])
        train = self._scaled(x), torch.tensor((y - self._y_mean) / self._y_std).float()
        test_y = (y_test[:, self._moving] - self._y_mean) / self._y_std
        test = self._scaled(x_test), torch.tensor(test_y).float()
        self._net = _Members(x.shape[1], len(self._moving), self._generator)
        optimizer = torch.optim.AdamW(self._net.parameters(), lr=1e-3, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 2e-3, total_steps=epochs * -(-len(x) // batch)
        )
        best = torch.full((MEMBERS,), torch.inf)
        kept = copy.deepcopy(self._net)
        history = []
        for _ in range(epochs):
            order = torch.stack(
                [torch.randperm(len(x), generator=self._generator) for _ in range(MEMBERS)]
            )
            for begin in range(0, len(x), batch):
                rows = order[:, begin : begin + batch]
                loss = self._loss(train[0][rows], train[1][rows]).sum()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self._net.parameters(), 10.0)
                optimizer.step()
                schedule.step()
            with torch.inference_mode():
                mean, _ = self._net(test[0].expand(MEMBERS, -1, -1))
                held_out = ((mean - test[1]) ** 2).mean((1, 2))
            history.append(float(held_out.mean()))
            better = held_out < best
            best = torch.where(better, held_out, best)
            for mine, theirs in zip(kept.parameters(), self._net.parameters(), strict=True):
                mine.data[better] = theirs.data[better]
        self._net = kept.eval()
        return history

    def imagine(self, history: Events, actions: Array, *, n: int, seed: int) -> Imagination:
        """Futures of plans, see `Dynamics.imagine`."""
        state = np.asarray(history.values[STATE])[-1]
        return self.imagine_from(state, history.values[INSTRUCTION][0], actions, n=n, seed=seed)

    def imagine_from(
        self, state: Doubles, task: str | Sequence[str], actions: Array, *, n: int, seed: int
    ) -> Imagination:
        """The same from a state [39], or from one and of one task for each plan: [k, 39] and k."""
        k, steps, _ = actions.shape
        tasks = [task] * k if isinstance(task, str) else task
        if n % MEMBERS:
            raise ValueError(f"n is a multiple of {MEMBERS}, not {n}")
        generator = torch.Generator().manual_seed(seed)
        each = n // MEMBERS
        begin = np.repeat(np.broadcast_to(state, (k, 39)), each, 0)
        states = np.broadcast_to(begin, (MEMBERS, k * each, 39)).copy()
        label = np.eye(len(self._tasks))[[self._tasks.index(own) for own in tasks]]
        label = np.broadcast_to(np.repeat(label, each, 0), (MEMBERS, k * each, len(self._tasks)))
        out = np.empty((MEMBERS, k * each, steps, 39))
        for step in range(steps):
            action = np.broadcast_to(
                np.repeat(actions[:, step], each, 0), (MEMBERS, k * each, actions.shape[-1])
            )
            x = self._scaled(_features(states, action, label))
            with torch.inference_mode():
                mean, log_var = self._net(x)
            # The same noise for every plan: they differ by what they do.
            drawn = torch.randn(MEMBERS, each, mean.shape[-1], generator=generator).repeat(1, k, 1)
            change = (mean + (0.5 * log_var).exp() * drawn).double().numpy()
            frame = states[..., :FRAME].copy()
            moved = frame[..., self._moving] + change * self._y_std + self._y_mean
            frame[..., self._moving] = np.clip(moved, self._low - 0.2, self._high + 0.2)
            states = np.concatenate([frame, states[..., :FRAME], states[..., 2 * FRAME :]], -1)
            out[:, :, step] = states
        futures = out.reshape(MEMBERS, k, each, steps, 39).transpose(1, 2, 0, 3, 4)
        futures = futures.reshape(k, n, steps, 39)  # sample i is of member i % MEMBERS
        return {STATE: futures, came(STATE): np.ones((k, n, steps), np.bool_)}

    def _pairs(self, traces: Sequence[Trace]) -> tuple[Doubles, Doubles]:
        """Inputs [N, D] and changes of the frame [N, 18]."""
        inputs, changes = [], []
        for trace in traces:
            label = np.zeros((len(trace.actions), len(self._tasks)))
            label[:, self._tasks.index(trace.task)] = 1
            inputs.append(_features(trace.states[:-1], trace.actions, label))
            changes.append(np.diff(trace.states[:, :FRAME], axis=0))
        return np.concatenate(inputs), np.concatenate(changes)

    def _scaled(self, x: Doubles) -> Tensor:
        return torch.tensor(np.clip((x - self._x_mean) / self._x_std, -10, 10)).float()

    def _loss(self, x_EBD: Tensor, y_EBO: Tensor) -> Tensor:
        mean, log_var = self._net(x_EBD)
        nats: Tensor = 0.5 * (log_var + (y_EBO - mean) ** 2 / log_var.exp())
        # Without this weight what is easily foretold takes all of the gradient (Seitzer et al.
        # 2022, arXiv:2203.09168).
        weighed: Tensor = nats * (0.5 * log_var).exp().detach()
        return weighed.mean((1, 2))


def _features(states: Doubles, actions: Array, label: Doubles) -> Doubles:
    """What a network is shown: the frame, its change, the object from the hand, goal and action."""
    frame, before = states[..., :FRAME], states[..., FRAME : 2 * FRAME]
    from_hand = frame[..., 4:7] - frame[..., :3]
    parts = [frame, frame - before, from_hand, states[..., 2 * FRAME :], actions, label]
    return np.concatenate(parts, -1)
