#!/usr/bin/env bash
# For a device without a network: puts resources and the server's fragment on a stick,
# sealed as the server seals them, to this user and that device's hardware.
#   AZ_HWID_FILE=device.hwid stick-export.sh STICK NAME...
# `az-hwid > device.hwid` on the device gives its hardware id. The server must seal its
# fragment, or it is not exported. A stick that is lost opens nothing without the
# password, the hardware id and the device's fragment.
set -euo pipefail
umask 077
stick=${1:?"stick-export.sh STICK NAME..."}
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
az-login -o "$work/jwt"
az-cdn-creds --token-file "$work/jwt" -o "$work/cdn.json"
az-fetch --token-file "$work/jwt" --cdn-file "$work/cdn.json" --export "$stick" -- key-fragment "$@"
