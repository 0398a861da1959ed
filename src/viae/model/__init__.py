"""Policies and what they are made of. Imports torch: ask for it only where it is needed."""

from viae.model.bundle import Bundle, Provenance
from viae.model.clone import Clone, CloneConfig
from viae.model.pipeline import (
    Bound,
    Pipeline,
    Pixels,
    Relative,
    Standardise,
    TaskOneHot,
    Transform,
)

__all__ = [
    "Bound", "Bundle", "Clone", "CloneConfig", "Pipeline", "Pixels", "Provenance", "Relative",
    "Standardise", "TaskOneHot", "Transform",
]  # fmt: skip
