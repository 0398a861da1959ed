"""Policies and what they are made of. Imports torch: ask for it only where it is needed."""

from viae.model.base import BaseConfig, BaseModel
from viae.model.base_bundle import BaseBundle
from viae.model.bundle import Bundle, Provenance
from viae.model.clone import Clone, CloneConfig
from viae.model.context import Context
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
    "BaseBundle", "BaseConfig", "BaseModel", "Bound", "Bundle", "Clone", "CloneConfig", "Context",
    "Pipeline", "Pixels", "Provenance", "Relative", "Standardise", "TaskOneHot", "Transform",
]  # fmt: skip
