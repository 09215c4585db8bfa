# shellcheck shell=bash
# Set shell variables from the command line:  . utils/parse_options.sh
#
# Every lower-case scalar variable that is already set is an option, `--name value` or
# `--name=value`, with `-` and `_` alike in the name; the last repetition wins. The
# default gives the type: true or false, an integer, a decimal number, anything else a
# word. Nothing is ever evaluated, abbreviated or ignored. A mistake ends the script
# with status 64 and one line, `CODE: what. Do: remedy.`
#
# Read if set: help_message; STAGES (names of the stages, so that `--stage train` works);
# LAST_STAGE; OPTION_FILES (where `name=default  # what` lines are, for --help).

_po_die() { # CODE what remedy
    local _po_dot=.
    case "$2" in *'?') _po_dot= ;; esac
    printf '%s: %s%s Do: %s.\n' "$1" "$2" "${_po_dot}" "$3" >&2
    exit 64
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
    _po_die E_USAGE "bash ${BASH_VERSION} is too old" "use bash 4.4 or later"
fi

_po_is_option() { # name: set, scalar, writable
    [[ $1 =~ ^[a-z][a-z0-9_]*$ && $1 != help_message && -v $1 ]] || return 1
    [[ ! "$(declare -p "$1" 2>/dev/null)" =~ ^declare\ -[^\ ]*[aAr] ]]
}

