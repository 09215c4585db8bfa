#!/usr/bin/env bash
# Stage 1: the discs of WSJ0 and WSJ1 -> data/{train_si284,train_si84,test_dev93,test_eval92}
# and data/nlsyms.txt. The audio becomes FLAC in data/flac. Nothing is fetched.
set -euo pipefail

# shellcheck disable=SC2034  # read by parse_options.sh
help_message="Usage: $0 [--allow_partial true] [--nj N]   (WSJ0 and WSJ1 are set in db.sh)"

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
WSJ=(python3 -P local/prepare_wsj.py --output_dir data)

log "WSJ0=${WSJ0} WSJ1=${WSJ1}: looking for audio and transcripts"
"${WSJ[@]}" --step lists --wsj0 "${WSJ0}" --wsj1 "${WSJ1}" --allow_partial "${allow_partial}"

n=$(smallest "${nj}" "$(count_lines data/local/wsj/wav.scp)")
LOG=data/local/wsj/log/convert.JOB.log
log "converting audio to data/flac in ${n} shards, log: ${LOG}"
run_job "${LOG}" "${TRAIN_CMD[@]}" "JOB=1:${n}" "${LOG}" \
    "${WSJ[@]}" --step convert --nj "${n}" --job JOB

"${WSJ[@]}" --step sets
log "Successfully finished. [elapsed=${SECONDS}s]"
