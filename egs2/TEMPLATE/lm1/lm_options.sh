# shellcheck shell=bash
# shellcheck disable=SC2034  # every variable here is for lm.sh
# The options of lm.sh: `name=default  # what`, one a line. --help is made from these.

STAGES=([1]=data [11]=train [12]=topdown [13]=perplexity [15]=report)

## General
stage=1                         # first stage to run: a number or a name
stop_stage=10000                # last stage to run: a number or a name
skip_stages=""                  # stages to leave out, separated by spaces
ngpu=1                          # 0 trains on the CPU; more than 1 is refused
python=python3                  # the interpreter; may hold options of its own

## Data and training (stages 1 and 11)
data_dir=data                   # gets train.txt, dev.txt, test.txt and tokens.txt
local_data_opts=""              # options for local/data.sh, separated by spaces
lm_config=conf/train.yaml       # configuration of the training
lm_tag=""                       # name of the experiment [from --lm_config]
lm_exp=""                       # folder of the experiment [exp/lm_<lm_tag>]
lm_args=""                      # more options of the training, separated by spaces

## Top-down search (stage 12)
search=greedy                   # greedy (stops at the first worse model) or full
stack=auto                      # layer stack; auto recognises the architecture
max_frozen=""                   # freeze at most so many layers [all but one]
max_epoch=""                    # epochs of every retraining [as the joint training]
controls=""                     # also train: joint, warm, or joint,warm
retrain_seed=own                # own: every retraining has its own seed; same: the baseline's
base_model=""                   # weights to start from: a file of the joint model's [its best]
max_jobs=1                      # trainings at the same time
jobs_per_gpu=1                  # so many of them on one GPU, where its memory suffices
topdown_dir=""                  # search folder [<lm_exp>_topdown]

## Perplexity (stage 13)
decode_candidates=best          # best: baseline, best and controls; all; or a file of name, experiment, weights
test_width=1                    # columns that the test text is read in
dev_width=10                    # columns that the development text is read in, for rows

## Rows of the paper (instead of stages 12-15; needs the trained baseline)
row=""                          # rows to make, separated by spaces: L.1, table4, controls
