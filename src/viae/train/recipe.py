"""What a base model is trained on and how, and the same as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from viae.errors import UsageError
from viae.train.guards import Guards
from viae.train.loop import LoopConfig

TYPE = "type"
"""Name of the loss of which event comes next."""
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRecipe:
    """What to train.

    Args:
        streams: that enter; empty for all that have tokens.
        chunk: actions asked for at once.
        bins: per element of a vector.
        length: events of a window.
        batch_size: windows per update.
        moments: per update, at which the next actions are asked of the present alone.
        hide_actions: share of windows whose actions are hidden from the trunk, so that it cannot
            act by repeating itself.
        weights: of the loss per token, by stream, by question, or `TYPE`; 1 where nothing is said.
        acting: weight of the next actions' questions against all else, where ``weights`` is silent.
        crps: weight of the ranked probability score of a chunk beside its likelihood;
            docs/design/0004 says what was tried.
        share: of places at which events and questions are asked per update, by the same names;
            ``""`` for all others, but that events said by mixtures are asked everywhere.
        balance: how far tasks are drawn alike: 0 draws events uniformly, 1 tasks.
        held_out_share: of each task's episodes, for choosing the best weights.
        width: of the trunk.
        depth: layers of the trunk.
        heads: of the trunk.
        depth_width: of the depth decoder.
        depth_layers: of the depth decoder.
        components: of the mixtures that say chunks.
        event_components: of those that say events.
        dropout: while training.
        trunk: a pretrained one, by name or folder; then ``width`` must be its own.
        bf16: whether to multiply in bfloat16.
        compile: whether to compile trunk and depth decoder with `torch.compile`.
        loop: how to descend.
        guards: against updates that do harm.
    """

    streams: tuple[str, ...] = ()
    chunk: int = 8
    bins: int = 256
    length: int = 64
    batch_size: int = 8
    moments: int = 192
    hide_actions: float = 0.1
    weights: Mapping[str, float] = field(default_factory=dict)
    acting: float = 5.0
    crps: float = 30.0
    share: Mapping[str, float] = field(default_factory=lambda: {"": 0.2})
    balance: float = 0.5
    held_out_share: float = 0.1
    width: int = 192
    depth: int = 3
    heads: int = 6
    depth_width: int = 64
    depth_layers: int = 2
    components: int = 1
    event_components: int = 8
    dropout: float = 0.0
    trunk: str = ""
    bf16: bool = True
    compile: bool = False
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(lr=2e-3, ema=0.998, weight_decay=0.05)
    )
    guards: Guards = field(default_factory=lambda: Guards(clip=1.0, spike=8.0))

    def __post_init__(self) -> None:
        if self.length < 4 or self.batch_size < 1 or self.chunk < 1 or self.moments < 0:
            raise UsageError(f"no window can be made with {self}")
        if not 0 <= self.hide_actions <= 1:
            raise UsageError(f"hide_actions is a share, not {self.hide_actions}")
        if wrong := {name: s for name, s in self.share.items() if not 0 < s <= 1}:
            raise UsageError(f"a share is above 0 and at most 1, not {wrong}")
        if wrong := {name: w for name, w in self.weights.items() if w < 0}:
            raise UsageError(f"a weight is not below 0, as {wrong} is")

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, card: Mapping[str, Any]) -> BaseRecipe:
        """The inverse of `to_json`; what is not said is as by default.

        Raises:
            UsageError: an unknown word, or a value that is not what the word says.
        """
        return _made(cls, card, "recipe")

    @classmethod
    def read(cls, path: Path) -> BaseRecipe:
        """From a YAML or JSON file.

        Raises:
            UsageError: there is none, it is no YAML, or see `from_json`.
        """
        try:
            card = yaml.safe_load(path.read_text()) or {}
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not YAML: {error}") from error
        try:
            return cls.from_json(card)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error


def _made(kind: type[_Made], card: Any, where: str) -> _Made:
    """A recipe, or a part of it, from plain values."""
    if not isinstance(card, Mapping):
        raise UsageError(f"{where}: words and their values, not {card!r}")
    hints = get_type_hints(kind)
    default: Any = kind()
    known = [f.name for f in fields(default)]
    if unknown := sorted(map(str, card.keys() - set(known))):
        raise UsageError(
            f"{where}: there is no {', '.join(unknown)}; it may say {', '.join(known)}"
        )
    said: dict[str, Any] = {}
    for name, value in card.items():
        meant, now = hints[name], getattr(default, name)
        if meant in (LoopConfig, Guards):
            given = {f.name: getattr(now, f.name) for f in fields(now)}
            said[name] = _made(
                meant, {**given, **value} if isinstance(value, Mapping) else value, name
            )
        else:
            said[name] = _value(meant, value, f"{where}: {name}")
    return kind(**said)


def _value(meant: Any, value: Any, where: str) -> Any:
    """A value as its type is, or refused."""
    inner = get_args(meant)
    if inner and isinstance(value, Mapping):
        return {str(name): _value(float, each, f"{where}.{name}") for name, each in value.items()}
    if inner and isinstance(value, list) and len(inner) == 2 and inner[1] is ...:
        return tuple(_value(inner[0], each, where) for each in value)
    if meant is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-3 as a text
        except ValueError:
            pass
    if inner or type(value) is not meant:
        what = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        raise UsageError(f"{where} is {what.get(meant, 'a list or a mapping')}, not {value!r}")
    return value


__all__ = ["TYPE", "BaseRecipe"]
