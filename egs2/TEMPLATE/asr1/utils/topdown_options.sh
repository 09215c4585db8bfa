# shellcheck shell=bash
# shellcheck disable=SC2034  # every variable here is for topdown.sh
# The options of stages 12-16: `name=default  # what`, one a line.

## Top-down search (stage 12)
search=greedy                   # greedy (Algorithm 1), full, beam, epoch or layers_x_epochs
epochs=""                       # classifiers of these epochs of joint training: 20,40,60
width=""                        # of the beam [2]
budget=""                       # retrainings at most, of beam, epoch and layers_x_epochs
steps=""                        # coarse groups: freeze only so many layers, as 1,4,8
reinit=""                       # full [the paper's], keep, shrink:L,S or rewind:EPOCH
max_jobs_total=""               # more trainings than this [32] need --yes true
yes=""                          # go beyond --max_jobs_total
stack=auto                      # layer stack; auto recognises the architecture
max_frozen=""                   # freeze at most so many layers [all but one]; more may be asked for later
max_epoch=""                    # epochs of every retraining [as the joint training]
criterion=cer                   # validation error: cer, wer or ter
controls=""                     # also train: joint,long,warm,restart,random,lowest,bottom_up
retrain_seed=own                # own: every retraining has its own seed; same: the baseline's
allow_unfinished=false          # start from a joint model that was not trained to its end
allow_infeasible=false          # train although utterances are too short for CTC
base_model=""                   # weights to start from: a file of the joint model's [its best]
fix_eval_dropout=false          # rnn encoders: dropout off at test time, as in td_rnn
max_jobs=1                      # trainings at the same time
jobs_per_gpu=1                  # so many of them on one GPU, where its memory suffices
topdown_tag=""                  # suffix of the search folder
topdown_dir=""                  # search folder [<asr_exp>_topdown]

## Several seeds (stages 11-16 for each, then a comparison; not with --asr_exp)
seeds=""                        # seeds of joint training, 11000 apart: "1000 12000 23000"
seed_controls=all               # all, or first: controls with the first seed only
nth_seed=0                      # only this one of --seeds: 1, 2, ...

## Decoding, scores, report, archive (stages 13-16)
decode_candidates=best          # best: baseline, best and controls; all; or a file of name, experiment, weights
inference_config=""             # beam search with this file [greedy CTC]
inference_args=""               # more options for the beam search
inference_tag=""                # name of the decoding folders [from --inference_config]
inference_nj=4                  # shards of the beam search, side by side
gpu_inference=false             # beam search on the GPU
eval_valid_set=false            # decode the validation set too, as org/<valid_set>
skip_eval=false                 # leave out stages 13 and 14
skip_packing=true               # leave out stage 16, unless it is the first asked for

## Rows of the paper (instead of stages; the data must be there: --stop_stage stats)
row=""                          # rows to make, separated by spaces: C.1.td, table2, all
paper=""                        # which paper's corpus, as in rows.yaml of --row_conf
row_conf=conf                   # folder of the rows' configurations
