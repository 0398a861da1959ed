"""The figures of the one model: act, foresee, trust and search against specialists.

``python benchmarks/model.py --json`` prints one object a line; ``--only NAME[,NAME…]`` prints some.
Demonstrations, base models and attempts are kept where ``--work`` says: figures share them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from driver import main
from rows import Row


def trust(work: Path) -> Iterator[Row]:
    """Failure foretold by a base model of few demonstrations, of its own attempts.

    As in ``baseline.py``: who hardly fails, as the base model of all demonstrations does, leaves
    nothing to foretell. ``model_trust.py`` takes any model.
    """
    from model_base import weak
    from model_trust import attempts, figures

    bundle = weak(work, 0)
    yield from figures(attempts(bundle, bundle, work / "trust", workers=2), bundle)


def bits(work: Path) -> Iterator[Row]:
    """Bits per step of held-out demonstrations, by the base model of the first seed."""
    from model_base import base
    from model_bits import bits as measured

    bundle = base(work, 0)
    yield from measured(work / "bits", bundle=bundle, store=bundle.with_name("store"))


FIGURES = {
    "act_vs_clone": "model_act:act_vs_clone",
    "few_shot": "model_act:few_shot",
    "danger_recall_h10": "model_danger:danger",
    "danger_recall_h20": "model_danger:danger",
    "danger_recall_h40": "model_danger:danger",
    "shield_violations": "model_danger:shield",
    "shield_cost": "model_danger:shield",
    "failure_auroc": trust,
    "failure_auroc_unlabelled": trust,
    "ece": trust,
    "brier_skill": trust,
    "false_alarm_5": trust,
    "twa": trust,
    "oracle_gap": "model_danger:oracle_gap",
    "bits": bits,
    "image_tokens": "image_tokens:image_tokens",
    "image_actions": "image_actions:image_actions",
    "real_streams": "model_streams:real_streams",
    "search_ms": "search:search_ms",
}
SHARED = {
    name: "danger" if str(where).startswith("model_danger") else "base"
    for name, where in FIGURES.items()
    if not isinstance(where, str) or where.startswith(("model_act", "model_danger"))
} | {"image_actions": "image_tokens"}
"""Figures that work in one folder, with the same models."""
NEED_DATA = frozenset({"real_streams", "image_tokens", "image_actions"})

if __name__ == "__main__":
    main(FIGURES, description=__doc__, need_data=NEED_DATA, folders=SHARED)
