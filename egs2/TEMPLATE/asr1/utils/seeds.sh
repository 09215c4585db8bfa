# shellcheck shell=bash
# shellcheck disable=SC2154  # options and names come from the *_options.sh and asr_names.sh
# Several seeds (--seeds): the data once, then stages 11-16 for each seed, side by side,
# and a comparison over the seeds. Part of topdown.sh.

check_seeds() { # before any stage
    local seed seen=" "
    for seed in ${seeds}; do
        if ! [[ ${seed} =~ ^[0-9]+$ ]] || [[ ${seen} == *" ${seed} "* ]]; then
            die E_USAGE "--seeds '${seeds}'" "give different whole numbers, as --seeds '1000 12000'"
        fi
        seen+="${seed} "
    done
    if [ -n "${row}${topdown_dir}" ] || [[ " ${asr_args} " == *" --seed "* ]]; then
        die E_USAGE "--seeds with --row, --topdown_dir or a seed in --asr_args" "give one of them"
    fi
    case "${seed_controls}" in
        first | all) ;;
        *) die E_USAGE "--seed_controls must be first or all, got '${seed_controls}'" "write all" ;;
    esac
    if [ "${retrain_seed}" = own ] && [ "${nth_seed}" -eq 0 ]; then warn_of_repeats; fi
}

warn_of_repeats() { # a retraining's seed is that of its joint training + 1000 k, k from 1 on
    local a b
    for a in ${seeds}; do
        for b in ${seeds}; do
            if ((10#${b} > 10#${a} && 10#${b} - 10#${a} < 11000 && (10#${b} - 10#${a}) % 1000 == 0)); then
                log "W_SEEDS: a retraining or control of seed ${a} may have seed ${b} and repeat" \
                    "that training; seeds 11000 apart do not"
            fi
        done
    done
}

choose_seed() { # the nth_seed-th of --seeds becomes that of this run
    local all=()
    read -r -a all <<<"${seeds}"
    if [ "${nth_seed}" -gt "${#all[@]}" ]; then
        die E_USAGE "--nth_seed ${nth_seed} of ${#all[@]} seeds" "give 1 to ${#all[@]}"
    fi
    local seed=${all[nth_seed - 1]}
    asr_args="${asr_args:+${asr_args} }--seed ${seed}"
    if [ -n "${asr_tag}" ]; then asr_tag+=_seed${seed}; fi
    # shellcheck disable=SC2034  # read by stage 12
    if [ "${nth_seed}" -gt 1 ] && [ "${seed_controls}" = first ]; then controls=; fi
    seeds=
}

each_seed() { # first last: these stages for every seed at once
    local all=() logs=${asr_exp}_seeds/log slots=
    read -r -a all <<<"${seeds}"
    if [ "${cmd_backend}" = local ] && [ "${ngpu}" -eq 0 ]; then
        slots=${max_jobs} # for the trainings of all seeds; a seed itself needs none
    fi
    log "${#all[@]} seeds, ${max_jobs} trainings at a time -> ${logs}/seed.*.log"
    run_job "${logs}/seed.JOB.log" "${PYTHON[@]}" -m espnet_topdown.cmd.local --follow 1 \
        --max_jobs_run "${#all[@]}" "JOB=1:${#all[@]}" "${logs}/seed.JOB.log" \
        env "TOPDOWN_SLOTS=${slots}" ./topdown.sh ${RUN_ARGS[@]+"${RUN_ARGS[@]}"} --nth_seed JOB --stage "$1" --stop_stage "$2"
}

run_seeds() {
    local seed first=${stage} dirs=() base
    if [ "${stage}" -le 10 ]; then
        log "Stages ${stage}-10 once for the seeds ${seeds}"
        ./topdown.sh ${RUN_ARGS[@]+"${RUN_ARGS[@]}"} --seeds "" --stage "${stage}" \
            --stop_stage "$(smallest 10 "${stop_stage}")"
        first=11
    fi
    if [ "${stop_stage}" -lt 11 ]; then return 0; fi
    each_seed "${first}" "${stop_stage}"
    if [ "${stop_stage}" -lt 15 ] || [ "${stage}" -gt 15 ]; then return 0; fi
    for seed in ${seeds}; do
        base=${asr_exp%"${tag_end}"}_seed${seed}${tag_end}
        dirs+=("${base}_topdown${topdown_tag:+_${topdown_tag}}")
    done
    log "Comparison of the seeds -> ${asr_exp}_seeds/{RESULTS.md,report.html}"
    "${PYTHON[@]}" -m espnet_topdown seeds --search_dirs "${dirs[@]}" --output_dir "${asr_exp}_seeds"
}
