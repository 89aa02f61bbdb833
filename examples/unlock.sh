#!/usr/bin/env bash
# From credentials to images, in one line. The key exists only in the pipes.
set -euo pipefail

# Split at blanks; no name in it is expanded.
read -r -a sink <<< "${SINK:-docker load}"
az-login | az-fetch key-fragment | az-join -- - "$DEVICE_FRAGMENT" | az-decrypt --key-file - -- "$IMAGES" | "${sink[@]}"
