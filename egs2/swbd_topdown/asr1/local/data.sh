#!/usr/bin/env bash
# Stage 1: LDC97S62, LDC2002S09 and LDC2002T43 -> data/{train_nodup,train_dev,eval2000}.
# The audio becomes FLAC of 16 kHz in data/flac, a file for each side of a conversation.
# Nothing is fetched, and Fisher is not needed.
set -euo pipefail

# shellcheck disable=SC2034  # read by parse_options.sh
help_message="Usage: $0 [--allow_partial true] [--nj N]   (SWBD is set in db.sh)"

allow_partial=false # true: prepare what is there of an incomplete copy
nj=32               # shards of the audio, converted side by side

if [ ! -f utils/common.sh ]; then cd ..; fi # ESPnet's asr.sh runs in .upstream/
. utils/common.sh
. utils/parse_options.sh
. ./path.sh
. ./cmd.sh
. ./db.sh

# shellcheck disable=SC2154  # train_cmd comes from cmd.sh
read -r -a TRAIN_CMD <<<"${train_cmd}"
SWITCHBOARD=(python3 -P local/prepare_swbd.py --output_dir data)

log "SWBD=${SWBD}: looking for audio, transcripts and reference files"
"${SWITCHBOARD[@]}" --step lists --swbd "${SWBD}" --allow_partial "${allow_partial}"

n=$(smallest "${nj}" "$(count_lines data/local/swbd/sounds)")
LOG=data/local/swbd/log/convert.JOB.log
log "converting audio to data/flac in ${n} shards, log: ${LOG}"
run_job "${LOG}" "${TRAIN_CMD[@]}" "JOB=1:${n}" "${LOG}" \
    "${SWITCHBOARD[@]}" --step convert --nj "${n}" --job JOB

"${SWITCHBOARD[@]}" --step sets
log "Successfully finished. [elapsed=${SECONDS}s]"
