#!/usr/bin/env bash
# Stage 1: write data/<set>/{wav.scp,text,utt2spk,spk2utt} for every set of run.sh.
#
# wav.scp   <utterance> <audio file>        text      <utterance> <transcript>
# utt2spk   <utterance> <speaker>           spk2utt   <speaker> <utterance>...
set -euo pipefail

echo "E_DATA: local/data.sh is not written yet. Do: make data/<set> for this corpus in it." >&2
exit 66
