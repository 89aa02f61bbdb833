"""what it takes to start: a filter to its first byte, a whole unlock beside its longest stage"""
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import time

from common import run

RUNS = 200
IMAGE = "az-bench/start:1"


def prepare(bench):
    bench.key()
    archive(bench.path("small.tar"))
    run(f"az-encrypt --key-file {bench.key()} {bench.path('small.tar')} > {bench.path('small.enc')}")


def measure(bench):
    first_byte(bench)
    unlock(bench)


def first_byte(bench):
    fragments = [bench.path(f"frag/fragment-{i}-of-2.frag") for i in (1, 2)]
    rows = ["| command | first byte, ms | of them the system's for `true` |", "| --- | ---: | ---: |"]
    base = statistics.median(until_output(["true"]) for _ in range(RUNS))
    found = {"true": base}
    for name, command in [("az-join", ["az-join", *map(str, fragments)]),
                          ("az-decrypt", ["az-decrypt", "--key-file", str(bench.key()), str(bench.path("small.enc"))])]:
        found[name] = statistics.median(until_output(command) for _ in range(RUNS))
        rows.append(f"| {name} | {found[name]:.2f} | {base:.2f} |")
    bench.figures["first_byte"] = found
    bench.section("From the start of a local filter to its first byte (bar 3 ms, moonshot 1 ms)", rows)


def until_output(command):
    """Milliseconds from before the process is made to its first byte, or its end."""
    program = shutil.which(command[0])
    reader, writer = os.pipe()
    started = time.perf_counter()
    pid = os.posix_spawn(program, command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
    os.close(writer)
    os.read(reader, 1)
    took = (time.perf_counter() - started) * 1000
    os.close(reader)
    os.waitpid(pid, 0)
    return took


def unlock(bench):
    """The one line of the README with a small archive, and each of its stages alone."""
    with_engine = subprocess.run("docker info", shell=True, capture_output=True).returncode == 0
    sink = "az-load > /dev/null" if with_engine else "tar t > /dev/null"
    at = bench.path("start")
    shutil.rmtree(at, ignore_errors=True)
    (at / "seed").mkdir(parents=True)
    user = {"id": "0b7a3f9e-52c6-4f0e-9a57-2f8f4c1d6e35", "email": "bench@example.com", "password": "bench", "role": ["Operator"]}
    (at / "seed/users.json").write_text(json.dumps([user]))
    shutil.copy(bench.path("frag/fragment-1-of-2.frag"), at / "seed/key-fragment")
    for name, text in [("credentials", json.dumps({"email": user["email"], "password": user["password"]})), ("hwid", "ab" * 32 + "\n")]:
        (at / name).touch(mode=0o600)
        (at / name).write_text(text)
    urls = at / "urls"
    server = subprocess.Popen(["az-devserver", "--seed", str(at / "seed"), "--urls-file", str(urls)], stdout=subprocess.DEVNULL)
    try:
        while not urls.exists():
            if server.poll() is not None:
                sys.exit("bench: az-devserver did not start")
            time.sleep(0.05)
        os.environ.update(AZ_API_URL=json.loads(urls.read_text())["api"], AZ_CREDENTIALS_FILE=str(at / "credentials"), AZ_HWID_FILE=str(at / "hwid"))
        device, sealed = bench.path("frag/fragment-2-of-2.frag"), bench.path("small.enc")
        run(f"az-login -o {at}/jwt; az-fetch key-fragment --token-file {at}/jwt -o {at}/fragment; az-join {at}/fragment {device} -o {at}/key")
        whole = (f"set -o pipefail; az-login | az-fetch key-fragment | az-join - {device} | az-decrypt --key-file - {sealed} | {sink}")
        commands = [("the whole line", whole),
                    ("az-login", "az-login | cat > /dev/null"),
                    ("az-fetch key-fragment", f"az-fetch key-fragment < {at}/jwt | cat > /dev/null"),
                    ("az-join", f"az-join - {device} < {at}/fragment | cat > /dev/null"),
                    ("az-decrypt", f"az-decrypt --key-file - {sealed} < {at}/key | cat > /dev/null"),
                    (sink.split(" >")[0], f"{sink} < {bench.path('small.tar')}")]
        figures = bench.hyperfine("unlock", commands, runs=20)
    finally:
        server.terminate()
        server.wait()
        if with_engine:
            subprocess.run(["docker", "rmi", IMAGE], capture_output=True)
    rows = ["| stage alone, a small archive | median ms |", "| --- | ---: |"]
    rows += [f"| {name} | {figure['median'] * 1000:.1f} |" for name, figure in figures.items()]
    longest = max(figure["median"] for name, figure in figures.items() if name != "the whole line")
    over = (figures["the whole line"]["median"] - longest) * 1000
    rows.append(f"| the whole line beyond its longest stage (bar 150, moonshot 50) | {over:.1f} |")
    bench.section("A whole unlock beside its longest stage", rows)


def archive(path):
    """An image of one layer of 64 KiB, as `docker save` writes it."""
    layer = tar([("file", b"x" * 65536)])
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs":
                         {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer/layer.tar"]}]).encode()
    path.write_bytes(tar([("layer/layer.tar", layer), (name, config), ("manifest.json", manifest)]))


def tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as whole:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            whole.addfile(info, io.BytesIO(content))
    return out.getvalue()
