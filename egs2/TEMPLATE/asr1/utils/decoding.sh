# shellcheck shell=bash
# shellcheck disable=SC2154  # options and names come from the *_options.sh and asr_names.sh
# How a set is decoded, for the stages 13-16 and for rows. Needs the options, parsed.

name_inference() { # sets inference_tag where --inference_tag gave none
    if [ -z "${inference_tag}" ]; then
        inference_tag=decode_ctc_greedy
        if [ -n "${inference_config}" ]; then
            inference_tag=$(config_name "${inference_config}" "")
            inference_tag=decode_${inference_tag#decode}
            inference_tag=${inference_tag/#decode__/decode_}
            if [ "${inference_tag}" = decode_ ]; then inference_tag=decode_beam; fi
            inference_tag+=$(plain_args "${inference_args}" ' |=/')
            if "${use_lm}"; then inference_tag+=_lm_${lm_exp##*/}; fi
        fi
    elif [ "${inference_tag#decode_}" = "${inference_tag}" ]; then
        inference_tag=decode_${inference_tag}
    fi
    read -r -a INFERENCE_ARGS <<<"${inference_args}"
}

read -r -a EVAL_CMD <<<"${decode_cmd}"
EVAL_GPU=0
if "${gpu_inference}"; then
    read -r -a EVAL_CMD <<<"${cuda_cmd}"
    EVAL_GPU=1
fi
EVAL_SETS=()
for NAME in ${test_sets}; do
    if [ "${NAME}" = "${valid_set}" ]; then eval_valid_set=true; else EVAL_SETS+=("${NAME}"); fi
done
if "${eval_valid_set}"; then
    need valid_set
    EVAL_SETS+=("org/${valid_set}")
fi

decode() { # exp model set dir: unless just this was decoded
    local files=("$1/$2" "$1/config.yaml") seal
    if "${use_lm}"; then files+=("${lm_exp}/config.yaml" "${lm_exp}/${inference_lm}"); fi
    seal=$(fingerprint "${HOW}" "$@" ${INFERENCE_ARGS[@]+"${INFERENCE_ARGS[@]}"} -- \
        <(data_state "${data_feats}/$3" && stat -L -c '%n %s %Y' "${files[@]}") \
        ${inference_config:+"${inference_config}"})
    if [ -e "$4/text" ] && [ -e "$4/.decoded" ] && [ "$(cat "$4/.decoded")" = "${seal}" ]; then
        log "$4: nothing to do"
        return
    fi
    make_dir "$4"
    rm -f "$4/.decoded"
    decode_"${HOW}" "$@"
    printf '%s\n' "${seal}" >"$4/.decoded"
}

decode_greedy() { # exp model set dir
    local args=(--exp "$1" --model_file "$2" --wav_scp "${data_feats}/$3/wav.scp")
    if [ -e "${data_feats}/$3/text" ]; then args+=(--text "${data_feats}/$3/text"); fi
    run_job "$4/decode.log" "${EVAL_CMD[@]}" --gpu "${EVAL_GPU}" "$4/decode.log" \
        "${PYTHON[@]}" -m espnet_topdown decode "${args[@]}" --ngpu "${EVAL_GPU}" --output_dir "$4"
}

exact_ctc() { # --ctc_window_margin 0 where it exists: later releases approximate by default
    "${PYTHON[@]}" - <<'PYTHON'
from importlib.metadata import version
if int("0" + version("espnet").split(".")[0]) >= 202606:
    print("--ctc_window_margin 0")
PYTHON
}

decode_beam() { # exp model set dir
    local data=${data_feats}/$3 logdir=$4/logdir n job file args=()
    n=$(smallest "${inference_nj}" "$(count_lines "${data}/wav.scp")")
    make_dir "${logdir}"
    split_lines "${data}/wav.scp" "${n}" "${logdir}/keys.JOB.scp"
    if [[ " ${inference_args} " != *" --ctc_window_margin"* ]]; then read -r -a args < <(exact_ctc) || true; fi
    if "${use_lm}"; then
        args+=(--lm_train_config "${lm_exp}/config.yaml" --lm_file "${lm_exp}/${inference_lm}")
    fi
    run_job "${logdir}/asr_inference.JOB.log" "${EVAL_CMD[@]}" --gpu "${EVAL_GPU}" "JOB=1:${n}" \
        "${logdir}/asr_inference.JOB.log" "${PYTHON[@]}" -m espnet_topdown.bin.asr_inference \
        --batch_size 1 --ngpu "${EVAL_GPU}" --config "${inference_config}" \
        --data_path_and_name_and_type "${data}/wav.scp,speech,sound" \
        --key_file "${logdir}/keys.JOB.scp" --output_dir "${logdir}/output.JOB" \
        --asr_train_config "$1/config.yaml" --asr_model_file "$1/$2" \
        ${args[@]+"${args[@]}"} ${INFERENCE_ARGS[@]+"${INFERENCE_ARGS[@]}"}
    for ((job = 1; job <= n; job++)); do
        same_keys "${logdir}/keys.${job}.scp" "${logdir}/output.${job}/1best_recog/text"
    done
    for file in token token_int score text; do
        for ((job = 1; job <= n; job++)); do
            cat -- "${logdir}/output.${job}/1best_recog/${file}"
        done | sort -k1,1 >"$4/${file}"
    done
    same_keys "${data}/wav.scp" "$4/text"
}

score() { # greedy|beam model set dir base-text: counts, tables, an interval against the base
    local opts=(--ref "${data_feats}/$3/text") of_hyp=(--hyp "$4/text") unit_name
    if [ "${nlsyms_txt}" != none ]; then opts+=(--nlsyms "${nlsyms_txt}"); fi
    if [ "$1" = beam ]; then # greedy decoding has counted itself
        "${PYTHON[@]}" -m espnet_topdown score_set "${opts[@]}" --decode_dir "$4" \
            --decoder "${inference_tag#decode_}" --model_file "$2"
    fi
    if [ "${5:-$4/text}" != "$4/text" ]; then of_hyp+=(--bootstrap_against "$5"); fi
    for unit_name in cer wer; do
        "${PYTHON[@]}" -m espnet_topdown score "${opts[@]}" "${of_hyp[@]}" --unit "${unit_name}" \
            --output_dir "$4/score_${unit_name}"
    done
    score_more "$3" "$4"
}

score_more() { # set dir: what the recipe scores besides, with local/score_set.sh
    if [ -x local/score_set.sh ]; then
        log "local/score_set.sh $1 $2"
        local/score_set.sh "$1" "$2"
    fi
}

same_keys() { # reference other: a lost shard must not look like a better result
    local missing
    if [ ! -e "$2" ]; then
        die E_UTT_SETS "$2 is missing" "read its log and run --stage decode again" 65
    fi
    missing=$(diff <(cut -d ' ' -f 1 "$1" | sort) <(cut -d ' ' -f 1 "$2" | sort) || true)
    if [ -n "${missing}" ]; then
        missing=${missing#*$'\n'}
        die E_UTT_SETS "$2 and $1 differ in utterances (${missing%%$'\n'*})" \
            "read the logs beside it and run --stage decode again" 65
    fi
}
