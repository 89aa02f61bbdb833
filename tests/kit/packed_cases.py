"""Sealed files with packed content, each with one defect (and some with none)."""

import struct
from dataclasses import replace

from cases import case
from packed import PIECE, STATEMENT, Packed, raw_frame, repeat_frame, skippable, tlv
from sealed import CTR_HMAC, GCM, NAMES, Sealed, made_up
from sealed import tlv as header_field

ENCODING = header_field(7, b"zstd")
CONTENT = made_up("packed content", 2 * PIECE + 1808)
FIRST = CONTENT[:PIECE]


def add_case(name, packed, expect="success", released=b"", pipe=None, piped=None, fields=ENCODING, suite=GCM):
    """Adds a case. `released` is what a reader of the file writes; `piped` is what a reader of a
    pipe writes, which sees the statement last: all of the content if it is not named."""
    body = Sealed(packed if isinstance(packed, bytes) else packed.bytes(), known=False, suite=suite, fields=fields).file()
    how = {}
    if expect != "success":
        how["through_pipe"] = CONTENT if piped is None else piped
    case(f"packed-{name}", body, expect, released, kind="packed", pipe=pipe, **how)


def good():
    for suite in (CTR_HMAC, GCM):
        for about, length in [("empty", 0), ("one-byte", 1), ("full-piece", PIECE), ("one-over", PIECE + 1), ("three-pieces", 10000)]:
            content = CONTENT[:length]
            add_case(f"good-{NAMES[suite]}-{about}", Packed(content), released=content, suite=suite)
    same = b"\5" * 5000
    frames = [(repeat_frame(5, PIECE), PIECE), (repeat_frame(5, 904), 904)]
    add_case("good-repeated-byte", Packed(same, frames=frames), released=same)
    add_case("good-pieces-of-4-mib", Packed(CONTENT, piece_len=1 << 22), released=CONTENT)
    described = b"".join(tlv(kind, value) for kind, value in [(3, b"text/plain"), (4, b"models/a"), (5, bytes(7) + b"\7"), (6, b"[]")])
    header = b"".join(header_field(kind, value) for kind, value in [(3, b"text/plain"), (4, b"models/a"), (5, bytes(7) + b"\7"), (6, b"[]")])
    add_case("good-description", Packed(CONTENT, fields=described), released=CONTENT, fields=header + ENCODING)
    length = header_field(0x81, struct.pack(">Q", len(CONTENT)))
    add_case("good-length-in-header", Packed(CONTENT), released=CONTENT, fields=ENCODING + length)
    add_case("good-unknown-optional-field", Packed(CONTENT, more=tlv(0x91, b"later")), released=CONTENT)
    add_case("good-repeated-signature", Packed(CONTENT, signatures=tlv(0x91, b"a") + tlv(0x91, b"b")), released=CONTENT)
    add_case("good-unknown-optional-signature", Packed(CONTENT, signatures=tlv(0x91, b"later")), released=CONTENT)


def header():
    whole = Packed(CONTENT)
    for encoding in [b"br", b"", b"zstd "]:
        add_case(f"encoding-{encoding.decode().strip() or 'empty'}{len(encoding)}", whole, "unsupported", piped=b"",
                 fields=header_field(7, encoding))
    for name, kind, value in [("type", 3, b"text/plain"), ("name", 4, b"models/a"), ("release", 5, bytes(7) + b"\7"), ("images", 6, b"[]")]:
        differs = "statement_mismatch"
        add_case(f"header-{name}-not-in-statement", whole, differs, fields=header_field(kind, value) + ENCODING)
        add_case(f"statement-{name}-not-in-header", replace(whole, fields=tlv(kind, value)), differs)
    add_case("header-length-differs", whole, "statement_mismatch", fields=ENCODING + header_field(0x81, struct.pack(">Q", 9)))


def stream_length():
    content = Packed(CONTENT).bytes()
    sealed = Sealed(content, known=False)
    length = 40 + len(content) + 16 * len(sealed.cut())

    def with_length(name, declared, expect="success", cut=None, **how):
        fields = ENCODING + header_field(0x82, struct.pack(">Q", declared))
        body = replace(sealed, fields=fields).file()[:cut]
        case(f"packed-stream-length-{name}", body, expect, kind="packed", **how)

    with_length("right", length, released=CONTENT)
    with_length("not-known", 0, released=CONTENT)
    with_length("and-cut", length, "truncated", cut=-100, through_pipe=FIRST)
    with_length("and-cut-at-a-segment", length, "truncated", cut=-(length % PIECE))
    with_length("less", length - 1, "trailing", through_pipe=FIRST)
    with_length("more", length + 1, "truncated", through_pipe=FIRST)


