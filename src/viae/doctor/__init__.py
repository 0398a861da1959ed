"""The doctor: what is wrong with a log, what it does to learning, and what to do about it.

::

    finding.py    Finding, Severity, and the catalogue of every name there is
    trace.py      what the doctor looks at: an episode's times whole, its values in summary
    tracing.py    from a log's items to a trace       checks.py   all checks of one episode
    times.py      intervals and periods, for all      losses.py   what a reader lost, as findings
    onestream.py  a stream under examination
    timing.py     rates, gaps, bursts, order          placing.py  where streams lie in the log
    clocks.py     stamps against arrivals             counters.py what sequence numbers skip
    values.py     frozen, missing, saturated numbers  latency.py  one stream after another
    video.py      pictures against their table        dataset.py  episodes against each other
    lag.py        how a lag is measured               digest.py   what is kept of an episode
    sketch.py     which episodes are copies           fold.py     many alike findings as one
    naming.py     commands and elements by name       elements.py what no episode moves
    report.py     a page with plots                   plots.py    the plots

A check is a function from a trace (or several) to findings; it reads no files.
"""

from viae.doctor.finding import CATALOGUE, Finding, Rule, Severity
from viae.doctor.trace import EpisodeTrace, StreamTrace

__all__ = ["CATALOGUE", "EpisodeTrace", "Finding", "Rule", "Severity", "StreamTrace"]
