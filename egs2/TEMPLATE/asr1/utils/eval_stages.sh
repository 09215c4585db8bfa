# shellcheck shell=bash
# shellcheck disable=SC2154  # options and names come from the *_options.sh and asr_names.sh
# Stages 13-16: decode, score, report, pack. Part of topdown.sh, after the search.

case "${decode_candidates}" in
    best | all) ;;
    *) die E_USAGE "--decode_candidates must be best or all, got '${decode_candidates}'" "write best" ;;
esac
. utils/decoding.sh
name_inference
if [ "${#EVAL_SETS[@]}" -eq 0 ]; then
    log "No --test_sets: nothing is decoded or scored"
    skip_stages+=" 13 14"
fi
NODES=()
while IFS= read -r LINE; do NODES+=("${LINE}"); done \
    < <(python3 utils/nodes.py "${topdown_dir}" "${asr_exp}" "${decode_candidates}")
if [ "${#NODES[@]}" -eq 0 ]; then
    die E_ORDER "${topdown_dir}/result.json cannot be read" "run --stage topdown again" 66
fi

if stage_on 13; then
    log "Stage 13: decode ${EVAL_SETS[*]} with ${#NODES[@]} models -> ${topdown_dir}/*/${inference_tag}"
    for LINE in "${NODES[@]}"; do
        IFS=$'\t' read -r NODE EXP MODEL <<<"${LINE}"
        for NAME in "${EVAL_SETS[@]}"; do
            need_file "test data" format "${data_feats}/${NAME}/wav.scp"
            DIR=${topdown_dir}/${NODE}/${inference_tag}/${NAME}
            log "${NODE}: ${EXP}/${MODEL} -> ${DIR}"
            make_dir "${DIR}"
            if [ -n "${inference_config}" ]; then
                decode_beam "${EXP}" "${MODEL}" "${NAME}" "${DIR}"
            else
                decode_greedy "${EXP}" "${MODEL}" "${NAME}" "${DIR}"
            fi
        done
    done
fi

if stage_on 14; then
    log "Stage 14: score ${topdown_dir}/*/${inference_tag}"
    BASE_NODE=${NODES[0]%%$'\t'*}
    for LINE in "${NODES[@]}"; do
        IFS=$'\t' read -r NODE EXP MODEL <<<"${LINE}"
        for NAME in "${EVAL_SETS[@]}"; do
            DIR=${topdown_dir}/${NODE}/${inference_tag}/${NAME}
            need_file "hypotheses" decode "${DIR}/text"
            need_file "references" format "${data_feats}/${NAME}/text"
            OPTS=(--ref "${data_feats}/${NAME}/text" --hyp "${DIR}/text")
            if [ "${nlsyms_txt}" != none ]; then OPTS+=(--nlsyms "${nlsyms_txt}"); fi
            if [ -n "${inference_config}" ]; then # greedy decoding has counted itself
                "${PYTHON[@]}" -m espnet_topdown score_set "${OPTS[@]:0:2}" "${OPTS[@]:4}" \
                    --decode_dir "${DIR}" --decoder "${inference_tag#decode_}" --model_file "${EXP}/${MODEL}"
            fi
            if [ "${NODE}" != "${BASE_NODE}" ]; then
                OPTS+=(--bootstrap_against "${topdown_dir}/${BASE_NODE}/${inference_tag}/${NAME}/text")
            fi
            for UNIT in cer wer; do
                log "${UNIT^^} of ${NODE} on ${NAME}"
                "${PYTHON[@]}" -m espnet_topdown score "${OPTS[@]}" \
                    --unit "${UNIT}" --output_dir "${DIR}/score_${UNIT}"
            done
            score_more "${NAME}" "${DIR}"
        done
    done
fi

if stage_on 15; then
    log "Stage 15: report -> ${topdown_dir}/{RESULTS.md,report.html,figures}"
    "${PYTHON[@]}" -m espnet_topdown report --search_dir "${topdown_dir}"
fi

if stage_on 16; then
    BEST=$(readlink "${topdown_dir}/best" || true)
    for LINE in "${NODES[@]}"; do
        if [ "${LINE%%$'\t'*}" = "${BEST}" ]; then IFS=$'\t' read -r NODE EXP MODEL <<<"${LINE}"; fi
    done
    need_file "best model" topdown "${EXP}/config.yaml" "${EXP}/${MODEL}"
    log "Stage 16: pack ${EXP}/${MODEL} -> ${topdown_dir}/${topdown_dir##*/}_${NODE}.zip"
    OPTS=()
    for FILE in "${asr_stats_dir}/train/feats_stats.npz" "${bpe_model}" "${nlsyms_txt}" \
        "${topdown_dir}/RESULTS.md" "${EXP}/images"; do
        if [ "${FILE}" != none ] && [ -e "${FILE}" ]; then OPTS+=(--option "${FILE}"); fi
    done
    "${PYTHON[@]}" -m espnet2.bin.pack asr --asr_train_config "${EXP}/config.yaml" \
        --asr_model_file "${EXP}/${MODEL}" ${OPTS[@]+"${OPTS[@]}"} \
        --outpath "${topdown_dir}/${topdown_dir##*/}_${NODE}.zip"
fi
