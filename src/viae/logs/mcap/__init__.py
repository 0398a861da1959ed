"""MCAP: any messages, with or without index, chunks or an intact end.

::

    format.py       what a file is: recognise, open, its episodes
    survey.py       whether time starts again in it, so that it holds several episodes
    records.py      the file as records, in order, whatever is broken in it
    scan.py         the outer records          resume.py    where they go on after damage
    chunk.py        a chunk, opened            run.py       messages that follow each other
    index.py        a message index            attachment.py    read piece by piece
    summary.py      a help after damage        source.py    a window over the file
    layout.py       numbers of the format
    topics.py       from channels to topics (then `viae.logs.messages`)
    statements.py   metadata and attachments   recorded.py  what viae's recorder leaves there
"""

from viae.logs.mcap.format import McapFormat

__all__ = ["McapFormat"]
