"""Names that a target allows, one per stream, without collisions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from viae.schema import Loss, LossKind

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.\-]+")


def plain_name(name: str) -> str:
    """A name of letters, digits, ``_ - .`` that no file system and no feature list refuses.

    >>> plain_name("/arm/joint states.position")
    'arm.joint_states.position'
    """
    dotted = _NOT_PLAIN.sub("_", name.replace("/", "."))
    return re.sub(r"\.{2,}", ".", dotted).strip(".") or "stream"


def distinct_names(
    streams: Iterable[str], rename: Callable[[str], str], *, taken: Collection[str] = ()
) -> tuple[dict[str, str], list[Loss]]:
    """A name per stream; of streams that come to the same name all but the first are numbered.

    Whoever keeps its own name has it before others; beyond that, the order of names decides, so the
    same streams always get the same names. Names that differ in case only collide, too, because
    some file systems do not tell them apart.

    Args:
        streams: the names in the store.
        rename: a name in the target.
        taken: names that the target keeps for itself.
    """
    used = {name.lower() for name in taken}
    names: dict[str, str] = {}
    losses: list[Loss] = []
    for stream in sorted(streams, key=lambda name: (rename(name) != name, name)):
        wanted = name = rename(stream)
        number = 1
        while name.lower() in used:
            number += 1
            name = f"{wanted}_{number}"
        used.add(name.lower())
        names[stream] = name
        if number > 1:
            detail = f"'{stream}' comes to '{wanted}', which is taken; it is called '{name}'"
            losses.append(
                Loss(
                    kind=LossKind.REPAIRED, name="name-collides", path="", stream=stream, count=1,
                    detail=detail,
                )
            )  # fmt: skip
    return names, losses
