"""The command line as a user writes it: words, folders by place, messages, statuses."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import espnet_topdown
from espnet_topdown.bin import run_job
from espnet_topdown.cli.main import main, parser_of
from espnet_topdown.cli.parser import VERBS, Parser
from espnet_topdown.errors import command
from espnet_topdown.report import write
from espnet_topdown.search import driver, state

BY_NAME = "search --base_exp exp --output_dir out"


@pytest.mark.parametrize(
    "words, message",
    [
        ("serch", "unknown command 'serch' (nearest: search"),
        ("search E DIR --max_forzen 3", "unknown option --max_forzen (nearest: --max_"),
        (f"{BY_NAME} --serch full", "unknown option --serch (nearest: --search"),
        (f"{BY_NAME} --strateg x", "unknown option --strateg (nearest: --strategy"),
        (f"{BY_NAME} --halving 2:8", "--halving was removed, see docs/"),
        (f"{BY_NAME} other", "EXP is given twice: other and exp"),
        (f"{BY_NAME} exp other", "DIR is given twice: other and out"),
        (f"{BY_NAME} exp out more", "unexpected argument 'more'"),
        ("search", "search: EXP is missing"),
        ("search a", "search: DIR is missing"),
        ("fsck a --search_dir b", "DIR is given twice: a and b"),
        (f"{BY_NAME} --max_jobs", "expected one argument"),
        (f"{BY_NAME} --max_jobs x", "invalid int value: 'x'"),
        (f"{BY_NAME} --allow_pipes yes", "must be true or false, got 'yes'"),
        (f"{BY_NAME} --epochs 3,x", "must be whole numbers with commas, got '3,x'"),
        (f"{BY_NAME} --ngpu -1", "--ngpu: must be 0 or more, got '-1'"),
        ("decode a --models some", "invalid choice: 'some'"),
        ("run_job --folder x --num_nodes 2", "--num_nodes was removed, see docs/cl"),
        ("run_job --folder x --ngpu -1", "--ngpu: must be 0 or more, got '-1'"),
        ("run_job --folder", "expected one argument"),
    ],
)
def test_wrong_command_lines(words: str, message: str, capsys) -> None:
    with pytest.raises(SystemExit) as e:
        if words.startswith("run_job "):
            run_job.main(words.split()[1:])
        else:
            main(words.split())
    err = capsys.readouterr().err
    assert e.value.code == 64 and err.startswith("E_USAGE: ") and message in err
    verb = "search --help" if BY_NAME in words else "--help'"
    assert verb in err or "Do: leave it out." in err


DECODE = "decode exp --wav_scp wav.scp"
FILE = "wav.scp is no folder that can be written to. Do: name another output folder."


@pytest.mark.parametrize(
    "words, status, message",
    [
        (f"{DECODE} --ngpu 1", 78, "E_GPU: 1 GPUs are asked for, this machine shows 0"),
        ("perplexity exp --text wav.scp --output_dir x --ngpu 1", 78, "E_GPU: 1 GPUs"),
        (f"{DECODE} --output_dir wav.scp/x", 73, FILE),
        ("decode wav.scp --wav_scp wav.scp", 73, FILE),
        ("search exp wav.scp/x", 73, FILE),
        ("retrain exp --output_dir wav.scp --freeze softmax", 73, FILE),
        ("report exp --output_dir wav.scp/a/b", 73, FILE),
        ("score --ref wav.scp --hyp wav.scp --output_dir wav.scp/x", 73, FILE),
    ],
)
def test_what_cannot_be_done_here(
    words: str, status: int, message: str, tmp_path, monkeypatch, capsys
) -> None:
    """Before the work, and nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    Path("wav.scp").write_text("u u.wav\n")
    with pytest.raises(SystemExit) as e:
        main(words.split())
    assert e.value.code == status and message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["wav.scp"]


@pytest.mark.parametrize(
    "words, wanted",
    [
        ("search exp out --yes", {"yes": True, "max_jobs": 1, "controls": ""}),
        ("search --yes exp --max_jobs 1 out", {"yes": True, "max_jobs": 1}),
        ("search exp --output_dir out --yes true", {"yes": True}),
        ("search out --base_exp exp", {"yes": False}),
        ("search --output-dir=out exp --yes=true", {"yes": True}),
        ("search exp out --exp exp --output_dir out --yes", {"yes": True}),
        ("search --yes --base_exp exp --output_dir out", {"yes": True}),
        ("search exp out --max-jobs=3 --max-frozen 1", {"max_jobs": 3}),
        ("search exp out --search full", {"strategy": "full"}),
        ("seeds exp b --output_dir out", {"search_dirs": [Path("exp"), Path("b")]}),
        ("seeds --search_dirs a b --output_dir out", {"output_dir": Path("out")}),
        ("status --watch exp", {"search_dir": Path("exp"), "watch": True}),
        ("status a --watch false", {"watch": False}),
        ("layers -- -a", {"base_exp": Path("-a")}),
        ("validate_data --full --fs 8k", {"full": True, "hop_length": 128}),
        ("validate_data --fs 8k", {"full": None}),
        ("perturb_speed a --factors 0.9 1.1", {"factors": ["0.9", "1.1"]}),
        ("rows --args '--x a-b'", {"args": "--x a-b"}),
    ],
)
def test_right_command_lines(words: str, wanted: dict) -> None:
    verb, *rest = shlex.split(words)
    values = vars(parser_of(verb).parse_args(rest))
    if verb == "search":
        wanted = {**wanted, "base_exp": Path("exp"), "output_dir": Path("out")}
    assert {k: values[k] for k in wanted} == wanted


