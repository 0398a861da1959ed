"""What the names in array files say. The rules are general; no data set has one of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from viae.schema import JsonValue, Role

OBSERVED = frozenset({"obs", "observation", "observations", "next_obs", "next_observations"})
"""Groups all of whose arrays are observations, whatever else their names say."""

ACTION = re.compile(r"(^|_)actions?($|_)")
PAST = re.compile(r"^(prev|previous|last)_")
OUTCOME = re.compile(
    r"^(next_)?(rewards?|dones?|success(es)?|returns?|terminated|truncated|terminals?|timeouts?)($|_)"
)
NEXT = re.compile(r"^next_(obs|observations?|states?)($|_)")
TIME = re.compile(r"^(timestamps?|times?|t|stamps?)(_(?P<unit>ns|nsec|us|usec|ms|msec|s|sec))?$")

RATES = frozenset(
    {
        "control_freq", "control_frequency", "control_hz", "ctrl_freq", "fps", "frequency", "freq",
        "hz", "rate", "rate_hz", "frame_rate", "sample_rate", "sampling_rate",
    }
)  # fmt: skip
"""Facts that state samples per second."""

PERIODS = frozenset({"dt", "dt_s", "control_timestep", "period_s"})
"""Facts that state seconds per sample."""

TASKS = ("language_instruction", "instruction", "language", "task", "env_name", "env")
ROBOTS = ("robot", "robot_type", "robots", "robot_name")
OUTCOMES = ("success", "is_success", "is_successful")


def role_of(path: str) -> Role:
    """The role of the array at a path inside its episode.

    Below a group of observations everything is one. Else the last two names decide: ``action``,
    ``actions``, ``base_action`` and what is below ``action_dict`` are actions, unless they are said
    to be past ones; ``rewards``, ``dones``, ``success`` and the like are outcomes.
    """
    parts = path.lower().split("/")
    if OBSERVED & set(parts[:-1]):
        return Role.OBSERVATION
    if any(ACTION.search(part) and not PAST.match(part) for part in parts):
        return Role.ACTION
    return Role.OUTCOME if OUTCOME.match(parts[-1]) else Role.OBSERVATION


def is_next(path: str) -> bool:
    """Whether row i is what was seen after step i: ``next_obs`` and the like."""
    return any(NEXT.match(part) for part in path.lower().split("/"))


def is_time(path: str) -> bool:
    """Whether the last name is a time's: ``timestamp``, ``time``, ``t``, with or without unit."""
    return TIME.match(path.lower().rpartition("/")[2]) is not None


def unit_of_time(path: str) -> str:
    """The unit that the name states: ``"ns"``, ``"us"``, ``"ms"``, ``"s"`` or nothing."""
    match = TIME.match(path.lower().rpartition("/")[2])
    unit = (match["unit"] or "") if match else ""
    return unit.removesuffix("ec")


def in_order(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """A key to sort by: numbers in names count as numbers, so that demo_2 is before demo_10."""
    parts = re.split(r"([0-9]+)", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts], name


def stated_rate(facts: Mapping[str, JsonValue]) -> tuple[float, str] | None:
    """The first rate that facts state, Hz, and where; facts inside facts count, too."""
    for path, value in _walk(facts):
        name = path.rpartition(".")[2].lower()
        if name not in RATES | PERIODS or isinstance(value, bool | str | list | dict | None):
            continue
        number = float(value)
        if math.isfinite(number) and number > 0:
            rate_hz = number if name in RATES else 1 / number
            if 1e-3 <= rate_hz <= 1e6:
                return rate_hz, path
    return None


def stated_text(facts: Mapping[str, JsonValue], names: tuple[str, ...]) -> str:
    """The first text that facts state under one of the names, which are tried in order."""
    for name in names:
        for path, value in _walk(facts):
            if path.rpartition(".")[2].lower() == name and value:
                if isinstance(value, str):
                    return value
                if isinstance(value, list) and all(isinstance(part, str) for part in value):
                    return " + ".join(map(str, value))
    return ""


def stated_outcome(facts: Mapping[str, JsonValue]) -> bool | None:
    """What facts say of success, if they do: a truth value, or the number 0 or 1."""
    for name in OUTCOMES:
        value = facts.get(name)
        if isinstance(value, bool | int | float) and value in (0, 1):
            return bool(value)
    return None


def _walk(facts: Mapping[str, JsonValue], depth: int = 4) -> Iterator[tuple[str, JsonValue]]:
    for key, value in facts.items():
        yield key, value
        if isinstance(value, dict) and depth:
            for inner, found in _walk(value, depth - 1):
                yield f"{key}.{inner}", found
