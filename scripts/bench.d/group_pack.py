"""packed content on a real image and a real model: bytes, time and memory against zstd, gzip, age and a registry"""
import shutil
import subprocess
from pathlib import Path

import registry
import sample
from common import MIB, run
from group_seal import SINK, recipient
from plots import plot

LEVELS = "1,3,6,9,12,15"
# Limit of the peak memory of az-encrypt and az-decrypt, in MiB.
PEAK_BAR = 32
TAG = sample.TAG


def add_options(parser):
    parser.add_argument("--levels", default=LEVELS, metavar="N,...", help=f"pack group: levels to compare ({LEVELS})")
    parser.add_argument("--before", type=Path, metavar="DIR", help="pack group: filters of a build without packing, measured side by side with --raw")


def prepare(bench):
    if lacking(bench):
        return
    sample.build(sample_dir(bench))
    at, key, app, model = bench.path, bench.key(), image(bench), weights(bench)
    for name, options, source in [("app.enc", "", app), ("app-3.enc", "--level 3", app), ("app-raw.enc", "--raw", app),
                                  ("model.enc", "", model), ("model-raw.enc", "--raw", model)]:
        run(f"az-encrypt --key-file {key} {options} {source} > {at(name)}")
    for level in [3, 9]:
        run(f"zstd -q -{level} -T2 -c {app} | age -r {recipient(bench)} > {at(f'app-{level}.zst.age')}")
    run(f"age -r {recipient(bench)} {app} > {at('app.age')}")


def lacking(bench):
    """Returns the missing requirement of this group, or None."""
    if "--level" not in run("az-encrypt --help"):
        return "az-encrypt has no --level"
    missing = [program for program in ["age", "zstd", "gzip"] if not shutil.which(program)]
    if missing:
        return f"apt-get install {' '.join(missing)}"
    return sample.lacking(sample_dir(bench))


def sample_dir(bench):
    return bench.out / "sample"


def image(bench):
    return sample_dir(bench) / "app.tar"


def weights(bench):
    return sample_dir(bench) / "model.safetensors"


def mib(path):
    return path.stat().st_size / MIB


def measure(bench):
    missing = lacking(bench)
    if missing:
        bench.section("Packed content", [f"skipped: {missing}"])
        return
    bars = []
    for part in [first_install, sealing, opening, engine, raw, model, memory]:
        part(bench, bars)
    levels(bench)
    bench.section("Packed content against the bars", ["| what | against | measured | bar |", "| --- | --- | ---: | ---: |", *bars])


def bar(what, peer, figure, wanted):
    return f"| {what} | {peer} | {figure:.2f} | {wanted} |"


def first_install(bench, bars):
    """Bytes of a first install."""
    app, age = image(bench), f"age -r {recipient(bench)}"
    count = lambda line: int(run(f"{line} | wc -c"))
    found = {
        "docker save \\| age": count(f"{age} {app}"),
        "docker save \\| gzip \\| age": count(f"gzip -c {app} | {age}"),
        "docker save \\| zstd -3 \\| age": bench.path("app-3.zst.age").stat().st_size,
        "docker save \\| zstd -9 \\| age": bench.path("app-9.zst.age").stat().st_size,
        "az-encrypt --raw": bench.path("app-raw.enc").stat().st_size,
        "az-encrypt --level 3": bench.path("app-3.enc").stat().st_size,
        "az-encrypt": bench.path("app.enc").stat().st_size,
    }
    pulled = registry.pulled_bytes(app, TAG) if registry.available() else None
    if pulled:
        found = {"docker pull (not sealed)": pulled, **found}
        bars.append(bar("bytes of az-encrypt", "docker pull", found["az-encrypt"] / pulled, "at most 0.85"))
    bars.append(bar("bytes of az-encrypt", "zstd -9 \\| age", found["az-encrypt"] / found["docker save \\| zstd -9 \\| age"], ""))
    bench.figures["pack-bytes"] = found
    rows = ["| transferred | MiB | of docker pull |", "| --- | ---: | ---: |"]
    rows += [f"| {label} | {size / MIB:.1f} | {f'{size / pulled:.3f}' if pulled else 'no engine or registry'} |" for label, size in found.items()]
    bench.section(f"First install of an image of {mib(app):.0f} MiB", rows)


def sealing(bench, bars):
    app, key, age = image(bench), bench.key(), f"age -r {recipient(bench)}"
    commands = [("az-encrypt", f"az-encrypt --key-file {key} {app} {SINK}"),
                ("zstd -9 -T2 \\| age", f"zstd -q -9 -T2 -c {app} | {age} {SINK}"),
                ("az-encrypt from a pipe", f"cat {app} | az-encrypt --key-file {key} {SINK}"),
                ("az-encrypt --level 3", f"az-encrypt --key-file {key} --level 3 {app} {SINK}"),
                ("zstd -3 -T2 \\| age", f"zstd -q -3 -T2 -c {app} | {age} {SINK}")]
    figures = side_by_side(bench, "pack-seal", f"Packing and sealing {mib(app):.0f} MiB into a pipe", commands, "az-encrypt", mib(app))
    for ours, peer in [("az-encrypt", "zstd -9 -T2 \\| age"), ("az-encrypt --level 3", "zstd -3 -T2 \\| age")]:
        bars.append(bar(f"speed of {ours}", peer, figures[peer]["median"] / figures[ours]["median"], "above 1"))


