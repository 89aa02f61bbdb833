#!/usr/bin/env bash
# Replaces the key of a publisher without a gap: for some time, devices accept both keys.
#   rotate-publisher.sh new DIR       makes DIR/publisher.key (mode 0600) and DIR/publisher.pem
#   rotate-publisher.sh both OLD NEW  prints the public keys of both, for publisher_key_file of the devices
# The order: make the new key; give the devices both public keys; sign new releases with the new
# key; when every device has unlocked one of them, give the devices only the new public key.
# While both are configured, --require-signatures counts both keys of this publisher.
# A key that was stolen is different: give the devices only the new public key immediately.
set -euo pipefail
umask 077
usage="rotate-publisher.sh new DIR | both OLD.pem NEW.pem"
case ${1:?"$usage"} in
new)
    dir=${2:?"$usage"}
    mkdir -p -- "$dir"
    [ ! -e "$dir/publisher.key" ] || { echo "$dir/publisher.key exists already" >&2; exit 73; }
    openssl genpkey -algorithm ed25519 -out "$dir/publisher.key"
    openssl pkey -in "$dir/publisher.key" -pubout -out "$dir/publisher.pem"
    # The id of the key in events and in az-inspect.
    openssl pkey -pubin -in "$dir/publisher.pem" -outform DER | sha256sum | cut -d' ' -f1
    ;;
both)
    # Both files are read before anything is written.
    old=$(openssl pkey -pubin -in "${2:?"$usage"}") new=$(openssl pkey -pubin -in "${3:?"$usage"}")
    printf '%s\n' "$old" "$new"
    ;;
*)
    echo "$usage" >&2
    exit 2
    ;;
esac
