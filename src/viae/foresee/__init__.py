"""Queries of a base model: what will happen, how it ends, how surprising it is, what is missing.

A query takes a `History` (`of_store`, `of_live`, `of_events`) and says with its answer what is
wrong with it. Number of samples, seed and temperature are arguments and part of the result.
"""

from viae.act.live import listen
from viae.foresee.embedding import BaseEmbedder, embed, embed_after, embed_moments
from viae.foresee.habits import Usual
from viae.foresee.history import Blame, History, of_events, of_live, of_store
from viae.foresee.infer import Inferred, infer
from viae.foresee.likelihood import Bits, bits
from viae.foresee.outcome import Outlook, outlook, success_of
from viae.foresee.roll import Foreseen, Imagined, foresee, roll
from viae.foresee.signs import Signs, signs, usual_moments
from viae.foresee.surprise import Surprise, Watch, surprise

__all__ = [
    "BaseEmbedder", "Bits", "Blame", "Foreseen", "History", "Imagined", "Inferred", "Outlook",
    "Signs", "Surprise", "Usual", "Watch", "bits", "embed", "embed_after", "embed_moments",
    "foresee", "infer", "listen", "of_events", "of_live", "of_store", "outlook", "roll", "signs",
    "success_of", "surprise", "usual_moments",
]  # fmt: skip