def opening(bench, bars):
    at, key, app = bench.path, bench.key(), image(bench)
    unpack = f"age -d -i {at('age.key')}"
    commands = [("az-decrypt", f"az-decrypt --key-file {key} {at('app.enc')} {SINK}"),
                ("age -d \\| zstd -d", f"{unpack} {at('app-9.zst.age')} | zstd -q -d {SINK}"),
                ("az-decrypt --threads 1", f"az-decrypt --threads 1 --key-file {key} {at('app.enc')} {SINK}"),
                ("az-decrypt from a pipe", f"cat {at('app.enc')} | az-decrypt --key-file {key} {SINK}"),
                ("az-decrypt --verify-only", f"az-decrypt --verify-only --key-file {key} {at('app.enc')}"),
                ("az-decrypt, level 3", f"az-decrypt --key-file {key} {at('app-3.enc')} {SINK}"),
                ("age -d \\| zstd -d, level 3", f"{unpack} {at('app-3.zst.age')} | zstd -q -d {SINK}")]
    figures = side_by_side(bench, "pack-open", f"Opening and unpacking {mib(app):.0f} MiB into a pipe", commands, "az-decrypt", mib(app))
    bars.append(bar("speed of az-decrypt", "age -d \\| zstd -d", figures["age -d \\| zstd -d"]["median"] / figures["az-decrypt"]["median"], "2"))


def engine(bench, bars):
    if not registry.available():
        bench.section("Packed content into the engine", ["skipped: no container engine"])
        return
    key, app, sealed = bench.key(), image(bench), bench.path("app.enc")
    commands = [("docker load", f"docker load -q < {app} > /dev/null"),
                ("az-decrypt \\| docker load", f"az-decrypt --key-file {key} {sealed} | docker load -q > /dev/null"),
                ("az-decrypt \\| az-load", f"az-decrypt --key-file {key} {sealed} | az-load > /dev/null"),
                ("az-decrypt", f"az-decrypt --key-file {key} {sealed} {SINK}")]
    remove = f"docker image rm -f {TAG} >/dev/null 2>&1; sync; cat {app} {sealed} >/dev/null"
    try:
        figures = side_by_side(bench, "pack-engine", f"Loading {mib(app):.0f} MiB into the engine", commands, "az-decrypt \\| docker load", mib(app),
                               prepare=remove, warmup=0)
    finally:
        subprocess.run(["docker", "image", "rm", "-f", TAG], capture_output=True)
    bars.append(bar("az-decrypt \\| docker load, time", "docker load of the plain archive",
                    figures["az-decrypt \\| docker load"]["median"] / figures["docker load"]["median"], "1"))
    bars.append(bar("speed of az-decrypt", "docker load", figures["docker load"]["median"] / figures["az-decrypt"]["median"], "above 1"))


def raw(bench, bars):
    """Sealing and opening without compression, against a plain copy."""
    at, key, app, age = bench.path, bench.key(), image(bench), f"age -r {recipient(bench)}"
    before = bench.options.before and bench.options.before.absolute()
    sealed = [("az-encrypt --raw", f"az-encrypt --raw --key-file {key} {app} {SINK}"),
              ("cat f \\| cat", f"cat {app} {SINK}"), ("age -e", f"{age} {app} {SINK}")]
    opened = [("az-decrypt of --raw", f"az-decrypt --key-file {key} {at('app-raw.enc')} {SINK}"),
              ("cat f \\| cat", f"cat {app} {SINK}"), ("age -d", f"age -d -i {at('age.key')} {at('app.age')} {SINK}")]
    if before:
        sealed.append(("az-encrypt before", f"{before}/az-encrypt --key-file {key} {app} {SINK}"))
        opened.append(("az-decrypt before", f"{before}/az-decrypt --key-file {key} {at('app-raw.enc')} {SINK}"))
    for name, title, commands in [("pack-raw-seal", "Sealing", sealed), ("pack-raw-open", "Opening", opened)]:
        ours = commands[0][0]
        figures = side_by_side(bench, name, f"{title} {mib(app):.0f} MiB without compression", commands, ours, mib(app))
        if before:
            bars.append(bar(f"speed of {ours}", "the earlier build", figures[commands[-1][0]]["median"] / figures[ours]["median"], "1"))


