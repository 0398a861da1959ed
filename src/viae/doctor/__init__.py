"""The doctor: what is wrong with a log, what it does to learning, and what to do about it.

::

    finding.py    Finding, Severity, and the catalogue of every name there is
    trace.py      what the doctor looks at: an episode's times whole, its values in summary
    timing.py     rates, gaps, bursts, order          clocks.py   stamps against arrivals
    values.py     frozen, missing, saturated numbers  latency.py  one stream after another
    video.py      pictures against their table        dataset.py  episodes against each other
    report.py     a page with plots

A check is a function from a trace (or several) to findings; it reads no files.
"""

from viae.doctor.finding import CATALOGUE, Finding, Rule, Severity
from viae.doctor.trace import EpisodeTrace, StreamTrace

__all__ = ["CATALOGUE", "EpisodeTrace", "Finding", "Rule", "Severity", "StreamTrace"]
