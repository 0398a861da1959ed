"""What to load, as a file: windows, how pictures are looked at, which episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from viae.errors import SchemaError, UsageError
from viae.load.weights import MASSES, Mass
from viae.schema import Take, WindowSpec
from viae.video import PictureView

MOST_STEPS = 1 << 16
"""In a range: what is longer is a mistake."""
_WORDS: Mapping[type, str] = {str: "text", int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """What to load.

    Args:
        window: what a window is.
        pictures: how pictures are looked at, by stream; others are kept as recorded.
        where: SQL condition on the table ``episodes``.
        batch_size: windows per batch.
        weights: relative chance of windows: a SQL expression over ``episodes``, or empty for alike.
        mass: what a weight is: ``"window"``, of each window, or ``"episode"``, of all windows of an
            episode together; see `viae.load.weights.window_weights`.

    Raises:
        SchemaError: ``mass`` is neither, or there are no weights for it; ``batch_size`` is no
            whole number from 1 up.
    """

    window: WindowSpec
    pictures: Mapping[str, PictureView] = field(default_factory=dict)
    where: str = "true"
    batch_size: int = 64
    weights: str = ""
    mass: Mass = "window"

    def __post_init__(self) -> None:
        size = self.batch_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise SchemaError(f"batch_size is a whole number from 1 up, not {size!r}")
        if self.mass not in MASSES:
            raise SchemaError(f"mass is 'window' or 'episode', not {self.mass!r}")
        if self.mass != "window" and not self.weights:
            raise SchemaError(
                f"mass {self.mass!r} says what weights are, and there are none; to draw episodes "
                "alike often, write  weights: 1"
            )

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, in the form that `from_json` reads."""
        return {
            **self.window.to_json(),
            "pictures": {name: view.to_json() for name, view in self.pictures.items()},
            "where": self.where, "batch_size": self.batch_size, "weights": self.weights,
            "mass": self.mass,
        }  # fmt: skip

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> LoadSpec:
        """From plain values.

        ``inputs`` and ``targets`` are lists of takes, or mappings from stream to take; ``steps``
        may be written ``"-2..0"`` or ``"0..15"``, both ends included; one step, offset or key of
        ``stops`` needs no list. A word without a value is as if it were not there, but for
        ``stops``, where it could mean two things.

        Raises:
            SchemaError: an unknown word, a value that is not what the word says, or the windows
                contradict themselves.
        """
        known = (
            "decision", "rate_hz", "inputs", "targets", "missing", "stops", "pictures", "where",
            "batch_size", "weights", "mass",
        )  # fmt: skip
        _check_words("", fields, known)
        if "stops" in fields and fields["stops"] is None:
            raise SchemaError("stops has no value; write [] where targets stop at nothing")
        fields = {word: value for word, value in fields.items() if value is not None}
        if "decision" not in fields or "inputs" not in fields:
            raise SchemaError("a spec needs 'decision' and 'inputs'")
        window = WindowSpec(
            decision=fields["decision"],
            inputs=_takes("inputs", fields["inputs"]),
            targets=_takes("targets", fields.get("targets", ())),
            missing=fields.get("missing", "pad"),
            rate_hz=fields.get("rate_hz"),
            stops=_several("stops", fields.get("stops", "intervention"), (str,)),
        )
        pictures = fields.get("pictures", {})
        if not isinstance(pictures, Mapping):
            raise SchemaError(f"pictures is a mapping from stream to view, not {pictures!r}")
        views = {name: {} if view is None else view for name, view in pictures.items()}
        return cls(
            window=window,
            pictures={name: _view(name, view) for name, view in views.items()},
            where=_sql("where", fields.get("where", "")) or "true",
            batch_size=fields.get("batch_size", 64),
            weights=_sql("weights", fields.get("weights", "")),
            mass=fields.get("mass", "window"),
        )


