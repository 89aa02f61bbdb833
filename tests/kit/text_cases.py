"""Keys and fragments as text, and slots for devices, each with one defect."""

from cases import case
from sealed import (BECH32, KEY, OTHER, Device, Sealed, fragment, key_id_line, key_line, line, made_up, shamir,
                    split_xor, xor)

# What the keys are to open: the file of another case.
OPENS = "good-gcm-one-byte"


def keys():
    good = key_line(KEY)
    opened = made_up("plaintext", 1)

    def key(name, body, expect="malformed", **how):
        body = body if isinstance(body, bytes) else body.encode()
        case(f"key-line-{name}", body, expect, kind="key", opens=OPENS, released=opened if expect == "success" else b"",
             **how)

    key("good", f"{good}\n", "success")
    key("good-without-newline", good, "success")
    key("good-lower-case", f"{good.lower()}\n", "success")
    key("good-comments-and-crlf", f"# a key\r\n\r\n \t{good} \r\n# end\r\n", "success")
    key("of-another-key", key_line(OTHER), "wrong_key")
    key("mixed-case", good[:20] + good[20:].lower())
    key("one-character-changed", good[:40] + ("Q" if good[40] != "Q" else "P") + good[41:])
    key("two-characters-swapped", next(good[:i] + good[i + 1] + good[i] + good[i + 2 :] for i in range(30, 40)
                                       if good[i] != good[i + 1]))
    key("one-character-missing", good[:40] + good[41:])
    key("one-character-more", good[:40] + "Q" + good[40:])
    key("q-before-last", good[:-1] + "Q" + good[-1:])
    key("checksum-of-bech32", key_line(KEY, constant=BECH32))
    key("checksum-missing", good[:-6])
    key("padding-not-zero", key_line(KEY, padding=1))
    key("padding-of-a-whole-character", key_line(KEY, more=[0]))
    key("of-another-kind", line("az-public-key-", b"\1" + KEY))
    key("without-separator", good.replace("-1", "-", 1))
    key("character-outside-the-alphabet", good[:40] + "B" + good[41:])
    key("full-width-digit", good.replace("-1", "-１", 1))
    key("version-0", key_line(KEY, version=0), "unsupported")
    key("version-2", key_line(KEY, version=2), "unsupported")
    key("of-31-bytes", key_line(KEY[:31]))
    key("of-33-bytes", key_line(KEY + b"\0"))
    key("of-no-bytes", line("az-secret-key-", b""))
    key("twice", f"{good}\n{good}\n")
    key("and-another-word", f"{good} and\n")
    key("in-quotes", f'"{good}"\n')
    key("broken-in-two-lines", f"{good[:40]}\n{good[40:]}\n")
    key("space-inside", f"{good[:40]} {good[40:]}\n")
    key("byte-order-mark", b"\xef\xbb\xbf" + good.encode())
    key("utf-16", good.encode("utf-16"))
    key("nul-at-the-end", good.encode() + b"\0")
    key("not-text", made_up("binary key", 32))
    key("raw-bytes-of-the-key", KEY)
    key("hexadecimal", KEY.hex())
    key("comments-only", "# no key\n")
    key("empty", "", "no_input")
    key("key-id-for-key", key_id_line(KEY))
    key("fragment-for-key", fragment(split_xor(KEY, 2, "xor")[0]))
    key("of-65537-bytes", good + "\n" + "#" * (65537 - len(good) - 1))


