#!/usr/bin/env python3
"""Applies a patch to the content of a release, without any code of this project.

    patch-with-python.py OLD PATCH NEW

OLD is the content of the old release, PATCH the plaintext of the sealed patch
(open-with-tink.py opens it), NEW the file to write. crates/loader-patch/README.md
describes the format. Needs `zstandard` of PyPI.
"""
import hashlib
import struct
import sys

import zstandard

FRAME_MAX, WINDOW_MAX, LIST_MAX = 1 << 18, 1 << 20, 1 << 16


def decompress(frame, size, prefix=b""):
    """Returns the content of one frame, which declares its size."""
    if zstandard.frame_content_size(frame) != size:
        raise ValueError("a frame declares another size")
    raw = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
    return zstandard.ZstdDecompressor(dict_data=raw).decompress(frame, allow_extra_data=False)


class Numbers:
    """Numbers of variable length in a list of operations."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def signed(self):
        value = self.number()
        return value >> 1 ^ -(value & 1)


def add_differences(planes, old, shape):
    width, phase = shape & 7, shape >> 3
    if width not in (1, 2, 4) or phase >= width:
        raise ValueError("unknown shape")
    count = (len(old) - phase) // width
    end = phase + count * width
    new = bytearray((a + b) & 0xFF for a, b in zip(planes[:phase], old[:phase]))
    for i in range(count):
        coded = sum(planes[phase + k * count + i] << 8 * k for k in range(width))
        element = int.from_bytes(old[phase + i * width:phase + (i + 1) * width], "little")
        element = (element + (coded >> 1 ^ -(coded & 1))) & ((1 << 8 * width) - 1)
        new += element.to_bytes(width, "little")
    new += bytes((a + b) & 0xFF for a, b in zip(planes[end:], old[end:]))
    return bytes(new)


def statement_fields(payload):
    """Returns the release id and the fields of a statement."""
    (size,) = struct.unpack(">I", payload[:4])
    statement, fields, at = payload[4:4 + size], {}, 0
    while at < size:
        kind, length = struct.unpack(">BI", statement[at:at + 5])
        fields[kind] = statement[at + 5:at + 5 + length]
        at += 5 + length
    return hashlib.sha256(statement).hexdigest(), fields


def apply(old, patch):
    """Returns the id of the old release, that of the new one, and the new content."""
    if patch[:8] != b"AZPATCH\x01":
        raise ValueError("not a patch of version 1")
    old_id = patch[8:40].hex()
    (size,) = struct.unpack(">I", patch[40:44])
    new_id, fields = statement_fields(patch[44:44 + size])
    content_len = int.from_bytes(fields[0x10], "big")
    at, cursor, new = 44 + size, 0, bytearray()

    def take(length):
        nonlocal at
        at += length
        if at > len(patch):
            raise ValueError("the patch is truncated")
        return patch[at - length:at]

    def old_bytes(offset, length):
        if offset < 0 or offset + length > len(old):
            raise ValueError("an operation reads beyond the old content")
        return old[offset:offset + length]

    while len(new) < content_len:
        compressed, length = struct.unpack(">II", take(8))
        if not 0 < length <= LIST_MAX:
            raise ValueError("a list with an impossible length")
        numbers = Numbers(decompress(take(compressed), length))
        while numbers.at < length:
            head = numbers.number()
            kind, count = head & 3, head >> 2
            if kind == 0:
                cursor += numbers.signed()
                new += old_bytes(cursor, count)
                cursor += count
                continue
            if kind == 3 or count > FRAME_MAX:
                raise ValueError("an impossible operation")
            frame_len, detail = numbers.number(), numbers.number()
            cursor += numbers.signed()
            frame = take(frame_len)
            if kind == 1:
                if detail > WINDOW_MAX:
                    raise ValueError("a window that is too long")
                new += decompress(frame, count, old_bytes(cursor, detail))
            else:
                new += add_differences(decompress(frame, count), old_bytes(cursor, count), detail)
                cursor += count
    if at != len(patch) or len(new) != content_len:
        raise ValueError("the patch and the statement do not end together")
    if hashlib.sha256(new).digest() != fields[0x11]:
        raise ValueError("the new content has another digest")
    return old_id, new_id, bytes(new)


def main(old, patch, new):
    with open(old, "rb") as old_file, open(patch, "rb") as patch_file:
        old_id, new_id, content = apply(old_file.read(), patch_file.read())
    with open(new, "wb") as new_file:
        new_file.write(content)
    print(f"{old_id} -> {new_id}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
