"""Written aside, renamed when whole: nobody ever sees half an export."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from viae.errors import UsageError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into; it gets its name when the block ends, and is gone if it fails.

    Raises:
        UsageError: there is something at ``out`` already.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out}: there is something here already, and exports overwrite nothing")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.parent / f".{out.name}.{secrets.token_hex(4)}.partial"
    aside.mkdir()
    try:
        yield aside
        aside.rename(out)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
