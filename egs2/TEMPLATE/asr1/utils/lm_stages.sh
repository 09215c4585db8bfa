# shellcheck shell=bash
# shellcheck disable=SC2154  # options and names come from asr_options.sh and asr_names.sh
# Stages 6-9: the language model. Part of asr_pip.sh, which has the functions used here.

LM_DATA=(--train_data_path_and_name_and_type "${data_feats}/lm_train.txt,text,text"
    --valid_data_path_and_name_and_type "${lm_dev_text},text,text")
read -r -a LM_ARGS <<<"${lm_args}"
if [ -n "${lm_config}" ]; then LM_ARGS=(--config "${lm_config}" ${LM_ARGS[@]+"${LM_ARGS[@]}"}); fi

check_texts() { # file...: as training reads them
    if "${check_data}"; then
        "${PYTHON[@]}" -m espnet_topdown validate_data --fs "${fs}" "${TEXT_OPTS[@]:2}" --texts "$@"
    fi
}

if stage_on 6; then
    log "Stage 6: LM statistics of ${data_feats}/lm_train.txt -> ${lm_stats_dir}"
    need_file "text" filter "${data_feats}/lm_train.txt" "${lm_dev_text}"
    need_file "token list" tokens "${token_list}"
    check_texts "${data_feats}/lm_train.txt" "${lm_dev_text}"
    collect_stats "${lm_stats_dir}" "${data_feats}/lm_train.txt" "${lm_dev_text}" text \
        "${PYTHON[@]}" -m espnet2.bin.lm_train "${TEXT_OPTS[@]}" "${LM_DATA[@]}" \
        ${LM_ARGS[@]+"${LM_ARGS[@]}"}
fi

if stage_on 7; then
    log "Stage 7: LM training -> ${lm_exp}"
    need_file "LM statistics" lm_stats "${lm_stats_dir}/train/text_shape.${token_type}"
    INPUTS=("${lm_stats_dir}"/{train,valid}/"text_shape.${token_type}")
    if [ -n "${lm_config}" ]; then INPUTS+=("${lm_config}"); fi
    train "${lm_exp}" "${PYTHON[@]}" -m espnet2.bin.lm_train "${TEXT_OPTS[@]}" "${LM_DATA[@]}" \
        --train_shape_file "${lm_stats_dir}/train/text_shape.${token_type}" \
        --valid_shape_file "${lm_stats_dir}/valid/text_shape.${token_type}" \
        --fold_length "${lm_fold_length}" ${LM_ARGS[@]+"${LM_ARGS[@]}"}
fi

if stage_on 8; then
    log "Stage 8: perplexity of ${lm_test_text} -> ${lm_exp}/perplexity_test"
    need_file "LM" lm_train "${lm_exp}/${inference_lm}"
    need_file "text" filter "${lm_test_text}"
    check_texts "${lm_test_text}"
    LOG=${lm_exp}/perplexity_test/lm_calc_perplexity.log
    make_dir "${lm_exp}/perplexity_test"
    run_job "${LOG}" "${CUDA_CMD[@]}" --gpu "${ngpu}" "${LOG}" \
        "${PYTHON[@]}" -m espnet2.bin.lm_calc_perplexity --ngpu "${ngpu}" \
        --data_path_and_name_and_type "${lm_test_text},text,text" \
        --train_config "${lm_exp}/config.yaml" --model_file "${lm_exp}/${inference_lm}" \
        --output_dir "${lm_exp}/perplexity_test"
    log "perplexity: $(cat "${lm_exp}/perplexity_test/ppl")"
fi

if stage_on 9; then
    die E_NGRAM "stage 9 needs KenLM, which no pip package offers here" \
        "leave --use_ngram false, or set ESPNET_ROOT to use ESPnet's own stages"
fi
