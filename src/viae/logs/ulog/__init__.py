"""PX4 ULog, parsed by `pyulog`, which holds the whole file in memory.

::

    format.py     recognise, open; the one episode of a file
    framing.py    what the messages' own lengths say: is the file whole, how many samples has it
    parse.py      pyulog, contained: no prints, no endless search, no foreign errors
    layout.py     which streams a topic becomes

A reader needs about three times the size of the file: pyulog has no other way to read it.
"""

from viae.logs.ulog.format import UlogFormat

__all__ = ["UlogFormat"]
