from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown.bin.main import main, parser_of
from espnet_topdown.cli.parser import VERBS, Parser
from espnet_topdown.errors import TopDownError, command
from espnet_topdown.files import true_or_false

NEEDED = ["--base_exp", "exp", "--output_dir", "out"]


@pytest.mark.parametrize(
    "cmd, message",
    [
        (["--serch", "full"], "unknown option --serch .nearest: --search"),
        (["--strateg", "full"], "unknown option --strateg .nearest: --strategy"),
        (["other"], "EXP is given twice: other and exp"),
        (["exp", "other"], "DIR is given twice: other and out"),
        (["exp", "out", "more"], "unexpected argument 'more'"),
        (["--max_jobs"], "expected one argument"),
        (["--max_jobs", "x"], "invalid int value: 'x'"),
        (["--allow_pipes", "yes"], "must be true or false, got 'yes'"),
        (["--epochs", "3,x"], "must be whole numbers with commas, got '3,x'"),
    ],
)
def test_wrong_command_lines(cmd, message):
    with pytest.raises(TopDownError, match=message) as e:
        parser_of("search").parse_args([*NEEDED, *cmd])
    assert e.value.status == 64
    assert "Do: see 'espnet-topdown search --help'" in str(e.value)


def test_an_option_that_has_left_is_answered_by_name():
    with pytest.raises(TopDownError, match="--halving was removed, see docs/") as e:
        parser_of("search").parse_args([*NEEDED, "--halving", "2:8"])
    assert (e.value.code, e.value.remedy) == ("E_USAGE", "leave it out")


@pytest.mark.parametrize(
    "words",
    [
        "exp out --yes",
        "--yes exp --max_jobs 1 out",
        "exp --output_dir out --yes true",
        "out --base_exp exp --yes",
        "--output-dir=out exp --yes=true",
        "exp out --exp exp --output_dir out --yes",
        "--yes --base_exp exp --output_dir out",
    ],
)
def test_folders_by_place_and_by_name(words):
    args = parser_of("search").parse_args(words.split())
    assert (args.base_exp, args.output_dir) == (Path("exp"), Path("out"))
    assert args.yes is True and args.max_jobs == 1


@pytest.mark.parametrize(
    "verb, words, found",
    [
        ("seeds", "a b --output_dir c", {"search_dirs": [Path("a"), Path("b")]}),
        ("seeds", "--search_dirs a b --output_dir c", {"output_dir": Path("c")}),
        ("status", "--watch a", {"search_dir": Path("a"), "watch": True}),
        ("status", "a --watch false", {"watch": False}),
        ("layers", "-- -a", {"base_exp": Path("-a")}),
        ("search", "a b --search full", {"strategy": "full"}),
        ("validate_data", "--full --fs 8k", {"full": True}),
        ("validate_data", "--fs 8k", {"full": None}),
    ],
)
def test_places_and_flags(verb, words, found):
    args = vars(parser_of(verb).parse_args(words.split()))
    assert {k: args[k] for k in found} == found


@pytest.mark.parametrize("words, missing", [("", "EXP"), ("a", "DIR")])
def test_a_folder_is_missing(words, missing):
    with pytest.raises(TopDownError, match=f"search: {missing} is missing") as e:
        parser_of("search").parse_args(words.split())
    assert (e.value.code, e.value.status) == ("E_USAGE", 64)


def test_dashes_and_underscores_are_the_same():
    args = parser_of("search").parse_args(
        [*NEEDED, "--max-jobs=3", "--max-frozen", "1"]
    )
    assert (args.max_jobs, args.max_frozen) == (3, 1)


@pytest.mark.parametrize("text, value", [("true", True), ("False", False)])
def test_true_or_false(text, value):
    assert true_or_false(text) is value


def test_an_error_is_one_line_and_a_status(capsys):
    @command
    def main(cmd=None):
        raise TopDownError("E_X", "something, somewhere.", "this.", 65)

    with pytest.raises(SystemExit) as e:
        main([])
    assert e.value.code == 65
    assert capsys.readouterr().err == "E_X: something, somewhere. Do: this.\n"


def test_help_lists_every_command(capsys):
    main(["--help"])
    out = capsys.readouterr().out
    assert all(name in out for name in VERBS)


def test_unknown_command(capsys):
    with pytest.raises(SystemExit) as e:
        main(["serch"])
    assert e.value.code == 64
    assert "nearest: search" in capsys.readouterr().err


def test_parser_defaults_are_shown():
    parser = Parser(prog="x")
    parser.add_argument("--n", type=int, default=7, help="A number")
    parser.add_argument("--m", type=int, help="Another")
    text = parser.format_help()
    assert "(default: 7)" in text and "None" not in text


FULL = "from espnet_topdown.errors import command; command(lambda cmd: {})()"


@pytest.mark.parametrize("where", ["stdout", "stderr", "a file"])
def test_a_full_disk_is_said_with_its_status(where):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    doing = {
        "stdout": "print('a table')",
        "stderr": "__import__('os').write(2, b'a line')",
        "a file": "open('/dev/full', 'wb', 0).write(b'x')",
    }
    with open("/dev/full", "w") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        streams.update({where: full} if where in streams else {})
        call = [sys.executable, "-c", FULL.format(doing[where])]
        ran = subprocess.run(call, text=True, **streams)
    assert ran.returncode == 74
    if where != "stderr":
        assert re.search(r"^E_DISK: .*need \d+ B, free \d+ B at /", ran.stderr)


def test_another_system_error_is_not_called_a_full_disk():
    @command
    def main(cmd=None):
        raise FileNotFoundError(2, "no such file", "x")

    with pytest.raises(FileNotFoundError):
        main([])
