#!/usr/bin/env bash
# For a device without a network: writes resources and the server's fragment to a stick,
# sealed by the server to this user and that device's hardware.
#   AZ_HWID_FILE=device.hwid stick-export.sh STICK NAME...
# `az-hwid > device.hwid` on the device prints its hardware id. If the server does not seal its
# fragment, the fragment is not exported. A lost stick opens nothing without the password,
# the hardware id and the device's fragment.
set -euo pipefail
umask 077
stick=${1:?"stick-export.sh STICK NAME..."}
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
az-login -o "$work/jwt"
az-cdn-creds --token-file "$work/jwt" -o "$work/cdn.json"
az-fetch --token-file "$work/jwt" --cdn-file "$work/cdn.json" --export "$stick" -- key-fragment "$@"
