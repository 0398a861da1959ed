"""How a recorded attempt would have been judged at a moment, by the trust in a base bundle."""

from __future__ import annotations

from pathlib import Path

from viae.store import Store
from viae.verbs.foresee import located
from viae.verbs.search import Moment
from viae.verbs.trust_saved import SavedTrust, Trusted


def trust_at(bundle: Path, store: Store, at: str | Moment) -> Trusted:
    """Say how an attempt will end, from what had arrived by a moment.

    Args:
        bundle: folder of a base model with trust in it.
        store: that has the attempt.
        at: the moment, ``"EPISODE@12.3s"``, from the episode's start.

    Raises:
        UsageError: no such moment.
        NoSuchEpisodeError: the episode's id is not that of one episode.
        BundleError: the folder has no base model, or no trust.
        QueryRefusedError: the history gives no ground to answer.
    """
    from viae.foresee import Usual, of_store
    from viae.model import BaseBundle

    moment = Moment.parse(at) if isinstance(at, str) else at
    model, usual = BaseBundle.load(bundle), Usual.load(bundle)
    saved = SavedTrust.load(bundle, model)
    pinned = store.at(store.snapshot())
    episode, at_ns = located(pinned, moment)
    history, _ = of_store(model, pinned, episode, at_ns, usual=usual)
    return saved.judge(history, episode.task, usual)
