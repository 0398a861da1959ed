"""A damaged or unfinished MCAP file, rewritten whole: with an index, into a new file.

Everything that can be read is kept as it is: schemas, channels with their metadata, messages with
their bytes, times and sequence numbers, metadata records, attachments, profile and library. Only
the numbers of schemas and channels may change, and chunks are cut anew.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mcap.writer import Writer

from viae.errors import LogNotFoundError, RecorderError
from viae.logs.mcap.run import MessageRun
from viae.record.copying import Copying, check_source
from viae.schema import Loss, LossKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair kept, and what it could not.

    Args:
        source: the damaged file; it is left as it is.
        path: the new file.
        messages: how many it holds, by topic.
        metadata: how many metadata records.
        attachments: how many attachments.
        losses: what could not be read.
    """

    source: Path
    path: Path
    messages: dict[str, int]
    metadata: int
    attachments: int
    losses: list[Loss] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost."""
        return all(loss.kind is not LossKind.LOST for loss in self.losses)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "source": str(self.source), "path": str(self.path), "messages": self.messages,
            "metadata": self.metadata, "attachments": self.attachments,
            "losses": [loss.to_json() for loss in self.losses],
        }  # fmt: skip


def repair(source: str | Path, path: str | Path) -> Repaired:
    """Rewrite an MCAP file into a new one.

    Args:
        source: the file, with any damage.
        path: the new file; it must not exist.

    Raises:
        LogNotFoundError, EmptyLogError: there is nothing to repair.
        DamagedLogError: it does not begin as an MCAP file does.
        RecorderError: the new file exists, or cannot be written; then there is none.
    """
    source, path = Path(source), Path(path)
    check_source(source)
    try:
        new = path.open("xb")
    except FileExistsError as error:
        raise RecorderError(
            f"{path}: there is a file already, and nothing is ever overwritten. Give another name"
        ) from error
    except OSError as error:
        raise RecorderError(f"{path}: cannot make the file ({error.strerror})") from error
    try:
        with new:
            writer = _Writer(new)
            copy = Copying(source, writer)
            copy.run()
            writer.finish()  # type: ignore[no-untyped-call]
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError) and not isinstance(error, LogNotFoundError):
            raise RecorderError(
                f"{path}: cannot write ({error.strerror}); the file is removed again. Free some "
                "space and repair to a new file"
            ) from error
        raise
    return Repaired(
        source=source, path=path, messages=dict(sorted(copy.messages.items())),
        metadata=copy.metadata, attachments=copy.attachments, losses=copy.losses,
    )  # fmt: skip


class _Writer(Writer):
    """The library's writer, given runs of messages."""

    def add_run(self, run: MessageRun, numbers: npt.NDArray[np.int64]) -> None:
        """See `viae.record.copying.NewFile`."""
        for number, message in zip(numbers.tolist(), run.messages(), strict=True):
            self.add_message(
                number, message.log_time, message.data, message.publish_time, message.sequence
            )
