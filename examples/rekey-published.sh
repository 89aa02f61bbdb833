#!/usr/bin/env bash
# Replaces the key of a published resource. Only its small part travels: the header is
# in it, and the big part on the CDN stays as it is, byte for byte.
#   rekey-published.sh RECEIPT OLD-KEY NEW-KEY > new-receipt.json
# RECEIPT is what az-push printed, or az-split --parts with --name; the user in
# AZ_CREDENTIALS_FILE may upload.
#
# Who has the old key and a copy of the old small part can open the resource as before.
# To take that away, seal the content again under the new key.
set -euo pipefail
umask 077
usage="rekey-published.sh RECEIPT OLD-KEY NEW-KEY"
receipt=${1:?"$usage"} old=${2:?"$usage"} new=${3:?"$usage"}
name=$(jq -r .name "$receipt")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
az-login -o "$work/jwt"
# What is published is a line, the receipt of both parts, and the small part.
jq -c '{parts: 1, name, small, big}' "$receipt" > "$work/published"
az-fetch --token-file "$work/jwt" --part small "$name" >> "$work/published"
az-rekey --key-file "$old" --add "$new" --replace < "$work/published" > "$work/rekeyed"

# The token goes to curl in a file: arguments are there for everyone to see.
printf 'Authorization: Bearer %s\n' "$(cat "$work/jwt")" > "$work/header"
curl --silent --show-error --fail --noproxy '*' --header "@$work/header" --output /dev/null \
    --form "data=@$work/rekeyed;filename=${name##*/}" "$AZ_API_URL/resources/${name%/*}"
head -n 1 "$work/rekeyed"
