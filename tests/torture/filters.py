"""A command for each filter, with the output and the files that it may leave behind.

Not a part itself. A case runs in a directory of its own; `judge` returns what is wrong there.
"""

import atexit
import http.client
import json
import socket
import threading
from pathlib import Path
from urllib.parse import quote

from device import run, write


class Exactly:
    """These bytes; of a stage that fails, a prefix of them."""

    def __init__(self, content):
        self.content = content

    def whole(self, found):
        return None if found == self.content else "other bytes"

    def part(self, found):
        return None if self.content.startswith(found) else "bytes outside the right prefix"


class Opens:
    """A sealed stream that opens to `plain`, with each of `keys`."""

    def __init__(self, plain, *keys):
        self.plain, self.keys = plain, keys

    def whole(self, found):
        for key in self.keys:
            ran = run(["az-decrypt", "--key-file", key], found)
            if ran.status != 0 or ran.out != self.plain:
                return f"does not open to what was sealed: {ran}"
        return None

    def part(self, found):
        released = run(["az-decrypt", "--key-file", self.keys[0]], found).out
        return None if self.plain.startswith(released) else "opens to other bytes"


class Rebuilds:
    """Lines of fragments that join to `key`; fewer than all say nothing of it."""

    def __init__(self, key):
        self.key = key

    def whole(self, found):
        ran = run(["az-join"], found)
        return None if ran.out == self.key else f"does not join to the key: {ran}"

    def part(self, found):
        return self.whole(found) if found.count(b"\n") > 1 else None


class Holds:
    """What `check` finds nothing wrong with; of a stage that fails, nothing or all of it."""

    def __init__(self, check):
        self.check = check

    def whole(self, found):
        return self.check(found)

    def part(self, found):
        return self.check(found) if found.endswith(b"\n") else None


NOTHING = Exactly(b"")


class Case:
    """`argv` in a folder with the files `before`; `files` are the names that it may make."""

    def __init__(self, name, argv, out=NOTHING, stdin=None, before=None, files=None, env=None, ready=None, after=None, keeps=()):
        self.name, self.argv, self.out, self.stdin = name, [str(word) for word in argv], out, stdin
        self.before, self.files, self.env = before or {}, files or {}, env or {}
        self.keeps = keeps
        self.ready, self.after, self.turn = ready, after, threading.Lock() if after and ready else None

    def words(self, folder):
        return [word.replace("{folder}", str(folder)).replace("{id}", folder.name) for word in self.argv]

    def prepare(self, folder):
        folder.mkdir(parents=True)
        for name, content in self.before.items():
            write(folder / name, content)
        if self.ready:
            self.ready()

    def run(self, folder, prefix=(), timeout=600):
        stdin = open(self.stdin, "rb") if self.stdin else None
        try:
            return run([*prefix, *self.words(folder)], stdin, timeout, **self.env)
        finally:
            if stdin:
                stdin.close()

    def judge(self, folder, ran, leftovers=False):
        """What is wrong, or None. `leftovers`: files under other names are no fault."""
        problem = self.out.whole(ran.out) if ran.status == 0 else self.out.part(ran.out)
        if problem:
            return f"standard output: {problem}"
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        for name, content in self.files.items():
            if name not in found:
                if ran.status == 0 or name in self.before:
                    return f"{name} is missing"
                continue
            held = (folder / name).read_bytes()
            if ran.status != 0 and held == as_bytes(self.before.get(name)):
                continue
            problem = content.whole(held)
            if problem:
                return f"{name}: {problem}"
        more = {name for name in found - set(self.files) - set(self.before) if not name.startswith(tuple(self.keeps))}
        if more and not leftovers:
            return f"left behind: {sorted(more)}"
        return self.after(folder, ran) if self.after else None


def as_bytes(content):
    return content.encode() if isinstance(content, str) else content


def token_of(jwks):
    """A check that something is a token signed by a key of this set."""

    def check(found):
        ran = run(["az-whoami", "--jwks-file", jwks], found)
        return None if ran.status == 0 else f"not a token of the server: {ran}"

    return check


class Engine:
    """The container engine behind the socket, as far as tags go."""

    def __init__(self, path="/var/run/docker.sock"):
        self.path = path

    def ask(self, method, what):
        connection = http.client.HTTPConnection("engine")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(600)
        connection.sock.connect(self.path)
        connection.request(method, what)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    def answers(self):
        try:
            return self.ask("GET", "/_ping") == 200
        except OSError:
            return False

    def tags(self, names):
        return [name for name in names if self.ask("GET", f"/images/{quote(name)}/json") == 200]

    def forget(self, names):
        for name in names:
            self.ask("DELETE", f"/images/{quote(name)}?force=1")


