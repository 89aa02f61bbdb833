"""az-load behind az-decrypt against docker load, of a whole archive and of an update; removes its images"""
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

from common import MIB, run

NAME = "az-bench-load"
NEW = f"{NAME}:new"
ZEROS = f"-K {'00' * 32} -iv {'00' * 16}"
# Bytes of the files that are added from /usr; the rest is one file that does not compress.
FILES_LEN = 192 * MIB
NEW_LEN = 4 * MIB
PARTS = ["pair", "alone", "file", "update"]


def add_options(parser):
    parser.add_argument("--load", type=lambda text: text.split(","), default=PARTS, metavar="PART,...",
                        help=f"load group: these comparisons, a hyperfine call each ({','.join(PARTS)})")


def has_engine():
    docker = shutil.which("docker")
    return bool(docker) and subprocess.run([docker, "info"], capture_output=True).returncode == 0


def prepare(bench):
    if not has_engine():
        return
    at, key = bench.path, bench.key()
    if not at("load.enc").exists():
        layers = [file_layer(at("layer-files")), noise_layer(bench, at("layer-noise"), bench.options.size * MIB)]
        new = at("layer-new")
        with tarfile.open(new, "w", format=tarfile.USTAR_FORMAT) as tar:
            add(tar, "srv/new", bench.plain(NEW_LEN).read_bytes())
        layers = [(layer, sha256_of(layer)) for layer in [*layers, new]]
        save(at("load.tar"), f"{NAME}:old", layers[:2], layers[:2])
        save(at("load-new.tar"), NEW, layers, layers)
        save(at("load-small.tar"), NEW, layers, layers[2:])
        for layer, _ in layers:
            layer.unlink()
        run(f"openssl enc -aes-256-ctr {ZEROS} -in {at('load.tar')} -out {at('load.ssl')}")
        run(f"az-encrypt --key-file {key} -o {at('load-new.enc')} {at('load-new.tar')}")
        run(f"az-inspect {at('load-new.enc')} > {at('load-new.json')}")
        run(f"az-encrypt --key-file {key} --images-file {at('load-new.json')} -o {at('load-small.enc')} {at('load-small.tar')}")
        run(f"az-encrypt --key-file {key} -o {at('load.enc')} {at('load.tar')}")


def file_layer(path):
    """A layer of files of this machine, each once, so that the engine has names and directories to make."""
    left, found = FILES_LEN, []
    for folder in ["/usr/bin", "/usr/lib", "/usr/share"]:
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                file = os.path.join(parent, name)
                if left > 0 and os.path.isfile(file) and not os.path.islink(file) and os.path.getsize(file) < MIB:
                    left -= os.path.getsize(file)
                    found.append(file)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for file in found:
            tar.add(file, recursive=False)
    return path


