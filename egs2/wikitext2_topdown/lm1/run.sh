#!/usr/bin/env bash
# AWD-LSTM on WikiText-2, Table 4. --small true: a CPU's size; --wikitext DIR: the texts.
# The steps are in lm.sh; any of its options may follow. See ./run.sh --help.
set -euo pipefail

small=false wikitext='' rest=()
while (($#)); do
    case "$1" in
        --small=* | --wikitext=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    esac
    case "$1" in
        --small) small=${2-} && shift ;;
        --wikitext) wikitext=${2-} && shift ;;
        *) rest+=("$1") ;;
    esac
    shift || break
done
case "${small}" in
    true | false) ;;
    *)
        echo "E_USAGE: --small must be true or false, got '${small}'. Do: write --small true." >&2
        exit 64 ;;
esac
data_opts="--small ${small}${wikitext:+ --wikitext ${wikitext}}"
choices=(--lm_config conf/train.yaml)
if "${small}"; then
    choices=(--lm_config conf/train_small.yaml --data_dir data/small --ngpu 0 --test_width 10)
fi

TOPDOWN_SCRIPT=$0 exec ./lm.sh "${choices[@]}" --local_data_opts "${data_opts}" ${rest[@]+"${rest[@]}"}
