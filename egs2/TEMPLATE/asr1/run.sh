#!/usr/bin/env bash
# The choices of this recipe; the steps are in topdown.sh. See ./run.sh --help.
set -euo pipefail

TOPDOWN_SCRIPT=$0 exec ./topdown.sh \
    --lang en \
    --fs 16k \
    --token_type char \
    --asr_config conf/train.yaml \
    --train_set train \
    --valid_set dev \
    --test_sets "test" \
    "$@"
