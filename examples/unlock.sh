#!/usr/bin/env bash
# From credentials to images, in one line. The key exists only in the pipes.
set -euo pipefail

az-login | az-fetch key-fragment | az-join - "$DEVICE_FRAGMENT" | az-decrypt --key-file - "$IMAGES" | ${SINK:-docker load}
