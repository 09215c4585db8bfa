#!/usr/bin/env bash
# Stage 1: LibriSpeech -> data/{train_clean_100,dev,test_clean,test_other}.
# The archives, or the folder LibriSpeech, are in ${LIBRISPEECH} of db.sh, or fetched.
set -euo pipefail

# shellcheck disable=SC2034  # read by parse_options.sh
help_message="Usage: $0 [--source auto|local|http] [--url URL] [--allow_partial true]"

source=auto         # where the archives come from; auto: local, http in turn
url=                # folder of the archives [openslr.org's]
allow_partial=false # true: prepare what is there of an incomplete copy, unpacked

if [ ! -f utils/common.sh ]; then cd ..; fi # ESPnet's asr.sh runs in .upstream/
. utils/common.sh
. utils/parse_options.sh
if [ $# -ne 0 ]; then
    die E_USAGE "unexpected argument '$1'" "see $0 --help"
fi
. ./path.sh
. ./db.sh

log "LibriSpeech: ${LIBRISPEECH} -> data/{train_clean_100,dev,test_clean,test_other}"
python3 -P local/prepare_librispeech.py --librispeech "${LIBRISPEECH}" --output_dir data \
    --source "${source}" --allow_partial "${allow_partial}" ${url:+--url "${url}"}
log "Successfully finished. [elapsed=${SECONDS}s]"
