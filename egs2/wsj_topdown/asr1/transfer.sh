#!/usr/bin/env bash
# Section 3 of the paper: Table 1 (CTC on 5-80 % of the training set), Figure 1 (their
# classifiers on the unseen 20 %, five seeds, and two controls) and Figure 2 (the
# classifier of every epoch): exp/rows/RESULTS.md, exp/rows/figures/figure{1,2}.svg.
# Needs the data: ./run.sh --stop_stage stats
set -euo pipefail

./run.sh --row transfer \
    "$@"
