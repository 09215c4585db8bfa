#!/usr/bin/env bash
# VoxForge, Italian: 20 hours read by volunteers; fetched from voxforge1.org.
# The steps are in topdown.sh; any of its options may follow. See ./run.sh --help.
set -euo pipefail

TOPDOWN_SCRIPT=$0 exec ./topdown.sh \
    --train_set tr_it --valid_set dt_it --test_sets et_it \
    --lang it --fs 16k --audio_format wav --nj 16 --ngpu 1 \
    --token_type char --use_lm false --asr_config conf/train_asr_rnn.yaml \
    --search greedy --criterion cer --controls joint,warm \
    "$@"
