r"""LeRobot's own programs on a store of viae: give the store as the dataset's root.

::

    lerobot-train --dataset.discover_packages_path=viae.load.lerobot_plugin \
        --dataset.repo_id=NAME --dataset.root=STORE …

LeRobot imports this package because of the first option, and importing it is all there is to do:
from then on its ``make_dataset`` opens a root that is a store by `viae.load.lerobot`, and any other
root as before. Needs LeRobot 0.4; nothing of it is changed on disk. A script of your own calls
`install` instead. ``repo_id`` chooses among the datasets of a store that holds several; where it
holds one, any name will do.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from viae.errors import MissingExtraError, UsageError
from viae.load.lerobot_items import lerobot
from viae.load.lerobot_items.meta import Metadata
from viae.load.lerobot_items.said import read_said
from viae.store import Store

__all__ = ["install"]

FACTORY = "lerobot.datasets.factory"
MARK = "_viae_originals"


def install() -> None:
    """Let LeRobot's ``make_dataset`` open stores. A second time does nothing.

    Raises:
        MissingExtraError: LeRobot is not installed.
    """
    try:
        factory = import_module(FACTORY)
    except ModuleNotFoundError as error:
        raise MissingExtraError("lerobot", extra="lerobot") from error
    if hasattr(factory, MARK):
        return
    names = ("LeRobotDatasetMetadata", "LeRobotDataset", "StreamingLeRobotDataset")
    originals = {name: getattr(factory, name) for name in names}
    setattr(factory, MARK, originals)
    opened = {"LeRobotDatasetMetadata": _metadata, "LeRobotDataset": _items}
    for name, original in originals.items():
        setattr(factory, name, _either(original, opened.get(name, _refused)))
    # Lance warns whenever a process that uses it forks; our workers read memory only
    warnings.filterwarnings("ignore", message="lance is not fork-safe")


def _either(original: Callable[..., Any], opened: Callable[..., Any]) -> Callable[..., Any]:
    """What LeRobot calls: one for stores, the other for everything else."""

    def call(repo_id: str, *args: Any, root: str | Path | None = None, **options: Any) -> Any:
        if not _is_store(root):
            return original(repo_id, *args, root=root, **options)
        if options.get("revision") is not None:
            raise UsageError("a store has no revisions of datasets: leave out  --dataset.revision")
        return opened(repo_id, str(root), *args, **options)

    return call


def _is_store(root: str | Path | None) -> bool:
    return root is not None and ("://" in str(root) or (Path(root) / "episodes.lance").is_dir())


def _items(
    repo_id: str,
    root: str,
    *,
    delta_timestamps: Mapping[str, Sequence[float]] | None = None,
    episodes: Sequence[int] | None = None,
    image_transforms: Callable[[Any], Any] | None = None,
    tolerance_s: float = 1e-4,
    **_same_for_stores: Any,  # revision: checked above; video_backend: the pixels are torchcodec's
) -> Any:
    store = Store.open(root)
    return lerobot(
        store,
        delta_timestamps=delta_timestamps,
        episodes=episodes,
        image_transforms=image_transforms,
        tolerance_s=tolerance_s,
        dataset=_named(store, repo_id),
        repo_id=repo_id,
    )


def _metadata(repo_id: str, root: str, **_options: Any) -> Any:
    store = Store.open(root)
    return Metadata(read_said(store.at(store.snapshot()), _named(store, repo_id)), repo_id)


def _named(store: Store, repo_id: str) -> str | None:
    """The dataset that is called so, where the store has several."""
    try:
        read_said(store, None)
    except UsageError:
        return repo_id
    return None


def _refused(_repo_id: str, root: str, **_options: Any) -> Any:
    raise UsageError(
        f"{root} is a store, which is not streamed but read as it is needed: leave out  "
        "--dataset.streaming"
    )


install()
