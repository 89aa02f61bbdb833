#!/usr/bin/env bash
# Mirrors a folder of resources for a fleet that cannot reach the CDN: lists it,
# fetches what changed (the rest is in the cache), and checks every byte with the key.
# The files stay sealed, so any way to the devices will do, such as
#   rsync -a --exclude=.cache DIR/ device:/opt/azaion/
#
#   mirror-models.sh FOLDER DIR      prints a line of JSON for each file
#
# AZ_KEY_FILE has the key.
set -euo pipefail
umask 077
folder=${1:?"mirror-models.sh FOLDER DIR"} dir=${2:?"mirror-models.sh FOLDER DIR"}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
az-login -o "$work/jwt"
az-cdn-creds --token-file "$work/jwt" -o "$work/cdn.json"
az-fetch --token-file "$work/jwt" list "$folder" -o "$work/list"
mapfile -t names < <(jq -r --arg folder "$folder" '"\($folder)/\(.name)"' "$work/list")

az-fetch --token-file "$work/jwt" --cdn-file "$work/cdn.json" --cache-dir "$dir/.cache" --output-dir "$dir" "${names[@]}"
for name in "${names[@]}"; do
    az-decrypt --verify-only "$dir/$name"
done
