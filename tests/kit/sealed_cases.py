"""Sealed files, each with one defect (and some with none)."""

import base64
import gzip
import hashlib
import io
import tarfile
from dataclasses import replace

from cases import case
from sealed import CTR_HMAC, GCM, KEY, MAGIC, NAMES, OTHER, Device, Sealed, key_line, made_up, tlv, wrapped, xor

SUITES = (CTR_HMAC, GCM)


def plain(length):
    return made_up("plaintext", length)


def flip(data, at, bit=0):
    """`data` with one bit of byte `at` flipped; `at` may count from the end."""
    data = bytearray(data)
    data[at] ^= 1 << bit
    return bytes(data)


def put(data, at, other):
    return data[:at] + other + data[at + len(other) :]


def three(suite, **how):
    """A file of three segments, the last one short."""
    first = Sealed(b"", suite=suite)
    return Sealed(plain(first.capacity(0) + first.capacity(1) + 100), suite=suite, **how)


def first_segments(sealed, count):
    """The plaintext of the first `count` segments."""
    return b"".join(sealed.cut()[:count])


def good():
    for suite in SUITES:
        name = NAMES[suite]
        one = Sealed(b"", suite=suite)
        full = one.capacity(0)
        for about, length in [("empty", 0), ("one-byte", 1), ("full-segment", full), ("one-over", full + 1)]:
            text = plain(length)
            case(f"good-{name}-{about}", Sealed(text, suite=suite).file(), released=text)
        text = plain(full + one.capacity(1) + 100)
        case(f"good-{name}-three-segments", three(suite).file(), released=text)
        case(f"good-{name}-length-unknown", three(suite, known=False).file(), released=text)
        case(f"good-{name}-segments-of-16-mib", Sealed(plain(99), suite=suite, seg_log2=24).file(), released=plain(99))
    text = plain(50)
    file = Sealed(text)
    others = [file.slot(made_up(f"key {i}", 32), f"slot {i}") for i in range(20)]
    case("good-last-of-many-slots", replace(file, slots=[*others, file.slot()]).file(), released=text)
    broken = tlv(1, flip(wrapped(KEY, file.file_key, file.file_id, "first"), 63))
    case("good-second-slot-of-the-same-key", replace(file, slots=[broken, file.slot()]).file(), released=text)
    fields = [tlv(3, b"text/plain"), tlv(4, b"models/a"), tlv(5, bytes(7) + b"\7"), tlv(6, b"[]"), tlv(0x80, "é".encode())]
    case("good-every-field", replace(file, fields=b"".join(fields)).file(), released=text)
    case("good-unknown-optional-field", replace(file, fields=tlv(0x91, b"later")).file(), released=text)
    case("good-empty-optional-field", replace(file, fields=tlv(0xFF, b"")).file(), released=text)
    device = Device()
    case("good-device-slot-beside-key-slot", replace(file, slots=[file.slot(), device.slot(file)]).file(), released=text)
    room = tlv(0xF0, bytes(65536 - 40 - 32 - 67 - 3))
    case("good-longest-header", replace(file, fields=room).file(), released=text)


