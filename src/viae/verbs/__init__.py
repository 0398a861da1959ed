"""The verbs: everything viae does, callable, resumable, reporting progress as data.

The only place where the rooms are wired together. Each verb is a function of a store, and the
command line is a thin skin over them.
"""

from viae.verbs.doctor import DoctorReport, doctor
from viae.verbs.embed import EmbedReport, embed
from viae.verbs.errors import errors
from viae.verbs.evaluate import Evaluation, evaluate
from viae.verbs.export import ExportReport, export
from viae.verbs.improve import ImprovePlan, Round, improve
from viae.verbs.ingest import IngestReport, ingest
from viae.verbs.load import loader
from viae.verbs.progress import Progress, Tell
from viae.verbs.record import record
from viae.verbs.report import report
from viae.verbs.rollouts import workers
from viae.verbs.search import Moment, SearchReport, search
from viae.verbs.select import select
from viae.verbs.split import SplitReport, split
from viae.verbs.stats import StatsReport, stats
from viae.verbs.train import train
from viae.verbs.trust import TrustReport, trust

__all__ = [
    "DoctorReport", "EmbedReport", "Evaluation", "ExportReport", "ImprovePlan", "IngestReport",
    "Moment", "Progress", "Round", "SearchReport", "SplitReport", "StatsReport", "Tell",
    "TrustReport", "doctor", "embed", "errors", "evaluate", "export", "improve", "ingest",
    "loader", "record", "report", "search", "select", "split", "stats", "train", "trust",
    "workers",
]  # fmt: skip
