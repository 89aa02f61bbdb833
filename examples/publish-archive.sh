#!/usr/bin/env bash
# Seals an archive under a new key, which is split into two fragments: one for the
# server, one for the devices. The key itself is stored nowhere.
#   docker save app:1.4 | publish-archive.sh DIR
set -euo pipefail
folder=${1:?"publish-archive.sh FOLDER"}

az-split --new-key --output-dir "$folder"
az-encrypt --key-fd 3 -o "$folder/images.enc" 3< <(az-join -- "$folder"/fragment-*.frag)
az-inspect -- "$folder/images.enc"
