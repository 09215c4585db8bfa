# shellcheck shell=bash
# shellcheck disable=SC2154  # options and names come from the *_options.sh and asr_names.sh
# Stages 13-16: decode, score, report, pack. Part of topdown.sh, after the search.

case "${decode_candidates}" in
    best | all) need_file "finished search in ${topdown_dir}" topdown "${topdown_dir}/result.json" ;;
    *) if [ ! -f "${decode_candidates}" ]; then
        die E_USAGE "--decode_candidates must be best, all or a file, got '${decode_candidates}'" "write best"
    fi ;;
esac
. utils/decoding.sh
name_inference
if [ "${#EVAL_SETS[@]}" -eq 0 ]; then
    log "No --test_sets: nothing is decoded or scored"
    skip_stages+=" 13 14"
fi
HOW=greedy
if [ -n "${inference_config}" ]; then HOW=beam; fi
mapfile -t MODELS < <(list_models "${topdown_dir}" "${decode_candidates}") # the baseline first
if [ "${#MODELS[@]}" -eq 0 ]; then
    die E_ORDER "${topdown_dir}/result.json cannot be read" "run --stage topdown again" 66
fi
BASE=
if [ ! -f "${decode_candidates}" ]; then BASE=${topdown_dir}/${MODELS[0]%%$'\t'*}/${inference_tag}; fi

if stage_on 13; then
    log "Stage 13: decode ${EVAL_SETS[*]} with ${#MODELS[@]} models -> ${topdown_dir}/*/${inference_tag}"
    for LINE in "${MODELS[@]}"; do
        IFS=$'\t' read -r NAME EXP MODEL <<<"${LINE}"
        for SET in "${EVAL_SETS[@]}"; do
            need_file "test data" format "${data_feats}/${SET}/wav.scp"
            DIR=${topdown_dir}/${NAME}/${inference_tag}/${SET}
            log "${NAME}: ${EXP}/${MODEL} -> ${DIR}"
            decode "${EXP}" "${MODEL}" "${SET}" "${DIR}"
        done
    done
fi

if stage_on 14; then
    log "Stage 14: score ${topdown_dir}/*/${inference_tag}"
    for LINE in "${MODELS[@]}"; do
        IFS=$'\t' read -r NAME EXP MODEL <<<"${LINE}"
        for SET in "${EVAL_SETS[@]}"; do
            DIR=${topdown_dir}/${NAME}/${inference_tag}/${SET}
            need_file "hypotheses" decode "${DIR}/text"
            need_file "references" format "${data_feats}/${SET}/text"
            log "Errors of ${NAME} on ${SET}"
            score "${HOW}" "${EXP}/${MODEL}" "${SET}" "${DIR}" "${BASE:+${BASE}/${SET}/text}"
        done
    done
fi

if stage_on 15; then
    log "Stage 15: report -> ${topdown_dir}/{RESULTS.md,report.html,figures}"
    "${PYTHON[@]}" -m espnet_topdown report --search_dir "${topdown_dir}"
fi

if stage_on 16; then
    log "Stage 16: pack the best model -> ${topdown_dir}/*.zip"
    "${PYTHON[@]}" -m espnet_topdown pack --search_dir "${topdown_dir}"
fi