def read_spec(path: Path) -> LoadSpec:
    """A spec from a YAML or JSON file, or the one in a bundle's folder.

    Raises:
        UsageError: there is no such file, or it is no spec; the text says what is wrong in it.
    """
    card = path / "bundle.json"
    if path.is_dir() and card.exists():
        return _of_bundle(card)
    try:
        fields = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the spec cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: this is neither YAML nor JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UsageError(f"{path}: a spec is a mapping with 'decision', 'inputs' and 'targets'")
    try:
        return LoadSpec.from_json(fields)
    except SchemaError as error:
        raise UsageError(f"{path}: {error}") from error


def _of_bundle(card: Path) -> LoadSpec:
    try:
        bundle = json.loads(card.read_text())
        sizes = bundle["picture_sizes"]
        views = {name: PictureView((size[0], size[1])) for name, size in sizes.items()}
        return LoadSpec(window=WindowSpec.from_json(bundle["window"]), pictures=views)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise UsageError(
            f"{card}: this is no bundle of viae, or a damaged one: {error!r}"
        ) from error


def _takes(word: str, given: Any) -> tuple[Take, ...]:
    if isinstance(given, Mapping):
        given = [_named(stream, take) for stream, take in given.items()]
    if not isinstance(given, list | tuple):
        raise SchemaError(f"{word} is a mapping from stream to take, or a list, not {given!r}")
    return tuple(_take(word, take) for take in given)


def _named(stream: Any, take: Any) -> Mapping[str, Any]:
    if take is not None and not isinstance(take, Mapping):
        raise SchemaError(
            f"stream {stream!r}: a take is a mapping such as {{steps: -1..0}}, not {take!r}"
        )
    return {"stream": stream, **(take or {})}


def _take(word: str, given: Any) -> Take:
    if not isinstance(given, Mapping) or given.get("stream") is None:
        raise SchemaError(f"each of the list {word} is a mapping with 'stream', not {given!r}")
    stream = given["stream"]
    known = ("stream", "steps", "offsets_s", "max_age_s", "age")
    _check_words(f" of stream {stream!r}", given, known)
    take = {name: value for name, value in given.items() if value is not None}
    if "offsets_s" in take:
        take["offsets_s"] = _several(
            f"stream {stream!r}: offsets_s", take["offsets_s"], (float, int)
        )
    else:
        take.setdefault("steps", 0)
    if "steps" in take:
        take["steps"] = _steps(stream, take["steps"])
    return Take.from_json(take)


def _steps(stream: Any, given: Any) -> tuple[int, ...]:
    if not isinstance(given, str):
        return _several(f"stream {stream!r}: steps", given, (int,))
    first, dots, last = given.partition("..")
    try:
        steps = range(int(first), int(last if dots else first) + 1)
    except ValueError:
        steps = range(0)
    if not 0 < len(steps) <= MOST_STEPS:
        raise SchemaError(f"stream {stream!r}: steps {given!r} is no range; write such as -2..0")
    return tuple(steps)


def _several(word: str, given: Any, one: tuple[type, ...]) -> tuple[Any, ...]:
    """One, or a list of them; what each may be is checked by whoever takes them."""
    if isinstance(given, one):
        return (given,)
    if not isinstance(given, list | tuple):
        said = " or ".join(_WORDS[kind] for kind in one)
        raise SchemaError(f"{word} is {said}, or a list, not {given!r}")
    return tuple(given)


def _view(stream: Any, given: Any) -> PictureView:
    try:
        return PictureView.from_json(given)
    except SchemaError as error:
        raise SchemaError(f"pictures of {stream!r}: {error}") from error


def _sql(word: str, given: Any) -> str:
    """An expression; YAML has turned a mere number or ``true`` into a value."""
    if not isinstance(given, str | bool | int | float):
        raise SchemaError(f"{word} is SQL over episodes, not {given!r}")
    return str(given).lower() if isinstance(given, bool) else str(given).strip()


def _check_words(of: str, fields: Mapping[str, Any], known: Sequence[str]) -> None:
    if unknown := [word for word in fields if word not in known]:
        said = ", ".join(map(repr, unknown))
        raise SchemaError(f"unknown {said}{of}; there are {', '.join(sorted(known))}")
