"""What viae's recorder leaves in metadata records, beside what is stated about the episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from viae.schema import Loss, LossKind

DROPPED_RECORD = "viae.dropped"
"""The metadata record of samples that the recorder's full queue dropped: how many, by stream.

Counts are from the beginning of the recording on, so of several records the last one counts.
"""


def dropped_losses(path: str, counts: Mapping[str, str]) -> Iterator[Loss]:
    """What the last record of `DROPPED_RECORD` says.

    Args:
        path: the file.
        counts: the record's values.
    """
    for stream, text in sorted(counts.items()):
        count = int(text) if text.isdecimal() and text.isascii() else None
        if count != 0:
            yield Loss(
                kind=LossKind.LOST,
                name="dropped-by-recorder",
                path=path,
                stream=stream,
                count=count,
                detail="the recorder's queue was full, and was told to drop rather than to wait; "
                "give it a larger queue or a faster disk, or record with overflow='block'",
            )
