#!/usr/bin/env bash
# Voices of the game "Flight of the Amazon Queen", English. --train_minutes 30 takes that part.
# The steps are in topdown.sh; any of its options may follow. See ./run.sh --help.
set -euo pipefail

args=() minutes=
while (($#)); do
    case "$1" in
        --train_minutes=*) minutes=${1#*=} ;;
        --train_minutes) if (($# == 1)); then args+=("$1"); else minutes=$2 && shift; fi ;;
        *) args+=("$1") ;;
    esac
    shift
done
set -- ${args[@]+"${args[@]}"}
minutes=${minutes#0} # 0: all
part=${minutes:+_${minutes}min} # its own names, so that parts can live side by side

TOPDOWN_SCRIPT=$0 exec ./topdown.sh \
    --local_data_opts "${minutes:+--train_minutes ${minutes}}" \
    --train_set "train${part}" --valid_set dev --test_sets test \
    --lang "en${part}" --fs 8k --audio_format wav --nj 2 --ngpu 0 \
    --token_type char --asr_config conf/train_ctc.yaml --use_lm false \
    --search greedy --max_frozen 1 --criterion cer --controls joint,warm --max_jobs 2 \
    --seeds "1000 12000 23000" --seed_controls all --decode_candidates all \
    "$@"
