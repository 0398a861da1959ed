"""From messages to streams, whatever container they come in.

::

    batch.py      a run of messages of one topic, and what the container says of them
    topic.py      one topic: decode, then batch into blocks
    topics.py     the topics of one episode, whatever container they come from
    transforms.py a topic of transforms: a stream for every pair of frames
    definitions.py   of ROS 2 types, for logs that hold none
    plan.py       which streams a message becomes (the rules are written there)
    shape.py      what a message type looks like, whatever its encoding
    rows.py       samples on their way into blocks      sequence.py   gaps in a sender's count
    images.py     the messages that are images
    ros.py  protobuf.py  jsonmsg.py  flatbuffer.py     one encoding each
    layout.py     ROS messages by column                pick.py       fields out of a message
    video.py      a topic of coded video
"""

from viae.logs.messages.batch import Channel, Messages, one_by_one
from viae.logs.messages.topic import Topic

__all__ = ["Channel", "Messages", "Topic", "one_by_one"]
