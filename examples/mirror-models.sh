#!/usr/bin/env bash
# Mirrors a folder of resources for a fleet that cannot reach the CDN: lists it,
# fetches what changed (the rest is in the cache), and checks every byte with the key.
# The files stay sealed, so any transport to the devices is fine, such as
#   rsync -a --exclude=.cache DIR/ device:/opt/azaion/
#
#   mirror-models.sh FOLDER DIR      prints one line of JSON for each file
#
# AZ_KEY_FILE is the file with the key.
set -euo pipefail
umask 077
folder=${1:?"mirror-models.sh FOLDER DIR"} dir=${2:?"mirror-models.sh FOLDER DIR"}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
az-login -o "$work/jwt"
az-cdn-creds --token-file "$work/jwt" -o "$work/cdn.json"
az-fetch --token-file "$work/jwt" -o "$work/list" -- list "$folder"
# The server chooses the names, and is not trusted with more than their order: any other form is
# refused, each ends with a NUL, and none is taken for an option.
jq -j --arg folder "$folder" '
    if .name | type == "string" and test("\\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\z") then "\($folder)/\(.name)\u0000"
    else error("the server lists a name that is not allowed: \(.name | tojson)") end' "$work/list" > "$work/names"
mapfile -d '' -t names < "$work/names"
[ ${#names[@]} -gt 0 ] || { echo "mirror-models.sh: $folder has no resources" >&2; exit 0; }

az-fetch --token-file "$work/jwt" --cdn-file "$work/cdn.json" --cache-dir "$dir/.cache" --output-dir "$dir" -- "${names[@]}"
for name in "${names[@]}"; do
    az-decrypt --verify-only -- "$dir/$name"
done