def frames():
    pieces = Packed(CONTENT).pieces()

    def second(name, frame, length=PIECE):
        packed = Packed(CONTENT, frames=[(raw_frame(pieces[0]), PIECE), (frame, length), (raw_frame(pieces[2]), 1808)])
        add_case(f"frame-{name}", packed, "frame_invalid", released=FIRST, piped=FIRST)

    good = raw_frame(pieces[1])
    second("other-magic", b"\x29" + good[1:])
    second("checksum", raw_frame(pieces[1], descriptor=0xA4))
    second("dictionary", raw_frame(pieces[1], descriptor=0xA1))
    second("reserved-bit", raw_frame(pieces[1], descriptor=0xA8))
    second("no-size", raw_frame(pieces[1], descriptor=0x00))
    second("window-of-8-mib", raw_frame(pieces[1], descriptor=0x80, extra=b"\x68"))
    second("declares-8-mib", raw_frame(pieces[1], declared=8 << 20))
    second("declares-nothing", raw_frame(pieces[1], declared=0))
    second("reserved-block", raw_frame(pieces[1], block_type=3))
    second("not-compressed-block", raw_frame(pieces[1], block_type=2))
    second("declares-more", raw_frame(pieces[1][:-1], declared=PIECE))
    second("declares-less", raw_frame(pieces[1] + b"x", declared=PIECE))
    block_too_long = good[:9] + struct.pack("<I", (128 * 1024 + 1) << 3 | 1)[:3] + good[12:]
    second("block-too-long", block_too_long)
    second("endless-blocks", good[:9] + bytes(3) * 6000 + b"\1\0\0")
    second("longer-than-a-stored-piece", good[:9] + bytes(3) * 6000 + good[9:])


def statement():
    whole = Packed(CONTENT)
    fields = whole.fields_of_content()

    def invalid(name, packed, expect="statement_invalid"):
        add_case(f"statement-{name}", packed, expect)

    def with_fields(**changed):
        changed = {int(kind[1:], 16): value for kind, value in changed.items()}
        return replace(whole, statement=b"".join(tlv(kind, value) for kind, value in {**fields, **changed}.items() if value is not None))

    for kind in fields:
        invalid(f"without-field-{kind:02x}", with_fields(**{f"x{kind:02x}": None}))
    invalid("unknown-field", replace(whole, more=tlv(0x7F, b"")), "unsupported")
    invalid("repeated-field", replace(whole, more=tlv(0x13, b"")))
    invalid("fields-not-in-order", replace(whole, statement=b"".join(tlv(kind, fields[kind]) for kind in [0x11, 0x10, 0x12, 0x13])))
    invalid("field-too-long", replace(whole, more=tlv(0x91, b"", 1)))
    invalid("text-not-utf-8", replace(whole, fields=tlv(4, b"\xff")))
    invalid("release-of-4-bytes", replace(whole, fields=tlv(5, bytes(4))))
    invalid("length-of-4-bytes", with_fields(x10=bytes(4)))
    invalid("digest-of-31-bytes", with_fields(x11=bytes(31)))
    invalid("half-a-digest", with_fields(x13=fields[0x13][:-16]))
    invalid("one-digest-less", with_fields(x13=fields[0x13][:-32]))
    invalid("one-digest-more", with_fields(x13=fields[0x13] + bytes(32)))
    invalid("length-of-2-to-the-64", with_fields(x10=b"\xff" * 8))
    for length in [0, 2048, 5000, 1 << 23]:
        invalid(f"piece-length-{length}", with_fields(x12=struct.pack(">I", length)))
    invalid("unknown-signature", replace(whole, signatures=tlv(2, bytes(96))), "unsupported")
    invalid("signatures-not-in-order", replace(whole, signatures=tlv(0x92, b"") + tlv(0x91, b"")))
    invalid("long-signatures", replace(whole, signatures=tlv(0x91, bytes(65536))))
    invalid("long-description", replace(whole, more=tlv(0x91, bytes(128 * 1024))))
    invalid("half-a-signature", replace(whole, signatures=tlv(0x91, b"", 5)))
    invalid("longer-than-its-frame", replace(whole, statement_len=1 << 31))
    invalid("shorter-than-its-fields", replace(whole, statement_len=20))
    invalid("empty", replace(whole, statement_frame=skippable(STATEMENT, b"")))


