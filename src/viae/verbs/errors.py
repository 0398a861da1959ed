"""Errors: how far a bundle's actions are from recorded ones, on episodes it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from viae.errors import UsageError
from viae.store import Store
from viae.verbs.choose import chosen
from viae.verbs.train import DEMONSTRATIONS

if TYPE_CHECKING:
    from viae.evaluate.open_loop import ActionErrors


def errors(bundle: Path, store: Store, *, where: str = DEMONSTRATIONS) -> Sequence[ActionErrors]:
    """Compare a bundle's actions with recorded ones, and with repeating the last action.

    Args:
        bundle: its folder.
        store: with episodes that it never saw.
        where: SQL condition on the table ``episodes``; those the bundle was trained on, or stopped
            by, are left out whatever it says.

    Returns:
        One entry per episode.

    Raises:
        UsageError: no episode fits, or the bundle has seen all that do.
        BundleError: there is no bundle, or it does not know an episode's task.
    """
    from viae.evaluate.open_loop import action_errors
    from viae.model import Bundle

    loaded = Bundle.load(bundle)
    seen = {i for ids in loaded.provenance.episodes.values() for i in ids}
    unseen = [e for e in chosen(store, where) if e.episode_id not in seen]
    if not unseen:
        raise UsageError(
            f"{store.uri}: bundle {loaded.bundle_id} has seen every episode that fits  {where} . "
            "Leave some out when training, with --where"
        )
    return action_errors(loaded, store, unseen)
