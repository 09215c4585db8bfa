#!/usr/bin/env bash
# Stage 1: VoxForge in Italian -> data/{tr,dt,et}_it, and data/voxforge.json: what was left out.
# The archives, or what was in them, are in ${VOXFORGE}/it of db.sh, or fetched.
set -euo pipefail

# shellcheck disable=SC2034  # read by parse_options.sh
help_message="Usage: $0 [--source auto|local|http] [--url URL] [--allow_partial true]"

source=auto         # where the archives come from; auto: local, http in turn
url=                # page that names the archives [VoxForge's]
allow_partial=false # true: leave archives out that cannot be read

if [ ! -f utils/common.sh ]; then cd ..; fi # ESPnet's asr.sh runs in .upstream/
. utils/common.sh
. utils/parse_options.sh
if [ $# -ne 0 ]; then
    die E_USAGE "unexpected argument '$1'" "see $0 --help"
fi
. ./path.sh
. ./db.sh

log "VoxForge: ${VOXFORGE}/it -> data/{tr,dt,et}_it"
python3 -P local/prepare_voxforge.py --voxforge "${VOXFORGE}" --output_dir data \
    --source "${source}" --allow_partial "${allow_partial}" ${url:+--url "${url}"}
log "Successfully finished. [elapsed=${SECONDS}s]"
