"""What the names in a log say: whether a stream is a command, what the elements of a vector are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from viae.schema import Role, StreamSpec

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
COMMANDS = frozenset(
    {
        "action", "actions", "cmd", "cmds", "command", "commands", "commanded", "desired",
        "setpoint", "setpoints", "target", "targets",
    }
)  # fmt: skip
STATES = frozenset(
    {
        "actual", "error", "feedback", "measured", "measurement", "obs", "observation",
        "observations", "result", "state", "states", "status",
    }
)  # fmt: skip
LEADERS = frozenset({"leader", "master", "teleop"})
"""Whose state is what the other arm is told to do."""
ELEMENT_NAMES = ("name", "names", "joint_names")


def is_command(spec: StreamSpec) -> bool:
    """Whether a stream says what a robot is to do.

    Its role does, where the log has roles. Most logs have none: then the last telling word of its
    name decides, so that ``/arm/command`` is one and ``/command/feedback`` is not; and what a
    leader arm did is one.
    """
    if spec.role is not Role.OBSERVATION:
        return spec.role is Role.ACTION
    parts = re.split(r"[/.]", spec.name)
    words = [word.lower() for part in parts if part != "_action" for word in WORD.findall(part)]
    if LEADERS & set(words):
        return True
    telling = [word for word in words if word in COMMANDS or word in STATES]
    return bool(telling) and telling[-1] in COMMANDS


def names_beside(spec: StreamSpec, texts: Mapping[str, str | None]) -> tuple[str, ...] | None:
    """Names of a vector's elements that its topic sends along, as ``sensor_msgs/JointState`` does.

    Args:
        spec: the vector's stream.
        texts: by stream, what every sample of a text says; None where samples differ.

    Returns:
        Empty where nothing is sent along; None where it changes.
    """
    for name in ELEMENT_NAMES:
        beside = f"{spec.topic}.{name}"
        if not spec.topic or beside not in texts:
            continue
        said = texts[beside]
        if said is None:
            return None
        try:
            names = json.loads(said)
        except ValueError:
            continue
        if isinstance(names, list) and all(isinstance(each, str) for each in names):
            return tuple(names) if len(set(names)) == len(names) else ()
    return ()
