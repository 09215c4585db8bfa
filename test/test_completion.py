"""What a shell offers at TAB, asked through its own completion function."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toys import rnn_weights, write_experiment

pytest.importorskip("argcomplete")

# Print what the function answers for the line in $1; the rest is as bash does it.
BASH = r"""
eval "$(python -m argcomplete.scripts.register_python_argcomplete espnet-topdown)"
answer=$(complete -p espnet-topdown)
answer=${answer##*-F }
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<<"$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"${answer%% *}" espnet-topdown "${COMP_WORDS[COMP_CWORD]}"
printf '%s\n' "${COMPREPLY[@]}"
"""
# What zsh would show is printed instead: "word:its help".
ZSH = r"""
autoload -Uz compinit; compinit -u -D
_describe() { print -rl -- ${(P)2} }
eval "$(python -m argcomplete.scripts.register_python_argcomplete espnet-topdown)"
words=(${(z)1}); [[ $1 == *" " ]] && words+=("")
BUFFER=$1 CURSOR=${#1} CURRENT=${#words} service=espnet-topdown
_python_argcomplete espnet-topdown
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_experiment(Path("exp/asr_a"), rnn_weights())
    Path("exp/asr_a_topdown").mkdir()
    Path("exp/asr_a_topdown/search.yaml").touch()
    Path("data").mkdir()
    script = Path("bin/espnet-topdown")
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m espnet_topdown "$@"\n')
    script.chmod(0o755)
    Path("bin/python").symlink_to(sys.executable)
    root = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, *sys.path]))
    monkeypatch.setenv("PATH", f"{script.parent.resolve()}:{os.environ['PATH']}")


CASES = [
    ("se", {"search", "seeds"}),
    ("plan --fr", {"--freeze", "--frozen_from"}),
    ("plan exp/asr", {"exp/asr_a", "exp/asr_a_topdown/"}),
    ("plan --exp d", {"data/"}),
    ("status exp/asr", {"exp/asr_a/", "exp/asr_a_topdown"}),
    ("plan exp/asr_a --freeze ", {"softmax", "blstm1", "blstm0"}),
    ("plan exp/asr_a --freeze softmax,", {"softmax,blstm1", "softmax,blstm0"}),
    ("retrain --base_exp exp/asr_a --freeze so", {"softmax"}),
    ("plan none --freeze ", set()),
    ("plan --freeze ", set()),
    ("search exp/asr_a out --strategy b", {"beam"}),
    ("search exp/asr_a out --controls joint,w", {"joint,warm"}),
    ("layers exp/asr_a --stack asr_r", {"asr_rnn"}),
    ("report exp/asr_a_topdown --format ", {"md", "csv", "json"}),
]


SHELLS = {"bash": ("bash", "-c", BASH), "zsh": ("zsh", "-f", "-c", ZSH)}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line, offered", CASES)
def test_what_is_offered(installed, shell: str, line: str, offered: set[str]) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    call = [*SHELLS[shell], shell, f"espnet-topdown {line}"]
    ran = subprocess.run(call, capture_output=True, text=True, timeout=300)
    words = {word.partition(":")[0].strip() for word in ran.stdout.splitlines()}
    assert words - {""} == offered
