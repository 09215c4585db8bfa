#!/usr/bin/env bash
# Make a recipe:  egs2/TEMPLATE/asr1/setup.sh egs2/<corpus>/asr1
#
# Copies cmd.sh, conf/, local/ and run.sh, and links the rest to this folder. Then write
# local/data.sh and choose in run.sh. Files that are there already are left alone.
set -euo pipefail

if [ $# -ne 1 ] || [ -z "$1" ] || [ "${1#-}" != "$1" ]; then
    echo "E_USAGE: one folder is needed. Do: $0 egs2/<corpus>/asr1." >&2
    exit 64
fi
template=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
recipe=$1

if [ -e "${recipe}" ] && [ ! -d "${recipe}" ]; then
    echo "E_CREATE: ${recipe} is a file. Do: choose another folder." >&2
    exit 73
fi
mkdir -p "${recipe}/conf" "${recipe}/local"
if [ "$(cd "${recipe}" && pwd -P)" = "${template}" ]; then
    echo "E_USAGE: ${recipe} is the template. Do: name a new folder." >&2
    exit 64
fi

for name in cmd.sh run.sh conf/slurm.conf conf/queue.conf conf/pbs.conf local/data.sh; do
    if [ ! -e "${recipe}/${name}" ]; then cp "${template}/${name}" "${recipe}/${name}"; fi
done
for name in topdown.sh asr_pip.sh path.sh db.sh utils; do
    if [ ! -e "${recipe}/${name}" ]; then
        ln -s "$(realpath --relative-to="${recipe}" "${template}")/${name}" "${recipe}/${name}"
    fi
done
echo "${recipe} is ready: write local/data.sh, add conf/train.yaml, choose in run.sh"
