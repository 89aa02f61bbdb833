"""What every group of scripts/bench uses: one hyperfine call, tables, the report."""
import datetime
import json
import os
import platform
import subprocess

MIB = 1 << 20


class Bench:
    """The options, the folder of the results and of the release binaries, and what was found so far."""

    def __init__(self, options, out, binaries):
        self.options, self.out, self.binaries = options, out, binaries
        self.sections, self.figures = [], {}
        self.dir = out / "inputs"
        self.dir.mkdir(exist_ok=True, mode=0o700)

    def path(self, name):
        """The path of an input."""
        return self.dir / name

    def key(self):
        """The path of a key line, the same for every group."""
        key, fragments = self.path("key"), self.path("frag")
        if not key.exists():
            run(f"umask 077; rm -rf {fragments}; mkdir {fragments}; az-split --new-key --output-dir {fragments}"
                f" && az-join {fragments}/*.frag -o {key}")
        return key

    def plain(self, size):
        """The path of a file of `size` bytes that do not compress."""
        plain = self.path(f"plain-{size}")
        if not plain.exists():
            run(f"openssl enc -aes-256-ctr -K {'11' * 32} -iv {'22' * 16} -in /dev/zero 2>/dev/null | head -c {size} > {plain}.part; "
                f"mv {plain}.part {plain}")
        return plain

    def hyperfine(self, name, commands, runs=None, prepare=None, warmup=1):
        """Medians and CPU seconds of shell commands, pairs of a label and a line, measured in one call; the line
        `prepare` runs before each and is not measured."""
        export = self.out / f"{name}.json"
        call = ["hyperfine", "--style", "none", "--warmup", str(warmup), "--runs", str(runs or self.options.runs), "--shell", "bash",
                "--export-json", str(export)]
        if prepare:
            call += ["--prepare", prepare]
        for label, command in commands:
            call += ["--command-name", label, command]
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
        results = json.loads(export.read_text())["results"]
        figures = {r["command"]: {"median": r["median"], "min": r["min"], "max": r["max"], "cpu": r["user"] + r["system"]}
                   for r in results}
        self.figures[name] = figures
        return figures

    def table(self, title, figures, ours, size):
        """Adds what hyperfine() found for `size` MiB to the report; the last column is against the label `ours`."""
        base = figures[ours]["median"]
        rows = ["| command | median s | MiB/s | CPU s | against ours |", "| --- | ---: | ---: | ---: | ---: |"]
        for name, figure in figures.items():
            rows.append(f"| {name} | {figure['median']:.3f} | {size / figure['median']:.0f} | {figure['cpu']:.2f} "
                        f"| {figure['median'] / base:.2f} |")
        self.section(title, rows)

    def section(self, title, rows):
        """Adds a table, lines of Markdown, to the report."""
        self.sections.append(f"### {title}\n\n" + "\n".join(rows))

    def write(self):
        """Prints the report, and keeps it beside the figures."""
        cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
        head = (f"{datetime.date.today()}, {os.cpu_count()} cores ({cpu or platform.machine()}), "
                f"{platform.system()} {platform.release().split('-')[0]}")
        text = f"Measured {head}; medians of {self.options.runs} runs.\n\n" + "\n\n".join(self.sections) + "\n"
        (self.out / "bench.md").write_text(text)
        (self.out / "bench.json").write_text(json.dumps(self.figures, indent=1) + "\n")
        print(text, end="")


def run(command):
    """Standard output of a bash line; one that fails is an exception, but for what only lost its reader."""
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], check="| head -c" not in command,
                          stdout=subprocess.PIPE, text=True).stdout
