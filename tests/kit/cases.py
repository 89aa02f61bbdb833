"""The cases, and how one is written to its file."""

import hashlib

from sealed import KEY, key_line

CASES = {}


def case(name, body, expect="success", released=b"", key=KEY, kind="sealed", options="", pipe=None, through_pipe=None, **more):
    """Adds a case.

    `body` is given to a filter in the role of `kind`; `expect` is the error code that is
    expected, or success; `released` is exactly what may leave. `pipe` and `through_pipe` are
    the code and the output if `body` comes through a pipe, if they differ then.
    """
    assert name not in CASES, name
    lines = [f"kind: {kind}", f"expect: {expect}"]
    if pipe:
        lines.append(f"expect-through-pipe: {pipe}")
    lines.append(f"released: {len(released)} {hashlib.sha256(released).hexdigest()}")
    if through_pipe not in (None, released):
        lines.append(f"released-through-pipe: {len(through_pipe)} {hashlib.sha256(through_pipe).hexdigest()}")
    if kind in ("sealed", "packed"):
        lines.append(f"key: {key_line(key)}")
    if options:
        lines.append(f"options: {options}")
    for field, values in more.items():
        lines += [f"{field}: {value}" for value in ([values] if isinstance(values, str) else values)]
    lines.append(f"bytes: {len(body)}")
    CASES[name] = "".join(f"{line}\n" for line in ["az-kit/1", *lines, ""]).encode() + body
