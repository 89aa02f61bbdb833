"""binaries as they are built daily and as they ship, and what it takes to start one"""
import os
import statistics
import subprocess
import time


def add_options(parser):
    parser.add_argument("--dist", action="store_true", help="size group: build and weigh the dist profile too")


def prepare(bench):
    if bench.options.dist:
        subprocess.run(["cargo", "build", "--profile", "dist", "--workspace", "--bins", "--locked", "--quiet"], check=True)


def measure(bench):
    rows = ["| binary | release KiB | dist KiB | `--version`, ms |", "| --- | ---: | ---: | ---: |"]
    found = {}
    for binary in sorted(bench.binaries.glob("az-*")):
        if binary.suffix or not os.access(binary, os.X_OK):
            continue
        dist = bench.binaries.parent / "dist" / binary.name
        found[binary.name] = {"release": kib(binary), "dist": kib(dist) if bench.options.dist and dist.exists() else None,
                              "start_ms": start_ms(binary)}
        row = found[binary.name]
        rows.append(f"| {binary.name} | {row['release']} | {row['dist'] or 'not built'} | {row['start_ms']:.1f} |")
    bench.figures["size"] = found
    bench.section("Binaries (stripped), and a whole process of each", rows)


def kib(binary):
    return binary.stat().st_size // 1024


def start_ms(binary):
    times = []
    for _ in range(20):
        started = time.perf_counter()
        subprocess.run([binary, "--version"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000
