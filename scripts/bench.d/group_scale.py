"""time and peak memory against size: zeros through az-encrypt --raw | az-decrypt"""
import subprocess
import sys
import time

from common import MIB
from plots import plot


def add_options(parser):
    parser.add_argument("--scale", default="0.0625,1,16,64", metavar="GIB,...", help="sizes of the scale group (0.0625,1,16,64)")


def measure(bench):
    rows = ["| size | seconds | MiB/s | az-encrypt peak KiB | az-decrypt peak KiB |", "| ---: | ---: | ---: | ---: | ---: |"]
    points = []
    for gib in map(float, bench.options.scale.split(",")):
        point = pipeline(bench, int(gib * 1024 * MIB))
        points.append(point)
        rows.append(f"| {label(gib)} | {point['seconds']:.2f} | {point['size'] / MIB / point['seconds']:.0f} "
                    f"| {point['az-encrypt']} | {point['az-decrypt']} |")
    bench.figures["scale"] = points
    bench.section("Time and memory against size: zeros through `az-encrypt --raw | az-decrypt`, nothing on disk", rows)
    line = lambda of: [(point["size"] / (1 << 30), of(point)) for point in points]
    plot(bench.out / "scale.svg", "Time and peak memory against size",
         [("seconds", line(lambda point: point["seconds"])),
          ("az-decrypt peak MiB", line(lambda point: point["az-decrypt"] / 1024))], "GiB (log)")


def pipeline(bench, size):
    key = str(bench.key())
    commands = [["head", "-c", str(size), "/dev/zero"], ["az-encrypt", "--raw", "--key-file", key],
                ["az-decrypt", "--key-file", key], ["wc", "-c"]]
    started, children, previous = time.monotonic(), [], subprocess.DEVNULL
    for command in commands:
        # A child of this process would begin with this process's peak; GNU time's is small.
        measured = ["/usr/bin/time", "-f", "%M", "-o", str(bench.path(command[0] + ".peak")), *command]
        child = subprocess.Popen(measured, stdin=previous, stdout=subprocess.PIPE)
        if previous is not subprocess.DEVNULL:
            previous.close()
        previous = child.stdout
        children.append((command[0], child))
    count = int(previous.read())
    point = {"size": size}
    for name, child in children:
        if child.wait() != 0:
            sys.exit(f"bench: {name} ended with {child.returncode}")
        point[name] = int(bench.path(name + ".peak").read_text())
    point["seconds"] = time.monotonic() - started
    if count != size:
        sys.exit(f"bench: {count} bytes came out of {size}")
    return point


def label(gib):
    return f"{gib:g} GiB" if gib >= 1 else f"{gib * 1024:g} MiB"
