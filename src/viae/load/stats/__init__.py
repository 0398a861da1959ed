"""Statistics for normalisation: exact, streaming, mergeable.

::

    keys.py        numbers as unsigned integers in the same order
    ranks.py       order statistics by counting digits, a few passes
    statistics.py  Statistics: add, merge, finish a pass
    stored.py      of the streams in a store
"""

from viae.load.stats.statistics import QUANTILES, Statistics, Summary, quantile_name
from viae.load.stats.stored import StreamStatistics, picture_statistics, vector_statistics

__all__ = [
    "QUANTILES", "Statistics", "StreamStatistics", "Summary", "picture_statistics",
    "quantile_name", "vector_statistics",
]  # fmt: skip
