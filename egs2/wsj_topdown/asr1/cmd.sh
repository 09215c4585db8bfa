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
#   slurm, sge, pbs                  the cluster: Kaldi's launcher if it is on PATH, else ours
#   run.pl, slurm.pl, queue.pl, ...  Kaldi's launcher of that name, from PATH

cmd_backend=${TOPDOWN_CMD_BACKEND:-local}

_kaldi_or_ours() { # kaldi-name our-module
    if command -v "$1" >/dev/null 2>&1; then
        echo "$1"
    elif python3 -c "import importlib.util as u, sys; sys.exit(not u.find_spec('$2'))" 2>/dev/null; then
        echo "python3 -m $2"
    else
        echo "E_CMD: backend '${cmd_backend}' needs $1 on PATH. Do: put it there, or choose local." >&2
        return 64
    fi
}

_launcher() {
    case "${cmd_backend}" in
        local) echo "python3 -m espnet_topdown.cmd.local" ;;
        slurm) _kaldi_or_ours slurm.pl espnet_topdown.cmd.slurm ;;
        sge) _kaldi_or_ours queue.pl espnet_topdown.cmd.sge ;;
        pbs) _kaldi_or_ours pbs.pl espnet_topdown.cmd.pbs ;;
        *.pl)
            if ! command -v "${cmd_backend}" >/dev/null 2>&1; then
                echo "E_CMD: ${cmd_backend} is not on PATH. Do: put it there, or choose local." >&2
                return 64
            fi
            echo "${cmd_backend}" ;;
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
