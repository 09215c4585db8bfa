# shellcheck shell=bash
# What the step scripts share: log lines, errors, jobs, lists. Defines functions only.

log() {
    printf '%(%Y-%m-%dT%H:%M:%S)T (%s:%s:%s) %b\n' -1 "${BASH_SOURCE[1]##*/}" \
        "${BASH_LINENO[0]}" "${FUNCNAME[1]}" "$*"
}

die() { # CODE what remedy [status]: one line that says what to do, and the end
    printf '%s: %s. Do: %s.\n' "$1" "$2" "$3" >&2
    exit "${4:-64}"
}

pass_signals_on() { # "$@" of the script: TERM, INT and HUP reach all that it has started
    if [ -n "${TOPDOWN_GROUP:-}" ]; then return 0; fi # the script that called us does it
    set -m # the same script again, as a process group of its own
    TOPDOWN_GROUP=1 "${BASH}" "$0" "$@" </dev/null &
    local group=$! status=0 name passed=
    for name in INT TERM HUP; do
        # shellcheck disable=SC2064  # with these values
        trap "passed=${name}; kill -${name} -- -${group} 2>/dev/null || true" "${name}"
    done
    wait "${group}" || status=$?
    if [ -n "${passed}" ]; then
        while group_lives "${group}"; do sleep 0.2; done 2>/dev/null # not: "[1]+ Terminated"
        wait "${group}" 2>/dev/null || status=$?
        printf 'interrupted by %s; the same command continues\n' "${passed}" >&2
    fi
    exit "${status}"
}

group_lives() { # process group: has it a member that has not ended?
    local file state parent group rest
    for file in /proc/[0-9]*/stat; do
        # shellcheck disable=SC2034  # the parent is only passed over
        if read -r rest <"${file}" && read -r state parent group rest <<<"${rest##*) }"; then
            if [ "${group}" = "$1" ] && [ "${state}" != Z ]; then return 0; fi
        fi
    done 2>/dev/null
    return 1
}

start_python() { # sets PYTHON: words that start Python without this folder on its path
    read -r -a PYTHON <<<"${python:?} -P"
    if ! "${PYTHON[@]}" -c "" 2>/dev/null; then
        die E_INSTALL "${python} is no Python from 3.11 on" "give another --python" 78
    fi
}

need() { # option...: every named option must have a value
    local name
    for name in "$@"; do
        if [ -z "${!name}" ]; then
            die E_USAGE "option --${name} is required" "write --${name} VALUE (see ${SCRIPT:-$0} --help)"
        fi
    done
}

need_file() { # what stage file...: made by an earlier stage; or given, by no stage
    local what=$1 file do=${2:+run --stage $2 first}
    shift 2
    for file in "$@"; do
        if [ ! -e "${file}" ]; then
            die E_ORDER "no ${what}: ${file} is missing" "${do:-check the path}" 66
        fi
    done
}

need_configs() { # option...: the files that stages to come read, before the first runs
    local name
    for name in "$@"; do
        if [ -n "${!name}" ] && [ ! -f "${!name}" ]; then
            die E_MISSING "--${name}: no file ${!name}" "correct the path" 66
        fi
    done
}

make_dir() { # dir...
    local dir
    for dir in "$@"; do
        if [ -e "${dir}" ] && [ ! -d "${dir}" ]; then
            die E_CREATE "${dir} is a file" "move it away" 73
        fi
        if ! mkdir -p "${dir}" 2>/dev/null || [ ! -w "${dir}" ]; then
            die E_CREATE "${dir} is not writable by uid $(id -u)" "choose another folder" 73
        fi
    done
}

check_installation() { # E_INSTALL here, rather than a traceback in the log of a job
    "${PYTHON[@]}" -m espnet_topdown.cli.installation
}

list_models() { # search best|all|file: lines with name, experiment and file of what is decoded
    if [ -f "$2" ]; then cat "$2"; else "${PYTHON[@]}" -m espnet_topdown.cli._decoding "$@"; fi
}

stage_on() { # N: is stage N asked for?
    [ "${stage:?}" -le "$1" ] && [ "${stop_stage:?}" -ge "$1" ] &&
        [[ " ${skip_stages-} " != *" $1 "* ]]
}

