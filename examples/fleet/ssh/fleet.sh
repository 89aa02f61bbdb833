#!/usr/bin/env bash
# Runs a command on many devices over ssh, 32 at a time, and retries if a retry can help:
# 69 and 75 of the filters, 255 of ssh. Writes the output of each device to a directory, and
# lists the devices that failed. The default command is az-unlock.
#   fleet.sh HOSTS DIRECTORY [COMMAND]
# HOSTS has a device on each line, with comments after #. A name is letters, digits and . _ @ : -
set -euo pipefail
usage="fleet.sh HOSTS DIRECTORY [COMMAND]"
hosts=${1:?"$usage"} folder=${2:?"$usage"} command=${3:-az-unlock}

mkdir -p -- "$folder"
awk '{ sub(/#.*/, "") } NF { print $1 }' "$hosts" | sort -u > "$folder/left"
# A name is an argument of ssh, and the name of a file.
if bad=$(grep -vE '^[A-Za-z0-9][A-Za-z0-9._@:-]*$' "$folder/left"); then
    echo "fleet.sh: $hosts: not the name of a device: ${bad@Q}" >&2
    exit 2
fi
all=$(wc -l < "$folder/left")
: > "$folder/failed"
for pause in 0 ${PAUSES:-30 120}; do
    sleep "$pause"
    # The seventh column of the log is the exit status, line n of it that of host n.
    parallel --will-cite --jobs 32 --timeout 3600 --joblog "$folder/log" --arg-file "$folder/left" \
        "ssh ${SSH_CONFIG:+-F ${SSH_CONFIG@Q}} -n -o BatchMode=yes -o ConnectTimeout=10 -- {} ${command@Q} > ${folder@Q}/{}.txt 2>&1" || true
    tail -n +2 "$folder/log" | sort -n | cut -f 7 | paste - "$folder/left" > "$folder/told"
    awk '$1 == 69 || $1 == 75 || $1 == 255 { print $2 }' "$folder/told" > "$folder/left"
    awk '$1 != 0 && $1 != 69 && $1 != 75 && $1 != 255' "$folder/told" >> "$folder/failed"
    [ -s "$folder/left" ] || break
done
awk '$1 == 69 || $1 == 75 || $1 == 255' "$folder/told" >> "$folder/failed"

failed=$(wc -l < "$folder/failed")
echo "$((all - failed)) of $all devices are well"
while read -r status host; do
    # A device may send anything; what would command the terminal is dropped.
    echo "$host: $status, $(tail -n 1 -- "$folder/$host.txt" | LC_ALL=C tr -d '\000-\037\177')"
done < "$folder/failed"
[ "$failed" = 0 ]
