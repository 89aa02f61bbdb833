#!/usr/bin/env python3
"""Opens a sealed file with Google Tink and without any code of ours. The format:
crates/loader-seal/README.md.

    open-with-tink.py KEY-FILE < sealed > plain

Needs two packages: pip install tink cryptography
"""
import hmac
import struct
import sys

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_ctr_hmac_streaming_pb2, aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def hkdf(key, salt, info, length):
    return HKDF(SHA256(), length, salt, info).derive(key)


def bech32m(line):
    """Name and bytes of a line, its checksum checked (BIP 350)."""
    name, _, data = line.strip().lower().rpartition("1")
    values, check = [ALPHABET.index(c) for c in data], 1
    for value in [ord(c) >> 5 for c in name] + [0] + [ord(c) & 31 for c in name] + values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> i & 1 else 0
    if check != 0x2BC830A3:
        sys.exit("the key line is damaged")
    bits = "".join(f"{value:05b}" for value in values[:-6])
    return name, bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8))


def read_key(path):
    with open(path) as lines:
        line = next(line for line in lines if line.strip() and not line.startswith("#"))
    name, data = bech32m(line)
    if name != "az-secret-key-" or len(data) != 33 or data[0] != 1:
        sys.exit("not a key line")
    return data[1:]


def fields(data):
    """Type and value of each field."""
    while data:
        kind, length = struct.unpack(">BH", data[:3])
        yield kind, data[3 : 3 + length]
        data = data[3 + length :]


def unlock(fixed, rest, key):
    """The key of the stream, once the header was checked with it."""
    key_id, file_id = hkdf(key, None, b"azs/v1/key-id", 16), fixed[20:36]
    slots = [value for kind, value in fields(rest[:-32]) if kind == 1 and value[:16] == key_id]
    if not slots:
        sys.exit("this key does not open the file")
    for slot in slots:
        pad = hkdf(key, slot[16:32], b"azs/v1/wrap" + file_id, 32)
        file_key = bytes(a ^ b for a, b in zip(slot[32:], pad))
        mac = hmac.digest(hkdf(file_key, None, b"azs/v1/header", 32), fixed + rest[:-32], "sha256")
        if hmac.compare_digest(mac, rest[-32:]):
            return hkdf(file_key, None, b"azs/v1/stream", 32)
    sys.exit("the header was changed")


def tink(suite, segment_len, key):
    """Tink's streaming AEAD with these parameters."""
    if suite == 1:
        name, message = "AesCtrHmacStreamingKey", aes_ctr_hmac_streaming_pb2.AesCtrHmacStreamingKey(key_value=key)
        message.params.hmac_params.hash = common_pb2.SHA256
        message.params.hmac_params.tag_size = 32
    else:
        name, message = "AesGcmHkdfStreamingKey", aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(key_value=key)
    message.params.ciphertext_segment_size = segment_len
    message.params.derived_key_size = 32
    message.params.hkdf_hash_type = common_pb2.SHA256
    keyset = tink_pb2.Keyset(primary_key_id=1)
    entry = keyset.key.add(key_id=1, status=tink_pb2.ENABLED, output_prefix_type=tink_pb2.RAW)
    entry.key_data.type_url = "type.googleapis.com/google.crypto.tink." + name
    entry.key_data.value = message.SerializeToString()
    entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    streaming_aead.register()
    return cleartext_keyset_handle.from_keyset(keyset).primitive(streaming_aead.StreamingAead)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    key, sealed = read_key(sys.argv[1]), sys.stdin.buffer
    fixed = sealed.read(40)
    if len(fixed) < 40 or fixed[:9] != b"\x89AZS\r\n\x1a\n\x01":
        sys.exit("not a sealed file of version 1")
    suite, flags, seg_log2, plain_len, header_len = struct.unpack(">9xBBBQ16xI", fixed)
    stream_key = unlock(fixed, sealed.read(header_len - 40), key)
    written = 0
    with tink(suite, 1 << seg_log2, stream_key).new_decrypting_stream(sealed, fixed[:36]) as stream:
        while block := stream.read(1 << 20):
            written += sys.stdout.buffer.write(block)
    if flags & 1 and written != plain_len:
        sys.exit(f"{written} bytes came out, the header says {plain_len}")


main()
