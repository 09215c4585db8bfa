#!/usr/bin/env bash
# Stage 1: LibriSpeech -> data/{train_clean_100,dev,test_clean,test_other}.
# The archives, or the folder LibriSpeech, are in ${LIBRISPEECH} of db.sh, or fetched.
# Options: those of local/prepare_librispeech.py, see local/data.sh --help.
set -euo pipefail

if [ ! -f utils/common.sh ]; then cd ..; fi # ESPnet's asr.sh runs in .upstream/
. utils/common.sh
. ./path.sh
. ./db.sh

log "LibriSpeech: ${LIBRISPEECH} -> data/{train_clean_100,dev,test_clean,test_other}"
python3 -P local/prepare_librispeech.py --librispeech "${LIBRISPEECH}" "$@"
log "Successfully finished. [elapsed=${SECONDS}s]"
