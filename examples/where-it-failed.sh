#!/usr/bin/env bash
# Finds the stage that was the cause. Every stage appends its events to its own file in
# AZ_RUN_DIR; az-status reads them and names the first cause.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
printf '{"email":"operator@example.com","password":"not the password"}' > "$dir/credentials.json"
chmod 600 "$dir/credentials.json"

export AZ_RUN_DIR=$dir AZ_RUN=example AZ_EVENTS=off
az-login --credentials-file "$dir/credentials.json" 2>/dev/null |
    az-fetch key-fragment 2>/dev/null |
    az-join -o "$dir/key" -- - "$DEVICE_FRAGMENT" 2>/dev/null || true

status=0
az-status --run-dir "$dir" || status=$?
echo "its exit status: $status"
