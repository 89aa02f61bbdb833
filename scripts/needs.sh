# shellcheck shell=bash
# Checks the tools that a script needs; sourced by scripts/demo and scripts/test in the root of
# the repository.

missing_packages=() missing_reasons=() missing_rust=''

# need WHAT PACKAGE REASON: if the command or file WHAT does not exist, the Debian package
# PACKAGE is missing.
need() {
    if ! [ -e "$1" ] && ! command -v "$1" >/dev/null; then
        missing_packages+=("$2")
        missing_reasons+=("$2: $3")
    fi
}

# The compiler, of the version in Cargo.toml or newer.
need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2 || true)
    if [ "$(printf '%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1)" != "$wanted" ]; then
        missing_rust=1
        missing_reasons+=("Rust $wanted: the compiler${found:+; found $found}")
        need curl curl "fetches Rust"
        need /etc/ssl/certs/ca-certificates.crt ca-certificates "certificates for that"
    fi
    need cc build-essential "links, and compiles the ciphers, which are written in C and assembly"
}

# Prints what is missing and why, and the command that installs it; false if anything is missing.
nothing_missing() {
    [ ${#missing_reasons[@]} -gt 0 ] || return 0
    printf '%s: missing here:\n' "$0"
    printf '  %s\n' "${missing_reasons[@]}"
    local line='' sudo=''
    [ "$(id -u)" = 0 ] || sudo='sudo '
    [ ${#missing_packages[@]} = 0 ] || line="${sudo}apt-get update && ${sudo}apt-get install -y ${missing_packages[*]}"
    [ -z "$missing_rust" ] || line+="${line:+ && }curl -sSf https://sh.rustup.rs | sh -s -- -y && . ~/.cargo/env"
    printf 'On Debian or Ubuntu:\n  %s\n' "$line"
    return 1
}
