# shellcheck shell=bash
# How jobs run. Every launcher is called as Kaldi's are:
#
#   <cmd> [--option value]... [JOB=1:<n>] <log> <command>...
#
# train_cmd   data preparation and statistics
# cuda_cmd    training
# decode_cmd  decoding
#
# Keep this file identical in all recipes: choose with TOPDOWN_CMD_BACKEND, and describe
# your cluster in conf/slurm.conf, conf/queue.conf or conf/pbs.conf of your recipe.
#
#   local                            this machine (the default)
#   slurm, sge                       the cluster, by our own launchers
#   pbs                              the cluster, by Kaldi's pbs.pl
#   run.pl, slurm.pl, queue.pl, ...  Kaldi's launcher of that name, from PATH

cmd_backend=${TOPDOWN_CMD_BACKEND:-local}

_launcher() {
    case "${cmd_backend}" in
        # -P: a random.py in this folder is not Python's own
        local | slurm | sge) echo "python3 -P -m espnet_topdown.cmd.${cmd_backend}" ;;
        pbs | *.pl)
            _program=${cmd_backend%.pl}.pl
            if ! command -v "${_program}" >/dev/null 2>&1; then
                echo "E_CMD: ${_program} is not on PATH. Do: put it there, or choose local." >&2
                return 64
            fi
            echo "${_program}" ;;
        *)
            echo "E_CMD: unknown backend '${cmd_backend}'." \
                "Do: take local, slurm, sge, pbs or a Kaldi launcher such as run.pl." >&2
            return 64 ;;
    esac
}

_command=$(_launcher) || return 64
export train_cmd="${_command}"
export cuda_cmd="${_command}"
export decode_cmd="${_command}"
