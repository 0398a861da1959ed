"""MCAP: ROS 2 CDR, protobuf and JSON messages, with or without index, chunks or an intact end.

::

    format.py     what a file is: recognise, open, one episode per file
    records.py    the file as records, in order, whatever is broken in it
    topic.py      one topic: decode, then batch into blocks
    plan.py       which streams a message becomes (the rules are written there)
    images.py     the messages that are images
    shape.py      what a message type looks like, whatever its encoding
    ros2.py  protobuf.py  jsonmsg.py     one encoding each
"""

from viae.logs.mcap.format import McapFormat

__all__ = ["McapFormat"]
