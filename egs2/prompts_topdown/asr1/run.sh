#!/usr/bin/env bash
# Telephone prompts, 8 kHz, one speaker a language: --lang es (default), en, fr, it or ru.
# The steps are in topdown.sh; any of its options may follow. See ./run.sh --help.
set -euo pipefail

lang=es
for ((i = 1; i <= $#; i++)); do
    case "${!i}" in
        --lang=*) lang=${!i#--lang=} ;;
        --lang) ((i < $#)) && j=$((i + 1)) && lang=${!j} ;;
    esac
done
of=_${lang}
if [ "${lang}" = es ]; then of=; fi

TOPDOWN_SCRIPT=$0 exec ./topdown.sh \
    --local_data_opts "--lang ${lang}${of:+ --set_suffix ${of}}" \
    --train_set "train${of}" --valid_set "dev${of}" --test_sets "test${of}" \
    --lang "${lang}" --fs 8k --audio_format wav --nj 2 --ngpu 0 \
    --token_type char --asr_config conf/train_ctc.yaml --use_lm false \
    --search greedy --max_frozen 1 --criterion cer --controls joint,warm --max_jobs 2 \
    --seeds "1000 12000" --seed_controls first --decode_candidates all \
    "$@"
