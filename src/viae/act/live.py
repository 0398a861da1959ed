"""A robot's streams as a base model knows them."""

from __future__ import annotations

from collections.abc import Sequence

from viae.load.events import shown_spec
from viae.load.live import LiveEvents
from viae.model import BaseBundle
from viae.schema import StreamSpec
from viae.schema.names import PICTURES
from viae.video import PictureView


def listen(
    bundle: BaseBundle, streams: Sequence[StreamSpec], task: str, *, robot: str = ""
) -> LiveEvents:
    """A live episode, nothing of which has arrived; its streams are called as the model's are.

    Args:
        bundle: the model.
        streams: the robot's, named as in its log.
        task: the instruction; empty for none.
        robot: its name.
    """
    return LiveEvents(
        streams, task, robot=robot, names=bundle.names,
        picture_sizes=picture_sizes(bundle, streams, robot),
    )  # fmt: skip


def picture_sizes(
    bundle: BaseBundle, streams: Sequence[StreamSpec], robot: str
) -> dict[str, tuple[int, int]]:
    """At which (height, width) the model looks at the pictures of a robot, named as in its log."""
    found = {}
    for spec in streams:
        for own in bundle.vocabulary.streams:
            if spec.kind not in PICTURES or own.kind not in PICTURES or len(own.shape) < 2:
                continue
            size = own.shape[0], own.shape[1]
            shown = shown_spec(spec, PictureView(size))
            called = bundle.names.name(robot, shown) if bundle.names else spec.name
            if called == own.name:
                found[spec.name] = size
    return found


def called(bundle: BaseBundle, streams: Sequence[StreamSpec], robot: str) -> dict[str, StreamSpec]:
    """A robot's streams, by name as in its log, as they are shown to the model and called there."""
    sizes = picture_sizes(bundle, streams, robot)
    found = {}
    for spec in streams:
        shown = shown_spec(spec, PictureView(sizes[spec.name])) if spec.name in sizes else spec
        found[spec.name] = bundle.names.renamed(robot, shown) if bundle.names else shown
    return found


__all__ = ["called", "listen", "picture_sizes"]
