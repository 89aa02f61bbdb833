"""A server on loopback with one resource, and what the filters and their peers need to use it."""
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

from common import run

NAME = "models/bench"
SMALL = b"the small part, which no peer fetches\n"
HARDWARE = "ab" * 32


class Site:
    """az-devserver with the big part `big` under NAME; the methods give command lines and their environment."""

    def __init__(self, folder, big, address="127.0.0.1", at_server=(), at_client=()):
        self.folder, self.at_client = folder, " ".join(at_client)
        folder.mkdir(exist_ok=True)
        self.publish(big)
        urls = folder / "urls"
        urls.unlink(missing_ok=True)
        command = [*at_server, "az-devserver", "--seed", str(folder / "seed"), "--bind", address, "--urls-file", str(urls)]
        self.server = self.store = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not urls.exists():
            if self.server.poll() is not None:
                sys.exit("bench: az-devserver did not start")
            time.sleep(0.05)
        self.urls = json.loads(urls.read_text())
        self.log_in()

    def publish(self, big):
        """Writes the folder that the server is seeded from."""
        seed = self.folder / "seed"
        shutil.rmtree(seed, ignore_errors=True)
        for folder in ["resources", "cdn"]:
            (seed / folder / NAME).parent.mkdir(parents=True)
        os.link(big, seed / "cdn" / f"{NAME}.big")
        receipt = {"parts": 1, "name": NAME, "small": self.part(SMALL), "big": {"size": big.stat().st_size, "sha256": sha256(big)}}
        line = json.dumps(receipt, separators=(",", ":")).encode() + b"\n"
        (seed / "resources" / NAME).write_bytes(line + SMALL)
        user = {"id": "0b7a3f9e-52c6-4f0e-9a57-2f8f4c1d6e35", "email": "bench@example.com", "password": "bench",
                "role": ["Operator", "ResourceUploader"]}
        (seed / "users.json").write_text(json.dumps([user]))
        self.secret("credentials", json.dumps({"email": user["email"], "password": user["password"]}))
        self.secret("hwid", HARDWARE + "\n")

    @staticmethod
    def part(content):
        return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def secret(self, name, text):
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)

    def log_in(self):
        """Token and keys of the store, for our filters and for those that know AWS's variables."""
        os.environ.update(AZ_API_URL=self.urls["api"], AZ_CREDENTIALS_FILE=str(self.folder / "credentials"),
                          AZ_HWID_FILE=str(self.folder / "hwid"))
        self.secret("jwt", run(f"{self.at_client} az-login"))
        self.secret("cdn", run(f"{self.at_client} az-cdn-creds --uploader --token-file {self.folder / 'jwt'}"))
        cdn = json.loads((self.folder / "cdn").read_text())
        self.key, self.secret_key = cdn["uploader_access_key"], cdn["uploader_access_secret"]
        os.environ.update(AWS_ACCESS_KEY_ID=self.key, AWS_SECRET_ACCESS_KEY=self.secret_key, AWS_REGION="us-east-1",
                          AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true",
                          AWS_RESPONSE_CHECKSUM_VALIDATION="when_required")
        self.endpoint, self.bucket = cdn["host"], cdn["bucket"]

    def access(self):
        return f"--token-file {self.folder / 'jwt'} --cdn-file {self.folder / 'cdn'}"

    def fetch(self, options=""):
        """The big part to standard output."""
        return f"{self.at_client} az-fetch {self.access()} --part big {options} {NAME}"

    def curl(self):
        """The same by one signed GET."""
        self.secret("curlrc", f'user = "{self.key}:{self.secret_key}"\n')
        return (f"{self.at_client} curl -sSf --noproxy '*' -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' --aws-sigv4 aws:amz:us-east-1:s3 "
                f"--config {self.folder / 'curlrc'} {self.endpoint}/{self.bucket}/{NAME}.big")

    def s5cmd(self, verb, name=f"{NAME}.big"):
        return f"{self.at_client} s5cmd --endpoint-url {self.endpoint} {verb} s3://{self.bucket}/{name}"

    def aws_read(self, name=f"{NAME}.big"):
        return f"{self.at_client} aws --endpoint-url {self.endpoint} s3 cp s3://{self.bucket}/{name} -"

    def aws_write(self, name):
        return f"aws --endpoint-url {self.endpoint} s3 cp - s3://{self.bucket}/{name}"

    def push(self, options=""):
        """Publishes standard input."""
        return f"az-push {self.access()} --replace {options} models/pushed"

    def move_to(self, store, endpoint):
        """Another process is the store from here on: `endpoint`, which is up when it answers."""
        self.store, self.endpoint = store, endpoint
        cdn = json.loads((self.folder / "cdn").read_text())
        self.secret("cdn", json.dumps({**cdn, "host": endpoint}))
        run(f"curl -sS --noproxy '*' --retry 50 --retry-delay 0 --retry-connrefused -o /dev/null {endpoint}")

    def cpu(self):
        """CPU seconds of the store so far."""
        with open(f"/proc/{self.store.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.server.terminate()
        self.server.wait()


@contextlib.contextmanager
def site(*args, **options):
    """A Site that stops in the end."""
    running = Site(*args, **options)
    try:
        yield running
    finally:
        running.stop()


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
