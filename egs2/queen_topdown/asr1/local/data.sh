#!/usr/bin/env bash
# Stage 1: the voices of flight-of-the-amazon-queen -> data/{train,dev,test}.
# The game's file, or Debian's package with it, is in ${QUEEN_TOPDOWN} of db.sh, or fetched.
# Options: those of local/prepare_queen.py, see local/data.sh --help.
set -euo pipefail

if [ ! -f utils/common.sh ]; then cd ..; fi # ESPnet's asr.sh runs in .upstream/
. utils/common.sh
. ./path.sh
. ./db.sh

log "voices of the game: ${QUEEN_TOPDOWN} -> data/{train,dev,test}"
python3 -P local/prepare_queen.py --downloads "${QUEEN_TOPDOWN}" "$@"
log "Successfully finished. [elapsed=${SECONDS}s]"
