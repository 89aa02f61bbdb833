#!/usr/bin/env bash
# Replaces the key of a published resource. Only its small part, which contains the header,
# is transferred; the big part on the CDN stays the same, byte for byte.
#   rekey-published.sh FOLDER/NAME OLD-KEY NEW-KEY > new-receipt.json
# The user in AZ_CREDENTIALS_FILE must be allowed to upload.
#
# Somebody who has the old key and a copy of the old small part can still open the resource.
# To prevent this, seal the content again under the new key.
set -euo pipefail
umask 077
usage="rekey-published.sh FOLDER/NAME OLD-KEY NEW-KEY"
name=${1:?"$usage"} old=${2:?"$usage"} new=${3:?"$usage"}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
az-login -o "$work/jwt"
az-cdn-creds --token-file "$work/jwt" --uploader -o "$work/upload.json"
az-fetch --token-file "$work/jwt" --part published -- "$name" |
    az-rekey --key-file "$old" --add "$new" --replace |
    az-push --token-file "$work/jwt" --cdn-file "$work/upload.json" --small -- "$name"
