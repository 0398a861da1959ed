"""The record: times, streams, samples, episodes, facts, windows and batches.

Depends on NumPy and PyArrow only. Every other room speaks in these types.
"""

from viae.schema.episode import Episode
from viae.schema.events import INSTRUCTION, OUTCOME, Events
from viae.schema.fact import Fact, JsonValue
from viae.schema.loss import Loss, LossKind
from viae.schema.samples import Block, Samples, Values, VideoGroup
from viae.schema.stream import Kind, Role, StreamSpec
from viae.schema.time import NS_PER_S, TimesNs, to_ns, to_s
from viae.schema.window import Batch, Missing, Take, WindowSpec

__all__ = [
    "INSTRUCTION", "NS_PER_S", "OUTCOME", "Batch", "Block", "Episode", "Events", "Fact",
    "JsonValue", "Kind", "Loss", "LossKind", "Missing", "Role", "Samples", "StreamSpec", "Take",
    "TimesNs", "Values", "VideoGroup", "WindowSpec", "to_ns", "to_s",
]  # fmt: skip
