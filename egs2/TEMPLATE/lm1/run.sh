#!/usr/bin/env bash
# The choices of this recipe; the steps are in lm.sh. See ./run.sh --help.
set -euo pipefail

TOPDOWN_SCRIPT=$0 exec ./lm.sh \
    --lm_config conf/train.yaml \
    "$@"
