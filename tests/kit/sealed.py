"""Writes the sealed format, its keys and fragments, with every rule open to be broken.

It follows the description of the format and shares nothing with the Rust code. All
that should be random follows from a label, so that the same files come out each time.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

MAGIC = bytes.fromhex("89415a530d0a1a0a")
CTR_HMAC, GCM = 1, 2
TAG = {CTR_HMAC: 32, GCM: 16}
NAMES = {CTR_HMAC: "ctr-hmac", GCM: "gcm"}


def made_up(label, length):
    """`length` bytes that follow from `label`."""
    return hashlib.shake_256(f"az-kit {label}".encode()).digest(length)


def hkdf(key, salt, info, length):
    """HKDF-SHA-256 (RFC 5869); an empty salt is 32 zero bytes."""
    secret = hmac.digest(salt or bytes(32), key, "sha256")
    block, out = b"", b""
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:length]


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))


def key_id(key):
    return hkdf(key, b"", b"azs/v1/key-id", 16)


def tlv(kind, value, length=None):
    """A field; `length` may lie."""
    return struct.pack(">BH", kind, len(value) if length is None else length) + value


def wrapped(key, file_key, file_id, label="slot"):
    """The 64 bytes of a key slot."""
    salt = made_up(label, 16)
    return key_id(key) + salt + xor(file_key, hkdf(key, salt, b"azs/v1/wrap" + file_id, 32))


@dataclass
class Sealed:
    """A sealed file in the making. What is None follows from the rest."""

    plain: bytes
    suite: int = GCM
    label: str = "file"
    version: int = 1
    flags: int | None = None
    seg_log2: int = 12
    known: bool = True
    declared: int | None = None
    header_len: int | None = None
    # fields in front of and behind the slots, and the slots themselves
    slots: list | None = None
    fields: bytes = b""
    mac: bytes | None = None
    # the stream is bound to these bytes instead of the header's first 36
    bound: bytes | None = None
    stream_len: int = 40
    # (number in the nonce, last flag, plaintext) of each segment
    segments: list | None = None
    associated: bytes | None = None
    nonce_in_mac: bool = True
    key: bytes = field(default_factory=lambda: KEY)

    def __post_init__(self):
        self.file_key = made_up(f"{self.label} file key", 32)
        self.file_id = made_up(f"{self.label} file id", 16)
        self.salt = made_up(f"{self.label} salt", 32)
        self.prefix = made_up(f"{self.label} prefix", 7)

    # sizes

    @property
    def segment(self):
        return 1 << self.seg_log2

    @property
    def tag(self):
        return TAG[self.suite]

    def capacity(self, index):
        return self.segment - self.tag - (40 if index == 0 else 0)

    def cut(self):
        """The plaintext of each segment."""
        pieces, rest = [self.plain[: self.capacity(0)]], self.plain[self.capacity(0) :]
        while rest:
            pieces.append(rest[: self.capacity(1)])
            rest = rest[self.capacity(1) :]
        return pieces

    # bytes

    def slot(self, key=None, label="slot"):
        return tlv(1, wrapped(key or self.key, self.file_key, self.file_id, label))

    def fixed(self):
        known = self.known if self.flags is None else self.flags & 1
        declared = len(self.plain) if self.declared is None else self.declared
        if not known and self.declared is None:
            declared = 2**64 - 1
        flags = int(self.known) if self.flags is None else self.flags
        return MAGIC + struct.pack(">BBBBQ", self.version, self.suite, flags, self.seg_log2, declared) + self.file_id

    def header(self):
        slots = [self.slot()] if self.slots is None else self.slots
        fields = b"".join(slots) + self.fields
        length = 40 + len(fields) + 32 if self.header_len is None else self.header_len
        text = self.fixed() + struct.pack(">I", length) + fields
        mac = hmac.digest(hkdf(self.file_key, b"", b"azs/v1/header", 32), text, "sha256")
        return text + (mac if self.mac is None else self.mac)

    def stream_key(self):
        return hkdf(self.file_key, b"", b"azs/v1/stream", 32)

    def stream_header(self):
        return bytes([self.stream_len]) + self.salt + self.prefix

    def seal_segment(self, index, last, text, prefix=None):
        bound = self.fixed()[:36] if self.bound is None else self.bound
        nonce = (prefix or self.prefix) + struct.pack(">IB", index, last)
        if self.suite == CTR_HMAC:
            keys = hkdf(self.stream_key(), self.salt, bound, 64)
            block = nonce + bytes(4)
            cipher = Cipher(algorithms.AES256(keys[:32]), modes.CTR(block)).encryptor()
            out = cipher.update(text) + cipher.finalize()
            return out + hmac.digest(keys[32:], (block if self.nonce_in_mac else b"") + out, "sha256")
        key = hkdf(self.stream_key(), self.salt, bound, 32)
        return AESGCM(key).encrypt(nonce, text, self.associated)

    def pieces(self):
        """The sealed segments."""
        segments = self.segments
        if segments is None:
            cut = self.cut()
            segments = [(i, int(i == len(cut) - 1), text) for i, text in enumerate(cut)]
        return [self.seal_segment(*segment) for segment in segments]

    def file(self, header=None, stream_header=None, pieces=None):
        head = self.header() if header is None else header
        stream = self.stream_header() if stream_header is None else stream_header
        return head + stream + b"".join(self.pieces() if pieces is None else pieces)


# Sealed to a user and a device.


@dataclass
class Device:
    """A device slot in the making."""

    user: bytes = bytes.fromhex("5f0c2a9118a24bd0a1c60e4a6c9d2b11")
    password: str = "correct horse"
    hardware: bytes = bytes(range(32))
    secret: bytes = b""
    memory_kib: int = 64
    passes: int = 1
    lanes: int = 1
    kdf: int = 1
    kind: int = 3
    flags: int | None = None
    length: int = 92

    def key(self, cost=None):
        """K of the slot; `cost` stands in where the stated one could never be paid."""
        memory, passes, lanes = cost or (self.memory_kib, self.passes, self.lanes)
        text = self.password.encode()
        hashed = Argon2id(salt=made_up("password salt", 16), length=32, iterations=passes, lanes=lanes,
                          memory_cost=memory).derive(text)
        parts = b"".join(struct.pack(">H", len(part)) + part for part in (hashed, self.hardware, self.secret))
        return hkdf(parts, made_up("device slot", 16), b"azs/v1/seal\0" + bytes([self.kind, 0]) + self.user, 32)

    def slot(self, sealed, cost=None):
        wrap = wrapped(self.key(cost), sealed.file_key, sealed.file_id, "device slot")
        flags = int(bool(self.secret)) if self.flags is None else self.flags
        cost = struct.pack(">BIIB", self.kdf, self.memory_kib, self.passes, self.lanes)
        value = wrap + cost + made_up("password salt", 16) + bytes([self.kind, flags])
        return tlv(2, (value + bytes(8))[: self.length])


# Lines of text.

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32M, BECH32 = 0x2BC830A3, 1


def five_bits(data, padding=0):
    """`data` as numbers of five bits; the bits that fill up the last one are `padding`."""
    bits = "".join(f"{byte:08b}" for byte in data)
    fill = -len(bits) % 5
    bits += f"{padding:0{fill}b}" if fill else ""
    return [int(bits[i : i + 5], 2) for i in range(0, len(bits), 5)]


def checksum(hrp, numbers, constant):
    """The six numbers that BIP-350 puts behind `numbers`."""
    expanded = [ord(c) >> 5 for c in hrp] + [0] + [ord(c) & 31 for c in hrp]
    state = 1
    for number in expanded + numbers + [0] * 6:
        top, state = state >> 25, (state & 0x1FFFFFF) << 5 ^ number
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> i & 1:
                state ^= generator
    return [(state ^ constant) >> 5 * (5 - i) & 31 for i in range(6)]


def line(hrp, data, constant=BECH32M, padding=0, more=()):
    """The line for `data` in upper case."""
    numbers = five_bits(data, padding) + list(more)
    return (hrp + "1" + "".join(ALPHABET[n] for n in numbers + checksum(hrp, numbers, constant))).upper()


def key_line(key, version=1, **how):
    return line("az-secret-key-", bytes([version]) + key, **how)


def key_id_line(key):
    return line("azkey", key_id(key)).lower()


def times(left, right):
    """Product in GF(2^8) with the polynomial 0x11B."""
    out = 0
    while right:
        out ^= left if right & 1 else 0
        left = left << 1 ^ (0x11B if left & 0x80 else 0)
        right >>= 1
    return out


def shamir(key, k, n, label):
    """The shares 1..n of `key`."""
    coefficients = [key] + [made_up(f"{label} {i}", 32) for i in range(1, k)]
    shares = []
    for x in range(1, n + 1):
        share = bytes(32)
        for coefficient in reversed(coefficients):
            share = xor(bytes(times(byte, x) for byte in share), coefficient)
        shares.append(share)
    return shares


def split_xor(key, n, label):
    shares = [made_up(f"{label} {i}", 32) for i in range(1, n)]
    last = key
    for share in shares:
        last = xor(last, share)
    return shares + [last]


def fragment(share, index=1, scheme=1, k=2, n=2, version=1, set_label="set", of=None, tail=b"", cut=None, **how):
    data = bytes([version, scheme, k, n, index]) + made_up(set_label, 8) + key_id(of or KEY) + share + tail
    return line("az-frag-", data[:cut], **how)


KEY = made_up("key", 32)
OTHER = made_up("another key", 32)