stage_table() { # last: one line, `1 data, 2 speed, ...`
    local n line=
    for n in "${!STAGES[@]}"; do
        if [ "${n}" -le "$1" ]; then line+="${line:+, }${n} ${STAGES[n]}"; fi
    done
    printf '%s' "${line}"
}

run_job() { # log-file launcher... command...: run it; on failure show the end of its logs
    local pattern=$1 status=0
    shift
    "$@" || status=$?
    case "${status}" in
        0) return 0 ;;
        129 | 130 | 143)
            printf 'interrupted; the same command continues\n' >&2
            exit "${status}" ;;
    esac
    case " $* " in
        *" espnet_topdown.cmd."*) ;; # has shown them itself
        *) show_logs "${pattern}" ;;
    esac
    die E_JOB "a job failed with status ${status}" "read ${pattern//JOB/N}" "${status}"
}

show_logs() { # pattern: the ends of the logs of failed jobs, two at most
    local log_file shown=0
    while IFS= read -r log_file; do
        if [ "${shown}" -ge 2 ] || grep -Eq 'code 0\)|with status 0' "${log_file}"; then continue; fi
        shown=$((shown + 1))
        printf '%s\n' "--- last lines of ${log_file} ---" >&2
        tail -n 20 -- "${log_file}" >&2
    done < <(compgen -G "${1//JOB/*}" | sort -V)
}

count_lines() { # file
    awk 'END { print NR }' "$1"
}

smallest() { # numbers
    printf '%s\n' "$@" | sort -n | head -n 1
}

split_lines() { # file n out: out, with JOB replaced by 1..n, holds consecutive lines
    awk -v n="$2" -v total="$(count_lines "$1")" -v out="$3" '
        BEGIN { job = 1; left = int(total / n) + (1 <= total % n) }
        {
            if (left == 0) { job++; left = int(total / n) + (job <= total % n) }
            name = out; sub(/JOB/, job, name)
            print > name
            left--
        }' "$1"
}

data_state() { # data directory: its lists, and the names, sizes and times of its recordings
    if [ ! -e "$1/wav.scp" ]; then return 0; fi
    find -L "$1" -maxdepth 1 -type f ! -name '.*' -print0 | sort -z | xargs -0 -r cat --
    cut -d ' ' -f 2- "$1/wav.scp" | tr '\n' '\0' | xargs -0 -r stat -L -c '%n %s %Y' 2>/dev/null || true
    if grep -q '|[[:space:]]*$' "$1/wav.scp"; then date +%s%N; fi # a command may write anything
}

once() { # dir file... -- command...: make dir, unless just this is what has made it
    local dir=$1 inputs=() seal made
    made=$(dirname "$1")/.$(basename "$1").made
    shift
    while [ "$1" != -- ]; do
        inputs+=("$1")
        shift
    done
    shift
    make_dir "${dir}"
    seal=$(fingerprint "$@" -- "${inputs[@]}")
    if [ -e "${made}" ] && [ "$(cat "${made}")" = "${seal} $(folder_state "${dir}")" ]; then
        log "${dir}: nothing to do"
        return
    fi
    rm -f "${made}"
    "$@"
    printf '%s %s\n' "${seal}" "$(folder_state "${dir}")" >"${made}"
}

folder_state() { # folder: a digest of the names, sizes and times of its files but the logs
    find "$1" -type f ! -path "$1/log*" -printf '%P %s %T@\n' | sort | sha256sum | cut -d ' ' -f 1
}

logged() { # log-file command...: with all its output in the file
    mkdir -p "${1%/*}"
    "${@:2}" >"$1" 2>&1
}

fingerprint() { # word... -- file...: a digest of a command line and the files it reads
    local words=()
    while [ "$1" != -- ]; do
        words+=("$1")
        shift
    done
    shift
    { printf '%s\0' "${words[@]}"; cat -- "$@"; } | sha256sum | cut -d ' ' -f 1
}

rotate_log() { # file.log: keep earlier ones as file.1.log, file.2.log, ...
    local n=1
    if [ ! -e "$1" ]; then return 0; fi
    while [ -e "${1%.log}.${n}.log" ]; do n=$((n + 1)); done
    mv -- "$1" "${1%.log}.${n}.log"
}