def fragments():
    pair = split_xor(KEY, 2, "xor")
    one, two = fragment(pair[0]), fragment(pair[1], index=2)
    three = shamir(KEY, 2, 3, "shamir")
    shares = [fragment(share, index=i, scheme=2, k=2, n=3) for i, share in enumerate(three, 1)]
    whole = f"{key_line(KEY)}\n".encode()

    def join(name, body, beside=(two,), expect="malformed", **how):
        body = body if isinstance(body, bytes) else body.encode()
        case(f"fragment-{name}", body, expect, kind="fragment", beside=beside,
             released=whole if expect == "success" else b"", **how)

    def alone(name, **how):
        expect = how.pop("expect", "malformed")
        share = how.pop("share", pair[0])
        join(name, fragment(share, **how) + "\n", expect=expect)

    join("good-xor", f"{one}\n", expect="success")
    join("good-xor-other-order", f"{two}\n", (one,), "success")
    join("good-both-in-one-document", f"# both\r\n{one}\r\n{two}\r\n", (), "success")
    join("good-shamir-1-and-3", f"{shares[0]}\n", (shares[2],), "success")
    join("good-shamir-all", f"{shares[2]}\n", (shares[1], shares[0]), "success")
    five = split_xor(KEY, 5, "five")
    five = [fragment(share, index=i, k=5, n=5) for i, share in enumerate(five, 1)]
    join("good-xor-5-of-5", f"{five[4]}\n", five[:4], "success")
    join("alone-of-two", f"{one}\n", (), "wrong_fragment")
    join("four-of-five", f"{five[0]}\n", five[1:4], "wrong_fragment")
    join("given-twice", f"{one}\n", (one,), "wrong_fragment")
    join("given-twice-beside-the-other", f"{one}\n", (two, one), "wrong_fragment")
    join("two-shares-under-one-index", f"{one}\n", (fragment(pair[1], index=1),), "wrong_fragment")
    alone("of-another-set", set_label="another set", expect="wrong_fragment")
    alone("of-another-key", of=OTHER, expect="wrong_fragment")
    alone("of-another-scheme", scheme=2, expect="wrong_fragment")
    alone("of-another-number", k=3, n=3, expect="wrong_fragment")
    join("of-another-threshold", fragment(three[0], scheme=2, k=3, n=3), (shares[1],), "wrong_fragment")
    alone("share-bit", share=xor(pair[0], b"\1" + bytes(31)), expect="wrong_fragment")
    alone("share-zero", share=bytes(32), expect="wrong_fragment")
    join("key-id-of-both-wrong", fragment(pair[0], of=OTHER), (fragment(pair[1], index=2, of=OTHER),), "wrong_fragment")
    stray = fragment(xor(three[2], bytes(31) + b"\1"), index=3, scheme=2, k=2, n=3)
    join("shamir-stray", f"{shares[0]}\n", (shares[1], stray), "wrong_fragment")
    join("shamir-stray-first", f"{stray}\n", shares[:2], "wrong_fragment")
    swapped = fragment(three[0], index=2, scheme=2, k=2, n=3), fragment(three[1], index=1, scheme=2, k=2, n=3)
    join("shamir-indices-swapped", f"{swapped[0]}\n", (swapped[1],), "wrong_fragment")
    alone("version-0", version=0, expect="unsupported")
    alone("version-2", version=2, expect="unsupported")
    alone("scheme-0", scheme=0, expect="unsupported")
    alone("scheme-3", scheme=3, expect="unsupported")
    alone("threshold-0", k=0)
    alone("threshold-1-shamir", scheme=2, k=1, n=2)
    alone("threshold-1-of-1-xor", k=1, n=1)
    alone("threshold-above-number", scheme=2, k=3, n=2)
    alone("threshold-below-number-xor", k=2, n=3)
    alone("number-0", n=0)
    alone("index-0", index=0)
    alone("index-above-number", index=3)
    alone("of-60-bytes", cut=60)
    alone("of-62-bytes", tail=b"\0")
    alone("of-no-bytes", cut=0)
    alone("checksum-of-bech32", constant=BECH32)
    alone("padding-not-zero", padding=1)
    alone("padding-of-a-whole-character", more=[0])
    join("mixed-case", one[:30] + one[30:].lower())
    join("one-character-changed", one[:50] + ("Q" if one[50] != "Q" else "P") + one[51:])
    join("one-character-missing", one[:50] + one[51:])
    join("last-character-missing", one[:-1])
    join("key-for-fragment", key_line(KEY))
    join("comments-only", "# nothing\n")
    join("empty", "", expect="no_input")
    join("not-text", made_up("raw fragment", 64))
    join("damaged-second-line", f"{one}\n{two[:-1]}Q\n" if two[-1] != "Q" else f"{one}\n{two[:-1]}P\n", ())
    join("html", "<!DOCTYPE html>\n")


