"""RLDS datasets as TensorFlow Datasets writes them, read without TensorFlow.

::

    format.py     what a dataset is: recognise, open, declared against present
    info.py       dataset_info.json and metadata.json: names, splits, shards, control rate
    features.py   features.json: the leaves of the nested features
    tfrecord.py   where the records of a shard are, whatever is damaged
    example.py    tf.train.Example, from its definition
    steps.py      the values of a leaf, one per step
    episode.py    one record: statements, then a stream per leaf

**Times.** RLDS has none. Step k is placed at k times the control period that the dataset states (an
episode-level feature, or a key of ``metadata.json``, with a name like ``control_hz``); where it
states none, steps are 100 ms apart, and a `Loss` ``times-absent`` says so. The statement ``times``
tells which of both it was.
"""

from viae.logs.rlds.format import RldsFormat

__all__ = ["RldsFormat"]
