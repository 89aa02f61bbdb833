#!/usr/bin/env bash
# Publishes an archive in a CI job: save, seal, split, push. Each step writes its result to
# STATE under its final name only when it is complete. So a job that was killed at any
# moment continues when it is run again, and a finished job prints its receipt again.
# COMMAND writes the archive.
#   publish-from-ci.sh NAME RELEASE STATE COMMAND...
#   publish-from-ci.sh images/app 14 .state docker save app:1.4
# For devices that have the previous release, a patch is published as NAME.from-RELEASE-ID, if STATE
# still has that release and the patch is shorter than a third of the new one. PATCHES is the
# number of previous releases (default 1; 0 for none). Old patches can be removed at any time.
# AZ_SIGN_KEY_FILE is the private key of the publisher: if it is set, az-encrypt signs the archive.
# AZ_KEY_FILE is the file with the key; the user in AZ_CREDENTIALS_FILE must be allowed to upload.
set -euo pipefail
umask 077
usage="publish-from-ci.sh NAME RELEASE STATE COMMAND..."
name=${1:?"$usage"} release=${2:?"$usage"} state=${3:?"$usage"}/$1-$2
shift 3
# Both become part of a path.
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$ ]] || { echo "not a resource name: ${name@Q}" >&2; exit 2; }
[[ $release =~ ^[0-9]+$ ]] || { echo "not a release number: ${release@Q}" >&2; exit 2; }
mkdir -p -- "$state"

# From a file, not from a pipe: then the header lists the images.
if [ ! -e "$state/sealed" ]; then
    "$@" > "$state/archive"
    az-encrypt --name "$name" --release "$release" -o "$state/sealed" -- "$state/archive"
fi
if [ ! -e "$state/receipt.json" ]; then
    az-login -o "$state/jwt"
    az-cdn-creds --uploader --token-file "$state/jwt" -o "$state/cdn.json"
    # The patches first: a device that sees the new release finds them.
    for old in $(find "$(dirname -- "$state")" -mindepth 1 -maxdepth 1 -name "$(basename -- "$name")-*" -printf '%f\n' |
        sed -n 's/.*-\([0-9]*\)$/\1/p' | sort -rn | awk -v new="$release" '$1 < new' | head -n "${PATCHES:-1}"); do
        previous=${state%-*}-$old
        [ -e "$previous/sealed" ] && [ -e "$previous/receipt.json" ] || continue
        id=$(az-inspect --key-file "$AZ_KEY_FILE" -- "$previous/sealed" | jq -r .statement.release_id)
        # The same bytes after a kill, so that az-push continues.
        [ -e "$state/from-$old" ] || az-diff -o "$state/from-$old" -- "$previous/sealed" "$state/sealed"
        [ $(($(wc -c < "$state/from-$old") * 3)) -lt "$(wc -c < "$state/sealed")" ] || continue
        az-push --token-file "$state/jwt" --cdn-file "$state/cdn.json" --state-dir "$state" --release "$release" \
            -o "$state/from-$old.json" -- "$name.from-$id" "$state/from-$old"
    done
    # Cuts the stream itself; the big part goes first, the small one makes it visible.
    az-push --token-file "$state/jwt" --cdn-file "$state/cdn.json" --state-dir "$state" \
        --release "$release" -o "$state/receipt.json" -- "$name" "$state/sealed"
fi
rm -f -- "$state"/from-* "$state/archive" "$state/jwt" "$state/cdn.json"
cat -- "$state/receipt.json"