def not_sealed():
    file = Sealed(plain(50)).file()
    for at in range(8):
        case(f"magic-byte-{at}", flip(file, at), "not_sealed")
    case("magic-alone-flipped-case", put(file, 1, b"azs"), "not_sealed")
    case("text-mode-crlf-to-lf", file.replace(b"\r\n", b"\n", 1), "not_sealed")
    case("text-mode-lf-to-crlf", MAGIC.replace(b"\n", b"\r\n") + file[8:], "not_sealed")
    case("text-mode-seven-bits", bytes(byte & 0x7F for byte in file), "not_sealed")
    case("text-mode-latin-1-to-utf-8", file.decode("latin-1").encode(), "not_sealed")
    case("text-mode-cut-at-control-z", file[:6], "truncated")
    case("armour-base64", base64.encodebytes(file), "not_sealed")
    case("armour-hexadecimal", file.hex().encode(), "not_sealed")
    case("armour-pem", b"-----BEGIN AZS-----\n" + base64.encodebytes(file) + b"-----END AZS-----\n", "not_sealed")
    case("armour-age", b"-----BEGIN AGE ENCRYPTED FILE-----\n" + base64.encodebytes(file), "not_sealed")
    case("bytes-before-newline", b"\n" + file, "not_sealed")
    case("bytes-before-zero", b"\0" + file, "not_sealed")
    case("bytes-before-byte-order-mark", b"\xef\xbb\xbf" + file, "not_sealed")
    case("bytes-before-receipt", b'{"parts":1,"small":{"size":1}}\n' + file, "not_sealed")
    case("first-byte-missing", file[1:], "not_sealed")
    case("header-missing", file[len(Sealed(plain(50)).header()) :], "not_sealed")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"[]"))
    kinds = {
        "empty": b"",
        "one-zero": b"\0",
        "zeros": bytes(600),
        "tar": out.getvalue()[:2048],
        "gzip-of-sealed": gzip.compress(file, mtime=0),
        "zstd": bytes.fromhex("28b52ffd") + bytes(40),
        "xz": b"\xfd7zXZ\0" + bytes(40),
        "bzip2": b"BZh91AY&SY" + bytes(40),
        "zip": b"PK\3\4" + bytes(60),
        "age": b"age-encryption.org/v1\n-> X25519 " + b"A" * 43 + b"\n--- " + b"A" * 43 + b"\n" + bytes(64),
        "openpgp": bytes.fromhex("85020c03") + bytes(60),
        "openssl-enc": b"Salted__" + bytes(64),
        "html": b"<!DOCTYPE html><title>404 Not Found</title>",
        "json": b'{"error":"not found"}',
        "key-line": key_line(KEY).encode() + b"\n",
        "noise": made_up("noise", 3000),
        "plain-layout": made_up("iv", 16) + made_up("archive", 400),
    }
    for name, body in kinds.items():
        pipe = "no_input" if name == "empty" else None
        case(f"input-{name}", body, "not_sealed", pipe=pipe)


def fixed_part():
    """Fields of the fixed part that no writer makes, under a MAC that is right for them."""
    file = Sealed(plain(50))
    for version in (0, 2, 0x31, 255):
        case(f"version-{version}", replace(file, version=version).file(), "unsupported")
    raw = file.file()
    for suite in (0, 3, 9, 255):
        case(f"suite-{suite}", put(raw, 9, bytes([suite])), "unsupported")
    for flags in (2, 3, 0x80, 0xFF):
        case(f"flags-{flags:#04x}", replace(file, flags=flags).file(), "unsupported")
    case("flags-length-without-its-flag", replace(file, flags=0, declared=50).file(), "unsupported")
    case("flags-length-zero-without-its-flag", replace(file, flags=0, declared=0).file(), "unsupported")
    for log in (0, 11, 25, 32, 64, 255):
        case(f"segment-length-2-to-{log}", put(raw, 11, bytes([log])), "unsupported")
    for length in (0, 39, 71, 65537, 2**31, 2**32 - 1):
        case(f"header-length-{length}", put(raw, 36, length.to_bytes(4, "big")), "unsupported")
    real = len(file.header())
    case("header-length-72-without-slots", replace(file, slots=[]).file(), "wrong_key")
    case("header-length-one-less", put(raw, 36, (real - 1).to_bytes(4, "big")), "wrong_key")
    case("header-length-one-more", put(raw, 36, (real + 1).to_bytes(4, "big")), "header_tampered")
    case("header-length-without-the-slot", put(raw, 36, (72).to_bytes(4, "big")), "wrong_key")
    case("header-length-beyond-the-file", put(raw, 36, (60000).to_bytes(4, "big")), "truncated")
    for suite in SUITES:
        name, all_three = NAMES[suite], three(suite)
        size = len(all_three.plain)
        lies = {"one-more": size + 1, "one-less": size - 1, "zero": 0, "most": 2**64 - 1, "half-of-most": 2**63}
        for lie, declared in lies.items():
            released = first_segments(all_three, 2)
            body = replace(all_three, declared=declared).file()
            case(f"length-{name}-{lie}", body, "length_mismatch", released=released)
        case(f"length-{name}-changed-later", flip(all_three.file(), 19), "header_tampered")
        other = SUITES[1 - SUITES.index(suite)]
        changed = Sealed(plain(50), suite=suite, known=False)
        swap = {"suite": replace(changed, suite=other), "segment-length": replace(changed, seg_log2=13),
                "length-added": replace(changed, known=True)}
        for what, lying in swap.items():
            case(f"bound-{name}-{what}", lying.file(pieces=changed.pieces()), "corrupt")
        stranger = Sealed(plain(50), suite=suite, label="stranger")
        case(f"bound-{name}-stream-of-another-file", changed.header() + stranger.file(header=b""), "corrupt")
        stranger.file_key = changed.file_key
        case(f"bound-{name}-stream-of-another-file-id", changed.header() + stranger.file(header=b""), "corrupt")


