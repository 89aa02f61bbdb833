"""What the parts of this folder share: a server on loopback, a device's files, runs.

Not a part itself. The filters are found in PATH; everything lies below TORTURE_DIR.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

DIR = Path(os.environ["TORTURE_DIR"])
LONG = sys.argv[1] == "long"
SEED = int(os.environ.get("TORTURE_SEED", "1"))
CHANCE = random.Random(SEED)
PASSWORD = "a password of the torture parts"
HARDWARE = "ab" * 32
# Statuses that a stage may end with; 70, a panic, is not among them.
DOCUMENTED = {0, 2, 65, 66, 69, 73, 74, 75, 76, 77, 78, 79, 141}

os.umask(0o077)


def count(name, short, long):
    """How often to do something: TORTURE_<name> where set, else by the form."""
    return int(os.environ.get(f"TORTURE_{name}", long if LONG else short))


def skip(why):
    print(why)
    sys.exit(3)


def environment(home=None, **more):
    env = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
    env |= {"HOME": str(home or DIR), "AZ_RUN": "torture", "SOURCE_DATE_EPOCH": "1700000000", "AZ_RETRIES": "1"}
    return env | {name: str(value) for name, value in more.items()}


class Ran:
    """A process that has ended: `status` is that of a shell, 128 and the signal for one killed."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = 128 - status if status < 0 else status, out, err

    def last(self):
        """The last event line, as an object; an empty one where there is none."""
        lines = self.err.decode("utf-8", "replace").splitlines()
        for line in reversed(lines):
            if line.startswith("{"):
                return json.loads(line)
        return {}

    def __str__(self):
        return f"status {self.status}, {len(self.out)} bytes out, said: {self.err.decode('utf-8', 'replace')[-600:]}"


def run(argv, stdin=None, timeout=600, **env):
    """Runs argv to its end; its whole session is killed when the time is over."""
    into = subprocess.DEVNULL if stdin is None else subprocess.PIPE if isinstance(stdin, bytes) else stdin
    process = subprocess.Popen(
        [str(word) for word in argv],
        stdin=into,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**env),
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin if isinstance(stdin, bytes) else None, timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return Ran(process.returncode, out, err)


def must(argv, stdin=None, **env):
    ran = run(argv, stdin, **env)
    if ran.status != 0:
        sys.exit(f"{argv[0]} must end well here: {ran}")
    return ran.out


def cargo_test(crate, names, says, **env):
    """Runs tests of a crate, those of `names`, which drive the filters themselves; gives the
    match of `says` in what they print, None where they fail."""
    profile = os.environ.get("TORTURE_CARGO", "").split()
    words = ["cargo", "test", "--locked", *profile, "-p", crate, "--test", "integration", names, "--", "--nocapture"]
    env = {**os.environ, **{name: str(value) for name, value in env.items()}}
    ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True)
    said = re.search(says, ran.stdout, re.M)
    if ran.returncode or not said:
        print(ran.stdout[-3000:])
        return None
    return said


def write(path, text):
    """A file for the user's eyes alone (see umask)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


class Server:
    """az-devserver with a seed folder, until the parts end. Its memory is all in one arena,
    so that it shows what the server holds, and not what the C library keeps of each thread."""

    def __init__(self, seed, *flags):
        self.process = subprocess.Popen(
            ["az-devserver", "--seed", seed, "--stop-with-stdin", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(MALLOC_ARENA_MAX=1),
        )
        self.urls = json.loads(self.process.stdout.readline())

    def memory(self):
        """Resident KiB now and at most, and open descriptors."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        now, peak = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "VmHWM"))
        return now, peak, len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


class Site:
    """A device's files in `folder`, and the server's in `folder/seed`. `seal` has options of az-encrypt."""

    def __init__(self, folder=DIR / "site", users=1, model=100_000, cost=None, fragment_form="sealed", flags=(), seal=()):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        at = self.at
        must(["az-split", "--new-key", "--output-dir", self.folder])
        at("fragment-2-of-2.frag").rename(at("device.frag"))
        write(at("key"), must(["az-join", at("fragment-1-of-2.frag"), at("device.frag")]))
        write(at("hwid"), HARDWARE + "\n")
        write(at("plain"), random.Random(3).randbytes(30_000))
        write(at("model"), random.Random(4).randbytes(model))
        tag = f"az-torture/{os.getpid()}"
        self.tags = [f"{tag}/app:1.4", f"{tag}/server:2"]
        archive = must(["demo-archive", f"{self.tags[0]}={at('plain')}", f"{self.tags[1]}={at('plain')},{at('key')}"])
        write(at("images.tar"), archive)
        for name in ("plain", "images.tar", "model"):
            must(["az-encrypt", *seal, "--segment", "4K", "--key-file", at("key"), at(name), "-o", at(f"{name}.enc")])
        receipt = must(["az-split", "--parts", at("yolo"), "--name", "models/yolo.onnx", at("model.enc")])
        write(at("published"), receipt + at("yolo.small").read_bytes())
        write(at("seed/resources/models/yolo.onnx"), at("published").read_bytes())
        write(at("seed/cdn/models/yolo.onnx.big"), at("yolo.big").read_bytes())
        write(at("seed/key-fragment"), at("fragment-1-of-2.frag").read_bytes())
        settings = {
            "token_seconds": 10**7,
            "fragment_form": fragment_form,
            "seal_cost": cost or {"memory_kib": 64, "passes": 1, "lanes": 1},
        }
        write(at("seed/devserver.json"), json.dumps(settings))
        accounts = [
            {
                "id": f"00000000-0000-4000-8000-{i:012}",
                "email": f"device-{i}@example.com",
                "password": PASSWORD,
                "role": ["Operator", "ResourceUploader"],
                "hardware": HARDWARE,
            }
            for i in range(users)
        ]
        write(at("seed/users.json"), json.dumps(accounts))
        for i, account in enumerate(accounts):
            pair = {"email": account["email"], "password": PASSWORD}
            write(at(f"credentials-{i}.json"), json.dumps(pair))
        self.server = Server(at("seed"), *flags)
        with urllib.request.urlopen(self.server.urls["api"] + "/.well-known/jwks.json") as keys:
            write(at("jwks.json"), keys.read())
        self.env = {
            "AZ_API_URL": self.server.urls["api"],
            "AZ_CREDENTIALS_FILE": at("credentials-0.json"),
            "AZ_HWID_FILE": at("hwid"),
        }

    def log_in(self):
        """Token and CDN credentials, as files."""
        write(self.at("jwt"), must(["az-login"], **self.env))
        for name, more in (("cdn", []), ("upload", ["--uploader"])):
            creds = must(["az-cdn-creds", "--token-file", self.at("jwt"), *more], **self.env)
            write(self.at(f"{name}.json"), creds)

    def at(self, name):
        return self.folder / name


class Failures:
    """What went wrong, told as it is found; the part ends with 1 where there is something."""

    def __init__(self):
        self.lock = threading.Lock()
        self.found = 0

    def add(self, what):
        with self.lock:
            self.found += 1
            print(f"BROKEN: {what}", flush=True)

    def end(self, figures):
        print(figures)
        sys.exit(1 if self.found else 0)
