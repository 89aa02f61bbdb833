#!/usr/bin/env bash
# Opens a resource from the stick of stick-export.sh, on the device. Needs no network and no
# token; the key is joined from the fragment on the stick and the device's own.
#   stick-open.sh STICK NAME > model
set -euo pipefail
stick=${1:?"stick-open.sh STICK NAME"} name=${2:?"stick-open.sh STICK NAME"}

az-fetch --from "$stick" -- "$name" |
    az-decrypt --key-fd 3 3< <(az-fetch --from "$stick" key-fragment | az-join -- - "$DEVICE_FRAGMENT")