def model(bench, bars):
    """Cost of packing float weights, which hardly shrink."""
    at, key, file = bench.path, bench.key(), weights(bench)
    names = [("packed", "", "model.enc"), ("raw", "--raw", "model-raw.enc")]
    commands = [(f"az-encrypt, {name}", f"az-encrypt {options} --key-file {key} {file} {SINK}") for name, options, _ in names]
    commands += [(f"az-decrypt, {name}", f"az-decrypt --key-file {key} {at(sealed)} {SINK}") for name, _, sealed in names]
    commands.append(("zstd -9 -T2 \\| age", f"zstd -q -9 -T2 -c {file} | age -r {recipient(bench)} {SINK}"))
    figures = side_by_side(bench, "pack-model", f"A model of float weights, {mib(file):.0f} MiB", commands, "az-encrypt, raw", mib(file))
    sizes = {name: at(sealed).stat().st_size for name, _, sealed in names}
    sizes["zstd -9 \\| age"] = int(run(f"{commands[-1][1].removesuffix(SINK)} | wc -c"))
    bench.figures["pack-model-bytes"] = sizes
    rows = ["| sealed | MiB | of raw |", "| --- | ---: | ---: |"]
    rows += [f"| {name} | {size / MIB:.1f} | {size / sizes['raw']:.3f} |" for name, size in sizes.items()]
    bench.section("Bytes of the model", rows)
    bars.append(bar("az-encrypt of the model, time", "--raw", figures["az-encrypt, packed"]["median"] / figures["az-encrypt, raw"]["median"], ""))


def memory(bench, bars):
    at, key, app = bench.path, bench.key(), image(bench)
    commands = {
        "az-encrypt": f"az-encrypt --key-file {key} {app}",
        "az-encrypt from a pipe": f"az-encrypt --key-file {key}",
        "az-encrypt --level 3": f"az-encrypt --level 3 --key-file {key} {app}",
        "az-encrypt --raw": f"az-encrypt --raw --key-file {key} {app}",
        "az-decrypt": f"az-decrypt --key-file {key} {at('app.enc')}",
        "az-decrypt from a pipe": f"az-decrypt --key-file {key}",
        "az-decrypt of --raw": f"az-decrypt --key-file {key} {at('app-raw.enc')}",
        "zstd -9 -T2": f"zstd -q -9 -T2 -c {app}",
        "zstd -d": f"zstd -q -d -c {at('app.zst')}",
    }
    run(f"age -d -i {at('age.key')} {at('app-9.zst.age')} > {at('app.zst')}")
    inputs = {"az-encrypt from a pipe": app, "az-decrypt from a pipe": at("app.enc")}
    found = {}
    for label, command in commands.items():
        source = f"cat {inputs[label]} | " if label in inputs else ""
        run(f"{source}/usr/bin/time -f %M -o {at('pack.peak')} {command} {SINK}")
        found[label] = int(at("pack.peak").read_text()) / 1024
    at("app.zst").unlink()
    bench.figures["pack-peak"] = found
    rows = [f"| {label} | {peak:.1f} |" for label, peak in found.items()]
    bench.section(f"Peak memory with {mib(app):.0f} MiB", ["| command | MiB |", "| --- | ---: |", *rows])
    for name in ["az-encrypt", "az-decrypt"]:
        bars.append(bar(f"peak of {name}, MiB", "", max(peak for label, peak in found.items() if label.startswith(name)), f"at most {PEAK_BAR}"))


def levels(bench):
    key, app = bench.key(), image(bench)
    chosen = [int(level) for level in bench.options.levels.split(",")]
    line = lambda level: f"az-encrypt --level {level} --key-file {key} {app}"
    # The timed runs count the bytes, too.
    commands = [(f"level {level}", f"set -o pipefail; {line(level)} | wc -c > {bench.path(f'level-{level}.size')}") for level in chosen]
    figures = bench.hyperfine("pack-levels", commands, runs=min(3, bench.options.runs), warmup=0)
    rows = ["| level | MiB | of docker save | median s | MiB/s | CPU s |", "| ---: | ---: | ---: | ---: | ---: | ---: |"]
    points = []
    for level in chosen:
        figure, size = figures[f"level {level}"], int(bench.path(f"level-{level}.size").read_text()) / MIB
        points.append((level, size, figure["median"]))
        rows.append(f"| {level} | {size:.1f} | {size / mib(app):.3f} | {figure['median']:.2f} "
                    f"| {mib(app) / figure['median']:.0f} | {figure['cpu']:.1f} |")
    bench.section(f"az-encrypt by level, {mib(app):.0f} MiB", rows)
    plot(bench.out / "levels.svg", f"az-encrypt of an image of {mib(app):.0f} MiB, by level",
         [("MiB", [(level, size) for level, size, _ in points]), ("seconds", [(level, seconds) for level, _, seconds in points])], "level (log)")


def side_by_side(bench, name, title, commands, ours, size, **more):
    figures = bench.hyperfine(name, [(label, "set -o pipefail; " + command) for label, command in commands], **more)
    bench.table(title, figures, ours, size)
    return figures