def slots():
    file = Sealed(plain(50))
    raw, at = file.file(), 43
    case("slot-for-another-key", replace(file, slots=[file.slot(OTHER)]).file(), "wrong_key")
    case("slot-missing", replace(file, slots=[], fields=tlv(3, b"x")).file(), "wrong_key")
    for what, offset, code in [("key-id-first", 0, "wrong_key"), ("key-id-last", 15, "wrong_key"),
                               ("salt-first", 16, "header_tampered"), ("salt-last", 31, "header_tampered"),
                               ("wrapped-key-first", 32, "header_tampered"),
                               ("wrapped-key-last", 63, "header_tampered")]:
        case(f"slot-{what}-bit", flip(raw, at + offset), code)
    value = wrapped(KEY, file.file_key, file.file_id)
    for length in (0, 63, 65):
        lone = tlv(1, (value + b"\0")[:length])
        case(f"slot-of-{length}-bytes", replace(file, slots=[lone]).file(), "wrong_key")
        case(f"slot-of-{length}-bytes-beside-a-good-one", replace(file, slots=[file.slot(), lone]).file(), "unsupported")
    elsewhere = tlv(1, wrapped(KEY, file.file_key, made_up("other file id", 16)))
    case("slot-wrapped-for-another-file", replace(file, slots=[elsewhere]).file(), "header_tampered")
    case("slot-wraps-another-file-key", replace(file, slots=[tlv(1, wrapped(KEY, OTHER, file.file_id))]).file(),
         "header_tampered")
    forged = tlv(1, value[:32] + xor(value[32:], b"\1" * 32))
    case("slot-a-thousand-forgeries", replace(file, slots=[forged] * 900).file(), "header_tampered")
    device = Device()
    good = device.slot(file)
    for what, where, byte in [("kdf-0", 64, 0), ("kdf-2", 64, 2), ("kind-0", 90, 0), ("kind-4", 90, 4),
                              ("flags-2", 91, 2)]:
        bad = put(good, 3 + where, bytes([byte]))
        case(f"device-slot-{what}", replace(file, slots=[file.slot(), bad]).file(), "unsupported")
    for length in (0, 64, 91, 93):
        bad = tlv(2, (good[3:] + b"\0")[:length])
        case(f"device-slot-of-{length}-bytes", replace(file, slots=[file.slot(), bad]).file(), "unsupported")
    case("device-slot-before-key-slot", replace(file, slots=[good, file.slot()]).file(), "unsupported")
    case("device-slot-alone", replace(file, slots=[good]).file(), "wrong_key")
    case("key-another", raw, "wrong_key", key=OTHER)


def fields():
    file = Sealed(plain(50))

    def with_fields(name, data, code="unsupported"):
        case(f"field-{name}", replace(file, fields=data).file(), code)

    with_fields("type-0", tlv(0, b""))
    for kind in (8, 0x40, 0x7F):
        with_fields(f"unknown-{kind:#04x}", tlv(kind, b"x"))
    for kind in (3, 4, 6, 0x80, 0x81):
        with_fields(f"twice-{kind:#04x}", tlv(kind, b"x") * 2)
    with_fields("twice-0x05", tlv(5, bytes(8)) * 2)
    with_fields("descending", tlv(4, b"a/b") + tlv(3, b"x"))
    with_fields("slot-after-name", tlv(4, b"a/b") + file.slot(OTHER))
    for length in (0, 7, 9):
        with_fields(f"release-of-{length}-bytes", tlv(5, bytes(length)))
    for kind in (3, 4, 6, 0x80):
        with_fields(f"not-utf-8-{kind:#04x}", tlv(kind, b"\xff\xfe"))
    with_fields("length-one-beyond-the-header", tlv(3, b"x", length=2), "header_tampered")
    with_fields("length-65535", tlv(3, b"x", length=65535), "header_tampered")
    with_fields("type-alone", b"\3", "header_tampered")
    with_fields("type-and-half-a-length", b"\3\0", "header_tampered")
    spare = replace(file, fields=tlv(0xF0, bytes(268)))
    header = len(spare.header())
    case("field-spare-room-bit", flip(spare.file(), header - 40), "header_tampered")
    case("field-spare-room-type", put(spare.file(), 40 + 67, b"\xf1"), "header_tampered")


