#!/usr/bin/env bash
# Keeps what each stage gave, so that any step can be repeated alone: here the
# decryption and the load, without another login or download.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
az-login -o "$dir/jwt"
az-fetch --token-file "$dir/jwt" key-fragment -o "$dir/server.frag"
az-join "$dir/server.frag" "$DEVICE_FRAGMENT" -o "$dir/key"

for attempt in first second; do
    az-decrypt --key-file "$dir/key" "$IMAGES" | ${SINK:-docker load}
    echo "$attempt attempt done"
done
