"""A base model as a policy: the history goes in, the next actions are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from viae.act.live import called, listen
from viae.errors import BundleError
from viae.load.events import known
from viae.load.live import LiveEvents
from viae.model import BaseBundle, Context
from viae.model.tokens.vocabulary import Question
from viae.schema import StreamSpec
from viae.schema.names import PICTURES

COPIES = 16


class BasePolicy:
    """Acts with a base model.

    At every decision it asks for the next actions and does the first ``stride`` of them. What it
    is shown are the events of `viae.load.live`, in the order of training.

    Args:
        bundle: the model.
        robot: its name, where the model knows several.
        temperature: of the samples; 0 takes the median of each number, given those before it.
        seed: of the samples.
        stride: actions of a chunk that are done before the next is asked for; None does half of
            it. Who asks anew at every step dithers where demonstrations turn (docs/design/0004).
        memory: whether it acts on all that has happened, and not on the present alone. The present
            is what it was asked most about (`viae.train.moments`): from the past, policies learn to
            go on as they did.
        hide_actions: with memory, whether it is not shown what it did.
        blur: an action of real numbers is the mean of answers to 16 presents, each disturbed by so
            many spreads: learnt from few demonstrations, an answer jumps from one state to the next
            (docs/design/0004). 0 asks once, as with memory or at a temperature.

    Raises:
        BundleError: the model was trained without actions, or its chunks are shorter than
            ``stride``.
    """

    def __init__(
        self,
        bundle: BaseBundle,
        *,
        robot: str = "",
        temperature: float = 0.0,
        seed: int = 0,
        stride: int | None = None,
        memory: bool = False,
        hide_actions: bool = True,
        blur: float = 0.1,
    ) -> None:
        self.bundle = bundle
        self.agent = f"bundle:{bundle.bundle_id}"
        self._temperature = temperature
        self._memory, self._hide = memory, hide_actions
        self._blur = 0.0 if memory or temperature > 0 else blur
        self._seed, self._robot, self._action = seed, robot, ""
        self._generator = torch.Generator().manual_seed(seed)
        self._questions = [q for q in bundle.vocabulary.questions if q.acts]
        if not self._questions:
            raise BundleError(f"bundle {bundle.bundle_id} was trained without actions: none to say")
        least = min(question.steps for question in self._questions)
        self._stride = (least + 1) // 2 if stride is None else stride
        if not 1 <= self._stride <= least:
            raise BundleError(
                f"bundle {bundle.bundle_id} says {least} actions at once; it cannot do {stride} of "
                "them"
            )
        self._question = self._questions[0]
        self._known = {spec.name: spec for spec in bundle.vocabulary.streams}
        self._context: Context | None = None
        self._live: LiveEvents | None = None
        self._shown = 0
        self._queue: list[npt.NDArray[Any]] = []

    def reset(self, task: str, streams: Sequence[StreamSpec]) -> None:
        """Forget the last episode.

        Raises:
            BundleError: the robot has none of the actions of the model, or another stream under a
                name of the model's.
        """
        shown = called(self.bundle, streams, self._robot)
        for recorded in streams:
            own = shown[recorded.name]
            spec = self._known.get(own.name) or self._known.get(recorded.name)
            if spec is None or (spec.kind in PICTURES and own.kind in PICTURES):
                continue
            if (own.name, own.kind, own.shape) == (spec.name, spec.kind, spec.shape):
                continue
            raise BundleError(
                f"bundle {self.bundle.bundle_id} was trained with the stream '{spec.name}' "
                f"({spec.kind}{list(spec.shape)}); this robot's is {own.kind}{list(own.shape)}"
            )
        self._question, self._action = self._of(shown)
        self._live = listen(self.bundle, streams, task, robot=self._robot)
        self._shown, self._queue = 0, []
        self._generator.manual_seed(self._seed)
        self._context = self.bundle.context(hide_actions=self._hide)

    def add(self, stream: str, value: Any, *, capture_ns: int, arrival_ns: int) -> None:
        """A sample has arrived.

        Raises:
            BundleError: before the first `reset`.
            WindowError: see `LiveEvents.add`.
        """
        if self._live is None:
            raise BundleError("reset the policy before the first sample")
        self._live.add(stream, value, capture_ns=capture_ns, arrival_ns=arrival_ns)

    def act(self, at_ns: int) -> dict[str, npt.NDArray[Any]]:
        """The action for this step.

        Raises:
            BundleError: before the first `reset`.
            TokenError: a value that has no token.
        """
        if self._live is None or self._context is None:
            raise BundleError("reset the policy before the first action")
        self._show(self._live, self._context, at_ns)
        if not self._queue:
            self._queue = list(self._chunk(self._context))
        return {self._action: self._queue.pop(0)}

    def _of(self, shown: dict[str, StreamSpec]) -> tuple[Question, str]:
        """What is asked, and the name of its stream in the robot's log."""
        own = {spec.name: recorded for recorded, spec in shown.items()}
        for question in self._questions:
            if question.stream in own:
                return question, own[question.stream]
        raise BundleError(
            f"bundle {self.bundle.bundle_id} says {[q.stream for q in self._questions]}; this "
            f"robot has {sorted(own)}"
        )

    def _show(self, live: LiveEvents, context: Context, at_ns: int) -> None:
        """Tell the model what has arrived since it was last asked."""
        events = live.since(self._shown)
        for at in range(known(events, at_ns)):
            name = events.streams[int(events.stream[at])].name
            row = int(events.row[at])
            if name in self._known:
                context.add(
                    name, events.values[name][row : row + 1],
                    capture_ns=int(events.capture_ns[at]), arrival_ns=int(events.arrival_ns[at]),
                )  # fmt: skip
            self._shown += 1

    def _chunk(self, context: Context) -> npt.NDArray[Any]:
        codec, steps = self._question.codec, self._question.steps
        per_step = (len(codec.slots) - 1) // steps
        dtype = np.dtype(self._known[self._question.stream].dtype)
        blur = self._blur if dtype.kind == "f" else 0.0
        copies = COPIES if blur > 0 else 1
        said = self.bundle.model.say(
            context.state()
            if self._memory
            else context.present(blur=blur, copies=copies, seed=self._seed),
            self.bundle.vocabulary.question(self._question.name),
            count=1 + self._stride * per_step, temperature=self._temperature,
            generator=self._generator, given_PS=torch.full((copies, 1), steps - 1),
        )  # fmt: skip
        tokens = np.full((copies, len(codec.slots)), -1, np.int32)
        tokens[:, : said.tokens.shape[1]] = said.tokens.numpy()
        tokens[:, 0] = self._stride - 1
        chunks = codec.decode(tokens, None)[:, : self._stride]
        return np.asarray(chunks.mean(0), dtype)
