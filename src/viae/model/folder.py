"""A trained thing as a folder: a card in JSON, arrays as safetensors, nothing that runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from viae.errors import BundleError


def write_folder(
    folder: Path,
    card: str,
    fields: Mapping[str, Any],
    write: Callable[[Path], None],
    *,
    what: str = "bundle",
) -> None:
    """Write a folder; it appears whole or not at all, in the place of an older one.

    Args:
        folder: where.
        card: name of the file that says what it is.
        fields: of the card.
        write: writes the rest into the folder it is given.
        what: it is, in a word.

    Raises:
        BundleError: the folder is there and holds something else.
    """
    if folder.exists() and not (folder / card).exists():
        raise BundleError(f"{folder}: this exists and is no {what}. Name a new folder")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write(partial)
    (partial / card).write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)


def read_folder(
    folder: Path, card: str, *, newest: int, what: str = "bundle", made_by: str = "viae train"
) -> dict[str, Any]:
    """The card of a folder.

    Args:
        folder: where.
        card: name of the file.
        newest: compatibility number that this viae reads up to.
        what: it is, in a word.
        made_by: the command that makes one.

    Raises:
        BundleError: there is none, it was written by a newer viae, or it is damaged.
    """
    try:
        fields = json.loads((folder / card).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            f"{folder}: there is no {what} here ({card} is missing). Train one with  {made_by}"
        ) from error
    except ValueError as error:
        raise BundleError(f"{folder / card}: not JSON: {error}. Train it again") from error
    except OSError as error:
        raise BundleError(f"{folder / card}: this cannot be read: {error}") from error
    number = fields.get("compatibility", 0) if isinstance(fields, dict) else None
    if not isinstance(number, int):
        raise BundleError(f"{folder / card}: this is no card of a {what}. Train it again")
    if number > newest:
        raise BundleError(
            f"{folder}: this {what} has compatibility number {number}; this viae reads up to "
            f"{newest}. Upgrade with  pip install -U viae"
        )
    found: dict[str, Any] = fields
    return found