_po_distance() { # a b: the number of edits between two words, into _po_d
    local _po_i _po_j _po_cost _po_best
    local -a _po_row _po_new
    for ((_po_j = 0; _po_j <= ${#2}; _po_j++)); do _po_row[_po_j]=${_po_j}; done
    for ((_po_i = 1; _po_i <= ${#1}; _po_i++)); do
        _po_new=("${_po_i}")
        for ((_po_j = 1; _po_j <= ${#2}; _po_j++)); do
            _po_cost=1
            if [ "${1:_po_i-1:1}" = "${2:_po_j-1:1}" ]; then _po_cost=0; fi
            _po_best=$((_po_row[_po_j - 1] + _po_cost))
            if ((_po_row[_po_j] + 1 < _po_best)); then _po_best=$((_po_row[_po_j] + 1)); fi
            if ((_po_new[_po_j - 1] + 1 < _po_best)); then _po_best=$((_po_new[_po_j - 1] + 1)); fi
            _po_new[_po_j]=${_po_best}
        done
        _po_row=("${_po_new[@]}")
    done
    _po_d=${_po_row[${#2}]}
}

_po_nearest() { # word: "; did you mean --name?" into _po_hint, or nothing
    local _po_name _po_d _po_min=$((${#1} / 2 + 1))
    _po_hint=
    while read -r _po_name; do
        _po_is_option "${_po_name}" || [ "${_po_name}" = help ] || continue
        if [ "${_po_name#"$1"}" != "${_po_name}" ]; then
            _po_hint="; did you mean --${_po_name}?"
            return
        fi
        ((${#_po_name} - ${#1} < _po_min && ${#1} - ${#_po_name} < _po_min)) || continue
        _po_distance "$1" "${_po_name}"
        if ((_po_d < _po_min)); then
            _po_min=${_po_d}
            _po_hint="; did you mean --${_po_name}?"
        fi
    done < <(echo help; compgen -v | LC_ALL=C grep -E '^[a-z][a-z0-9_]*$')
}

_po_unsafe() { # name value: stop at characters that a launcher's shell would act on
    local _po_bad=$'$`;\n\r' _po_i _po_c
    case "$1" in
        oov | blank | sos_eos | *nlsyms) ;;
        *) _po_bad+=$'"\'\\|&<>()*?!' ;;
    esac
    for ((_po_i = 0; _po_i < ${#_po_bad}; _po_i++)); do
        _po_c=${_po_bad:_po_i:1}
        if [[ $2 == *"${_po_c}"* ]]; then
            if [[ ${_po_c} == [[:cntrl:]] ]]; then _po_c='newline'; else _po_c="'${_po_c}'"; fi
            _po_die E_UNSAFE_NAME "character ${_po_c} not allowed in --$1" \
                "use letters, digits, '_', '-', '.' and '/'"
        fi
    done
    _po_name_like "$1" "$2"
}

_po_name_like() { # name value: tags and sets are single names; paths hold no comma
    case "$1" in
        *_tag | *_set | lang | token_type)
            if [[ $2 == -* || $2 == *[[:space:]/,]* || $2 == *JOB* ]]; then
                _po_die E_UNSAFE_NAME "--$1 is not a single name: '$2'" \
                    "use letters, digits, '_', '-' and '.'"
            fi ;;
        *_exp | *dir | *_config | *_txt)
            if [[ $2 == *,* ]]; then
                _po_die E_PATH "ESPnet cannot use paths with ',': $2" "rename or link it"
            elif [[ $2 == *JOB* ]]; then
                _po_die E_PATH "launchers replace 'JOB' in paths: $2" "rename or link it"
            fi ;;
    esac
}

_po_stage() { # name value: a stage number or name, as a number into _po_value
    local _po_i
    _po_value=0
    if [[ $2 =~ ^[0-9]{1,9}$ ]]; then _po_value=$((10#$2)); fi
    for _po_i in "${!STAGES[@]}"; do
        if [ "${STAGES[_po_i]}" = "$2" ]; then _po_value=${_po_i}; fi
    done
    if ((_po_value < 1)) || { [ "$1" = stage ] && ((_po_value > LAST_STAGE)); }; then
        _po_die E_USAGE "--$1 must be an integer 1..${LAST_STAGE} or a stage name, got '$2'" \
            "take one of: ${STAGES[*]:1:LAST_STAGE}"
    fi
}

_po_assign() { # name value
    local _po_value=$2 _po_default _po_words _po_list
    if ! [[ -v _po_defaults[$1] ]]; then _po_defaults[$1]=${!1}; fi
    _po_default=${_po_defaults[$1]}
    case "$1" in
        stage | stop_stage) _po_stage "$1" "$2" ;;
        skip_stages)
            read -r -a _po_words <<<"$2"
            _po_list=
            for _po_value in ${_po_words[@]+"${_po_words[@]}"}; do
                _po_stage skip_stages "${_po_value}"
                _po_list+="${_po_list:+ }${_po_value}"
            done
            _po_value=${_po_list} ;;
        *)
            if [[ ${_po_default} =~ ^(true|false)$ && ! $2 =~ ^(true|false)$ ]]; then
                _po_die E_USAGE "--$1 must be true or false, got '$2'" "write --$1 true"
            elif [[ ${_po_default} =~ ^[0-9]+$ && ! $2 =~ ^[0-9]{1,12}$ ]]; then
                _po_die E_USAGE "--$1 must be an integer, got '$2'" "write --$1 ${_po_default}"
            elif [[ ${_po_default} =~ ^[0-9]+[.][0-9]+$ && ! $2 =~ ^[0-9]+([.][0-9]+)?$ ]]; then
                _po_die E_USAGE "--$1 must be a number, got '$2'" "write --$1 ${_po_default}"
            fi
            if [[ ${_po_default} =~ ^[0-9]+$ ]]; then _po_value=$((10#$2)); fi ;;
    esac
    _po_unsafe "$1" "${_po_value}"
    printf -v "$1" '%s' "${_po_value}"
}

_po_help() {
    local _po_file _po_line _po_value
    printf '%s\n' "${help_message:-Usage: $0 [options]}"
    for _po_file in "${OPTION_FILES[@]-$0}"; do
        while IFS= read -r _po_line; do
            if [[ ${_po_line} =~ ^"## "(.*)$ ]]; then
                printf '\n%s\n' "${BASH_REMATCH[1]}"
            elif [[ ${_po_line} =~ ^([a-z][a-z0-9_]*)=([^#]*[^ #])?\ +#\ (.*)$ ]]; then
                _po_value=${!BASH_REMATCH[1]-} # what run.sh has chosen, if it has
                printf '  --%-26s %s [%s]\n' "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]}" \
                    "${_po_value:-\"\"}"
            fi
        done <"${_po_file}"
    done
    exit 0
}

_po_main() {
    local _po_n=0 _po_arg _po_name _po_value _po_next _po_hint _po_see="see $0 --help"
    while (($#)); do
        _po_arg=$1 _po_n=$((_po_n + 1))
        shift
        case "${_po_arg}" in
            '') _po_die E_USAGE "empty argument ${_po_n}" "drop it, or name the option before it" ;;
            -h | --help) _po_help ;;
            -*) ;;
            *)
                _po_nearest "${_po_arg//-/_}"
                _po_die E_USAGE "unexpected argument '${_po_arg}'${_po_hint}" "${_po_see}" ;;
        esac
        _po_name=${_po_arg%%=*}
        _po_name=${_po_name#-}
        _po_name=${_po_name#-}
        _po_name=${_po_name//-/_}
        case "${_po_name}" in
            abandon | halving | proxy)
                _po_die E_USAGE "--${_po_name} was removed, see docs/results/search.md" "leave it out" ;;
            num_nodes) _po_die E_USAGE "--num_nodes was removed, see docs/cluster.md" "leave it out" ;;
        esac
        if [[ ${_po_arg} != --* ]] || ! _po_is_option "${_po_name}"; then
            _po_nearest "${_po_name}"
            _po_die E_USAGE "unknown option ${_po_arg%%=*}${_po_hint}" "${_po_see}"
        fi
        if [[ ${_po_arg} == *=* ]]; then
            _po_value=${_po_arg#*=}
        else
            _po_next=${1-}
            _po_next=${_po_next%%=*}
            _po_next=${_po_next#--}
            if ! (($#)) || { [[ $1 == --* ]] && _po_is_option "${_po_next//-/_}"; }; then
                _po_die E_USAGE "option --${_po_name} needs a value" "write --${_po_name} VALUE"
            fi
            _po_value=$1 _po_n=$((_po_n + 1))
            shift
        fi
        _po_assign "${_po_name}" "${_po_value}"
    done
}

declare -A _po_defaults=()
_po_main "$@"
set --
