#!/usr/bin/env bash
# Keeps the output of each stage, so that any step can be repeated alone: here decryption
# and loading, without another login or download.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
az-login -o "$dir/jwt"
az-fetch --token-file "$dir/jwt" key-fragment -o "$dir/server.frag"
az-join -o "$dir/key" -- "$dir/server.frag" "$DEVICE_FRAGMENT"

# Split at blanks; no name in it is expanded.
read -r -a sink <<< "${SINK:-docker load}"
for attempt in first second; do
    az-decrypt --key-file "$dir/key" -- "$IMAGES" | "${sink[@]}"
    echo "$attempt attempt done"
done