def header_mac():
    file = Sealed(plain(50))
    raw, end = file.file(), len(file.header())
    case("header-mac-first-bit", flip(raw, end - 32), "header_tampered")
    case("header-mac-last-bit", flip(raw, end - 1, 7), "header_tampered")
    case("header-mac-zeros", replace(file, mac=bytes(32)).file(), "header_tampered")
    case("header-mac-sha-256-without-key", replace(file, mac=hashlib.sha256(file.header()[:-32]).digest()).file(),
         "header_tampered")
    case("header-mac-of-another-file", replace(file, mac=Sealed(plain(50), label="b").header()[-32:]).file(),
         "header_tampered")
    case("header-mac-cut-to-16", replace(file, mac=file.header()[-32:-16] + bytes(16)).file(), "header_tampered")
    for what, at in [("file-id-first", 20), ("file-id-last", 35)]:
        case(f"header-{what}-bit", flip(raw, at), "header_tampered")


def stream_header():
    for suite in SUITES:
        name, file = NAMES[suite], Sealed(plain(50), suite=suite)
        raw, start = file.file(), len(file.header())
        for length in (0, 39, 41, 255):
            case(f"stream-{name}-header-length-{length}", replace(file, stream_len=length).file(), "corrupt")
        for what, offset in [("salt-first", 1), ("salt-last", 32), ("prefix-first", 33), ("prefix-last", 39)]:
            case(f"stream-{name}-{what}-bit", flip(raw, start + offset), "corrupt")


def segments():
    for suite in SUITES:
        name, file, unknown = NAMES[suite], three(suite), three(suite, known=False)
        raw, start = file.file(), len(file.header())
        second, third, end = start + 4096, start + 8192, len(raw)
        tag = file.tag
        places = [("0-first", start + 40, 0), ("0-last", second - tag - 1, 0), ("0-tag-first", second - tag, 0),
                  ("0-tag-last", second - 1, 0), ("1-first", second, 1), ("1-tag-last", third - 1, 1),
                  ("2-first", third, 2), ("2-tag-first", end - tag, 2), ("2-tag-last", end - 1, 2)]
        for what, at, whole in places:
            case(f"segment-{name}-{what}-bit", flip(raw, at), "corrupt", released=first_segments(file, whole))
        zeroed = raw[: end - tag] + bytes(tag)
        case(f"segment-{name}-2-tag-zeros", zeroed, "corrupt", released=first_segments(file, 2))
        pieces, cut = unknown.pieces(), unknown.cut()

        def stream(what, parts, whole, code="corrupt"):
            case(f"order-{name}-{what}", unknown.file(pieces=parts), code, released=first_segments(unknown, whole))

        stream("1-and-2-swapped", [pieces[0], pieces[2], pieces[1]], 1)
        stream("1-dropped", [pieces[0], pieces[2]], 1)
        stream("1-twice", [pieces[0], pieces[1], pieces[1], pieces[2]], 2)
        stream("last-twice", [*pieces, pieces[2]], 2)
        stream("last-dropped", pieces[:2], 1, "truncated")
        stream("0-alone", pieces[:1], 0, "truncated")
        stream("0-dropped", pieces[1:], 0)
        stream("0-twice", [pieces[0], *pieces], 1)

        def written(what, parts, whole, code="corrupt", **how):
            broken = replace(unknown, segments=parts, **how)
            case(f"written-{name}-{what}", broken.file(), code, released=first_segments(unknown, whole))

        written("without-a-last-segment", [(0, 0, cut[0]), (1, 0, cut[1]), (2, 0, cut[2])], 2)
        written("last-flag-in-the-middle", [(0, 0, cut[0]), (1, 1, cut[1]), (2, 1, cut[2])], 1)
        written("last-flag-2", [(0, 0, cut[0]), (1, 0, cut[1]), (2, 2, cut[2])], 2)
        written("numbered-from-1", [(1, 0, cut[0]), (2, 0, cut[1]), (3, 1, cut[2])], 0)
        written("number-left-out", [(0, 0, cut[0]), (2, 0, cut[1]), (3, 1, cut[2])], 1)
        written("number-again", [(0, 0, cut[0]), (1, 0, cut[1]), (1, 1, cut[2])], 2)
        written("with-another-prefix", [(0, 0, cut[0]), (1, 0, cut[1], bytes(7)), (2, 1, cut[2])], 1)
        written("empty-last-segment", [(0, 0, cut[0]), (1, 0, cut[1]), (2, 1, b"")], 2)
        written("short-first-segment", [(0, 0, cut[0][:-1]), (1, 1, cut[1])], 0)
        written("short-middle-segment", [(0, 0, cut[0]), (1, 0, cut[1][:-1]), (2, 1, cut[2])], 1)
        written("all-by-itself-last", [(0, 1, cut[0]), (1, 1, cut[1]), (2, 1, cut[2])], 0)
        written("bound-to-nothing", None, 0, bound=b"")
        if suite == GCM:
            written("with-associated-data", None, 0, associated=b"x")
            short = [piece[:-4] for piece in Sealed(plain(50)).pieces()]
            case("written-gcm-tag-of-12-bytes", Sealed(plain(50), known=False).file(pieces=short), "corrupt")
        else:
            written("nonce-not-in-the-mac", None, 0, nonce_in_mac=False)
            small = Sealed(plain(50), suite=suite, known=False)
            case("written-ctr-hmac-tag-of-16-bytes", small.file(pieces=[small.pieces()[0][:-16]]), "corrupt")


