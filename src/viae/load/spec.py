"""What to load, as a file: windows, how pictures are looked at, which episodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from viae.errors import SchemaError, UsageError
from viae.schema import Take, WindowSpec
from viae.video import PictureView


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """What to load.

    Args:
        window: what a window is.
        pictures: how pictures are looked at, by stream; others are kept as recorded.
        where: SQL condition on the table ``episodes``.
        batch_size: windows per batch.
        weights: relative chance of windows: a SQL expression over ``episodes``, or empty for alike.
    """

    window: WindowSpec
    pictures: Mapping[str, PictureView] = field(default_factory=dict)
    where: str = "true"
    batch_size: int = 64
    weights: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, in the form that `from_json` reads."""
        return {
            **self.window.to_json(),
            "pictures": {name: view.to_json() for name, view in self.pictures.items()},
            "where": self.where, "batch_size": self.batch_size, "weights": self.weights,
        }  # fmt: skip

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> LoadSpec:
        """From plain values.

        ``inputs`` and ``targets`` are lists of takes, or mappings from stream to take; ``steps``
        may be written ``"-2..0"`` or ``"0..15"``, both ends included.

        Raises:
            SchemaError: an unknown word, or the windows contradict themselves.
        """
        known = {
            "decision", "rate_hz", "inputs", "targets", "missing", "stops", "pictures", "where",
            "batch_size", "weights",
        }  # fmt: skip
        if unknown := sorted(set(fields) - known):
            raise SchemaError(f"unknown {', '.join(map(repr, unknown))}; there are {sorted(known)}")
        if "decision" not in fields or "inputs" not in fields:
            raise SchemaError("a spec needs 'decision' and 'inputs'")
        window = WindowSpec(
            decision=fields["decision"],
            inputs=_takes(fields["inputs"]),
            targets=_takes(fields.get("targets", ())),
            missing=fields.get("missing", "pad"),
            rate_hz=fields.get("rate_hz"),
            stops=tuple(fields.get("stops", ("intervention",))),
        )
        pictures = fields.get("pictures") or {}
        return cls(
            window=window,
            pictures={name: PictureView.from_json(view) for name, view in pictures.items()},
            where=str(fields.get("where", "true")),
            batch_size=int(fields.get("batch_size", 64)),
            weights=str(fields.get("weights") or ""),
        )


def read_spec(path: Path) -> LoadSpec:
    """A spec from a YAML or JSON file, or the one in a bundle's folder.

    Raises:
        UsageError: there is no such file, or it is no spec; the text says what is wrong in it.
    """
    card = path / "bundle.json"
    if path.is_dir() and card.exists():
        bundle = json.loads(card.read_text())
        sizes = bundle["picture_sizes"]
        views = {name: PictureView((size[0], size[1])) for name, size in sizes.items()}
        return LoadSpec(window=WindowSpec.from_json(bundle["window"]), pictures=views)
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
    except (SchemaError, TypeError, ValueError, AttributeError, KeyError) as error:
        raise UsageError(f"{path}: {error}") from error


def _takes(given: Any) -> tuple[Take, ...]:
    if isinstance(given, Mapping):
        given = [{"stream": stream, **(take or {})} for stream, take in given.items()]
    takes = []
    for take in given:
        known = {"stream", "steps", "offsets_s", "max_age_s", "age"}
        if unknown := sorted(set(take) - known):
            raise SchemaError(
                f"unknown {unknown} of stream {take.get('stream')!r}; there are {sorted(known)}"
            )
        steps = take.get("steps", () if "offsets_s" in take else (0,))
        takes.append(Take.from_json({**take, "steps": _steps(steps)}))
    return tuple(takes)


def _steps(given: Any) -> tuple[int, ...]:
    if isinstance(given, str):
        first, dots, last = given.partition("..")
        return tuple(range(int(first), int(last if dots else first) + 1))
    return (given,) if isinstance(given, int) else tuple(map(int, given))
