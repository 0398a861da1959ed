"""Every command: importing this adds them to the application."""

from viae.cli import (  # noqa: F401 (they add commands)
    base,
    check,
    clock,
    data,
    export,
    foresee,
    leak,
    learn,
    load,
    order,
    recording,
    search,
    split,
    stats,
    tokens,
    trust,
)
from viae.cli.app import EXTRAS, app

__all__ = ["EXTRAS", "app"]
