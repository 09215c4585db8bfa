#!/usr/bin/env bash
# The choices of this recipe; the steps are in lm.sh. See ./run.sh --help.
set -euo pipefail

exec ./lm.sh \
    --lm_config conf/train.yaml \
    "$@"
