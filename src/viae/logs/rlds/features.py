"""``features.json``: the nested features of a dataset, and the flat leaves they are stored as.

TensorFlow Datasets flattens nested dictionaries with ``/`` in the names, and stores the values of
a sequence in a row. It has written two layouts of this file: ``pythonClassName`` with a field per
kind, and before that ``type`` with ``content``. Both are read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from viae.errors import DamagedLogError, LogError
from viae.schema import Role

STEPS = "steps"
OUTCOMES = ("reward", "discount", "is_terminal", "is_first", "is_last")
DTYPE = re.compile(r"u?int(8|16|32|64)|float(16|32|64)|bool_?")
DEEPEST = 32
"""Features nest no deeper in any real dataset; a file that says so is refused."""


class Leaf(StrEnum):
    """What a leaf holds."""

    TENSOR = "tensor"
    IMAGE = "image"
    TEXT = "text"
    OTHER = "other"
    """A kind whose storage viae does not know (audio, translations)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One leaf.

    Args:
        path: its names from the top, e.g. ``("steps", "observation", "state")``.
        leaf: what it holds.
        dtype: NumPy name of a tensor's numbers; empty for others.
        shape: shape of one value; -1 where a dimension may vary.
        encoding: how a tensor is stored: ``"none"``, ``"bytes"`` or ``"zlib"``.
        depth: how many sequences it is in: 1 for a leaf of a step.
    """

    path: tuple[str, ...]
    leaf: Leaf
    dtype: str = ""
    shape: tuple[int, ...] = ()
    encoding: str = "none"
    depth: int = 0

    @property
    def key(self) -> str:
        """The name under which an example stores it."""
        return "/".join(self.path)

    @property
    def in_steps(self) -> bool:
        """Whether there is one value per step."""
        return self.path[0] == STEPS and self.depth > 0

    @property
    def name(self) -> str:
        """The stream's name: the key without ``steps/``."""
        return "/".join(self.path[1:]) or self.path[0]

    @property
    def role(self) -> Role:
        """By RLDS's naming convention."""
        top = self.path[1] if len(self.path) > 1 else self.path[0]
        if top.startswith("action"):
            return Role.ACTION
        return Role.OUTCOME if top in OUTCOMES else Role.OBSERVATION


def read_features(path: Path) -> tuple[Feature, ...]:
    """The leaves of a dataset.

    Raises:
        DamagedLogError: the file is no such JSON.
        LogError: the dataset has no steps, so it is none of episodes.
    """
    try:
        features = tuple(_leaves(json.loads(path.read_bytes()), (), 0))
        if twice := [key for key, n in Counter(f.key for f in features).items() if n > 1]:
            raise ValueError(f"two features are stored as '{twice[0]}'")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedLogError(
            path,
            found=f"it does not describe features ({type(error).__name__}: {error!s:.100})",
            expected="the features.json of TensorFlow Datasets",
            todo="copy the file again",
        ) from error
    if not any(feature.in_steps for feature in features):
        raise LogError(
            path,
            found=f"no feature is a sequence '{STEPS}'",
            expected="episodes of steps (RLDS)",
            todo="this dataset holds something else than episodes; do not ingest it",
        )
    return features


def _leaves(node: Mapping[str, Any], path: tuple[str, ...], depth: int) -> Iterator[Feature]:
    if len(path) + depth > DEEPEST:
        raise ValueError(f"features nest deeper than {DEEPEST}")
    kind = str(node.get("pythonClassName") or node["type"]).rpartition(".")[2]
    content = node.get("content")
    if isinstance(content, str):
        content = json.loads(content)
    if kind == "FeaturesDict":
        children = content if content is not None else node["featuresDict"].get("features", {})
        for name, child in children.items():
            yield from _leaves(child, (*path, *str(name).split("/")), depth)
    elif kind in ("Dataset", "Sequence"):
        inner = content if content is not None else node["sequence"]
        yield from _leaves(inner["feature"], path, depth + 1)
    else:
        yield _leaf(kind, node, content or {}, path, depth)


def _leaf(
    kind: str,
    node: Mapping[str, Any],
    content: Mapping[str, Any],
    path: tuple[str, ...],
    depth: int,
) -> Feature:
    if not path or not path[-1]:
        raise ValueError("a feature has no name")
    if kind == "Text":
        return Feature(path=path, leaf=Leaf.TEXT, depth=depth)
    if kind == "Image":
        return Feature(path=path, leaf=Leaf.IMAGE, depth=depth)
    if kind == "ClassLabel":
        return Feature(path=path, leaf=Leaf.TENSOR, dtype="int64", depth=depth)
    fields = content or node.get("tensor") or {}
    dtype = str(fields.get("dtype", "")).rpartition(".")[2]  # once written as "tf.float32"
    if dtype in ("string", "object", "str", "bytes"):
        shape = _shape(fields.get("shape"))
        return Feature(path=path, leaf=Leaf.OTHER if shape else Leaf.TEXT, depth=depth)
    if not DTYPE.fullmatch(dtype):
        return Feature(path=path, leaf=Leaf.OTHER, dtype=dtype, depth=depth)
    return Feature(
        path=path,
        leaf=Leaf.TENSOR,
        dtype=dtype.rstrip("_"),
        shape=_shape(fields.get("shape")),
        encoding=str(fields.get("encoding") or "none").lower(),
        depth=depth,
    )


def _shape(shape: Any) -> tuple[int, ...]:
    """A list of sizes, or ``{"dimensions": […]}``; None and -1 vary."""
    sizes = shape.get("dimensions", ()) if isinstance(shape, Mapping) else shape or ()
    return tuple(-1 if size in (None, "") else max(-1, int(size)) for size in sizes)
