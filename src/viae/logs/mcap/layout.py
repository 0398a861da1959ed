"""How the records of an MCAP file are laid out, as far as finding them needs it."""

from __future__ import annotations

import struct
from typing import TypeAlias

from mcap import records
from mcap.opcode import Opcode

from viae.logs.mcap.run import HEAD

MAGIC = b"\x89MCAP0\r\n"
OUTER = struct.Struct("<BQ")
"""Opcode and length, before the contents of every record."""
CHUNK = struct.Struct("<QQQII")
"""First and last time, size and CRC of the uncompressed records, length of the codec's name."""
FOOTER = struct.Struct("<BQQQI")
"""Opcode, length, where the summary and its offsets start, the summary's CRC."""

HIGHEST = max(Opcode)
LEAST = {
    Opcode.HEADER: 8, Opcode.FOOTER: 20, Opcode.SCHEMA: 14, Opcode.CHANNEL: 16,
    Opcode.MESSAGE: HEAD.itemsize, Opcode.CHUNK: 40, Opcode.MESSAGE_INDEX: 6,
    Opcode.CHUNK_INDEX: 64, Opcode.ATTACHMENT: 36, Opcode.ATTACHMENT_INDEX: 48,
    Opcode.STATISTICS: 46, Opcode.METADATA: 8, Opcode.METADATA_INDEX: 20,
    Opcode.SUMMARY_OFFSET: 17, Opcode.DATA_END: 4,
}  # fmt: skip
"""Bytes that the contents of a record have at least, by the specification."""

Parsed: TypeAlias = (
    records.Header | records.Footer | records.Schema | records.Channel | records.Chunk
    | records.ChunkIndex | records.AttachmentIndex | records.Statistics
    | records.Metadata | records.MetadataIndex | records.SummaryOffset | records.DataEnd
)  # fmt: skip
PARSERS: dict[int, type[Parsed]] = {
    Opcode.HEADER: records.Header, Opcode.FOOTER: records.Footer, Opcode.SCHEMA: records.Schema,
    Opcode.CHANNEL: records.Channel, Opcode.CHUNK: records.Chunk,
    Opcode.CHUNK_INDEX: records.ChunkIndex,
    Opcode.ATTACHMENT_INDEX: records.AttachmentIndex, Opcode.STATISTICS: records.Statistics,
    Opcode.METADATA: records.Metadata, Opcode.METADATA_INDEX: records.MetadataIndex,
    Opcode.SUMMARY_OFFSET: records.SummaryOffset, Opcode.DATA_END: records.DataEnd,
}  # fmt: skip
"""Every record but those that may be large or many: attachments, messages and their indexes."""
