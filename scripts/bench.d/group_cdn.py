"""az-fetch and az-push against s5cmd, awscli and curl, with az-devserver or nginx on loopback"""
import contextlib
import shutil
import subprocess

from common import MIB, run
from loopback import site

SINK = " | cat > /dev/null"


def add_options(parser):
    parser.add_argument("--sweep", action="store_true", help="cdn and line groups: jobs and lengths side by side")


def prepare(bench):
    plain = bench.plain(bench.options.size * MIB)
    run(f"az-encrypt --raw --key-file {bench.key()} {plain} > {bench.path('plain.enc')}")


def measure(bench):
    big = bench.plain(bench.options.size * MIB)
    with site(bench.path("site"), big) as here:
        fetched = fetching(bench, here, "az-devserver")
        pushed = pushing(bench, here)
    with nginx(bench, big) as there:
        bars(bench, fetched, fetching(bench, there, "nginx") if there else {}, pushed)


def fetching(bench, here, server):
    size = bench.options.size
    commands = [("az-fetch", "", here.fetch(), SINK), ("az-fetch --jobs 1", "", here.fetch('--jobs 1'), SINK),
                ("curl (checks nothing)", "", here.curl(), SINK)]
    if shutil.which("s5cmd"):
        commands.append(("s5cmd cat", "", here.s5cmd('cat'), SINK))
    if shutil.which("aws"):
        commands.append(("aws s3 cp", "", here.aws_read(), SINK))
    figures = side_by_side(bench, here, f"fetch-{server}", commands)
    table(bench, f"Fetching {size} MiB from {server} into a pipe", figures, "az-fetch")
    if bench.options.sweep:
        sweep(bench, here, server)
    return figures


def sweep(bench, here, server):
    plans = [(1, "8M"), (2, "8M"), (4, "1M"), (4, "2M"), (4, "8M"), (8, "512K"), (8, "1M"), (8, "2M"), (16, "512K"), (16, "1M")]
    commands = [(f"az-fetch --jobs {jobs} --chunk {chunk}", "", here.fetch(f"--jobs {jobs} --chunk {chunk}"), SINK) for jobs, chunk in plans]
    figures = side_by_side(bench, here, f"fetch-sweep-{server}", commands)
    table(bench, f"az-fetch from {server}, by jobs and length of a range", figures, commands[0][0])


def pushing(bench, here):
    source, sink = f"cat {bench.path('plain.enc')} | ", " > /dev/null"
    commands = [("az-push", source, here.push(), sink)]
    if shutil.which("s5cmd"):
        commands.append(("s5cmd pipe", source, here.s5cmd("pipe", "pushed-by-s5cmd"), sink))
    if shutil.which("aws"):
        commands.append(("aws s3 cp -", source, here.aws_write("pushed-by-aws"), sink))
    figures = side_by_side(bench, here, "push", commands)
    table(bench, f"Pushing {bench.options.size} MiB from a pipe to az-devserver", figures, "az-push")
    if bench.options.sweep:
        plans = [(1, "8M"), (2, "8M"), (3, "5M"), (3, "8M"), (4, "5M"), (4, "8M"), (6, "5M")]
        commands = [(f"az-push --jobs {jobs} --part {part}", source, here.push(f"--jobs {jobs} --part {part}"), sink) for jobs, part in plans]
        sweep = side_by_side(bench, here, "push-sweep", commands)
        table(bench, "az-push to az-devserver, by jobs and length of a part", sweep, commands[0][0])
    return figures


def side_by_side(bench, here, name, commands):
    """What hyperfine finds of labels with a source, a client and a sink; and by one more run of each what the client
    alone takes, CPU seconds and peak in KiB, and the server's CPU seconds."""
    figures = bench.hyperfine(name, [(label, "set -o pipefail; " + source + client + sink) for label, source, client, sink in commands])
    measured = bench.path("client.time")
    for label, source, client, sink in commands:
        before = here.cpu()
        run(f"{source}/usr/bin/time -f %U,%S,%M -o {measured} {client}{sink}")
        user, system, peak = measured.read_text().split(",")
        figures[label].update(client_cpu=float(user) + float(system), peak=int(peak), server_cpu=here.cpu() - before)
    return figures


def table(bench, title, figures, ours):
    base = figures[ours]["median"]
    rows = ["| command | median s | MiB/s | CPU s, client | CPU s, server | peak MiB, client | against ours |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for name, figure in figures.items():
        rows.append(f"| {name} | {figure['median']:.3f} | {bench.options.size / figure['median']:.0f} | {figure['client_cpu']:.2f} "
                    f"| {figure['server_cpu']:.2f} | {figure['peak'] / 1024:.0f} | {figure['median'] / base:.2f} |")
    bench.section(title, rows)


def bars(bench, fetched, fetched_from_nginx, pushed):
    bars = [("az-fetch from az-devserver", fetched, "az-fetch", "s5cmd cat", 1, 1.5),
            ("az-fetch from az-devserver", fetched, "az-fetch", "aws s3 cp", 1, 1.5),
            ("az-fetch from nginx", fetched_from_nginx, "az-fetch", "s5cmd cat", 1, 1.5),
            ("az-push", pushed, "az-push", "s5cmd pipe", 1, 1.3)]
    rows = ["| what | against | measured | bar | moonshot |", "| --- | --- | ---: | ---: | ---: |"]
    for what, figures, ours, peer, bar, moonshot in bars:
        ratio = f"{figures[peer]['median'] / figures[ours]['median']:.2f}" if peer in figures else "not installed"
        rows.append(f"| {what} | {peer} | {ratio} | {bar} | {moonshot} |")
    for what, figures, bar in [("az-fetch", fetched, 64), ("az-push", pushed, 48)]:
        rows.append(f"| peak of {what}, MiB | | {figures[what]['peak'] / 1024:.1f} | {bar} | |")
    bench.section("Fetch and push against the bars", rows)


@contextlib.contextmanager
def nginx(bench, big):
    """The same object behind nginx, which spends next to nothing; None where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not program:
        yield None
        return
    with site(bench.path("site"), big) as here:
        folder = bench.path("nginx").absolute()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / here.bucket).symlink_to(bench.path("site").absolute() / "seed/cdn")
        address = "127.0.0.1:18099"
        (folder / "conf").write_text(f"""
            daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
            events {{}}
            http {{ access_log off; sendfile on; default_type application/octet-stream; client_body_temp_path {folder}/tmp;
                    proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp; uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
                    server {{ listen {address}; root {folder}; }} }}""")
        server = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "errors")])
        try:
            here.move_to(server, f"http://{address}")
            yield here
        finally:
            server.terminate()
            server.wait()