def mismatch():
    whole = Packed(CONTENT)
    digests = [whole.fields_of_content()[0x13][i : i + 32] for i in range(0, 96, 32)]
    differs = "statement_mismatch"
    add_case("digest-of-first-piece", replace(whole, piece_digests=[bytes(32), *digests[1:]]), differs)
    add_case("digest-of-last-piece", replace(whole, piece_digests=[*digests[:2], bytes(32)]), differs, released=CONTENT[: 2 * PIECE])
    body = Sealed(replace(whole, content_digest=bytes(32)).bytes(), known=False, fields=ENCODING).file()
    case("packed-digest-of-content", body, differs, kind="packed", options="--verify-only")
    swapped = [digests[1], digests[0], digests[2]]
    add_case("digests-exchanged", replace(whole, piece_digests=swapped), differs)
    length = "length_mismatch"
    add_case("content-length-less", replace(whole, content_len=len(CONTENT) - 1), length)
    add_case("content-length-more", replace(whole, content_len=len(CONTENT) + 1), length)
    pieces = [(raw_frame(CONTENT[:2048]), 2048), (raw_frame(CONTENT[2048:PIECE]), 2048), *whole.all_frames()[1:]]
    add_case("shorter-pieces", replace(whole, frames=pieces), length)
    add_case("missing-piece", replace(whole, frames=whole.all_frames()[:2]), length, piped=CONTENT[: 2 * PIECE])
    again = [*whole.all_frames(), whole.all_frames()[2]]
    add_case("repeated-piece", replace(whole, frames=again), length, piped=CONTENT + CONTENT[2 * PIECE :])


def extra_frames():
    whole = Packed(CONTENT)
    more = [("junk", made_up("junk", 2300), "frame_invalid", CONTENT),
            ("a-second-statement", whole.whole_statement(), "seek_table_invalid", CONTENT),
            ("a-frame", raw_frame(b"x" * 600), "length_mismatch", CONTENT + b"x" * 600)]
    for name, frame, pipe, piped in more:
        packed = replace(whole, frames=[*whole.all_frames(), (frame, 0)])
        add_case(f"then-{name}", packed, "length_mismatch", pipe=pipe, piped=piped)
    frames = [(raw_frame(b"x"), 0)] * 3
    add_case("empty-with-frames", Packed(b"", frames=frames), "length_mismatch", piped=b"xxx")


def seek_table():
    whole = Packed(CONTENT)
    entries = [(len(frame), length) for frame, length in whole.all_frames()] + [(len(whole.whole_statement()), 0)]

    def invalid(name, packed, pipe=None):
        add_case(f"table-{name}", packed, "seek_table_invalid", pipe=pipe)

    invalid("other-magic", replace(whole, table_magic=0x184D2A5F))
    invalid("other-footer", replace(whole, footer=0x8F92EAB0))
    invalid("checksums-declared", replace(whole, descriptor=0x80))
    invalid("one-entry-more-counted", replace(whole, count=5))
    invalid("no-entry-counted", replace(whole, count=0))
    invalid("2-to-the-32-entries", replace(whole, count=0xFFFFFFFF))
    invalid("other-length", replace(whole, table_len=40))
    invalid("frame-length-more", replace(whole, entries=[(entries[0][0] + 1, PIECE), *entries[1:]]))
    invalid("trailing-byte", replace(whole, trailing=b"\0"), pipe="trailing")
    packed = whole.bytes()
    table = len(whole.seek_table())
    add_case("no-table", packed[:-table], "seek_table_invalid", pipe="truncated")
    add_case("half-a-table", packed[: -table // 2], "seek_table_invalid", pipe="truncated")
    add_case("half-a-statement", packed[: -table - 50], "seek_table_invalid", pipe="truncated")
    add_case("half-a-frame", packed[: PIECE + 100], "seek_table_invalid", pipe="truncated", piped=FIRST)
    add_case("nothing-packed", b"", "truncated", piped=b"")
    shifted = [(entries[0][0] - 1, PIECE), (entries[1][0] + 1, PIECE), *entries[2:]]
    add_case("frame-lengths-shifted", replace(whole, entries=shifted), "frame_invalid", pipe="seek_table_invalid")
    other = skippable(0x184D2A50, b"abcd")
    frames = [whole.all_frames()[0], (other, 0), *whole.all_frames()[1:]]
    add_case("other-skippable-frame", replace(whole, frames=frames), "length_mismatch", pipe="frame_invalid", piped=FIRST)


def add():
    good()
    header()
    stream_length()
    frames()
    statement()
    mismatch()
    extra_frames()
    seek_table()
