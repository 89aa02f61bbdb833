"""Joins and cuts keys with the arithmetic of shamir-mnemonic (SLIP-0039), for
crates/loader-seal/tests/integration/shamir_oracle.rs.

Its field is GF(2^8) with the polynomial x^8 + x^4 + x^3 + x + 1, as ours. It keeps
the secret at x = 255 and a digest at x = 254, where ours has the secret at x = 0
and no digest; so its interpolation is asked for x = 0, and nothing else of it is
used. Reads a list of cases as JSON on standard input and writes one answer each:

    {"join": [[index, share], ...]}                 -> the key
    {"cut": key, "k": K, "indices": [index, ...]}   -> the share at each index
"""

import json
import secrets
import sys

try:
    from shamir_mnemonic import shamir
    from shamir_mnemonic.shamir import RawShare
except ImportError as error:
    sys.exit(f"shamir.py: {error}; pip install -r tests/requirements.txt")


def join(shares):
    return shamir._interpolate([RawShare(x, bytes.fromhex(value)) for x, value in shares], 0).hex()


def cut(key, k, indices):
    """The polynomial is fixed by the key at 0 and random values at k - 1 places."""
    places = secrets.SystemRandom().sample(range(1, 256), k - 1)
    base = [RawShare(0, bytes.fromhex(key))] + [RawShare(x, secrets.token_bytes(32)) for x in places]
    return [shamir._interpolate(base, x).hex() for x in indices]


def answer(case):
    return join(case["join"]) if "join" in case else cut(case["cut"], case["k"], case["indices"])


if __name__ == "__main__":
    json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