def local(site):
    """The filters that need no server."""
    at = site.at
    key, sealed = at("key"), at("plain.enc")
    plain, key_line = at("plain").read_bytes(), key.read_bytes()
    other = write(at("other.key"), run(["az-join", "--raw-sha256"], b"another key").out)
    small, big = at("yolo.small"), at("yolo.big")
    model_sealed = at("model.enc").read_bytes()
    root = at("root")
    write(root / "sys/class/dmi/id/product_uuid", "4c4c4544-0042-3510-8052-b4c04f564231")
    write(root / "etc/machine-id", "9b1f6c2e5d0a4f7e8c3b2a1908f7e6d5")
    fragments = [at("fragment-1-of-2.frag"), at("device.frag")]
    events = write(at("events.jsonl"), run(["az-inspect", sealed]).err)
    told = {words: run(words.split() + [str(file)]).out for words, file in (("az-inspect", sealed), ("az-status", events))}
    hwid = run(["az-hwid", "--sysroot", root]).out
    receipt = run(["az-split", "--parts", at("again"), "--name", "models/yolo.onnx", at("model.enc")]).out

    newer = plain[: len(plain) // 2] + b"new bytes" + plain[len(plain) // 2 :]
    seal = lambda content: run(["az-encrypt", "--key-file", key], content).out
    old_release, new_release = write(at("old.enc"), seal(plain)), write(at("new.enc"), seal(newer))
    patch = write(at("old-to-new.patch"), run(["az-diff", "--key-file", key, old_release, new_release]).out)

    def patched(folder, ran):
        """The file is the old release or the new one, and the new one after success."""
        found = run(["az-decrypt", "--key-file", key, folder / "f"])
        wanted = (newer,) if ran.status == 0 else (plain, newer)
        return None if found.status == 0 and found.out in wanted else f"neither release: {found}"

    def recovered(folder, ran):
        """Whatever happened, the file opens with the old key once it is put right."""
        if any(name.name.endswith(".rekey") or ".az-rekey" in name.name for name in folder.iterdir()):
            run(["az-rekey", "--recover", folder / "f"])
        return Opens(plain, key).whole((folder / "f").read_bytes())

    rekeyed = Opens(plain, key, other)
    return [
        Case("split", ["az-split", "--key-file", key], Rebuilds(key_line)),
        Case(
            "split-files",
            ["az-split", "--key-file", key, "--shares", "3", "--output-dir", "{folder}"],
            files={f"fragment-{i}-of-3.frag": Holds(lambda held: None if held.startswith(b"AZ-FRAG-1") and held.endswith(b"\n") else "no fragment") for i in (1, 2, 3)},
        ),
        Case(
            "split-parts",
            ["az-split", "--parts", "{folder}/p", "--name", "models/yolo.onnx", at("model.enc")],
            Exactly(receipt),
            files={"p.small": Exactly(small.read_bytes()), "p.big": Exactly(big.read_bytes())},
        ),
        Case("join", ["az-join", *fragments], Exactly(key_line)),
        Case("join-o", ["az-join", *fragments, "-o", "{folder}/k"], before={"k": "old\n"}, files={"k": Exactly(key_line)}),
        Case("join-parts", ["az-join", "--parts", at("published"), big, "-o", "{folder}/m"], files={"m": Exactly(model_sealed)}),
        Case("encrypt", ["az-encrypt", "--segment", "4K", "--key-file", key, at("plain")], Opens(plain, key)),
        Case(
            "encrypt-o",
            ["az-encrypt", "--key-file", key, "-o", "{folder}/s"],
            stdin=at("plain"),
            before={"s": "old"},
            files={"s": Opens(plain, key)},
        ),
        Case("decrypt", ["az-decrypt", "--threads", "2", "--key-file", key, sealed], Exactly(plain)),
        Case("decrypt-pipe", ["az-decrypt", "--key-file", key, "-o", "{folder}/d"], stdin=sealed, files={"d": Exactly(plain)}),
        Case("decrypt-first", ["az-decrypt", "--verify-first", "--key-file", key, sealed], Exactly(plain)),
        Case("rekey", ["az-rekey", "--key-file", key, "--add", other], rekeyed, stdin=sealed),
        Case(
            "rekey-place",
            ["az-rekey", "--key-file", key, "--add", other, "{folder}/f"],
            before={"f": sealed.read_bytes()},
            files={"f": Holds(lambda held: None)},
            after=lambda folder, ran: recovered(folder, ran) or (rekeyed.whole((folder / "f").read_bytes()) if ran.status == 0 else None),
        ),
        Case("diff", ["az-diff", "--key-file", key, old_release, new_release], Holds(lambda held: None)),
        Case(
            "patch-place",
            ["az-patch", "--key-file", key, "{folder}/f"],
            stdin=patch,
            before={"f": old_release.read_bytes()},
            files={"f": Holds(lambda held: None)},
            after=patched,
        ),
        Case("patch-seed", ["az-patch", "--key-file", key, "--seed", old_release, patch], Exactly(newer)),
        Case("inspect", ["az-inspect", sealed], Exactly(told["az-inspect"])),
        Case("hwid", ["az-hwid", "--sysroot", root], Exactly(hwid)),
        Case("status", ["az-status", events], Exactly(told["az-status"])),
        Case(
            "status-files",
            ["az-status", "--status-file", "{folder}/s", "--prometheus", "{folder}/s.prom", "--log-dir", "{folder}", "-o", "{folder}/v", events],
            files={"v": Exactly(told["az-status"]), "s": Holds(is_json), "s.prom": Holds(lambda held: None if held.endswith(b"\n") else "cut"), "log_loader_20231114.txt": Holds(lambda held: None)},
        ),
    ]


def is_json(held):
    try:
        json.loads(held)
    except ValueError:
        return "not JSON"
    return None


def remote(site):
    """The filters that talk to the API and the CDN."""
    at, env = site.at, site.env
    token = ["--token-file", at("jwt")]
    cdn = [*token, "--cdn-file", at("cdn.json")]
    whole = at("model.enc").read_bytes()
    who = run(["az-whoami", *token]).out
    creds = run(["az-cdn-creds", *token], **env).out
    small = at("plain.enc").read_bytes()

    def published(folder, ran):
        """Nothing, or all of it."""
        got = run(["az-fetch", *cdn, f"models/{folder.name}.onnx"], **env)
        if got.status == 0:
            return None if got.out == small else "published other bytes"
        return None if ran.status != 0 and got.status == 66 else f"not to be fetched: {got}"

    def is_receipt(held):
        return is_json(held) or (None if json.loads(held) else "empty receipt")

    def is_report(held):
        return is_json(held) or (None if len(json.loads(held)["checks"]) == 16 else "not every check")

    asked = ["--fragment-file", at("device.frag"), "--key-file", at("key"), "--cdn-file", at("cdn.json"), "--resource", "models/yolo.onnx"]
    return [
        Case("login", ["az-login"], Holds(token_of(at("jwks.json"))), env=env),
        Case("whoami", ["az-whoami", *token], Exactly(who)),
        Case("cdn-creds", ["az-cdn-creds", *token], Exactly(creds), env=env),
        Case("fetch-fragment", ["az-fetch", *token, "key-fragment"], Exactly(at("fragment-1-of-2.frag").read_bytes()), env=env),
        Case("fetch", ["az-fetch", *cdn, "--jobs", "2", "--chunk", "64K", "models/yolo.onnx"], Exactly(whole), env=env),
        Case(
            "fetch-o",
            ["az-fetch", *cdn, "models/yolo.onnx", "-o", "{folder}/m"],
            files={"m": Exactly(whole)},
            env=env,
        ),
        Case("fetch-cached", ["az-fetch", *cdn, "--cache-dir", "{folder}/cache", "models/yolo.onnx"], Exactly(whole), env=env, keeps=["cache/"]),
        Case(
            "push",
            ["az-push", *token, "--cdn-file", at("upload.json"), "models/{id}.onnx", at("plain.enc")],
            Holds(is_receipt),
            env=env,
            after=published,
        ),
        # It makes no file, whatever it finds.
        Case(
            "doctor",
            ["az-doctor", *asked, "--cache-dir", "{folder}/cache", "--run-dir", "{folder}/run", "--skip", "engine,space", at("plain.enc")],
            Holds(is_report),
            env=env,
        ),
    ]


def engine(site):
    """az-load into the engine of this machine; none where none answers."""
    docker = Engine()
    if not docker.answers():
        return []
    tags = site.tags
    atexit.register(docker.forget, tags)

    def loaded(folder, ran):
        found = docker.tags(tags)
        if ran.status == 0:
            return None if found == tags else f"the engine has {found}"
        return None if found in ([], tags) else f"a part of the archive was loaded: {found}"

    listed = Holds(lambda held: is_json(held) or (None if all(tag.encode() in held for tag in tags) else "tags are missing"))
    return [Case("load", ["az-load", site.at("images.tar")], listed, ready=lambda: docker.forget(tags), after=loaded)]
