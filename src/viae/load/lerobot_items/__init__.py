"""LeRobot's own items from a store: what `LeRobotDataset` gives, equal in every value.

::

    said.py       what the store knows of the dataset: facts under ``lerobot.``
    meta.py       the metadata under LeRobot's names
    table.py      every feature that is no picture, in memory
    pictures.py   cameras: decoded on demand, float32 from 0 to 1
    deltas.py     ``delta_timestamps`` to rows, padded at the ends of an episode
    dataset.py    the items

A dataset of version 2 is given as LeRobot's own conversion to version 3 would have it. Episodes
that did not begin at 0, or of which some are missing, are numbered anew from 0, as ``viae export``
numbers them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viae.load.lerobot_items.dataset import LeRobotItems
    from viae.store import Store

__all__ = ["lerobot"]


def lerobot(
    store: Store | str | Path,
    *,
    delta_timestamps: Mapping[str, Sequence[float]] | None = None,
    episodes: Sequence[int] | None = None,
    image_transforms: Callable[[Any], Any] | None = None,
    tolerance_s: float = 1e-4,
    dataset: str | None = None,
    repo_id: str | None = None,
    memory_gb: float = 4.0,
) -> LeRobotItems:
    """A LeRobot dataset that was ingested, as a map-style PyTorch dataset of LeRobot's items.

    It has the attributes of `LeRobotDataset` that training uses (``meta``, ``fps``, ``features``,
    ``num_frames``, ``num_episodes``, ``episodes``, ``delta_timestamps`` …), needs no LeRobot, and
    reads the store as it is now: later changes do not show.

    Args:
        store: the store, or where it is.
        delta_timestamps: seconds per feature, as LeRobot has them: negative ones are the past. A
            value is then [T, *shape], and ``FEATURE_is_pad`` [T] says which repeat the first or
            last row of the episode because there is no other.
        episodes: only these, by index; items come in the order of the dataset.
        image_transforms: applied to each camera of each item: float32 [C, H, W] or [T, C, H, W].
        tolerance_s: how far an offset may be from a whole number of rows, and a picture from the
            time of its row.
        dataset: which of the store's datasets, where it has several: the path it was ingested
            from, or the last parts of it.
        repo_id: its name for others; the last part of that path by default.
        memory_gb: coded pictures up to this size are kept in memory, others in a temporary file.

    Returns:
        A dataset whose items are dictionaries: pictures float32 [3, H, W] from 0 to 1, numbers
        float32 or int64 or bool, scalars without a dimension, texts as strings, ``task``.

    Raises:
        UsageError: the store has no such dataset, or one that LeRobot would not open; an episode
            or an offset that is none.
        StoreNotFoundError: there is no store.
    """
    from viae.load.lerobot_items.dataset import LeRobotItems

    return LeRobotItems(
        store,
        delta_timestamps=delta_timestamps,
        episodes=episodes,
        image_transforms=image_transforms,
        tolerance_s=tolerance_s,
        dataset=dataset,
        repo_id=repo_id,
        memory_gb=memory_gb,
    )
