"""Signed content, and what a policy of publishers refuses."""

import base64
import hashlib
import struct
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cases import case
from packed import PIECE, Packed, tlv
from sealed import Sealed, made_up
from sealed import tlv as header_field

ENCODING = header_field(7, b"zstd")
CONTENT = made_up("signed content", PIECE + 700)
DOMAIN = b"azs/v1/release"
ALICE, BOB, CAROL = (Ed25519PrivateKey.from_private_bytes(made_up(name, 32)) for name in ("alice", "bob", "carol"))


def public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def publisher(key):
    """The public key as SubjectPublicKeyInfo, in base64."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def description(name=b"models/a", release=7, field=tlv):
    number = b"" if release is None else field(5, struct.pack(">Q", release))
    return field(4, name) + number


def signature(packed, key, message=None, of=None):
    """The field with the signature of `packed` by `key`; `of` is the key that it names."""
    message = DOMAIN + hashlib.sha256(packed.statement_bytes()).digest() if message is None else message
    return tlv(1, public(of or key) + key.sign(message))


def sealed(packed, header):
    return Sealed(packed.bytes(), known=False, fields=header + ENCODING).file()


def add_case(name, packed, expect="success", keys=(ALICE,), options="", header=None, pipe=None, piped=CONTENT):
    header = description(field=header_field) if header is None else header
    good = expect == "success"
    case(f"signed-{name}", sealed(packed, header), expect, CONTENT if good else b"", kind="packed", options=options,
         through_pipe=piped, pipe=pipe, publisher=[publisher(key) for key in keys])


def add():
    plain = Packed(CONTENT, fields=description())

    def signed(*keys, packed=plain):
        return replace(packed, signatures=b"".join(signature(packed, key) for key in keys))

    one = signed(ALICE)
    add_case("good", one)
    add_case("good-two-publishers", signed(ALICE, BOB), keys=(BOB, ALICE), options="--require-signatures 2")
    add_case("good-one-of-two-known", signed(CAROL, ALICE))
    add_case("good-not-configured", signed(BOB), keys=())
    add_case("good-sixteen", replace(plain, signatures=signature(plain, ALICE) + b"".join(
        signature(plain, Ed25519PrivateKey.from_private_bytes(made_up(f"signer {i}", 32))) for i in range(15))))
    add_case("good-name-and-release", one, options="--expect-name models/a --min-release 7")
    add_case("unsigned-allowed", plain, options="--allow-unsigned")

    add_case("unsigned", plain, "unsigned")
    case("signed-raw", Sealed(CONTENT, fields=b"").file(), "unsigned", b"", publisher=publisher(ALICE))
    add_case("by-another", signed(BOB), "signer_unknown")
    add_case("by-another-although-unsigned-is-allowed", signed(BOB), "signer_unknown", options="--allow-unsigned")
    add_case("by-one-of-two-required", signed(ALICE, CAROL), "signatures_missing", keys=(ALICE, BOB), options="--require-signatures 2")
    add_case("another-name", one, "name_mismatch", options="--expect-name models/b", piped=b"")
    add_case("release-too-old", one, "release_too_old", options="--min-release 8", piped=b"")
    unnumbered = Packed(CONTENT, fields=description(release=None))
    add_case("release-missing", signed(ALICE, packed=unnumbered), "release_too_old", options="--min-release 1", piped=b"",
             header=description(release=None, field=header_field))

    invalid = "signature_invalid"
    number = replace(plain, fields=description(release=8))
    add_case("then-another-release-number", replace(number, signatures=one.signatures), invalid,
             header=description(release=8, field=header_field))
    other = replace(plain, fields=description(name=b"models/b"))
    add_case("then-another-name", replace(other, signatures=one.signatures), invalid,
             header=description(name=b"models/b", field=header_field))
    changed = Packed(CONTENT[:-1] + b"x", fields=description())
    case("signed-then-other-content", sealed(replace(changed, signatures=one.signatures), description(field=header_field)),
         invalid, b"", kind="packed", through_pipe=changed.content, publisher=publisher(ALICE))
    # Pieces of an older release, under the statement and the signature of a newer one.
    older = Packed(CONTENT[:PIECE] + made_up("older", 700))
    case("signed-then-a-piece-of-another-release",
         sealed(replace(one, frames=older.all_frames()), description(field=header_field)), "statement_mismatch",
         CONTENT[:PIECE], kind="packed", through_pipe=older.content, publisher=publisher(ALICE))
    optional = replace(plain, more=tlv(0x91, b"later"))
    add_case("then-another-field", replace(optional, signatures=one.signatures), invalid)
    flipped = one.signatures[:-1] + bytes([one.signatures[-1] ^ 1])
    add_case("flipped-bit", replace(plain, signatures=flipped), invalid)
    add_case("by-a-thief-in-the-name-of-the-publisher", replace(plain, signatures=signature(plain, CAROL, of=ALICE)), invalid)
    digest = hashlib.sha256(plain.statement_bytes()).digest()
    add_case("without-domain", replace(plain, signatures=signature(plain, ALICE, digest)), invalid)
    add_case("statement-instead-of-its-digest", replace(plain, signatures=signature(plain, ALICE, DOMAIN + plain.statement_bytes())), invalid)
    add_case("good-beside-an-invalid-one", replace(plain, signatures=one.signatures + signature(plain, CAROL, of=BOB)), invalid)
    add_case("zeros", replace(plain, signatures=tlv(1, public(ALICE) + bytes(64))), invalid)
    # The neutral element as a key accepts one signature for every message, so only its owner could configure it.
    weak = bytes([1]) + bytes(31)
    add_case("by-a-weak-key", replace(plain, signatures=tlv(1, weak + weak + bytes(32))), "signer_unknown")

    malformed = "statement_invalid"

    def broken(name, signatures):
        case(f"signed-{name}", sealed(replace(plain, signatures=signatures), description(field=header_field)), malformed, b"",
             kind="packed", through_pipe=CONTENT, publisher=publisher(ALICE))

    broken("twice-by-one-key", one.signatures * 2)
    broken("by-seventeen", b"".join(tlv(1, bytes([i]) * 96) for i in range(17)))
    broken("short-signature", tlv(1, bytes(95)))
    broken("long-signature", tlv(1, bytes(97)))

    case("signed-header-of-another-release", sealed(one, description(release=8, field=header_field)), "statement_mismatch", b"",
         kind="packed", through_pipe=CONTENT, publisher=publisher(ALICE))