def devices():
    text = b"a fragment for one device\n"
    device = Device()

    def seal(name, made, expect="success", cost=None, opener=None, slots=None, damage=None):
        opener = opener or device
        sealed = Sealed(text, suite=1)
        sealed.slots = [slot.slot(sealed, cost) for slot in (slots or [made])]
        body = sealed.file()
        body = damage(body) if damage else body
        more = {"user": opener.user.hex(), "password": opener.password, "hardware": opener.hardware.hex()}
        if opener.secret:
            more["secret"] = opener.secret.hex()
        released = text if expect == "success" else b""
        case(f"to-device-{name}", body, expect, kind="device", released=released, **more)

    cheap = (64, 1, 1)
    secret = Device(secret=made_up("device secret", 32))
    seal("good", device)
    seal("good-with-device-secret", secret, opener=secret)
    seal("good-password-outside-ascii", Device(password="p\u00e4ssword"), opener=Device(password="pa\u0308ssword"))
    seal("good-two-lanes", Device(memory_kib=64, passes=3, lanes=2))
    seal("good-cdn-slot-before-it", device, slots=[Device(kind=2), device])
    for name, how in [("memory-most", {"memory_kib": 2**32 - 1}), ("memory-256-mib-and-1-kib", {"memory_kib": 262145}),
                      ("passes-11", {"passes": 11}), ("passes-most", {"passes": 2**32 - 1})]:
        seal(f"argon2-{name}", Device(**how), "malformed", cost=cheap)
    for name, how in [("memory-0", {"memory_kib": 0}), ("memory-7-kib", {"memory_kib": 7}), ("passes-0", {"passes": 0}),
                      ("lanes-0", {"lanes": 0}), ("lanes-255-in-64-kib", {"lanes": 255})]:
        seal(f"argon2-{name}", Device(**how), "malformed", cost=cheap)
    seal("argon2-memory-changed-later", device, "wrong_device", damage=lambda body: body[:111] + b"\x41" + body[112:])
    seal("wrong-password", device, "wrong_device", opener=Device(password="correct horsf"))
    seal("wrong-hardware", device, "wrong_device", opener=Device(hardware=bytes(32)))
    seal("wrong-user", device, "wrong_device", opener=Device(user=bytes(16)))
    seal("secret-not-given", secret, "wrong_device")
    seal("secret-given-but-not-used", device, "wrong_device", opener=secret)
    seal("wrong-secret", secret, "wrong_device", opener=Device(secret=bytes(32)))
    seal("secret-flag-cleared", Device(secret=secret.secret, flags=0), "wrong_device")
    seal("of-another-kind", Device(kind=2), "wrong_device")
    seal("slot-of-91-bytes", Device(length=91), "wrong_device")
    seal("slot-of-93-bytes", Device(length=93), "wrong_device")
    seal("kdf-0", Device(kdf=0), "wrong_device")
    seal("kdf-2", Device(kdf=2), "wrong_device")
    seal("flags-2", Device(flags=2), "wrong_device")
    flip = lambda at: lambda body: body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    seal("slot-salt-bit", device, "wrong_device", damage=flip(43 + 16))
    seal("wrapped-key-bit", device, "header_tampered", damage=flip(43 + 32))
    seal("password-salt-bit", device, "wrong_device", damage=flip(43 + 74))
    seal("last-byte-missing", device, "truncated", damage=lambda body: body[:-1])
    seal("byte-more", device, "trailing", damage=lambda body: body + b"\0")
    seal("not-sealed", device, "not_sealed", damage=lambda body: b"plain text\n")


def add():
    keys()
    fragments()
    devices()
