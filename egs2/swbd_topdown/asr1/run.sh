#!/usr/bin/env bash
# Switchboard, 286 hours, and eval2000: say in db.sh where the corpora are (SWBD).
# The steps are in topdown.sh; any of its options may follow. See ./run.sh --help.
# Rows of the paper's Table 3: ./run.sh --stop_stage stats, then ./run.sh --row "W W.td"
set -euo pipefail

TOPDOWN_SCRIPT=$0 exec ./topdown.sh \
    --train_set train_nodup --valid_set train_dev --test_sets eval2000 \
    --lang en --fs 16k --audio_format flac --nj 32 --ngpu 1 \
    --token_type bpe --nbpe 2000 --bpemode bpe \
    --bpe_nlsyms "[laughter],[noise],[vocalized-noise]" --use_lm false \
    --asr_config conf/train_asr_transformer.yaml --inference_config conf/decode_asr.yaml \
    --inference_nj 32 --asr_speech_fold_length 819 --asr_text_fold_length 150 \
    --search greedy --stack coarse_12_6 --criterion wer --retrain_seed same --paper swbd \
    "$@"
