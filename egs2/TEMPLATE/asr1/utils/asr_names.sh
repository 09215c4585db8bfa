# shellcheck shell=bash
# shellcheck disable=SC2034  # the variables set here are for the script that sources this file
# shellcheck disable=SC2154  # the options come from asr_options.sh
# The names of sets and folders, as ESPnet's recipes make them. Needs asr_options.sh, parsed.

plain_args() { # args characters-to-drop: `--a_b c` -> `_a_bc`
    local text=${1//--/_}
    printf '%s' "${text//[$2]/}"
}

config_name() { # config fallback: the file's name without .yaml
    local name=${1##*/}
    printf '%s' "${name:+${name%.*}}"
    if [ -z "${name}" ]; then printf '%s' "$2"; fi
}

org_train_set=${train_set}
sp=
if [ -n "${speed_perturb_factors}" ]; then
    sp=_sp
    train_set=${train_set:+${train_set}_sp}
fi
data_feats=${dumpdir}/${feats_type}

lang_part=
token_root=data/token_list
if [ "${lang}" != noinfo ]; then
    lang_part=_${lang}
    token_root=data/${lang}_token_list
fi
unit=${token_type}
token_dir=${token_root}/${token_type}
if [ "${token_type}" = bpe ]; then
    unit=bpe${nbpe}
    token_dir=${token_root}/bpe_${bpemode}${nbpe}
fi
token_list=${token_dir}/tokens.txt
bpe_model=none
if [ "${token_type}" = bpe ]; then bpe_model=${token_dir}/bpe.model; fi

train_text=${data_feats}/org/${org_train_set}/text
if [ -n "${sp}" ]; then train_text=data/${org_train_set}/text; fi # each sentence once
: "${bpe_train_text:=${train_text}}"
: "${lm_train_text:=${train_text}}"
declare -A lm_inputs=([train]=${lm_train_text}) # what stage 4 makes lm_<part>.txt of
for PART in dev test; do
    NAME=lm_${PART}_text
    if [ -n "${!NAME}" ]; then
        lm_inputs[${PART}]=${!NAME}
        printf -v "${NAME}" '%s' "${data_feats}/lm_${PART}.txt"
    fi
done
: "${lm_dev_text:=${data_feats}/org/${valid_set}/text}"
: "${lm_test_text:=${data_feats}/${test_sets%% *}/text}"

tag_end= # what follows the seed in a name that is made here
if [ -z "${asr_tag}" ]; then
    tag_end=${sp}
    asr_tag=$(config_name "${asr_config}" train)_${feats_type}${lang_part}_${unit}
    asr_tag+=$(plain_args "${asr_args}" ' |=/')${sp}
fi
if [ -z "${lm_tag}" ]; then
    lm_tag=$(config_name "${lm_config}" train)${lang_part}_${unit}$(plain_args "${lm_args}" ' |=/')
fi
: "${asr_exp:=${expdir}/asr_${asr_tag}}"
: "${asr_stats_dir:=${expdir}/asr_stats_${feats_type}${lang_part}_${unit}${sp}}"
: "${lm_exp:=${expdir}/lm_${lm_tag}}"
: "${lm_stats_dir:=${expdir}/lm_stats${lang_part}_${unit}}"
