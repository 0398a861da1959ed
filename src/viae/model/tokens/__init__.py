"""Tokens: what turns the samples of a stream into whole numbers and back."""

from viae.model.tokens.bins import Bins
from viae.model.tokens.chunk import BinnedChunk
from viae.model.tokens.codec import SILENT, Codec, Tokens, codec_from_json, previous
from viae.model.tokens.elements import Elements
from viae.model.tokens.fast import FastChunk
from viae.model.tokens.report import ElementReport, StreamReport, measure
from viae.model.tokens.residual import ResidualCodec
from viae.model.tokens.text import TextCodec
from viae.model.tokens.times import TimeCodec
from viae.model.tokens.vector import VectorCodec

__all__ = [
    "SILENT", "BinnedChunk", "Bins", "Codec", "ElementReport", "Elements", "FastChunk",
    "ResidualCodec", "StreamReport", "TextCodec", "TimeCodec", "Tokens", "VectorCodec",
    "codec_from_json", "measure", "previous",
]  # fmt: skip