def cuts():
    raw = Sealed(plain(50)).file()
    places = {"inside-the-magic": 4, "after-the-magic": 8, "after-the-version": 9, "after-the-suite": 10,
              "after-the-flags": 11, "after-the-segment-length": 12, "after-the-plaintext-length": 20,
              "after-the-file-id": 36, "inside-the-header-length": 38, "after-the-fixed-part": 40,
              "after-a-field-type": 41, "after-a-field-length": 43, "after-the-key-id": 59, "after-the-slot-salt": 75,
              "after-the-slot": 107, "inside-the-header-mac": 120, "one-before-the-end-of-the-header": 138}
    for what, at in places.items():
        case(f"cut-{what}", raw[:at], "truncated")
    for suite in SUITES:
        for known in (True, False):
            file = three(suite, known=known)
            name = f"{NAMES[suite]}-{'known' if known else 'unknown'}"
            raw, start, tag = file.file(), len(file.header()), file.tag
            second, third = start + 4096, start + 8192
            code = "truncated" if known else "corrupt"
            places = [("after-the-header", start, 0, "truncated"), ("after-the-stream-header", start + 40, 0, "truncated"),
                      ("inside-segment-0", start + 2000, 0, code), ("after-segment-0", second, 0, "truncated"),
                      ("inside-the-tag-of-segment-1", second + tag - 1, 1, "truncated"),
                      ("inside-segment-1", second + 3000, 1, code), ("after-segment-1", third, 1, "truncated"),
                      ("after-a-byte-of-segment-2", third + 1, 2, "truncated"),
                      ("one-before-the-end", len(raw) - 1, 2, code)]
            for what, at, whole, expect in places:
                case(f"cut-{name}-{what}", raw[:at], expect, released=first_segments(file, whole))
        small = Sealed(plain(50), suite=suite)
        raw, start, name = small.file(), len(small.header()), NAMES[suite]
        for what, at in [("stream-header-length", 1), ("salt", 33), ("inside-the-prefix", 39)]:
            case(f"cut-{name}-after-the-{what}", raw[: start + at], "truncated")
        case(f"cut-{name}-tag-alone", small.file(pieces=[small.pieces()[0][50:]]), "truncated")


def trailing():
    for suite in SUITES:
        for known in (True, False):
            file = Sealed(plain(50), suite=suite, known=known)
            name = f"{NAMES[suite]}-{'known' if known else 'unknown'}"
            code = "trailing" if known else "corrupt"
            raw = file.file()
            case(f"trailing-{name}-zero", raw + b"\0", code)
            case(f"trailing-{name}-newline", raw + b"\n", code)
            case(f"trailing-{name}-tag", raw + raw[-file.tag :], code)
            case(f"trailing-{name}-whole-file", raw + raw, code)
            case(f"trailing-{name}-zeros-past-a-segment", raw + bytes(4096), code)
            full = Sealed(plain(file.capacity(0)), suite=suite, known=known)
            case(f"trailing-{name}-byte-after-a-full-segment", full.file() + b"\0", code)


def plain_layout():
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    iv, text = made_up("iv", 16), plain(300)
    cipher = Cipher(algorithms.AES256(KEY), modes.CTR(iv)).encryptor()
    body = iv + cipher.update(text) + cipher.finalize()
    promise = f"--plain-ctr --sha256 {hashlib.sha256(body).hexdigest()}"
    case("plain-layout-right-digest", body, released=text, options=promise, pipe="usage")
    case("plain-layout-flipped-bit", flip(body, 100), "digest_mismatch", options=promise, pipe="usage")
    case("plain-layout-cut", body[:-1], "digest_mismatch", options=promise, pipe="usage")
    case("plain-layout-shorter-than-its-iv", body[:15], "truncated", options="--plain-ctr")


def add():
    for group in (good, not_sealed, fixed_part, slots, fields, header_mac, stream_header, segments, cuts, trailing,
                  plain_layout):
        group()
