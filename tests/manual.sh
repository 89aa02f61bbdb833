#!/usr/bin/env bash
# Checks the output of scripts/manual below DIR: mandoc reports no problem in the pages,
# they have all sections and every option of --help, and bash, zsh and fish load the
# completions and offer every option.
#
#   tests/manual.sh DIR
set -euo pipefail
dir=$(realpath "$1")
cd "$(dirname "$0")/.."
target=$(realpath "${CARGO_TARGET_DIR:-target}")/debug

failed=0 passed=0
wrong() { echo "manual: $*" >&2; failed=$((failed + 1)); }
# same NAME WHERE WANTED SHOWN: every word of WANTED is among SHOWN
all_in() {
    local missing
    missing=$(comm -23 <(sort -u <<<"$3") <(sort -u <<<"$4") | tr '\n' ' ')
    if [ -n "$missing" ]; then wrong "$1: $2 lacks $missing"; else passed=$((passed + 1)); fi
}
help_of() { if [ "$1" = az-unlock ]; then scripts/unlock --help; else "$target/$1" --help; fi; }

names=(az-unlock)
for crate in crates/az-*/; do names+=("$(basename "$crate")"); done
for name in "${names[@]}"; do
    page=$dir/share/man/man1/$name.1
    options=$(help_of "$name" | grep -oE '^ +(-[A-Za-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+')
    [ -n "$options" ] || wrong "$name: no options in its help"

    # clap_mangen puts breaks around the space before a list of values.
    words=$(mandoc -T lint -W warning "$page" 2>&1 | grep -v 'skipping paragraph macro: br' || true)
    if [ -z "$words" ]; then passed=$((passed + 1)); else wrong "$words"; fi
    text=$(mandoc -T utf8 -O width=100 "$page" | col -b)
    all_in "$name" "the page" "$options" "$(grep -oE -- '--[a-z0-9-]+' <<<"$text")"
    all_in "$name" "the page" "$(printf '%s\n' NAME SYNOPSIS DESCRIPTION OPTIONS 'EXIT STATUS' ENVIRONMENT EXAMPLES 'SEE ALSO')" \
        "$(grep -E '^[A-Z ]+$' <<<"$text")"

    # shellcheck disable=SC2016
    offered=$(bash --norc -c '
        set -eu
        . "$1"
        spec=$(complete -p "$2")
        function=$(sed "s/.*-F \([^ ]*\).*/\1/" <<<"$spec")
        COMP_WORDS=("$2" --) COMP_CWORD=1
        "$function" "$2" -- "$2"
        printf "%s\n" "${COMPREPLY[@]}"' - "$dir/share/bash-completion/completions/$name" "$name")
    all_in "$name" "bash's completion" "$options" "$offered"

    # The function that zsh loads for the name, with its list of options caught.
    # shellcheck disable=SC2016
    offered=$(zsh -f -c '
        fpath=($1 $fpath)
        autoload -Uz compinit && compinit -u -D
        [[ $_comps[$2] = _$2 ]] || exit 1
        autoload -Uz +X _$2
        _arguments() { print -l -- "$@" }
        curcontext= service=$2
        _$2' - "$dir/share/zsh/vendor-completions" "$name" || true)
    all_in "$name" "zsh's completion" "$options" "$(grep -oE -- '--[a-z0-9-]+' <<<"$offered")"

    # shellcheck disable=SC2016
    offered=$(fish --no-config -c 'source $argv[1]; complete -C "$argv[2] --"' \
        "$dir/share/fish/vendor_completions.d/$name.fish" "$name" | cut -f1)
    all_in "$name" "fish's completion" "$options" "${offered//=/}"
done
echo "manual: $passed passed, $failed failed"
[ "$failed" = 0 ]
