#!/usr/bin/env bash
# Updates the sealed archive IMAGES to the published release: with patches, if there are some from
# its release on, otherwise as a whole. The archive is replaced whole or not at all; unlock.sh or
# az-unlock loads it afterwards.
#   update.sh NAME
#   update.sh images/app
# publish-from-ci.sh publishes a patch as NAME.from-RELEASE-ID.
set -euo pipefail
umask 077
name=${1:?"update.sh NAME"}
case $IMAGES in -*) IMAGES=./$IMAGES ;; esac

dir=$(mktemp -d)
trap 'rm -rf -- "$dir"' EXIT
az-login -o "$dir/jwt"
az-cdn-creds --token-file "$dir/jwt" -o "$dir/cdn.json"
fetch() { az-fetch --token-file "$dir/jwt" --cdn-file "$dir/cdn.json" "$@"; }
# The key goes through a pipe each time, and is stored nowhere.
key() { az-fetch key-fragment < "$dir/jwt" | az-join - "$DEVICE_FRAGMENT"; }

published=$(fetch --part published -- "$name" | az-inspect | jq -e .release)
[[ $published =~ ^[0-9]+$ ]] || { echo "the published file has no release number" >&2; exit 65; }
while :; do
    header=$(az-inspect --key-fd 3 -- "$IMAGES" 3< <(key))
    release=$(jq -r '.release // -1' <<< "$header") id=$(jq -r '.statement.release_id // "none"' <<< "$header")
    [ "$release" -lt "$published" ] || break
    status=0
    fetch -o "$dir/patch" -- "$name.from-$id" || status=$?
    if [ "$status" = 0 ]; then
        az-patch --min-release $((release + 1)) --key-fd 3 -- "$IMAGES" < "$dir/patch" 3< <(key)
        echo "release $release: patched with $(wc -c < "$dir/patch") bytes"
    elif [ "$status" = 66 ]; then
        # No patch from this release: the whole file, verified before it replaces the old one.
        fetch -o "$IMAGES.new" -- "$name"
        az-decrypt --verify-only --key-fd 3 -- "$IMAGES.new" 3< <(key) || { status=$?; rm -f -- "$IMAGES.new"; exit "$status"; }
        new=$(az-inspect -- "$IMAGES.new" | jq -r '.release // -1')
        [ "$new" -gt "$release" ] || { rm -f -- "$IMAGES.new"; echo "release $new is not newer than $release" >&2; exit 65; }
        mv -f -T -- "$IMAGES.new" "$IMAGES"
        echo "release $release: replaced by release $new, $(wc -c < "$IMAGES") bytes"
        break
    else
        exit "$status"
    fi
done
