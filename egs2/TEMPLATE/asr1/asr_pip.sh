#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# shellcheck disable=SC2317  # functions that are called by "$@"
# Stages 1-11 of an ESPnet recipe from pip packages alone: the options, folders and file
# names are those of ESPnet's asr.sh, so that either can go on where the other stopped.
set -euo pipefail
{ # read to its end before it runs: the file may be updated during a long search

. utils/common.sh
pass_signals_on "$@"
. utils/asr_options.sh
# shellcheck disable=SC2034  # read by parse_options.sh
{
    OPTION_FILES=(utils/asr_options.sh)
    LAST_STAGE=11
    SCRIPT=${TOPDOWN_SCRIPT:-$0} # what the user called
    help_message="Usage: ${SCRIPT} --train_set NAME --valid_set NAME --test_sets \"NAME ...\" [options]
Stages: $(stage_table 11)
The language model (6-8) is made only with --use_lm true.
Options, with their defaults:"
}
RUN_ARGS=("$@")
. utils/parse_options.sh
. utils/asr_names.sh
. ./path.sh
. ./cmd.sh

need train_set valid_set
if [ "${feats_type}" != raw ]; then
    die E_USAGE "--feats_type ${feats_type} needs Kaldi" "take raw, or set ESPNET_ROOT"
fi
for NAME in ${test_sets} "${valid_set}"; do
    if [ "${NAME}" = "${train_set}" ] || [ "${NAME}" = "${org_train_set}" ]; then
        die E_USAGE "'${NAME}' is the training set and an evaluation set" "give them different sets"
    fi
done
if "${skip_data_prep}"; then skip_stages+=" 1 2 3 4 5"; fi
if "${skip_train}"; then skip_stages+=" 2 4 5 6 7 8 9 10 11"; fi
if ! "${use_lm}"; then skip_stages+=" 6 7 8"; fi
if ! "${use_ngram}"; then skip_stages+=" 9"; fi
if [ -z "${sp}" ]; then skip_stages+=" 2"; fi

if stage_on 10 || stage_on 11; then need_configs asr_config; fi
if stage_on 6 || stage_on 7; then need_configs lm_config; fi

start_python
read -r -a TRAIN_CMD <<<"${train_cmd}"
read -r -a CUDA_CMD <<<"${cuda_cmd}"
read -r -a TEST_SETS <<<"${test_sets}"
log "$0 ${RUN_ARGS[*]-}"
check_installation
log "Skipped stages:${skip_stages:+ }${skip_stages}"

if stage_on 1; then
    log "Stage 1: data preparation: local/data.sh -> data/{${org_train_set},${valid_set},...}"
    read -r -a OPTS <<<"${local_data_opts}"
    local/data.sh ${OPTS[@]+"${OPTS[@]}"}
fi

in_shards() { # set logs command...: --job JOB of every shard, then --merge true
    local wav_scp=data/$1/wav.scp log=$2.JOB.log n
    shift 2
    n=$(smallest "${nj}" "$(count_lines "${wav_scp}")")
    if [ "${n}" -lt 1 ]; then die E_DATA "${wav_scp} is empty" "repair stage data" 65; fi
    run_job "${log}" "${TRAIN_CMD[@]}" "JOB=1:${n}" "${log}" "$@" --nj "${n}" --job JOB
    "$@" --nj "${n}" --merge true
}

READ_OPTS=(--allow_pipes "${allow_pipes}")
if [ -n "${channel}" ]; then READ_OPTS+=(--channel "${channel}"); fi

if stage_on 2; then
    log "Stage 2: speed perturbation (${speed_perturb_factors}): data/${org_train_set} -> data/${train_set}"
    need_file "training set" data "data/${org_train_set}/wav.scp"
    once "data/${train_set}" <(data_state "data/${org_train_set}") -- \
        in_shards "${org_train_set}" "data/${train_set}/logs/perturb" \
        "${PYTHON[@]}" -m espnet_topdown perturb_speed \
        --data_dir "data/${org_train_set}" --factors "${speed_perturb_factors}" "${READ_OPTS[@]}"
fi

if stage_on 3; then
    log "Stage 3: format audio (${fs}, ${audio_format}): data -> ${data_feats}"
    format_set() { # set output
        need_file "data set" data "data/$1/wav.scp"
        log "data/$1 -> $2"
        once "$2" <(data_state "data/$1") -- \
            in_shards "$1" "$2/logs/format_wav" "${PYTHON[@]}" -m espnet_topdown format_wav \
            --data_dir "data/$1" --output_dir "$2" --fs "${fs}" --audio_format "${audio_format}" \
            "${READ_OPTS[@]}"
    }
    for NAME in "${train_set}" "${valid_set}"; do format_set "${NAME}" "${data_feats}/org/${NAME}"; done
    for NAME in ${TEST_SETS[@]+"${TEST_SETS[@]}"}; do
        if [ "${NAME}" != "${valid_set}" ]; then format_set "${NAME}" "${data_feats}/${NAME}"; fi
    done
fi

if stage_on 4; then
    log "Stage 4: keep ${min_wav_duration}-${max_wav_duration} s: ${data_feats}/org -> ${data_feats}"
    for NAME in "${train_set}" "${valid_set}"; do
        need_file "formatted audio" format "${data_feats}/org/${NAME}/wav.scp"
        once "${data_feats}/${NAME}" <(data_state "${data_feats}/org/${NAME}") -- \
            "${PYTHON[@]}" -m espnet_topdown filter_data \
            --data_dir "${data_feats}/org/${NAME}" --output_dir "${data_feats}/${NAME}" \
            --fs "${fs}" --min_wav_duration "${min_wav_duration}" --max_wav_duration "${max_wav_duration}"
    done
    for PART in "${!lm_inputs[@]}"; do
        log "${lm_inputs[${PART}]} -> ${data_feats}/lm_${PART}.txt"
        # shellcheck disable=SC2086  # several files
        "${PYTHON[@]}" -m espnet_topdown filter_text --input ${lm_inputs[${PART}]} \
            --output "${data_feats}/lm_${PART}.txt"
    done
fi

if stage_on 5; then
    log "Stage 5: token list (${token_type}) -> ${token_list}"
    make_dir "${token_dir}"
    if [ "${token_type}" = bpe ]; then
        # shellcheck disable=SC2086  # several files
        need_file "text" "" ${bpe_train_text}
        # shellcheck disable=SC2086  # several files
        once "${token_dir}" ${bpe_train_text} <(cat -- "${bpe_nlsyms}" 2>/dev/null) -- \
            "${PYTHON[@]}" -m espnet_topdown token_list --token_type bpe --input ${bpe_train_text} \
            --output_dir "${token_dir}" --vocab_size "${nbpe}" --bpemode "${bpemode}" \
            --input_sentence_size "${bpe_input_sentence_size}" --nlsyms "${bpe_nlsyms}" \
            --character_coverage "${bpe_char_cover}" --oov "${oov}" --blank "${blank}" --sos_eos "${sos_eos}"
    else
        need_file "text" filter "${data_feats}/lm_train.txt"
        INPUTS=("${data_feats}/lm_train.txt")
        if [ "${nlsyms_txt}" != none ]; then INPUTS+=("${nlsyms_txt}"); fi
        LOG=${token_dir}/log/tokenize_text.log
        once "${token_dir}" "${INPUTS[@]}" -- run_job "${LOG}" logged "${LOG}" \
            "${PYTHON[@]}" -m espnet2.bin.tokenize_text --token_type "${token_type}" \
            --input "${data_feats}/lm_train.txt" --output "${token_list}" --field 2- \
            --non_linguistic_symbols "${nlsyms_txt}" --cleaner "${cleaner}" --g2p "${g2p}" \
            --write_vocabulary true \
            --add_symbol "${blank}:0" --add_symbol "${oov}:1" --add_symbol "${sos_eos}:-1"
    fi
fi

TEXT_OPTS=(--use_preprocessor true --bpemodel "${bpe_model}" --token_type "${token_type}"
    --token_list "${token_list}" --non_linguistic_symbols "${nlsyms_txt}"
    --cleaner "${cleaner}" --g2p "${g2p}")

collect_stats() { # dir train-keys valid-keys names command...: statistics, in shards
    local dir=$1 train_keys=$2 valid_keys=$3 names=$4 n job part shards=()
    shift 4
    n=$(smallest "${nj}" "$(count_lines "${train_keys}")" "$(count_lines "${valid_keys}")")
    if [ "${n}" -lt 1 ]; then
        die E_DEV_EMPTY "${train_keys} or ${valid_keys} has no lines" "run --stage data" 65
    fi
    make_dir "${dir}/logdir"
    split_lines "${train_keys}" "${n}" "${dir}/logdir/train.JOB.scp"
    split_lines "${valid_keys}" "${n}" "${dir}/logdir/valid.JOB.scp"
    log "${n} shards, log: ${dir}/logdir/stats.*.log"
    run_job "${dir}/logdir/stats.JOB.log" "${TRAIN_CMD[@]}" "JOB=1:${n}" "${dir}/logdir/stats.JOB.log" \
        "$@" --collect_stats true --output_dir "${dir}/logdir/stats.JOB" \
        --train_shape_file "${dir}/logdir/train.JOB.scp" --valid_shape_file "${dir}/logdir/valid.JOB.scp"
    for ((job = 1; job <= n; job++)); do shards+=(--input_dir "${dir}/logdir/stats.${job}"); done
    if [ "${names}" = text ] || [ "${feats_normalize}" != global_mvn ]; then shards+=(--skip_sum_stats); fi
    run_job "${dir}/logdir/aggregate.log" logged "${dir}/logdir/aggregate.log" \
        "${PYTHON[@]}" -m espnet2.bin.aggregate_stats_dirs "${shards[@]}" --output_dir "${dir}"
    for part in train valid; do
        awk -v n="$(count_lines "${token_list}")" '{ print $0 "," n }' "${dir}/${part}/text_shape" \
            >"${dir}/${part}/text_shape.${token_type}"
    done
}

PLOT_OPTS=() # ESPnet turns plots on, but does not depend on what draws them
for MODULE in matplotlib tensorboard; do
    if ! "${PYTHON[@]}" -c "import importlib.util as u, sys; sys.exit(not u.find_spec('${MODULE}'))"; then
        PLOT_OPTS+=("--use_${MODULE}" false)
    fi
done

train() { # dir command...: one training, unless this very one is finished
    local dir=$1 digest
    shift
    digest=$(fingerprint "$@" -- "${token_list}" "${INPUTS[@]}")
    if [ -e "${dir}/.done" ] && [ "$(cat "${dir}/.done")" = "${digest}" ]; then
        log "${dir} is finished already"
        return
    fi
    make_dir "${dir}"
    rotate_log "${dir}/train.log"
    log "log: ${dir}/train.log"
    run_job "${dir}/train.log" "${PYTHON[@]}" -m espnet_topdown launch \
        --cmd "${cuda_cmd} --gpu ${ngpu} --name '${dir##*/}'" --log "${dir}/train.log" --watch "${dir}" -- \
        "$@" ${PLOT_OPTS[@]+"${PLOT_OPTS[@]}"} --output_dir "${dir}" --resume true \
        --ngpu "${ngpu}" --multiprocessing_distributed true
    printf '%s\n' "${digest}" >"${dir}/.done"
}

. utils/lm_stages.sh

ASR_DATA=(--frontend_conf "fs=${fs}")
for PART in train valid; do
    NAME=${train_set}
    if [ "${PART}" = valid ]; then NAME=${valid_set}; fi
    ASR_DATA+=("--${PART}_data_path_and_name_and_type" "${data_feats}/${NAME}/wav.scp,speech,sound"
        "--${PART}_data_path_and_name_and_type" "${data_feats}/${NAME}/text,text,text")
done
read -r -a ASR_ARGS <<<"${asr_args}"
if [ -n "${asr_config}" ]; then ASR_ARGS=(--config "${asr_config}" ${ASR_ARGS[@]+"${ASR_ARGS[@]}"}); fi

if stage_on 10; then
    log "Stage 10: statistics of ${data_feats}/${train_set} -> ${asr_stats_dir}"
    need_file "training data" filter "${data_feats}/${train_set}/wav.scp" "${data_feats}/${valid_set}/wav.scp"
    need_file "token list" tokens "${token_list}"
    asr_stats() { # check_data allow_overlap feats_normalize command...
        local sets=("${TEST_SETS[@]/#/${data_feats}/}")
        if "$1"; then
            "${PYTHON[@]}" -m espnet_topdown validate_data --fs "${fs}" \
                --train "${data_feats}/${train_set}" --dev "${data_feats}/${valid_set}" \
                --test ${sets[@]+"${sets[@]}"} "${TEXT_OPTS[@]:2}" --allow_overlap "$2"
        fi
        collect_stats "${asr_stats_dir}" "${data_feats}/${train_set}/wav.scp" \
            "${data_feats}/${valid_set}/wav.scp" speech "${@:4}"
    }
    INPUTS=("${token_list}")
    for FILE in "${bpe_model}" "${nlsyms_txt}" "${asr_config}"; do
        if [ -f "${FILE}" ]; then INPUTS+=("${FILE}"); fi
    done
    all_states() { for NAME in "${train_set}" "${valid_set}" "${TEST_SETS[@]}"; do data_state "${data_feats}/${NAME}"; done; }
    once "${asr_stats_dir}" "${INPUTS[@]}" <(all_states) -- \
        asr_stats "${check_data}" "${allow_overlap}" "${feats_normalize}" \
        "${PYTHON[@]}" -m espnet_topdown.bin.asr_train "${TEXT_OPTS[@]}" "${ASR_DATA[@]}" \
        ${ASR_ARGS[@]+"${ASR_ARGS[@]}"}
fi

if stage_on 11; then
    log "Stage 11: joint training on ${data_feats}/${train_set} -> ${asr_exp}"
    need_file "statistics" stats "${asr_stats_dir}/train/speech_shape" "${asr_stats_dir}/valid/speech_shape"
    OPTS=(--ignore_init_mismatch "${ignore_init_mismatch}")
    if [ "${feats_normalize}" = global_mvn ]; then
        OPTS+=(--normalize global_mvn
            --normalize_conf "stats_file=${asr_stats_dir}/train/feats_stats.npz")
    else
        OPTS+=(--normalize "${feats_normalize}")
    fi
    for SPEC in ${pretrained_model}; do OPTS+=(--init_param "${SPEC}"); done
    INPUTS=("${asr_stats_dir}"/{train,valid}/{speech_shape,"text_shape.${token_type}"})
    if [ -n "${asr_config}" ]; then INPUTS+=("${asr_config}"); fi
    # A fold length belongs to the shape file at the same place: speech, then text.
    train "${asr_exp}" "${PYTHON[@]}" -m espnet_topdown.bin.asr_train "${TEXT_OPTS[@]}" "${ASR_DATA[@]}" \
        --train_shape_file "${asr_stats_dir}/train/speech_shape" \
        --valid_shape_file "${asr_stats_dir}/valid/speech_shape" \
        --fold_length "$((asr_speech_fold_length * 100))" \
        --train_shape_file "${asr_stats_dir}/train/text_shape.${token_type}" \
        --valid_shape_file "${asr_stats_dir}/valid/text_shape.${token_type}" \
        --fold_length "${asr_text_fold_length}" \
        "${OPTS[@]}" ${ASR_ARGS[@]+"${ASR_ARGS[@]}"}
fi

log "Successfully finished. [elapsed=${SECONDS}s]"
exit 0
}
