#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# A top-down recipe: stages 1-11 train an ESPnet model, stages 12-16 retrain it from the
# top down and compare. Stage 12 takes any ESPnet experiment: --asr_exp DIR --stage topdown
set -euo pipefail
{ # read to its end before it runs: the file may be updated during a long search

. utils/common.sh
pass_signals_on "$@"
. utils/asr_options.sh
. utils/topdown_options.sh
# shellcheck disable=SC2034  # read by parse_options.sh
{
    OPTION_FILES=(utils/asr_options.sh utils/topdown_options.sh)
    LAST_STAGE=16
    SCRIPT=${TOPDOWN_SCRIPT:-$0} # what the user called
    help_message="Usage: ${SCRIPT} --asr_exp DIR --stage topdown [options]
       ${SCRIPT} --asr_config FILE --train_set NAME --valid_set NAME --test_sets \"NAME ...\" [options]
Stages: $(stage_table 16)
In ESPnet's asr.sh stage 12 is decoding; here it is the top-down search, and 13 decodes.
Options, with their defaults:"
}

RUN_ARGS=("$@")
. utils/forward.sh
collect_asr_options ASR_DEFAULTS
. utils/parse_options.sh
. utils/seeds.sh
if [ -n "${asr_exp}" ]; then seeds=; fi # one experiment has one seed
if [ -n "${seeds}" ]; then check_seeds; fi
if [ -n "${seeds}" ] && [ "${nth_seed}" -gt 0 ]; then choose_seed; fi
collect_asr_options ASR_OPTIONS # before asr_names.sh fills in what was left open
. utils/asr_names.sh
. ./path.sh
. ./cmd.sh

if [ "${stage}" -gt "${stop_stage}" ]; then
    die E_USAGE "--stage ${stage} is after --stop_stage ${stop_stage}" "swap them"
fi
if "${skip_eval}"; then skip_stages+=" 13 14"; fi
if "${skip_packing}" && [ "${stage}" -ne 16 ]; then skip_stages+=" 16"; fi
if "${skip_train}"; then skip_stages+=" 12"; fi
if ! "${skip_train}" && { stage_on 10 || stage_on 11; }; then need_configs asr_config; fi
if stage_on 13; then need_configs inference_config; fi
asr_exp=${asr_exp%/}
if [ -z "${topdown_dir}" ]; then topdown_dir=${asr_exp}_topdown${topdown_tag:+_${topdown_tag}}; fi
topdown_dir=${topdown_dir%/}
if "${use_lm}" && grep -Eqs '^(lm: awd_lstm|model: continuous)' "${lm_exp}/config.yaml" "${lm_config:-/dev/null}"; then
    die E_USAGE "--use_lm true with an awd_lstm model, which ESPnet's beam search cannot read" \
        "give one of ESPnet's own language models"
fi

start_python
log "$0 ${RUN_ARGS[*]-}"
check_installation
if [ -n "${row}" ]; then # each is trained, decoded and scored by the stages below
    if [ "${stage}" -ne 1 ] || [ "${stop_stage}" -ne 10000 ]; then
        die E_USAGE "--row and --stage or --stop_stage" "make the data first (--stop_stage stats), then give --row alone"
    fi
    need paper train_set valid_set test_sets
    need_file "statistics of ${train_set}" stats "${asr_stats_dir}/train/speech_shape" "${token_list}"
    OPTS=(--inference_config "${inference_config:-${row_conf}/decode_att.yaml}" "--args=${asr_args}")
    if [[ " ${local_data_opts} " == *" --allow_partial true "* ]]; then OPTS+=(--allow_partial); fi
    "${PYTHON[@]}" -m espnet_topdown rows --paper "${paper}" --conf "${row_conf}" --row "${row}" \
        --exp "${expdir}/asr_CONFIG_${feats_type}${lang_part}_${unit}ARGS${sp}" \
        --rows_dir "${expdir}/rows" --stats_dir "${asr_stats_dir}" --cmd "${cuda_cmd} --gpu ${ngpu}" \
        "${OPTS[@]}" "--inference_args=${inference_args}" --train_dir "${data_feats}/${train_set}" \
        -- ./topdown.sh "${RUN_ARGS[@]}" --row "" --inference_config "" --inference_tag ""
    log "Successfully finished. [elapsed=${SECONDS}s]"
    exit 0
fi
if [ -n "${seeds}" ]; then
    run_seeds
    log "Successfully finished. [elapsed=${SECONDS}s]"
    exit 0
fi
log "Stages: $(stage_table 16). Skipped:${skip_stages:- none}"

if [ "${stage}" -le 11 ]; then
    forward_asr_stages
fi
if [ "${stop_stage}" -ge 12 ]; then
    need_file "finished joint model in ${asr_exp}" train "${asr_exp}/config.yaml"
fi

if stage_on 12; then
    log "Stage 12: top-down search (${search}): ${asr_exp} -> ${topdown_dir}"
    OPTS=()
    for NAME in max_frozen max_epoch controls epochs width budget steps reinit \
        max_jobs_total yes base_model; do
        if [ -n "${!NAME}" ]; then OPTS+=("--${NAME}" "${!NAME}"); fi
    done
    "${PYTHON[@]}" -m espnet_topdown search \
        --base_exp "${asr_exp}" --output_dir "${topdown_dir}" \
        --strategy "${search}" --stack "${stack}" --criterion "${criterion}" \
        --retrain_seed "${retrain_seed}" --allow_unfinished "${allow_unfinished}" \
        --allow_infeasible "${allow_infeasible}" --allow_overlap "${allow_overlap}" \
        --allow_pipes "${allow_pipes}" --fix_eval_dropout "${fix_eval_dropout}" --max_jobs "${max_jobs}" \
        --jobs_per_gpu "${jobs_per_gpu}" --ngpu "${ngpu}" --cmd "${cuda_cmd} --gpu ${ngpu}" ${OPTS[@]+"${OPTS[@]}"}
fi

if [ "${stop_stage}" -ge 13 ]; then
    . utils/eval_stages.sh
fi

log "Successfully finished. [elapsed=${SECONDS}s]"
exit 0
}
