#!/usr/bin/env bash
# Stage 14, after CER and WER of the plain text: eval2000 as the field scores it, by
# hubscr.pl of sctk with the STM and GLM files of the corpus -> <dir>/hub5
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "E_USAGE: two words are needed. Do: $0 <set> <decoding folder>." >&2
    exit 64
fi
case "$1" in
    eval2000) ;;
    *) exit 0 ;; # other sets have no STM
esac
. ./path.sh
python3 -P local/score_hub5.py --data_dir "data/$1" --hyp "$2/text" --output_dir "$2/hub5"
