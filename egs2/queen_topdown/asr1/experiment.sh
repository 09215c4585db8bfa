#!/usr/bin/env bash
# The experiment of docs/results/queen.md: ./experiment.sh BLOCK [SEED ...]
# Base seeds one after the other, two trainings at a time. A unit is one seed with all arms of
# the block, on one machine. When it ends, its errors by utterance, epochs and configurations
# (numbers, no text) go to docs/results/queen/; a seed that is there is not run again.
set -euo pipefail
cd "$(dirname "$0")"
results=../../../docs/results/queen

block=${1:?Usage: ./experiment.sh BLOCK [SEED ...]}
shift
case "${block}" in
    1) default="1000 12000 23000 34000 45000 56000" ;;
    2) default="45000 56000 1000" ;;
    *) echo "E_USAGE: no block '${block}'. Do: give 1 or 2." >&2 && exit 64 ;;
esac
if [ "$#" -eq 0 ]; then read -r -a all <<<"${default}" && set -- "${all[@]}"; fi

# A signal ends what runs, which saves; the same command goes on.
child=
trap 'trap "" INT TERM; if [ -n "${child}" ]; then kill "${child}" && wait "${child}" || true; fi; exit 143' INT TERM

search() { # seed options: joint training if it is not there, search, decoding, report
    ./run.sh --seeds "$1" --stage 11 --asr_tag queen "${@:2}" &
    child=$!
    wait "${child}"
}

collect() { # folder: what is small and holds no text
    (cd exp && find "asr_queen_seed$1" "asr_queen_seed$1"_topdown* \( -name search.yaml \
        -o -name result.json -o -name journal.jsonl -o -name retrain.yaml -o -name stack.yaml \
        -o -name score.json -o -name counts.tsv -o -name config.yaml -o -name curve.jsonl \) -type f) |
        while read -r file; do
            mkdir -p "$2/$(dirname "${file}")"
            cp "exp/${file}" "$2/${file}"
        done
    if grep -rlF -e "${HOME}/" -e "$(cd ../../.. && pwd)" "$2"; then
        echo "E_PATH: the files above name a folder of this machine. Do: look at them." >&2
        exit 65
    fi
}

if [ ! -e dump/raw/train ]; then ./run.sh --stop_stage 10; fi
for seed in "$@"; do
    done=${results}/block${block}_seed${seed}
    if [ -e "${done}" ]; then
        echo "$(date '+%FT%T') block ${block}, seed ${seed}: results are there" && continue
    fi
    echo "$(date '+%FT%T') block ${block}, seed ${seed}"
    controls=warm,restart,long
    if [ "${block}" = 1 ]; then
        search "${seed}" --controls "${controls}"
    else
        # Block 1's controls stay where they are, and are not trained for block 2 alone.
        if ! grep -qs warm "exp/asr_queen_seed${seed}_topdown/search.yaml"; then controls=; fi
        search "${seed}" --max_frozen 4 --controls "${controls:+${controls},}random"
        search "${seed}" --topdown_tag two --steps 2 --max_frozen 2 --controls ""
        search "${seed}" --topdown_tag shrink --reinit shrink:0.4,0.1 --controls warm
    fi
    rm -rf "${done}.part"
    collect "${seed}" "${done}.part"
    { git rev-parse HEAD && lscpu | grep -E '^(Model name|CPU\(s\))' && date +%F; } >"${done}.part/machine.txt"
    mv "${done}.part" "${done}"
    echo "$(date '+%FT%T') block ${block}, seed ${seed}: ended; commit ${done}"
done
