# shellcheck shell=bash
# shellcheck disable=SC2154  # options come from asr_options.sh
# Stages 1-11 of topdown.sh: handed to asr_pip.sh, or to ESPnet's own asr.sh when
# ESPNET_ROOT names a checkout of ESPnet. Part of topdown.sh.

collect_asr_options() { # array: name=value of every option of asr_options.sh into it
    local -n found=$1
    local line name
    found=()
    while IFS= read -r line; do
        if [[ ${line} =~ ^([a-z][a-z0-9_]*)= ]]; then
            name=${BASH_REMATCH[1]}
            case "${name}" in
                stage | stop_stage | skip_stages) ;;
                *) found+=("${name}=${!name}") ;;
            esac
        fi
    done <utils/asr_options.sh
}

link_upstream() { # template: make .upstream/, where asr.sh finds its tools and our data
    local template=$1 name
    make_dir .upstream "${dumpdir}" "${expdir}" data
    for name in asr.sh utils scripts pyscripts steps; do
        need_file "ESPnet checkout" "" "${template}/${name}"
        ln -sfn "${template}/${name}" ".upstream/${name}"
    done
    for name in cmd.sh path.sh db.sh conf local data downloads dump exp; do
        ln -sfn "../${name}" ".upstream/${name}"
    done
}

upstream_stages() { # last: asr.sh in .upstream/, whose data/, dump/ and exp/ are ours
    local option args=()
    for option in dumpdir expdir; do
        if [[ ${!option} == *[./]* ]] && [[ ${!option} != /* ]]; then
            die E_USAGE "--${option} ${!option} cannot be used with ESPNET_ROOT" "take ${option%dir}"
        fi
    done
    link_upstream "$(cd "${ESPNET_ROOT}/egs2/TEMPLATE/asr1" && pwd)"
    for option in "${ASR_OPTIONS[@]}"; do
        case "${option%%=*}" in # only ours
            check_data | allow_overlap | allow_pipes | channel) continue ;;
        esac
        # ESPnet's parser takes no --name=value, and an empty value ends it.
        if [ -n "${option#*=}" ]; then args+=("--${option%%=*}" "${option#*=}"); fi
    done
    if [ -n "${skip_stages# }" ]; then args+=(--skip_stages "${skip_stages# }"); fi
    log "Stages ${stage}-$1 by ${ESPNET_ROOT}/egs2/TEMPLATE/asr1/asr.sh"
    (cd .upstream && ./asr.sh "${args[@]}" --stage "${stage}" --stop_stage "$1")
}

pip_stages() { # last: asr_pip.sh, with the options that are not the default
    local n args=()
    for n in "${!ASR_OPTIONS[@]}"; do
        if [ "${ASR_OPTIONS[n]}" != "${ASR_DEFAULTS[n]}" ]; then args+=("--${ASR_OPTIONS[n]}"); fi
    done
    if [ -n "${skip_stages# }" ]; then args+=("--skip_stages=${skip_stages# }"); fi
    ./asr_pip.sh ${args[@]+"${args[@]}"} --stage "${stage}" --stop_stage "$1"
}

forward_asr_stages() {
    local last=11
    if [ "${stop_stage}" -lt 11 ]; then last=${stop_stage}; fi
    if [ -n "${ESPNET_ROOT:-}" ]; then
        upstream_stages "${last}"
    else
        pip_stages "${last}"
    fi
}
