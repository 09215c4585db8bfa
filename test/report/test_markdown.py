"""RESULTS.md: what it says in each state of a search."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from made_up_search import write_result, write_search

from espnet_topdown.bin.main import parser_of
from espnet_topdown.report.about import commands
from espnet_topdown.report.gains import gains
from espnet_topdown.report.markdown import results
from espnet_topdown.report.rows import read_search


def markdown(folder: Path) -> str:
    search = read_search(folder)
    return results(search, gains(search), ["figures/learning_curves.svg"])


@pytest.fixture(scope="module")
def finished(finished_exp: Path) -> str:
    """RESULTS.md of the finished search."""
    return markdown(finished_exp / "asr_base_topdown")


@pytest.mark.parametrize(
    "said",
    [
        "Freezing the top 2 of 5 layers and retraining the rest lowered the CER",
        "10.59 %, a difference of -1.55 points (95 % interval -2.30 to -0.89).**",
        "points CER against control.warm, 95 % interval",
        "which excludes zero.",
        "- path: M_{5} -> M_{1,4} -> M_{1,1,3} -> M_{1,1,1,2} (rejected)",
        "Stopped: M_{1,1,1,2} is worse: more errors than M_{1,1,3}",
        "- control: joint: done",
        "- failure: M_{2,3} failed: exit status 70; see m2.3/train.log",
        "| **M_{1,1,3}** | **top-down** | **softmax, blstm3** |",
        "| M_{5} | joint training | none | 1 | 12 (best 11) | 1 min 6 s | baseline |",
        "| model | utts | chars | S | D | I | errors | CER % | words |",
        "## Counts on dev (validation)",
        "## Counts on test",
        "- date: 2026-01-31T08:30:00Z",
        "- espnet: 202511",
        "- git: not recorded",
        "espnet-topdown report --search_dir exp/asr_base_topdown",
        "- [figures/learning_curves.svg](figures/learning_curves.svg)",
    ],
)
def test_a_finished_search_says(finished: str, said: str):
    assert said in finished


def test_counts_are_those_of_score_json(search: Path):
    c = read_search(search).node("m1.4").valid.counts["cer"]
    cells = [46, c.ref, c.sub, c.dele, c.ins, c.errors, f"{100 * c.errors / c.ref:.2f}"]
    assert f"| M_{{1,4}} | {' | '.join(map(str, cells))} |" in markdown(search)


def test_no_cell_is_blank(finished: str):
    rows = [x for x in finished.splitlines() if x.startswith("|")]
    cells = [c.strip(" *") for row in rows for c in row.strip("|").split(" | ")]
    assert rows
    assert all(cells)
    failed = [row for row in rows if row.startswith("| M_{2,3}")]
    assert all("not run" in row for row in failed)


def test_no_test_set(tmp_path: Path):
    text = markdown(write_search(tmp_path / "exp" / "s", tests=False))
    assert "lowered the CER on dev from" in text
    assert "Decoding a test set with both models: not run." in text
    assert "## Best against the others\n\nnot run" in text
    assert "Counts on test" not in text


def test_a_search_that_kept_the_joint_training(search: Path):
    (search / "best").unlink()
    write_result(search, best="m5")
    text = markdown(search)
    assert "Joint training M_{5} stays the best model" in text
    assert re.search(r"\n- test: \+\d+\.\d+ points CER against M_\{1,4\}", text)
    assert "| test | CER | M_{1,4} |" in text


@pytest.mark.parametrize(
    "models, failed, said",
    [
        ((), False, "This search has not run yet: no model was retrained."),
        (("m5", "m1.4"), False, "not finished; 1 retrained model scored so far."),
        (("m5", "m1.4"), False, "Running, or interrupted; the same command continues"),
        (("m5", "m1.4"), True, "Stopped by a failure; the same command continues"),
        (("m5",), False, "- control: joint: not run"),
        (("m5",), False, "- date: not finished; scored m5 at 2"),
    ],
)
def test_an_unfinished_search_says(tmp_path: Path, models, failed, said):
    folder = tmp_path / "exp" / "s"
    write_search(folder, models=models, finished=False, failed=failed)
    assert said in markdown(folder)


def test_an_unclear_gain_says_so(search: Path):
    for unit in ("cer", "wer"):
        for side in ("ref", "hyp"):
            name = f"decode_ctc_greedy/test/score_{unit}/{side}.trn"
            (search / "m1.1.3" / name).write_bytes((search / "m5" / name).read_bytes())
    name = "decode_ctc_greedy/test/score.json"
    (search / "m1.1.3" / name).write_bytes((search / "m5" / name).read_bytes())
    text = markdown(search)
    assert "left the CER on test at 12.14 %, a difference of 0.00 points (95" in text
    assert "0.00 to 0.00, which includes zero).**" in text


def test_names_cannot_break_a_table(tmp_path: Path):
    names = ["a|b", "<img src=x>", "`c`", "*d*", "e\nf"]
    folder = write_search(tmp_path / "exp" / "s", layers=names, stack="x|<y>")
    text = markdown(folder)
    assert "a\\|b, &lt;img src=x>, \\`c\\`, \\*d\\*, e f" in text
    assert "<img" not in text


def test_a_fence_that_a_name_cannot_close(tmp_path: Path):
    folder = write_search(tmp_path / "exp" / "s", stack="a```b")
    assert "````sh\nespnet-topdown search --base_exp exp/asr_base" in markdown(folder)


def test_the_search_command_asks_for_the_same_search(tmp_path: Path):
    folder = tmp_path / "exp" / "a b's"
    write_search(folder, base_exp="exp/asr_base", max_frozen=3, max_epoch=None)
    words = shlex.split(commands(read_search(folder))[0])
    args = parser_of("search").parse_args(words[2:])
    assert str(args.output_dir) == "exp/a b's"
    assert (str(args.base_exp), args.strategy) == ("exp/asr_base", "greedy")
    assert (args.max_frozen, args.controls, args.max_epoch) == (3, "joint,warm", None)
