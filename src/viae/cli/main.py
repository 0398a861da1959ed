"""The command line: parse, call one verb, render. No logic.

Commands, and all they import, are imported inside `main`, so that an interrupt is heard from the
very start.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from viae.errors import ViaeError

INTERRUPTED = 130


def main() -> None:
    """Run the command line; every error on purpose is one sentence and an exit code.

    0: done. 1: part of what was asked could not be done; the report says which. 2: the request
    makes no sense. 130: interrupted.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a path may be no text
        _run()
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as leave:  # typer turns an interrupt into this
        if leave.code == INTERRUPTED:
            _interrupted()
        raise


def _run() -> None:
    from viae.cli.commands import EXTRAS, app
    from viae.errors import MissingExtraError, ViaeError

    try:
        app()
    except ViaeError as error:
        _fail(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        _fail(MissingExtraError(package, extra=EXTRAS[package]))
    except Exception as error:  # each library has its own class for a full disk
        if "no space left" not in str(error).lower():
            raise
        _fail(
            ViaeError(
                f"no space left on the device ({error}); what was done before is kept. Free some "
                "space and run the same command again: it goes on where it stopped"
            )
        )


def _fail(error: ViaeError) -> NoReturn:
    from viae.cli.render import err

    err.print("[bold red]error[/]", end=" ")
    err.print(str(error), markup=False, soft_wrap=True)
    sys.exit(error.exit_code)


def _interrupted() -> NoReturn:
    print("interrupted; run the same command again to go on", file=sys.stderr)
    sys.exit(INTERRUPTED)
