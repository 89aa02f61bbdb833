#!/usr/bin/env bash
# Makes a new pair of fragments for a device, for the same key. Nothing is sealed again, and
# no other device is affected.
#   rotate-fragment.sh DIR           DIR/fragment-1-of-2.frag is for the server,
#                                    DIR/fragment-2-of-2.frag for the device
#
# The old pair: both fragments together still make the key, permanently. An old one and a
# new one do not; az-join refuses them and names the set. So install the new server
# fragment first, then the device's, and destroy the old two: if one of them is gone, the
# other is worthless. If both may have been copied, the key is known, and only another key
# helps (rekey-published.sh, and sealing again).
set -euo pipefail
umask 077
dir=${1:?"rotate-fragment.sh DIR"}

mkdir -p -- "$dir"
az-login | az-fetch key-fragment -o "$dir/old-server.frag"
az-join -- "$dir/old-server.frag" "$DEVICE_FRAGMENT" | az-split --output-dir "$dir" --set-card "$dir/card.json"

# Proof before anything is replaced: the new pair opens what the old one opens.
az-join --set-card "$dir/card.json" -- "$dir"/fragment-*.frag | az-inspect --key-file - -- "$IMAGES"
rm -- "$dir/old-server.frag"
