#!/usr/bin/env python3
"""Writes the cases of the test kit, or checks that they are what it would write.

    tests/kit/make.py            writes tests/kit/cases
    tests/kit/make.py --check    ends with 1 if a case is missing, extra or different

Needs `cryptography` (tests/requirements.txt) for AES and Argon2id; sealed.py implements the
rest of the format. tests/kit/README.md describes a case.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True

import packed_cases
import sealed_cases
import signature_cases
import text_cases
from cases import CASES

FOLDER = Path(__file__).resolve().parent / "cases"


def main():
    sealed_cases.add()
    packed_cases.add()
    signature_cases.add()
    text_cases.add()
    wanted = {f"{name}.kit": body for name, body in CASES.items()}
    there = {path.name: path.read_bytes() for path in FOLDER.glob("*")} if FOLDER.is_dir() else {}
    wrong = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    if sys.argv[1:] == ["--check"]:
        for name in wrong:
            print(f"{name}: {'missing' if name not in there else 'extra' if name not in wanted else 'another'}")
    else:
        FOLDER.mkdir(exist_ok=True)
        for name in wrong:
            if name in wanted:
                (FOLDER / name).write_bytes(wanted[name])
            else:
                (FOLDER / name).unlink()
        wrong = []
    print(f"{len(wanted)} cases, {sum(map(len, wanted.values()))} bytes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