def noise_layer(bench, path, size):
    noise = bench.plain(size)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(noise, "srv/noise")
    return path


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def add(tar, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def save(path, tag, layers, present):
    """An archive of one image as `docker save` writes it, with the files of the layers `present` alone."""
    diff_ids = ["sha256:" + digest for _, digest in layers]
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        add(tar, name, config)
        for layer, digest in present:
            tar.add(layer, f"{digest}/layer.tar")
        add(tar, "manifest.json", json.dumps(
            [{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}/layer.tar" for _, digest in layers]}]).encode())


def measure(bench):
    if not has_engine():
        bench.section("Loading", ["skipped: no container engine"])
        return
    rows = ["| what | measured | bar | moonshot |", "| --- | ---: | ---: | ---: |"]
    try:
        for part in bench.options.load:
            {"pair": pair, "alone": alone, "file": through_file, "update": update}[part](bench, rows)
    finally:
        run(f"docker image rm -f {NAME}:old {NEW} >/dev/null 2>&1; true")
    bench.section("Loading against the bars", rows)


def clean(tag, *inputs):
    """A line that removes the image, waits until the disk has what was written before, and reads the inputs into memory."""
    return f"docker image rm -f {tag} >/dev/null 2>&1; sync; cat {' '.join(map(str, inputs))} >/dev/null"


def side_by_side(bench, name, title, archive, commands, tag, ours):
    commands = [(label, "set -o pipefail; " + command) for label, command in commands]
    inputs = [bench.path(archive + kind) for kind in [".tar", ".enc"]]
    figures = bench.hyperfine(name, commands, prepare=clean(tag, *inputs), warmup=0)
    bench.table(title, figures, ours, inputs[0].stat().st_size // MIB)
    return {label: figure["median"] for label, figure in figures.items()}


def pair(bench, rows):
    at, key = bench.path, bench.key()
    found = side_by_side(bench, "load-pair", "Loading an archive in two layers", "load", [
        ("docker load < plain.tar", f"docker load -q < {at('load.tar')} >/dev/null"),
        ("az-decrypt \\| az-load", f"az-decrypt --key-file {key} {at('load.enc')} | az-load >/dev/null"),
    ], f"{NAME}:old", "az-decrypt \\| az-load")
    ratio = found["az-decrypt \\| az-load"] / found["docker load < plain.tar"]
    rows.append(f"| az-decrypt \\| az-load against docker load < plain.tar | {ratio:.2f} | 1.08 | 1.02 |")


def alone(bench, rows):
    tar = bench.path("load.tar")
    side_by_side(bench, "load-alone", "Loading without decryption", "load", [
        ("docker load < plain.tar", f"docker load -q < {tar} >/dev/null"),
        ("az-load plain.tar", f"az-load {tar} >/dev/null"),
    ], f"{NAME}:old", "az-load plain.tar")
    rows.append(f"| peak of az-load, MiB | {peak(bench) / 1024:.1f} | 16 | |")


def through_file(bench, rows):
    at, key, temporary = bench.path, bench.key(), bench.path("load.tmp")
    found = side_by_side(bench, "load-file", "Loading, with and without a file between", "load", [
        ("az-decrypt \\| az-load", f"az-decrypt --key-file {key} {at('load.enc')} | az-load >/dev/null"),
        ("openssl enc -d > tmp && docker load -i tmp",
         f"openssl enc -d -aes-256-ctr {ZEROS} -bufsize 262144 -in {at('load.ssl')} > {temporary} && docker load -q -i {temporary} >/dev/null; "
         f"status=$?; rm {temporary}; exit $status"),
    ], f"{NAME}:old", "az-decrypt \\| az-load")
    ratio = found["az-decrypt \\| az-load"] / found["openssl enc -d > tmp && docker load -i tmp"]
    rows.append(f"| the same against openssl enc -d > tmp && docker load -i tmp | {ratio:.2f} | 0.95 | 0.85 |")


def update(bench, rows):
    at, key = bench.path, bench.key()
    run(f"az-load {at('load.tar')} >/dev/null")
    skip = f"az-load --skip-present-layers --expect-images {at('load-new.json')} >/dev/null"
    found = side_by_side(bench, "load-update", "An update with one new layer of 4 MiB", "load-new", [
        ("docker load of all", f"docker load -q < {at('load-new.tar')} >/dev/null"),
        ("all is decrypted, the new layer sent", f"az-decrypt --key-file {key} {at('load-new.enc')} | {skip}"),
        ("an archive without the base", f"az-decrypt --key-file {key} {at('load-small.enc')} | {skip}"),
    ], NEW, "all is decrypted, the new layer sent")
    for label in ["all is decrypted, the new layer sent", "an archive without the base"]:
        rows.append(f"| an update, {label}, against docker load of all | {found[label] / found['docker load of all']:.3f} | 0.5 | 0.1 |")
    run(f"az-load --skip-present-layers --expect-images {at('load-new.json')} {at('load-small.tar')} >/dev/null")
    figures = bench.hyperfine("load-present", [("az-load --present", f"az-inspect {at('load-new.enc')} | az-load --present >/dev/null")])
    rows.append(f"| az-inspect \\| az-load --present, all there, ms | {figures['az-load --present']['median'] * 1000:.0f} | | |")


def peak(bench):
    """The peak of az-load in KiB."""
    measured = bench.path("load.time")
    run(f"{clean(f'{NAME}:old', bench.path('load.enc'))}; "
        f"az-decrypt --key-file {bench.key()} {bench.path('load.enc')} | /usr/bin/time -f %M -o {measured} az-load >/dev/null")
    return int(measured.read_text())
