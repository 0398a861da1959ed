"""viae: the data engine for robot learning.

Names are loaded when they are first used: ``import viae`` loads neither torch nor Lance.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viae import verbs
    from viae.act import Policy, Robot
    from viae.errors import ViaeError
    from viae.load import Access, Loader, Windows
    from viae.load.dataset import WindowDataset
    from viae.logs import LogFormat
    from viae.model import Bundle
    from viae.record import Recorder
    from viae.schema import (
        Batch,
        Episode,
        Fact,
        Kind,
        Role,
        Samples,
        StreamSpec,
        Take,
        VideoGroup,
        WindowSpec,
    )
    from viae.store import Snapshot, Store, query
    from viae.train import CloneRecipe, LoopConfig
    from viae.verbs import search
    from viae.video import PictureView

__version__ = "0.1.0"

_HOME = {
    "Access": "viae.load",
    "Batch": "viae.schema",
    "Bundle": "viae.model",
    "CloneRecipe": "viae.train",
    "Episode": "viae.schema",
    "Fact": "viae.schema",
    "Kind": "viae.schema",
    "Loader": "viae.load",
    "LogFormat": "viae.logs",
    "LoopConfig": "viae.train",
    "PictureView": "viae.video",
    "Policy": "viae.act",
    "Recorder": "viae.record",
    "Robot": "viae.act",
    "Role": "viae.schema",
    "Samples": "viae.schema",
    "Snapshot": "viae.store",
    "Store": "viae.store",
    "StreamSpec": "viae.schema",
    "Take": "viae.schema",
    "ViaeError": "viae.errors",
    "VideoGroup": "viae.schema",
    "WindowDataset": "viae.load.dataset",
    "WindowSpec": "viae.schema",
    "Windows": "viae.load",
    "query": "viae.store",
    "search": "viae.verbs",
    "verbs": "viae.verbs",
}

__all__ = [
    "Access", "Batch", "Bundle", "CloneRecipe", "Episode", "Fact", "Kind", "Loader", "LogFormat",
    "LoopConfig", "PictureView", "Policy", "Recorder", "Robot", "Role", "Samples", "Snapshot",
    "Store", "StreamSpec", "Take", "ViaeError", "VideoGroup", "WindowDataset", "WindowSpec",
    "Windows", "__version__", "query", "search", "verbs",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'viae' has no attribute '{name}'")
    module = import_module(_HOME[name])
    return module if name == "verbs" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
