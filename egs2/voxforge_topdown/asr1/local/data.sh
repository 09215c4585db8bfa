#!/usr/bin/env bash
# Stage 1: VoxForge in Italian -> data/{tr,dt,et}_it, and data/voxforge.json: what was left out.
# The archives, or what was in them, are in ${VOXFORGE}/it of db.sh, or fetched.
# Options: those of local/prepare_voxforge.py, see local/data.sh --help.
set -euo pipefail

if [ ! -f utils/common.sh ]; then cd ..; fi # ESPnet's asr.sh runs in .upstream/
. utils/common.sh
. ./path.sh
. ./db.sh

log "VoxForge: ${VOXFORGE}/it -> data/{tr,dt,et}_it"
python3 -P local/prepare_voxforge.py --voxforge "${VOXFORGE}" "$@"
log "Successfully finished. [elapsed=${SECONDS}s]"
