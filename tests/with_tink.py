"""Opens and seals files with Google Tink, for tests/integration/tink.rs.

    with_tink.py open MANIFEST    opens sealed files with Tink
    with_tink.py seal MANIFEST    seals files with Tink and a header written here

The manifest is JSON, a list of cases; a case names its files, the key in
hexadecimal and, for seal, how to seal. Prints one line a failure and, last,
`ok N`. The header follows crates/loader-seal/README.md and nothing of the Rust code.
"""

import hashlib
import hmac
import io
import json
import random
import struct
import sys

try:
    from tink import cleartext_keyset_handle, streaming_aead
    from tink.proto import aes_ctr_hmac_streaming_pb2 as ctr_hmac
    from tink.proto import aes_gcm_hkdf_streaming_pb2 as gcm_hkdf
    from tink.proto import common_pb2, tink_pb2
except ImportError as error:
    sys.exit(f"with_tink.py: {error}; pip install -r tests/requirements.txt")

MAGIC = bytes.fromhex("89415a530d0a1a0a")
SHA256 = common_pb2.SHA256
TYPE_URL = "type.googleapis.com/google.crypto.tink."


def hkdf(key, salt, info, length):
    """HKDF-SHA-256 (RFC 5869); an empty salt is 32 zero bytes."""
    secret = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    block, out = b"", b""
    while len(out) < length:
        block = hmac.new(secret, block + info + bytes([len(out) // 32 + 1]), hashlib.sha256).digest()
        out += block
    return out[:length]


def primitive(suite, key, segment_size):
    """Tink's streaming AEAD with this key, suite 1 or 2."""
    if suite == 1:
        message = ctr_hmac.AesCtrHmacStreamingKey(key_value=key)
        message.params.hmac_params.hash = SHA256
        message.params.hmac_params.tag_size = 32
        name = "AesCtrHmacStreamingKey"
    else:
        message = gcm_hkdf.AesGcmHkdfStreamingKey(key_value=key)
        name = "AesGcmHkdfStreamingKey"
    message.params.ciphertext_segment_size = segment_size
    message.params.derived_key_size = 32
    message.params.hkdf_hash_type = SHA256
    keyset = tink_pb2.Keyset(primary_key_id=1)
    entry = keyset.key.add(key_id=1, status=tink_pb2.ENABLED, output_prefix_type=tink_pb2.RAW)
    entry.key_data.type_url = TYPE_URL + name
    entry.key_data.value = message.SerializeToString()
    entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    return cleartext_keyset_handle.from_keyset(keyset).primitive(streaming_aead.StreamingAead)


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def wrap(key, salt, file_id, file_key):
    return xor(file_key, hkdf(key, salt, b"azs/v1/wrap" + file_id, 32))


def key_id(key):
    return hkdf(key, b"", b"azs/v1/key-id", 16)


def fields(text):
    """Type and value of each field of the header."""
    while text:
        kind, length = struct.unpack(">BH", text[:3])
        yield kind, text[3 : 3 + length]
        text = text[3 + length :]


def open_sealed(sealed, key):
    """The plaintext of a sealed file, its header checked on the way."""
    magic, version, suite, flags, seg_log2, plain_len, file_id, header_len = struct.unpack(">8sBBBBQ16sI", sealed[:40])
    if (magic, version) != (MAGIC, 1):
        raise ValueError("not sealed")
    header, mac = sealed[: header_len - 32], sealed[header_len - 32 : header_len]
    slots = [value for kind, value in fields(header[40:]) if kind == 1 and value[:16] == key_id(key)]
    if not slots:
        raise ValueError("no slot")
    file_key = wrap(key, slots[0][16:32], file_id, slots[0][32:])
    if mac != hmac.new(hkdf(file_key, b"", b"azs/v1/header", 32), header, hashlib.sha256).digest():
        raise ValueError("header MAC")
    stream_key = hkdf(file_key, b"", b"azs/v1/stream", 32)
    source = io.BytesIO(sealed[header_len:])
    with primitive(suite, stream_key, 1 << seg_log2).new_decrypting_stream(source, sealed[:36]) as stream:
        plain = stream.read()
    if flags & 1 and plain_len != len(plain):
        raise ValueError("declared length")
    return plain


class Keep(io.BytesIO):
    """Keeps its bytes when the stream over it is closed."""

    def close(self):
        self.kept = self.getvalue()
        super().close()


def seal(plain, case, chance):
    """A sealed file of `plain` as `case` asks for it."""
    suite, seg_log2, key = case["suite"], case["seg_log2"], bytes.fromhex(case["key"])
    file_key, file_id = chance.randbytes(32), chance.randbytes(16)
    flags, length = (1, len(plain)) if case["known_length"] else (0, 2**64 - 1)
    others = [chance.randbytes(32) for _ in range(case["other_slots"])]
    text = b""
    for holder in others + [key]:
        salt = chance.randbytes(16)
        slot = key_id(holder) + salt + wrap(holder, salt, file_id, file_key)
        text += struct.pack(">BH", 1, len(slot)) + slot
    if case["comment"]:
        text += struct.pack(">BH", 0x80, len(case["comment"])) + case["comment"].encode()
    header_len = 40 + len(text) + 32
    fixed = struct.pack(">8sBBBBQ16sI", MAGIC, 1, suite, flags, seg_log2, length, file_id, header_len)
    header = fixed + text
    mac = hmac.new(hkdf(file_key, b"", b"azs/v1/header", 32), header, hashlib.sha256).digest()
    sink = Keep()
    stream_key = hkdf(file_key, b"", b"azs/v1/stream", 32)
    with primitive(suite, stream_key, 1 << seg_log2).new_encrypting_stream(sink, fixed[:36]) as stream:
        stream.write(plain)
    return header + mac + sink.kept


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    verb, manifest = sys.argv[1:]
    streaming_aead.register()
    chance, done = random.Random(4), 0
    for case in json.loads(read(manifest)):
        plain = read(case["plain"])
        if verb == "seal":
            with open(case["sealed"], "wb") as file:
                file.write(seal(plain, case, chance))
            done += 1
            continue
        try:
            same = open_sealed(read(case["sealed"]), bytes.fromhex(case["key"])) == plain
        except Exception as error:  # whatever Tink raises, the case has failed
            print(f"{case['name']}: {error}")
            continue
        if same:
            done += 1
        else:
            print(f"{case['name']}: other bytes")
    print(f"ok {done}")


if __name__ == "__main__":
    main()
