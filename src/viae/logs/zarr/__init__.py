"""Zarr replay buffers, versions 2 and 3, as folders and as zips.

::

    format.py     recognise, open, the episodes
    store.py      the files of a store: which arrays and groups, and which chunks are there
    array.py      rows of an array as a column: chunks that are not there, codecs that are missing

The rules on streams, names, times and layouts are those of `viae.logs.arrays`.
"""

from viae.logs.zarr.format import ZarrFormat

__all__ = ["ZarrFormat"]
