"""The pipelines that a device runs: the unlock, and a model from API and CDN.

Not a part itself.
"""

from device import run

UNLOCK = 'az-login | az-fetch key-fragment | az-join - "$DEVICE" | az-decrypt --key-file - "$IMAGES"'
MODEL = """umask 077; az-login > "$HOME/jwt" && az-cdn-creds < "$HOME/jwt" > "$HOME/cdn" || exit
az-fetch --token-file "$HOME/jwt" --cdn-file "$HOME/cdn" --jobs 3 --chunk 64K models/yolo.onnx | az-decrypt --key-file "$KEY"
"""
# Statuses behind a link that breaks; 65 where an object is another than it was at first.
BROKEN_LINK = {"unlock": {69, 75, 76}, "model": {65, 69, 75, 76}}
# A client that loses no time over it.
HASTY = {"AZ_RETRIES": 4, "AZ_RETRY_WAIT": "0.02", "AZ_IDLE_TIMEOUT": 1}


class Lines:
    """The lines of one device, with its home in `home`."""

    def __init__(self, site, home, user=0, **env):
        home.mkdir(parents=True)
        files = {"KEY": "key", "DEVICE": "device.frag", "IMAGES": "images.tar.enc", "AZ_CREDENTIALS_FILE": f"credentials-{user}.json"}
        self.home, self.env = home, {**site.env, **{name: site.at(file) for name, file in files.items()}, **env}
        self.all = {"unlock": (UNLOCK, site.at("images.tar").read_bytes()), "model": (MODEL, site.at("model").read_bytes())}

    def run(self, name, **env):
        """Runs a line under az-status, whose status is that of the first cause; gives what was
        ran, and what is wrong with it: other bytes, or a status that a broken link is no reason for."""
        line, whole = self.all[name]
        words = ["az-status", "--", "bash", "-o", "pipefail", "-c", line]
        ran = run(words, timeout=600, home=self.home, **{**self.env, **env})
        if ran.status == 0:
            return ran, None if ran.out == whole else f"{name}: status 0 with other bytes: {ran}"
        if not whole.startswith(ran.out):
            return ran, f"{name}: bytes that are no prefix: {ran}"
        return ran, None if ran.status in BROKEN_LINK[name] else f"{name}: {ran}"
