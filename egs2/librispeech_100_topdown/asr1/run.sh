#!/usr/bin/env bash
# LibriSpeech, 100 hours of read English for training; fetched from openslr.org.
# The steps are in topdown.sh; any of its options may follow. See ./run.sh --help.
set -euo pipefail

TOPDOWN_SCRIPT=$0 exec ./topdown.sh \
    --train_set train_clean_100 --valid_set dev --test_sets "test_clean test_other" \
    --lang en --fs 16k --audio_format flac --max_wav_duration 30 --nj 16 --ngpu 1 \
    --speed_perturb_factors "0.9 1.0 1.1" --token_type bpe --nbpe 5000 --use_lm false \
    --asr_config conf/train_asr_conformer.yaml \
    --search greedy --max_frozen 1 --criterion wer \
    "$@"
