"""Definitions of ROS 2 message types for logs that hold none: those that ROS itself ships."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from viae.logs.messages.batch import Channel

UNKNOWN = frozenset({"", "unknown"})
"""What containers say of the encoding of a definition that they do not have."""


def assume_definition(channel: Channel, distro: str = "") -> tuple[Channel, str] | None:
    """A channel with a definition that its log does not hold, and whose definition that is.

    Args:
        channel: of CDR messages.
        distro: the ROS 2 distribution that recorded it, if that is known; it is asked first.

    Returns:
        None where the channel has a definition, or ROS ships none for its type.
    """
    if channel.encoding != "cdr" or channel.schema or channel.schema_encoding not in UNKNOWN:
        return None
    package, _, rest = channel.schema_name.partition("/")
    kind, _, type_ = rest.rpartition("/")
    if kind not in ("", "msg"):  # of services and actions nothing is shipped
        return None
    name = f"{package}/msg/{type_}"
    for stores in _stores(distro):
        store = _typestore(stores)
        if name in store.fielddefs:
            text, _ = store.generate_msgdef(name, ros_version=2)
            told = replace(
                channel, schema_name=name, schema_encoding="ros2msg", schema=text.encode()
            )
            return told, stores.value.removeprefix("ros2_")
    return None


def _stores(distro: str) -> list[Stores]:
    first = [each for each in Stores if each.value == f"ros2_{distro.lower()}"]
    return [*first, Stores.ROS2_HUMBLE, Stores.LATEST]


@cache
def _typestore(stores: Stores) -> Typestore:
    return get_typestore(stores)
