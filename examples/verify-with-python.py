#!/usr/bin/env python3
"""Verifies the signatures of packed content without any code of ours, and writes the content.
The format: crates/loader-pack/README.md.

    open-with-tink.py KEY-FILE < sealed | verify-with-python.py PUBLIC-KEY-FILE... > content

At least one of the publishers must have signed. Nothing is written unless the signature
and the digests of all pieces are right. Name, release and release id go to standard error.

Needs the program zstd and one package: pip install cryptography
"""
import hashlib
import struct
import subprocess
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

STATEMENT, SEEK_TABLE, FOOTER = 0x184D2A53, 0x184D2A5E, 0x8F92EAB1
DOMAIN = b"azs/v1/release"


def fields(data):
    """Type and value of each field."""
    while data:
        kind, length = struct.unpack(">BI", data[:5])
        value = data[5 : 5 + length]
        if len(value) != length:
            sys.exit("a field is too long")
        yield kind, value
        data = data[5 + length :]


def find_statement(packed):
    """Start of the statement's frame, statement and signatures, by the seek table at the end."""
    if len(packed) < 9:
        sys.exit("no seek table")
    count, descriptor, footer = struct.unpack("<IBI", packed[-9:])
    table = len(packed) - 9 - 8 * count - 8
    if footer != FOOTER or descriptor or count < 1 or table < 0:
        sys.exit("no seek table")
    magic, length = struct.unpack("<II", packed[table : table + 8])
    if magic != SEEK_TABLE or length != 8 * count + 9:
        sys.exit("the seek table is damaged")
    frame_length, _ = struct.unpack("<II", packed[table + 8 * count : table + 8 * count + 8])
    start = table - frame_length
    magic, length = struct.unpack("<II", packed[start : start + 8])
    if start < 0 or magic != STATEMENT or length != frame_length - 8:
        sys.exit("no statement")
    payload = packed[start + 8 : table]
    (length,) = struct.unpack(">I", payload[:4])
    return start, payload[4 : 4 + length], payload[4 + length :]


def main():
    packed = sys.stdin.buffer.read()
    publishers = []
    for path in sys.argv[1:]:
        with open(path, "rb") as pem:
            end = b"-----END PUBLIC KEY-----"
            for section in pem.read().split(end)[:-1]:
                key = load_pem_public_key(section + end)
                publishers.append(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    start, statement, signatures = find_statement(packed)
    release_id = hashlib.sha256(statement).digest()
    signers = set()
    for kind, value in fields(signatures):
        if kind == 1:
            try:
                Ed25519PublicKey.from_public_bytes(value[:32]).verify(value[32:], DOMAIN + release_id)
            except InvalidSignature:
                sys.exit("a signature is not valid")
            if value[:32] in publishers:
                signers.add(value[:32])
    if not signers:
        sys.exit("no publisher has signed it")

    stated = dict(fields(statement))
    content = subprocess.run(["zstd", "-dcq"], input=packed[:start], stdout=subprocess.PIPE, check=True).stdout if start else b""
    (length,), (piece,) = struct.unpack(">Q", stated[0x10]), struct.unpack(">I", stated[0x12])
    pieces = b"".join(hashlib.sha256(content[i : i + piece]).digest() for i in range(0, len(content), piece))
    if len(content) != length or hashlib.sha256(content).digest() != stated[0x11] or pieces != stated[0x13]:
        sys.exit("the content is not the one that was signed")
    name = stated.get(4, b"").decode()
    release = struct.unpack(">Q", stated[5])[0] if 5 in stated else "none"
    print(f"name {name!r}, release {release}, id {release_id.hex()}, signed by {len(signers)} of the publishers", file=sys.stderr)
    sys.stdout.buffer.write(content)


if __name__ == "__main__":
    main()
