#!/usr/bin/env bash
# Stage 1: the voices of flight-of-the-amazon-queen -> data/{train,dev,test}.
# The game's file, or Debian's package with it, is in ${QUEEN_TOPDOWN} of db.sh, or fetched.
set -euo pipefail

# shellcheck disable=SC2034  # read by parse_options.sh
help_message="Usage: $0 [--train_minutes N] [--source auto|local|apt|http] [--url URL]"

train_minutes=0 # also make data/train_<N>min, a part of data/train
source=auto     # where the game comes from; auto: local, apt, http in turn
url=            # Debian's package [the one of 1.0.0-9 at deb.debian.org]

if [ ! -f utils/common.sh ]; then cd ..; fi # ESPnet's asr.sh runs in .upstream/
. utils/common.sh
. utils/parse_options.sh
. ./path.sh
. ./db.sh

log "voices of the game: ${QUEEN_TOPDOWN} -> data/{train,dev,test}"
python3 -P local/prepare_queen.py --downloads "${QUEEN_TOPDOWN}" --output_dir data \
    --source "${source}" --train_minutes "${train_minutes}" ${url:+--url "${url}"}
log "Successfully finished. [elapsed=${SECONDS}s]"
