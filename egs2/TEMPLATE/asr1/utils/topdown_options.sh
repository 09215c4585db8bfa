# shellcheck shell=bash
# shellcheck disable=SC2034  # every variable here is for topdown.sh
# The options of stages 12-16: `name=default  # what`, one a line.

## Top-down search (stage 12)
search=greedy                   # greedy (stops at the first worse model) or full
stack=""                        # layer stack [recognised from the experiment]
max_frozen=""                   # freeze at most so many layers [all but one]
criterion=cer                   # validation error: cer, wer or ter
controls=""                     # also train: joint, warm, or joint,warm
retrain_seed=""                 # same: the baseline's seed for all [one of its own each]
max_jobs=1                      # trainings at the same time
topdown_tag=""                  # suffix of the search folder
topdown_dir=""                  # search folder [<asr_exp>_topdown]

## Decoding, scores, report, archive (stages 13-16)
decode_candidates=best          # best: baseline, best and controls; all: every accepted one
inference_config=""             # beam search with this file [greedy CTC]
inference_args=""               # more options for the beam search
inference_tag=""                # name of the decoding folders [from --inference_config]
inference_nj=4                  # parallel jobs of the beam search
gpu_inference=false             # beam search on the GPU
eval_valid_set=false            # decode the validation set too, as org/<valid_set>
hyp_cleaner=none                # text cleaner for hypotheses
skip_eval=false                 # leave out stages 13 and 14
skip_packing=true               # leave out stage 16, unless it is the first asked for
