# shellcheck shell=bash
# shellcheck disable=SC2154  # options and names come from the *_options.sh and asr_names.sh
# Rows of the paper (--row): each is trained by the stages and commands that a user could
# give by hand, decoded, and put beside the paper's number. Part of topdown.sh.

ROWS_DIR=${expdir}/rows
ROWS=("${PYTHON[@]}" -m espnet_topdown rows --paper "${paper}" --conf "${row_conf}")
if [ "${stage}" -ne 1 ] || [ "${stop_stage}" -ne 10000 ]; then
    die E_USAGE "--row and --stage or --stop_stage" "make the data first (--stop_stage stats), then give --row alone"
fi
need paper train_set valid_set test_sets
need_file "statistics of ${train_set}" stats "${asr_stats_dir}/train/speech_shape" "${token_list}"
: "${inference_config:=${row_conf}/decode_att.yaml}" # of the rows that are decoded so
. utils/decoding.sh
read -r -a CUDA_CMD <<<"${cuda_cmd}"
PARTIAL=false
if [[ " ${local_data_opts} " == *" --allow_partial true "* ]]; then PARTIAL=true; fi
declare -A ROW_EXP

again() { # option...: this very command, with other options
    ./topdown.sh ${RUN_ARGS[@]+"${RUN_ARGS[@]}"} --row "" "$@"
}

joint_exp() { # config args: the folder that stage 11 would take
    printf '%s' "${expdir}/asr_$(config_name "$1" train)_${feats_type}${lang_part}_${unit}"
    printf '%s%s' "$(plain_args "$2" ' |=/')" "${sp}"
}

make_part() { # part: a part of the training set, with its statistics
    if [ -n "${sp}" ]; then
        die E_USAGE "rows on parts of ${org_train_set} with --speed_perturb_factors" "leave it empty"
    fi
    "${PYTHON[@]}" -m espnet_topdown part --paper "${paper}" --conf "${row_conf}" --part "$1" \
        --data_dir "${data_feats}/${train_set}" --stats_dir "${asr_stats_dir}" \
        --lists "data/parts_${train_set}"
}

train_joint() { # name config args data
    local joint_args=${asr_args}${3:+${asr_args:+ }$3} opts=()
    ROW_EXP[$1]=$(joint_exp "$2" "${joint_args}")
    if [ -n "$4" ]; then
        make_part "$4"
        ROW_EXP[$1]=${ROWS_DIR}/$1
        opts=(--train_set "${train_set}_$4" --asr_stats_dir "${asr_stats_dir}_$4")
    fi
    again --stage train --stop_stage train --asr_config "$2" --asr_args "${joint_args}" \
        --asr_exp "${ROW_EXP[$1]}" ${opts[@]+"${opts[@]}"}
}

train_search() { # name of args
    local dir=${ROW_EXP[$2]}_topdown node exp search_args
    read -r -a search_args <<<"$3"
    again --stage topdown --stop_stage topdown --asr_exp "${ROW_EXP[$2]}" --topdown_dir "${dir}" \
        --retrain_seed same ${search_args[@]+"${search_args[@]}"}
    while IFS=$'\t' read -r node exp _; do
        if [[ ${node} != control.* ]]; then ROW_EXP[$1]=${exp}; fi
    done < <(list_models "${dir}" best)
}

train_again() { # name of freeze source epoch seed any_order
    local dir=${ROWS_DIR}/$1 from=${ROW_EXP[$4]-} model
    ROW_EXP[$1]=${dir}
    if [ -e "${dir}/.done" ] && ! [ "${ROW_EXP[$2]}/checkpoint.pth" -nt "${dir}/.done" ] &&
        ! [ "${from:-none}/checkpoint.pth" -nt "${dir}/.done" ]; then
        log "${dir} is finished already"
        return
    fi
    make_dir "${dir}"
    if [ -n "$5" ]; then
        from+=/harvest/$5.pth
    elif [ "$4" != random ]; then
        model=$("${ROWS[@]}" --step model --row "$4" --exp "${from}")
        if [[ ${model} == *.average*.pth ]]; then from+=/${model}; fi
    fi
    if [ "$4" = random ]; then
        from=${dir}/random.pth
        "${PYTHON[@]}" -m espnet_topdown random_model --exp "${ROW_EXP[$2]}" --seed "$6" --output "${from}"
    fi
    if [ "${TOPDOWN_THREADS:-}" = auto ] && [ "${ngpu}" -eq 0 ]; then
        local -x OMP_NUM_THREADS
        OMP_NUM_THREADS=$(env -u OMP_NUM_THREADS nproc) # the only job now
    fi
    rotate_log "${dir}/train.log"
    log "log: ${dir}/train.log"
    run_job "${dir}/train.log" "${CUDA_CMD[@]}" --name "$1" --gpu "${ngpu}" "${dir}/train.log" \
        "${PYTHON[@]}" -m espnet_topdown retrain --base_exp "${ROW_EXP[$2]}" --freeze "$3" \
        --frozen_from "${from}" --seed "$6" --allow_any_order "$7" --output_dir "${dir}"
}

decode_row() { # name greedy|beam: every test set, unless it is decoded since the training
    local exp=${ROW_EXP[$1]} inference_tag="" model set dir
    model=$("${ROWS[@]}" --step model --row "$1" --exp "${exp}")
    if [ "$2" = greedy ]; then inference_tag=decode_ctc_greedy; else name_inference; fi
    for set in "${EVAL_SETS[@]}"; do
        dir=${ROWS_DIR}/$1/${inference_tag}/${set}
        if ! [ "${dir}/score.json" -nt "${exp}/${model}" ]; then
            log "$1: ${exp}/${model} -> ${dir}"
            make_dir "${dir}"
            decode_"$2" "${exp}" "${model}" "${set}" "${dir}"
            score "$2" "${exp}/${model}" "${set}" "${dir}" >/dev/null
        else
            score_more "${set}" "${dir}"
        fi
    done
}

decode_all_ways() { # name greedy|joint|beam: beam also by the decoder alone
    decode_row "$1" "${2/joint/beam}"
    if [ "$2" = beam ]; then
        local inference_args="${inference_args:+${inference_args} }--ctc_weight 0.0"
        decode_row "$1" "$2"
    fi
}

PLAN=$("${ROWS[@]}" --step plan --row "${row}" --allow_partial "${PARTIAL}" \
    --set_dirs "${EVAL_SETS[@]/#/${data_feats}/}")
while IFS=$'\t' read -r -u 3 HOW NAME CONFIG ARGS DATA OF FREEZE SOURCE EPOCH SEED ANY_ORDER DECODE WANTED; do
    log "Row ${NAME}: ${HOW}"
    if [ "${ARGS}" = - ]; then ARGS=; fi
    if [ "${DATA}" = - ]; then DATA=; fi
    if [ "${EPOCH}" = - ]; then EPOCH=; fi
    case "${HOW}" in
        joint) train_joint "${NAME}" "${CONFIG}" "${ARGS}" "${DATA}" ;;
        search) train_search "${NAME}" "${OF}" "${ARGS}" ;;
        retrain) train_again "${NAME}" "${OF}" "${FREEZE}" "${SOURCE}" "${EPOCH}" "${SEED}" "${ANY_ORDER}" ;;
    esac
    if "${WANTED}"; then decode_all_ways "${NAME}" "${DECODE}"; fi
done 3<<<"${PLAN}"
log "Rows beside the paper's -> ${ROWS_DIR}/{RESULTS.md,rows.tsv}"
"${ROWS[@]}" --step table --rows_dir "${ROWS_DIR}" --allow_partial "${PARTIAL}"
