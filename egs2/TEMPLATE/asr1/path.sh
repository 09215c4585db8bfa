# shellcheck shell=bash
# The environment of every step and every cluster job (launchers source it on the node).

_here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
MAIN_ROOT=$(cd "${_here}/../../.." && pwd)
export MAIN_ROOT

# A checkout of ESPnet: its environment, tools and scripts.
if [ -n "${ESPNET_ROOT:-}" ]; then
    for _file in "${ESPNET_ROOT}/tools/activate_python.sh" "${ESPNET_ROOT}/tools/extra_path.sh"; do
        # shellcheck disable=SC1090  # part of the checkout
        if [ -f "${_file}" ]; then . "${_file}"; fi
    done
    export PATH="${PWD}/utils:${ESPNET_ROOT}/utils:${PATH}"
fi

# The environment that `make setup` made, unless another one is active.
if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "${MAIN_ROOT}/.venv/bin/python3" ]; then
    export VIRTUAL_ENV="${MAIN_ROOT}/.venv"
    export PATH="${VIRTUAL_ENV}/bin:${PATH}"
fi

# A checkout comes before an installed package.
if [ -d "${MAIN_ROOT}/espnet_topdown" ]; then
    export PYTHONPATH="${MAIN_ROOT}${PYTHONPATH:+:${PYTHONPATH}}"
fi
while [[ -n ${PYTHONPATH:-} && :${PYTHONPATH}: = *::* ]]; do # an empty part is this folder
    PYTHONPATH=${PYTHONPATH//::/:}
    PYTHONPATH=${PYTHONPATH#:}
    PYTHONPATH=${PYTHONPATH%:}
done

export LC_ALL=C # every list is sorted by bytes
export PYTHONIOENCODING=UTF-8
export PYTHONUTF8=1
# As in ESPnet: jobs run side by side, and a small model is no faster with more threads.
# A big model on an idle CPU is: set OMP_NUM_THREADS to the number of cores then.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# Your site's settings, untracked: modules to load, TOPDOWN_CMD_BACKEND, ...
if [ -f local/path.sh ]; then
    # shellcheck disable=SC1091  # exists only where a user made it
    . local/path.sh
fi
