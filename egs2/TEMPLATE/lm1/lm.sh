#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# A language model recipe: text, joint training, then retrainings from the top down. The
# stages have the numbers of topdown.sh; those that a text does not need are left out.
set -euo pipefail
{ # read to its end before it runs: the file may be updated during a long search

. utils/common.sh
pass_signals_on "$@"
. ./lm_options.sh
# shellcheck disable=SC2034  # read by parse_options.sh
{
    OPTION_FILES=(lm_options.sh)
    LAST_STAGE=15
    SCRIPT=${TOPDOWN_SCRIPT:-$0} # what the user called
    help_message="Usage: ${SCRIPT} [options]
Stages: $(stage_table 15)
Options, with their defaults:"
}
RUN_ARGS=("$@")
. utils/parse_options.sh
. ./path.sh
. ./cmd.sh

if [ "${stage}" -gt "${stop_stage}" ]; then
    die E_USAGE "--stage ${stage} is after --stop_stage ${stop_stage}" "swap them"
fi
if [ "${ngpu}" -gt 1 ]; then
    die E_MULTI_GPU "--ngpu ${ngpu}: a text is read on from batch to batch, on one device" "write --ngpu 1" 78
fi
need_file "configuration" "" "${lm_config}"
if [ -z "${lm_tag}" ]; then lm_tag=${lm_config##*/} lm_tag=${lm_tag%.*}; fi
if [ -z "${lm_exp}" ]; then lm_exp=exp/lm_${lm_tag}; fi
lm_exp=${lm_exp%/}
if [ -z "${topdown_dir}" ]; then topdown_dir=${lm_exp}_topdown; fi
topdown_dir=${topdown_dir%/}
start_python
log "$0 ${RUN_ARGS[*]-}"
check_installation

if stage_on 1; then
    log "Stage 1: data preparation: local/data.sh -> ${data_dir}/{train,dev,test,tokens}.txt"
    read -r -a OPTS <<<"${local_data_opts}"
    local/data.sh --data_dir "${data_dir}" ${OPTS[@]+"${OPTS[@]}"}
fi

if stage_on 11; then
    log "Stage 11: joint training -> ${lm_exp}"
    need_file "text" data "${data_dir}"/{train,dev,tokens}.txt
    read -r -a OPTS <<<"${lm_args}"
    make_dir "${lm_exp}"
    rotate_log "${lm_exp}/train.log"
    log "log: ${lm_exp}/train.log"
    run_job "${lm_exp}/train.log" "${PYTHON[@]}" -m espnet_topdown launch \
        --cmd "${cuda_cmd} --name '${lm_exp##*/}' --gpu ${ngpu}" --log "${lm_exp}/train.log" \
        --watch "${lm_exp}" -- "${PYTHON[@]}" -m espnet_topdown.bin.lm_train \
        --config "${lm_config}" --output_dir "${lm_exp}" --ngpu "${ngpu}" --resume true \
        --token_list "${data_dir}/tokens.txt" \
        --train_data_path_and_name_and_type "${data_dir}/train.txt,text,text" \
        --valid_data_path_and_name_and_type "${data_dir}/dev.txt,text,text" \
        ${OPTS[@]+"${OPTS[@]}"}
fi

if [ "${stop_stage}" -ge 12 ]; then
    need_file "finished joint model in ${lm_exp}" train "${lm_exp}/valid.loss.best.pth"
fi

if [ -n "${row}" ]; then
    log "Rows ${row} -> ${lm_exp}_rows"
    "${PYTHON[@]}" -m espnet_topdown rows --row "${row}" --rows_dir "${lm_exp}_rows" --exp "${lm_exp}" \
        --cmd "${cuda_cmd} --gpu ${ngpu}" -- ./lm.sh "${RUN_ARGS[@]}" --row ""
    log "Successfully finished. [elapsed=${SECONDS}s]"
    exit 0
fi

if stage_on 12; then
    log "Stage 12: top-down search (${search}): ${lm_exp} -> ${topdown_dir}"
    OPTS=()
    for NAME in max_frozen max_epoch controls base_model; do
        if [ -n "${!NAME}" ]; then OPTS+=("--${NAME}" "${!NAME}"); fi
    done
    "${PYTHON[@]}" -m espnet_topdown search \
        --base_exp "${lm_exp}" --output_dir "${topdown_dir}" --strategy "${search}" \
        --stack "${stack}" --retrain_seed "${retrain_seed}" --max_jobs "${max_jobs}" \
        --jobs_per_gpu "${jobs_per_gpu}" --ngpu "${ngpu}" --cmd "${cuda_cmd} --gpu ${ngpu}" ${OPTS[@]+"${OPTS[@]}"}
fi

if stage_on 13; then
    TEXTS=("test ${test_width}")
    if [ -f "${decode_candidates}" ]; then
        TEXTS+=("dev ${dev_width}")
    else
        need_file "finished search in ${topdown_dir}" topdown "${topdown_dir}/result.json"
    fi
    log "Stage 13: perplexity of ${data_dir}/test.txt -> ${topdown_dir}/*/decode_perplexity/test"
    while IFS=$'\t' read -r -u 3 NAME EXP MODEL; do
        for TEXT in "${TEXTS[@]}"; do
            DIR=${topdown_dir}/${NAME}/decode_perplexity/${TEXT% *}
            READ=("${EXP}/${MODEL}" "${EXP}/config.yaml" "${data_dir}/${TEXT% *}.txt")
            once "${DIR}" <(stat -L -c '%n %s %Y' "${READ[@]}" 2>/dev/null) -- \
                "${PYTHON[@]}" -m espnet_topdown perplexity --exp "${EXP}" --model_file "${MODEL}" \
                --text "${data_dir}/${TEXT% *}.txt" --width "${TEXT#* }" --output_dir "${DIR}"
        done
    done 3< <(list_models "${topdown_dir}" "${decode_candidates}")
fi

if stage_on 15; then
    log "Stage 15: report -> ${topdown_dir}/RESULTS.md"
    "${PYTHON[@]}" -m espnet_topdown report --search_dir "${topdown_dir}"
fi

log "Successfully finished. [elapsed=${SECONDS}s]"
exit 0
}
