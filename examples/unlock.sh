#!/usr/bin/env bash
# Unlocks an archive in one pipeline, from credentials to images. The key exists only in the pipes.
set -euo pipefail

# Split at blanks; no name in it is expanded.
read -r -a sink <<< "${SINK:-docker load}"
az-login | az-fetch key-fragment | az-join -- - "$DEVICE_FRAGMENT" | az-decrypt --key-file - -- "$IMAGES" | "${sink[@]}"
