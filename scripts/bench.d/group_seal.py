"""az-decrypt and az-encrypt --raw against age, rage, openssl, gpg and cat"""
import shutil

from common import MIB, run
from plots import barchart

SINK = "| cat > /dev/null"
# openssl is measured with several buffers; the best counts.
BUFFERS = [65536, 262144, 1048576]
ZEROS = f"-K {'00' * 32} -iv {'00' * 16}"


def prepare(bench):
    at, key, plain = bench.path, bench.key(), bench.plain(bench.options.size * MIB)
    run(f"az-encrypt --raw --key-file {key} {plain} > {at('plain.enc')}")
    run(f"az-encrypt --raw --suite ctr-hmac --key-file {key} {plain} > {at('plain.ctr')}")
    run(f"openssl enc -aes-256-ctr {ZEROS} -in {plain} -out {at('plain.ssl')}")
    if shutil.which("age"):
        run(f"age -r {recipient(bench)} {plain} > {at('plain.age')}")
    if shutil.which("gpg"):
        run(f"mkdir -p -m 700 {at('gpg')}; echo pass > {at('pass')}; {gpg(bench)} --yes --compress-algo none -c -o {at('plain.gpg')} {plain}")


def recipient(bench):
    """Returns the age recipient of age.key, which the first call creates."""
    run(f"[ -e {bench.path('age.key')} ] || age-keygen -o {bench.path('age.key')} 2>/dev/null")
    return run(f"age-keygen -y {bench.path('age.key')}").strip()


def gpg(bench):
    return (f"gpg --batch --quiet --homedir {bench.path('gpg')} --passphrase-file {bench.path('pass')} --pinentry-mode loopback")


def measure(bench):
    opened, sealed = opening(bench), sealing(bench)
    bars(bench, opened, sealed)
    size = bench.options.size
    values = [(name.replace("\\", ""), size / figure["median"]) for name, figure in opened.items() if "--verify-only" not in name]
    barchart(bench.out / "throughput.svg", f"Opening {size} MiB into a pipe, MiB/s", values)


def opening(bench):
    at, key, size = bench.path, bench.key(), bench.options.size
    commands = [
        ("az-decrypt", f"az-decrypt --key-file {key} {at('plain.enc')} {SINK}"),
        ("az-decrypt --threads 1", f"az-decrypt --threads 1 --key-file {key} {at('plain.enc')} {SINK}"),
        ("az-decrypt, CTR + HMAC", f"az-decrypt --key-file {key} {at('plain.ctr')} {SINK}"),
        ("az-decrypt, CTR + HMAC, --threads 1", f"az-decrypt --threads 1 --key-file {key} {at('plain.ctr')} {SINK}"),
        ("az-decrypt --verify-only", f"az-decrypt --verify-only --key-file {key} {at('plain.enc')}"),
        ("cat f \\| cat", f"cat {bench.plain(size * MIB)} {SINK}"),
    ]
    commands += [(f"openssl enc -d, {buffer // 1024} KiB", f"openssl enc -d -aes-256-ctr {ZEROS} -bufsize {buffer} -in {at('plain.ssl')} {SINK}")
                 for buffer in BUFFERS]
    commands += [(f"{peer} -d", f"{peer} -d -i {at('age.key')} {at('plain.age')} {SINK}") for peer in ["age", "rage"] if shutil.which(peer)]
    if shutil.which("gpg"):
        commands.append(("gpg -d", f"{gpg(bench)} -d {at('plain.gpg')} {SINK}"))
    figures = bench.hyperfine("decrypt", commands)
    bench.table(f"Opening {size} MiB into a pipe", figures, "az-decrypt", size)
    return figures


def sealing(bench):
    key, size = bench.key(), bench.options.size
    plain = bench.plain(size * MIB)
    commands = [
        ("az-encrypt", f"az-encrypt --raw --key-file {key} {plain} {SINK}"),
        ("az-encrypt --threads 1", f"az-encrypt --raw --threads 1 --key-file {key} {plain} {SINK}"),
        ("az-encrypt from a pipe", f"cat {plain} | az-encrypt --raw --key-file {key} {SINK}"),
        ("az-encrypt, CTR + HMAC", f"az-encrypt --raw --suite ctr-hmac --key-file {key} {plain} {SINK}"),
    ]
    commands += [(f"{peer} -e", f"{peer} -r {recipient(bench)} {plain} {SINK}") for peer in ["age", "rage"] if shutil.which(peer)]
    figures = bench.hyperfine("encrypt", commands)
    bench.table(f"Sealing {size} MiB into a pipe (--raw)", figures, "az-encrypt", size)
    return figures


def bars(bench, opened, sealed):
    best = min((name for name in opened if name.startswith("openssl")), key=lambda name: opened[name]["median"])
    bars = [
        ("az-decrypt", opened, "az-decrypt", "age -d", 2.5, 4),
        ("az-decrypt", opened, "az-decrypt", "rage -d", 4, 6),
        ("az-decrypt", opened, "az-decrypt", best, 1.5, 3),
        ("az-decrypt", opened, "az-decrypt", "cat f \\| cat", 0.8, 1),
        ("CTR + HMAC", opened, "az-decrypt, CTR + HMAC", "age -d", 1, 1.4),
        ("az-encrypt", sealed, "az-encrypt", "age -e", 2.5, 4),
    ]
    rows = ["| what | measured | bar | moonshot |", "| --- | ---: | ---: | ---: |"]
    for what, figures, ours, peer, bar, moonshot in bars:
        ratio = f"{figures[peer]['median'] / figures[ours]['median']:.2f}" if peer in figures else "peer not installed"
        rows.append(f"| {what} against {peer} | {ratio} | {bar} | {moonshot} |")
    bench.section("Against the bars", rows)
