"""docker-registry on loopback, and the number of bytes of a `docker pull` from it."""
import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

# Docker uses registries in 127.0.0.0/8 without TLS.
HOST = "127.0.0.1"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def available():
    """Returns whether docker-registry is installed and an engine answers."""
    return (all(shutil.which(program) for program in ["docker", "docker-registry"])
            and subprocess.run(["docker", "info"], capture_output=True).returncode == 0)


@contextlib.contextmanager
def running():
    """Starts an empty registry; yields its host and port."""
    with tempfile.TemporaryDirectory() as directory, socket.socket() as free:
        free.bind((HOST, 0))
        address = f"{HOST}:{free.getsockname()[1]}"
        free.close()
        config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": f"{directory}/data"}}, "http": {"addr": address}}
        with open(f"{directory}/config.json", "w") as file:
            json.dump(config, file)
        server = subprocess.Popen(["docker-registry", "serve", f"{directory}/config.json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until_open(address)
            yield address
        finally:
            server.terminate()
            server.wait()


def wait_until_open(address):
    host, port = address.split(":")
    for _ in range(200):
        with socket.socket() as connection:
            if connection.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"docker-registry does not listen on {address}")


def pulled_bytes(archive, tag):
    """Returns the number of bytes that `docker pull` transfers if no layer is present: manifest, config and layers, which the
    engine compressed during the push. Loads `archive` into the engine, and removes its image `tag` afterwards."""
    with running() as address:
        name = f"{address}/{tag}"
        try:
            with open(archive, "rb") as file:
                subprocess.run(["docker", "load", "--quiet"], stdin=file, stdout=subprocess.DEVNULL, check=True)
            docker("tag", tag, name)
            docker("push", "--quiet", name)
        finally:
            subprocess.run(["docker", "image", "rm", "--force", tag, name], capture_output=True)
        repository, reference = tag.split(":")
        request = urllib.request.Request(f"http://{address}/v2/{repository}/manifests/{reference}", headers={"Accept": MANIFEST})
        with urllib.request.urlopen(request) as response:
            body = response.read()
    manifest = json.loads(body)
    return len(body) + manifest["config"]["size"] + sum(layer["size"] for layer in manifest["layers"])


def docker(*arguments):
    subprocess.run(["docker", *arguments], check=True, stdout=subprocess.DEVNULL)
