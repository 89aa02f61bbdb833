#!/bin/bash
# Updates resources, each completely or not at all, still sealed; prints "changed" if one was updated.
#   az-models.sh DIRECTORY NAME...
set -euo pipefail
folder=$1
shift

umask 077
secrets=$(mktemp -d "$RUNTIME_DIRECTORY/models.XXXXXX")
trap 'rm -rf "$secrets"' EXIT
digests() { (cd -- "$folder" && sha256sum -- "$@" 2>/dev/null) || true; }

before=$(digests "$@")
az-login -o "$secrets/jwt"
az-cdn-creds --token-file "$secrets/jwt" -o "$secrets/cdn.json"
az-fetch --token-file "$secrets/jwt" --cdn-file "$secrets/cdn.json" --output-dir "$folder" -- "$@"
[ "$before" = "$(digests "$@")" ] || echo changed