@pytest.mark.parametrize(
    "given, controls, criterion, then",
    [
        ("", (), "cer", "decode exp/b --data DATA_DIR"),
        ("none", (), "ter", "decode exp/b --data DATA_DIR"),
        ("joint,warm", ("joint", "warm"), "ppl", "report exp/b"),
    ],
)
def test_what_a_search_is_asked_and_says(
    given, controls, criterion, then, monkeypatch, capsys
) -> None:
    requests = []
    monkeypatch.setattr(driver, "run_search", requests.append)
    monkeypatch.setattr("espnet_topdown.cli.installation.check", lambda: None)
    best = SimpleNamespace(role="candidate", name="m1.4")
    ended = SimpleNamespace(best=best, reason="made up", criterion=criterion)
    monkeypatch.setattr(state, "read_state", lambda folder: ended)
    monkeypatch.setattr(write, "list_warnings", lambda folder: ["nothing was learnt."])
    main(["search", "exp/a", "exp/b", "--controls", given])
    assert requests[0].controls == controls
    said, warned, after = capsys.readouterr().out.splitlines()
    assert said == "best: exp/b/m1.4 (made up)"
    assert warned == "warning: nothing was learnt."
    assert after == f"next: espnet-topdown {then}"


@pytest.mark.parametrize(
    "score, then",
    [
        ({"cer": {}}, "next: espnet-topdown decode exp/soft --data DATA_DIR\n"),
        ({"ppl": {}}, ""),  # no sound to decode
    ],
)
def test_a_retraining_says_what_comes_next(
    score, then, monkeypatch, capsys, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("exp/soft")
    folder.mkdir(parents=True)
    (folder / "score.json").write_text(json.dumps(score))
    monkeypatch.setattr(espnet_topdown, "retrain", lambda **options: folder)
    main(["retrain", "exp/a", str(folder), "--freeze", "softmax"])
    assert capsys.readouterr().out == then


# They stand in users' cmd.sh, in job.sh of jobs that wait in a queue, in retrain.yaml.
@pytest.mark.parametrize(
    "name",
    "bin.main bin.run_job bin.asr_train bin.lm_train bin.asr_inference bin.format_wav "
    "bin.validate_data cmd.local cmd.slurm cmd.sge cmd.node".split(),
)
def test_names_that_stand_in_users_files_are_there(name: str) -> None:
    assert importlib.util.find_spec(f"espnet_topdown.{name}")


def test_help_lists_every_command(capsys) -> None:
    main(["--help"])
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in VERBS)


def test_defaults_are_shown_where_there_are_any() -> None:
    parser = Parser(prog="x")
    parser.add_argument("--n", type=int, default=7, help="A number")
    parser.add_argument("--m", type=int, help="Another")
    text = parser.format_help()
    assert "(default: 7)" in text and "None" not in text


FULL = "from espnet_topdown.errors import command; command(lambda cmd: {})()"


@pytest.mark.parametrize("where", ["stdout", "stderr", "a file", "a copy"])
def test_a_full_disk_is_said_with_its_status(where: str) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    doing = {
        "stdout": "print('a table')",
        "stderr": "__import__('os').write(2, b'a line')",
        "a file": "open('/dev/full', 'wb', 0).write(b'x')",
        "a copy": "(_ for _ in 'x').throw(OSError(28, '', 'x', None, '/dev/full'))",
    }
    with open("/dev/full", "w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        streams.update({where: full} if where in streams else {})
        call = [sys.executable, "-c", FULL.format(doing[where])]
        ran = subprocess.run(call, text=True, **streams)
    assert ran.returncode == 74
    if where != "stderr":
        assert re.search(r"^E_DISK: .*need \d+ B, free \d+ B at /", ran.stderr)
        assert where != "a copy" or "B at /dev/full." in ran.stderr


def test_another_system_error_is_not_called_a_full_disk() -> None:
    @command
    def main(cmd=None):
        raise FileNotFoundError(2, "no such file", "x")

    with pytest.raises(FileNotFoundError):
        main([])
