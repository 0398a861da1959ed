"""HDF5 demonstrations: robomimic and robosuite, ALOHA, and any file of arrays a row per sample.

::

    format.py     recognise, open, the episodes and the masks
    file.py       opening a file, also one that was cut short
    heap.py       damaged heaps, in which libhdf5 would go round for ever
    tree.py       what is in a group: datasets, attributes, links not followed
    dataset.py    a dataset as a column: what of it was ever written, and reading it

The rules on streams, names, times and layouts are those of `viae.logs.arrays`.
"""

from viae.logs.hdf5.format import Hdf5Format

__all__ = ["Hdf5Format"]
