#!/usr/bin/env bash
# Stage 1: telephone prompts of one language -> data/{train,dev,test}<suffix>.
# Recordings and transcripts come from ${PROMPTS_TOPDOWN} in db.sh; what is missing
# there is fetched (Debian's packages by apt-get download, or upstream's archive).
set -euo pipefail

# shellcheck disable=SC2034  # read by parse_options.sh
help_message="Usage: $0 [--lang es|en|fr|it|ru] [--source auto|local|apt|http] [--url URL]
    [--set_suffix _LANG]"

lang=es            # which language
source=auto        # where the archives come from; auto: local, apt, http in turn
url=               # folder of the upstream archives [the one in prompts.yaml]
set_suffix=        # ends the names of the sets, so that languages can live side by side

if [ ! -f utils/common.sh ]; then cd ..; fi # ESPnet's asr.sh runs in .upstream/
. utils/common.sh
. utils/parse_options.sh
. ./path.sh
. ./db.sh

output_dir=data${set_suffix:+/local/prompts${set_suffix}}
for name in train dev test; do
    link=data/${name}${set_suffix} target=local/prompts${set_suffix}/${name}
    if [ -n "${set_suffix}" ] && [ -e "${link}" ] && [ "$(readlink "${link}")" != "${target}" ]; then
        die E_CREATE "${link} is there and not ours" "move it away" 73
    fi
done
log "prompts in '${lang}': ${PROMPTS_TOPDOWN} -> data/{train,dev,test}${set_suffix}"
python3 -P local/prepare_prompts.py --lang "${lang}" --downloads "${PROMPTS_TOPDOWN}" \
    --output_dir "${output_dir}" --source "${source}" \
    ${url:+--url "${url}"}
if [ -n "${set_suffix}" ]; then
    for name in train dev test; do
        ln -sfn "local/prompts${set_suffix}/${name}" "data/${name}${set_suffix}"
    done
fi
log "Successfully finished. [elapsed=${SECONDS}s]"
