"""ROS bags: ``.bag`` of ROS 1, ``.db3`` and bag folders of ROS 2.

::

    ros1.py         what a ROS 1 bag is: recognise, open, one episode per file
    bagfile.py      the file as records, in order, whatever is broken in it
    bagchunk.py     a chunk, opened          bagrecord.py    one record, and how to find the next
    ros2.py         what a ROS 2 bag is: recognise, open, one episode per bag
    metadata.py     what its metadata says   parts.py        which files it is made of
    recording.py    its files, read as one   database.py     a ``.db3``
    compressed.py   what rosbag2 compresses by itself
"""
