# shellcheck shell=bash
# shellcheck disable=SC2034  # every variable here is for the script that sources this file
# The options of stages 1-11, under ESPnet's names: `name=default  # what`, one a line.
# --help is made from these lines; topdown.sh hands all of them to asr_pip.sh.

STAGES=([1]=data [2]=speed [3]=format [4]=filter [5]=tokens [6]=lm_stats [7]=lm_train
    [8]=lm_perplexity [9]=ngram [10]=stats [11]=train [12]=topdown [13]=decode [14]=score
    [15]=report [16]=pack)

## General
stage=1                         # first stage to run: a number or a name
stop_stage=10000                # last stage to run: a number or a name
skip_stages=""                  # stages to leave out, separated by spaces
skip_data_prep=false            # leave out stages 1-5
skip_train=false                # leave out stages 2 and 4-11
ngpu=1                          # GPUs for one training; 0 trains on the CPU
nj=32                           # shards of data preparation and statistics, side by side
dumpdir=dump                    # formatted data
expdir=exp                      # experiments
python=python3                  # the interpreter; may hold options of its own

## Data (stages 1-4)
train_set=""                    # name of the training set (required up to stage 11)
valid_set=""                    # name of the validation set (required up to stage 11)
test_sets=""                    # names of the test sets, separated by spaces
local_data_opts=""              # options for local/data.sh, separated by spaces
speed_perturb_factors=""        # for example "0.9 1.0 1.1"; empty: no perturbation
feats_type=raw                  # only raw: features are computed in training
audio_format=flac               # wav or flac
fs=16k                          # sampling rate: 8k, 16k, or in Hz
channel=""                      # which channel of stereo recordings, from 1
allow_pipes=false               # run the commands in wav.scp
min_wav_duration=0.1            # shorter training utterances are left out, in seconds
max_wav_duration=20.0           # longer training utterances are left out, in seconds

## Tokens (stage 5)
token_type=bpe                  # char, word or bpe
nbpe=30                         # size of the bpe vocabulary
bpemode=unigram                 # unigram or bpe
bpe_input_sentence_size=100000000  # training sentences that bpe looks at
bpe_nlsyms=""                   # words that bpe must not split: a,b,c
bpe_char_cover=1.0              # share of the characters that bpe must cover
oov="<unk>"                     # unknown token (char and word)
blank="<blank>"                 # CTC blank (char and word)
sos_eos="<sos/eos>"             # sentence boundary (char and word)
nlsyms_txt=none                 # file of non-linguistic symbols
cleaner=none                    # text cleaner for references
g2p=none                        # grapheme to phoneme
lang=noinfo                     # language; part of folder names
bpe_train_text=""               # texts for bpe, separated by spaces [the training set's]

## Language model (stages 6-9)
use_lm=false                    # train a language model, and decode with it
lm_tag=""                       # suffix of the LM folder [from --lm_config]
lm_exp=""                       # LM folder [expdir/lm_<lm_tag>]
lm_stats_dir=""                 # LM statistics
lm_config=""                    # LM training configuration
lm_args=""                      # more options for LM training
lm_train_text=""                # LM training texts [the training set's]
lm_dev_text=""                  # LM validation text [the validation set's]
lm_test_text=""                 # text for the perplexity [the first test set's]
lm_fold_length=150              # fold length of LM batches
inference_lm=valid.loss.ave.pth # LM for perplexity and decoding
use_ngram=false                 # not offered: KenLM has no pip package

## Joint training (stages 10-11)
asr_tag=""                      # suffix of the experiment folder [from --asr_config]
asr_exp=""                      # experiment folder [expdir/asr_<asr_tag>]
asr_stats_dir=""                # statistics
asr_config=""                   # training configuration
asr_args=""                     # more options for training, stronger than --asr_config
feats_normalize=global_mvn      # global_mvn, or another of ESPnet's normalizers
asr_speech_fold_length=800      # fold length of the speech, in frames of 100 samples
asr_text_fold_length=150        # fold length of the text, in tokens
pretrained_model=""             # --init_param of the training
check_data=true                 # check lists, audio and transcripts before stage 10
allow_overlap=false             # let sets share utterances or recordings
ignore_init_mismatch=false      # let a pretrained model differ in shape
