# shellcheck shell=bash
# shellcheck disable=SC2034  # read by local/data.sh
# Where the corpora are. Set a name in your environment, or edit this line.

PROMPTS_TOPDOWN=${PROMPTS_TOPDOWN:-downloads} # is downloaded when missing
QUEEN_TOPDOWN=${QUEEN_TOPDOWN:-downloads}     # the same
LIBRISPEECH=${LIBRISPEECH:-downloads}         # the same
VOXFORGE=${VOXFORGE:-downloads}               # the same
WSJ0=${WSJ0:-}                                # LDC93S6A or LDC93S6B
WSJ1=${WSJ1:-}                                # LDC94S13A or LDC94S13B
SWBD=${SWBD:-}                                # LDC97S62, LDC2002S09 and LDC2002T43 side by side
