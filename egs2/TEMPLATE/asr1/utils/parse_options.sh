# shellcheck shell=bash
# Set shell variables from the command line:  . utils/parse_options.sh
#
# Every lower-case scalar variable that is already set is an option, `--name value` or
# `--name=value`, with `-` and `_` alike in the name; the last repetition wins. The
# default gives the type: true or false, an integer, a decimal number, anything else a
# word. Nothing is ever evaluated, abbreviated or ignored. A mistake ends the script
# with status 64 and one line, `CODE: what. Do: remedy.` (espnet_topdown/cli/_recipe.py)
#
# Read if set: help_message; STAGES (names of the stages, so that `--stage train` works);
# LAST_STAGE; OPTION_FILES (where `name=default  # what` lines are, for --help); SCRIPT
# (what messages call the script).

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
    printf 'E_USAGE: bash %s is too old. Do: use bash 4.4 or later.\n' "${BASH_VERSION}" >&2
    exit 64
fi

_po_parse() { # argument...: names and values of the options given, NUL after each
    local _po_name _po_stages='' _po_options=() _po_files=() _po_root
    for _po_name in "${!STAGES[@]}"; do _po_stages+="${_po_name}=${STAGES[_po_name]} "; done
    for _po_name in "${OPTION_FILES[@]-$0}"; do _po_files+=("$(readlink -f "${_po_name}")"); done
    while read -r _po_name; do # set, scalar, writable
        if [[ -v ${_po_name} && ! "$(declare -p "${_po_name}")" =~ ^declare\ -[^\ ]*[aAr] ]]; then
            _po_options+=("${_po_name}=${!_po_name}")
        fi
    done < <(compgen -v | LC_ALL=C grep -E '^[a-z][a-z0-9_]*$' | grep -vx help_message)
    _po_root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../../../..
    if [ -f ./path.sh ]; then . ./path.sh; fi # here only: which Python
    cd "${_po_root}" || return
    PYTHONPATH=${PWD} python3 -m espnet_topdown.cli._recipe "${SCRIPT:-$0}" "${help_message:-Usage: $0 [options]}" \
        "${_po_stages}" "${LAST_STAGE:-}" "${#_po_files[@]}" "${_po_files[@]}" \
        "${#_po_options[@]}" "${_po_options[@]}" "$@"
}

if (($#)); then
    _po_status=0
    mapfile -d '' -t _po_given < <(_po_parse "$@")
    wait "$!" || _po_status=$?
    case "${_po_status}" in
        0) ;;
        99) # --help
            printf '%s' "${_po_given[0]}"
            exit 0 ;;
        *) exit "${_po_status}" ;;
    esac
    for ((_po_n = 0; _po_n < ${#_po_given[@]}; _po_n += 2)); do
        printf -v "${_po_given[_po_n]}" '%s' "${_po_given[_po_n + 1]}"
    done
    set --
fi
