"""Writes packed content (crates/loader-pack/README.md), with every rule open to be broken.

Frames contain raw blocks or repeat one byte, so no compression library is needed, and the
bytes are the same with each version of one.
"""

import hashlib
import struct
from dataclasses import dataclass, field

FRAME, STATEMENT, SEEK_TABLE = 0xFD2FB528, 0x184D2A53, 0x184D2A5E
FOOTER = 0x8F92EAB1
PIECE = 4096


def raw_frame(piece, descriptor=0xA0, declared=None, block_type=0, extra=b""):
    """A frame of one raw block. `descriptor` is the byte after the magic, of which the rest
    follows in `extra`; `declared` may differ from the length of the piece."""
    size = struct.pack("<I", len(piece) if declared is None else declared)
    block = struct.pack("<I", len(piece) << 3 | block_type << 1 | 1)[:3]
    return struct.pack("<IB", FRAME, descriptor) + extra + size + block + piece


def repeat_frame(byte, length):
    """A frame of one block that repeats `byte`."""
    block = struct.pack("<I", length << 3 | 1 << 1 | 1)[:3]
    return struct.pack("<IBI", FRAME, 0xA0, length) + block + bytes([byte])


def skippable(magic, payload, length=None):
    return struct.pack("<II", magic, len(payload) if length is None else length) + payload


def tlv(kind, value, length=None):
    return struct.pack(">BI", kind, len(value) if length is None else length) + value


@dataclass
class Packed:
    """Packed content in the making. What is None follows from the rest."""

    content: bytes
    piece_len: int = PIECE
    # description, before the fields of the content
    fields: bytes = b""
    content_len: int | None = None
    content_digest: bytes | None = None
    piece_digests: list | None = None
    # fields after those of the content, and signatures
    more: bytes = b""
    signatures: bytes = b""
    statement_len: int | None = None
    statement: bytes | None = None
    statement_frame: bytes | None = None
    # (frame, length of its piece)
    frames: list | None = None
    entries: list | None = None
    count: int | None = None
    descriptor: int = 0
    footer: int = FOOTER
    table_magic: int = SEEK_TABLE
    table_len: int | None = None
    trailing: bytes = b""
    lens: dict = field(default_factory=dict)

    def pieces(self):
        return [self.content[i : i + self.piece_len] for i in range(0, len(self.content), self.piece_len)]

    def all_frames(self):
        return [(raw_frame(piece), len(piece)) for piece in self.pieces()] if self.frames is None else self.frames

    def fields_of_content(self):
        """Type to value, in order."""
        digests = self.piece_digests
        if digests is None:
            digests = [hashlib.sha256(piece).digest() for piece in self.pieces()]
        length = len(self.content) if self.content_len is None else self.content_len
        digest = hashlib.sha256(self.content).digest() if self.content_digest is None else self.content_digest
        return {0x10: struct.pack(">Q", length), 0x11: digest, 0x12: struct.pack(">I", self.piece_len), 0x13: b"".join(digests)}

    def statement_bytes(self):
        if self.statement is not None:
            return self.statement
        return self.fields + b"".join(tlv(kind, value) for kind, value in self.fields_of_content().items()) + self.more

    def whole_statement(self):
        if self.statement_frame is not None:
            return self.statement_frame
        statement = self.statement_bytes()
        length = len(statement) if self.statement_len is None else self.statement_len
        return skippable(STATEMENT, struct.pack(">I", length) + statement + self.signatures)

    def seek_table(self):
        entries = self.entries
        if entries is None:
            entries = [(len(frame), length) for frame, length in self.all_frames()] + [(len(self.whole_statement()), 0)]
        count = len(entries) if self.count is None else self.count
        payload = b"".join(struct.pack("<II", *entry) for entry in entries)
        payload += struct.pack("<IBI", count, self.descriptor, self.footer)
        return skippable(self.table_magic, payload, self.table_len)

    def bytes(self):
        frames = b"".join(frame for frame, _ in self.all_frames())
        return frames + self.whole_statement() + self.seek_table() + self.trailing
