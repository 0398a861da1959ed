"""Order: an MCAP file in causal order, into a new file."""

from __future__ import annotations

from pathlib import Path

from viae.record.order import Ordered
from viae.record.order import order as order_file
from viae.sequence import merge
from viae.verbs.progress import Progress, Tell, quiet

MB = 1_000_000


def order(
    source: str | Path,
    path: str | Path,
    *,
    temp: Path | None = None,
    as_one: bool = False,
    tell: Tell = quiet,
) -> Ordered:
    """Write the messages of an MCAP file into a new one, in causal order, in bounded memory.

    By log time; ties by role (of channels that viae recorded; others are observations), topic,
    sequence, and place in the source. Everything else is kept.

    Args:
        source: the file, with any damage; it is left as it is.
        path: the new file; it must not exist.
        temp: folder of temporary files, as large as the source together; that of the new file.
        as_one: take it as one episode even where its time starts again and again.
        tell: told of progress, in MB.

    Raises:
        LogError: there is no file, it is none, or it holds several episodes that would be mixed.
        UsageError: ``temp`` is no folder.
        RecorderError: the new file exists, or cannot be written; then there is none.
    """

    def on(phase: str, done: int, total: int) -> None:
        tell(Progress(phase=phase, done=done // MB, total=total // MB, note="MB"))

    return order_file(source, path, merge, temp=temp, as_one=as_one, on=on)


__all__ = ["Ordered", "order"]
