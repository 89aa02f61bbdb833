"""az-fetch against curl over an emulated line: 50 ms there and back, 1 % of the packets lost; needs root"""
import contextlib
import os
import shutil
import subprocess
import sys

import line
from common import MIB
from group_cdn import SINK
from loopback import site

# Each way, in milliseconds; the part of the packets that is lost, each way.
DELAY_MS, LOSS = 25, 0.01


def add_options(parser):
    parser.add_argument("--line-size", type=int, default=16, metavar="MIB", help="line group: size of the object (16)")
    parser.add_argument("--line-runs", type=int, default=3, metavar="N", help="line group: runs of each command (3)")
    parser.add_argument("--controls", default="cubic,bbr", metavar="NAME,...", help="line group: congestion control (cubic,bbr)")


def prepare(bench):
    bench.plain(bench.options.line_size * MIB)


def measure(bench):
    if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
        bench.section("Over an emulated line", ["not measured: it needs root and /dev/net/tun"])
        return
    for control in bench.options.controls.split(","):
        with emulated(control) as inside, site(bench.path("site"), bench.plain(bench.options.line_size * MIB), line.SERVER[2],
                                               at_server=inside(line.SERVER), at_client=inside(line.CLIENT)) as here:
            compare(bench, here, control)


def compare(bench, here, control):
    size, runs = bench.options.line_size, bench.options.line_runs
    commands = [("az-fetch", here.fetch() + SINK), ("curl", here.curl() + SINK)]
    if shutil.which("s5cmd"):
        commands.append(("s5cmd cat", here.s5cmd('cat') + SINK))
    if bench.options.sweep:
        plans = [(4, "1M"), (4, "8M"), (8, "512K"), (8, "1M"), (8, "2M"), (8, "4M"), (16, "512K"), (16, "1M"), (16, "2M")]
        commands += [(f"az-fetch --jobs {jobs} --chunk {chunk}", here.fetch(f"--jobs {jobs} --chunk {chunk}") + SINK) for jobs, chunk in plans]
    figures = bench.hyperfine(f"line-{control}", [(label, "set -o pipefail; " + command) for label, command in commands], runs)
    ours = figures["az-fetch"]["median"]
    rows = ["| command | median s | least | most | MiB/s | against ours |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, figure in figures.items():
        rows.append(f"| {name} | {figure['median']:.1f} | {figure['min']:.1f} | {figure['max']:.1f} "
                    f"| {size / figure['median']:.2f} | {figure['median'] / ours:.2f} |")
    bench.section(f"Fetching {size} MiB over an emulated line: {2 * DELAY_MS} ms there and back, {LOSS:.0%} of the packets lost each way, "
                  f"{control}, {runs} runs", rows)


@contextlib.contextmanager
def emulated(control):
    """The line, and what puts a command at one end of it."""
    process = subprocess.Popen([sys.executable, line.__file__, str(DELAY_MS), str(LOSS), control], stdout=subprocess.PIPE)
    try:
        if process.stdout.readline() != b"up\n":
            sys.exit("bench: the emulated line did not come up")
        yield lambda end: ["ip", "netns", "exec", end[0]]
    finally:
        process.terminate()
        process.wait()
        line.remove()
