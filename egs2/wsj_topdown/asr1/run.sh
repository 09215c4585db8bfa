#!/usr/bin/env bash
# Wall Street Journal, 81 hours, 16 kHz: say in db.sh where the discs of WSJ0 and WSJ1 are.
# The steps are in topdown.sh; any of its options may follow. See ./run.sh --help.
# Rows of the paper's tables: ./run.sh --stop_stage stats, then ./run.sh --row "C.1.td A.B"
set -euo pipefail

TOPDOWN_SCRIPT=$0 exec ./topdown.sh \
    --train_set train_si284 --valid_set test_dev93 --test_sets "test_dev93 test_eval92" \
    --lang en --fs 16k --audio_format flac --nj 32 --ngpu 1 \
    --token_type char --nlsyms_txt data/nlsyms.txt --use_lm false \
    --asr_config conf/train_ctc.yaml \
    --asr_speech_fold_length 800 --asr_text_fold_length 150 \
    --search greedy --criterion cer --retrain_seed same --paper wsj \
    "$@"
