#!/usr/bin/env bash
# Fetches and opens a model. The small part comes from the API, sealed to this user and
# hardware; the big part comes from the CDN or, the second time, from the cache.
#   fetch-model.sh NAME KEY-FILE > model
set -euo pipefail
name=${1:?"fetch-model.sh NAME KEY-FILE"} key=${2:?"fetch-model.sh NAME KEY-FILE"}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
az-login -o "$dir/jwt"
az-cdn-creds --token-file "$dir/jwt" -o "$dir/cdn.json"
az-fetch --token-file "$dir/jwt" --cdn-file "$dir/cdn.json" -- "$name" | az-decrypt --key-file "$key"
