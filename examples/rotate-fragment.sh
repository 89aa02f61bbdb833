#!/usr/bin/env bash
# Gives a device a new pair of fragments for the same key: nothing is sealed again,
# no other device notices.
#   rotate-fragment.sh DIR           DIR/fragment-1-of-2.frag is the server's,
#                                    DIR/fragment-2-of-2.frag the device's
#
# What becomes of the old pair: both together still give the key, for ever. One old
# and one new give nothing; az-join refuses them by name. So put the new server
# fragment in place first, then the device's, and destroy the old two: the pair is
# worth nothing as soon as one of them is gone. Where both may have been copied, the
# key is known, and only another key helps (rekey-published.sh, and sealing again).
set -euo pipefail
umask 077
dir=${1:?"rotate-fragment.sh DIR"}

mkdir -p -- "$dir"
az-login | az-fetch key-fragment -o "$dir/old-server.frag"
az-join -- "$dir/old-server.frag" "$DEVICE_FRAGMENT" | az-split --output-dir "$dir" --set-card "$dir/card.json"

# Proof before anything is replaced: the new pair opens what the old one opens.
az-join --set-card "$dir/card.json" -- "$dir"/fragment-*.frag | az-inspect --key-file - -- "$IMAGES"
rm -- "$dir/old-server.frag"
