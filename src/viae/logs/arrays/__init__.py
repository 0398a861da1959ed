"""What HDF5 and Zarr have in common: named arrays whose first dimension is the sample.

::

    column.py     one array of an episode, read slice by slice; what cannot be read is counted
    forms.py      dtype and shape to streams: vectors, pictures, text
    names.py      what names say: role, time, rate, task
    clock.py      when each row was: stored times, a stated rate, or a declared assumption
    layout.py     which arrays of a tree make an episode, and which of them are its streams
    contents.py   an episode found by a format, as blocks, statements and losses
"""
