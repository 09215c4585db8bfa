#!/usr/bin/env bash
# Stage 1: WikiText-2 -> ${data_dir}/{train,dev,test}.txt and tokens.txt, checked.
set -euo pipefail

# shellcheck disable=SC2034  # read by parse_options.sh
help_message="Usage: $0 [--data_dir DIR] [--wikitext DIR] [--small true|false]"

data_dir=data       # where the texts go
wikitext=           # folder of the corpus [downloaded into downloads/]
small=false         # parts of the validation and the test text only

. utils/common.sh
. utils/parse_options.sh
. ./path.sh

log "WikiText-2 -> ${data_dir}/{train,dev,test,tokens}.txt"
python3 -P local/prepare_wikitext.py --output_dir "${data_dir}" --small "${small}" \
    ${wikitext:+--wikitext "${wikitext}"}
log "Successfully finished. [elapsed=${SECONDS}s]"
