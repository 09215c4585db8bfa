"""``run.sh --row``: which commands a row is made of, what is shared, what is shown."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "test" / "fixtures"

ASR1 = ROOT / "egs2" / "wsj_topdown" / "asr1"
pytestmark = [pytest.mark.recipe, pytest.mark.nightly, pytest.mark.timeout(300)]
NOT_THE_RECIPE = shutil.ignore_patterns("exp", "data", "dump")
C, A = "exp/asr_train_ctc_raw_en_char", "exp/asr_train_att_a_raw_en_char"
B = "exp/asr_train_att_vgg_b_raw_en_char"


def copy_recipe(folder: Path) -> Path:
    shutil.copytree(ASR1, folder, symlinks=True, ignore=NOT_THE_RECIPE)
    for link in [p for p in folder.iterdir() if p.is_symlink()]:
        target = (ASR1 / link.name).resolve()
        link.unlink()
        link.symlink_to(target)
    return folder


def write_data(recipe: Path, train: int = 20) -> None:
    """What the stages up to 10 leave, without any audio."""
    sets = {"train_si284": train, "org/test_dev93": 503, "test_eval92": 333}
    for name, n in sets.items():
        folder = recipe / "dump" / "raw" / name
        folder.mkdir(parents=True)
        for file in ("wav.scp", "text", "utt2spk"):
            lines = "".join(f"u{i:03} x\n" for i in range(n))
            (folder / file).write_text(lines)
    tokens = recipe / "data" / "en_token_list" / "char" / "tokens.txt"
    tokens.parent.mkdir(parents=True)
    tokens.write_text("<blank>\n<unk>\nA\n<sos/eos>\n")
    for part in ("train", "valid"):
        stats = recipe / "exp" / "asr_stats_raw_en_char" / part
        stats.mkdir(parents=True)
        for file in ("speech_shape", "text_shape", "text_shape.char"):
            lines = "".join(f"u{i:03} 9\n" for i in range(train))
            (stats / file).write_text(lines)
        (stats / "feats_stats.npz").write_text("")


@pytest.fixture
def rows(tmp_path, run):
    """Make rows where nothing is trained; returns the outcome and what was called."""
    recipe = copy_recipe(tmp_path / "my recipe")
    write_data(recipe)

    def go(names: str, *words: str, **environment: str):
        calls = tmp_path / "calls"
        calls.write_text("")
        # the interpreter as a user may give it: with an option of its own
        python = f"{sys.executable} {FIXTURES / 'fake_python.py'}"
        always = ("--row", names, "--ngpu", "0", "--inference_nj", "2")
        words = (*always, "--python", python, *words)
        places = {"FAKE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), **environment}
        done = run("./run.sh", *words, cwd=recipe, timeout=250, **places)
        made = [line.split("\t") for line in calls.read_text().splitlines()]
        return done, [c for c in made if c[0] in ("asr_train", "search", "retrain")]

    go.recipe = recipe
    return go


def short(call: list[str]) -> str:
    """The part of a call that says which row it belongs to."""
    names = ("--base_exp", "--freeze", "--frozen_from", "--seed", "--allow_any_order")
    if call[0] == "search":
        names = ("--base_exp", "--retrain_seed")
    if call[0] == "asr_train":
        names = ("--config", "--seed")
    found = {n: call[call.index(n) + 1] for n in names if n in call}
    out = call[call.index("--output_dir") + 1]
    return " ".join([call[0], *found.values(), "->", out])


@pytest.mark.parametrize(
    "names, calls",
    [
        ("C.1", [f"asr_train conf/train_ctc.yaml -> {C}"]),
        ("C.2", [f"asr_train conf/train_ctc.yaml 2000 -> {C}_seed2000"]),
        (
            "C.1.td",
            [
                f"asr_train conf/train_ctc.yaml -> {C}",
                f"search {C} same -> {C}_topdown",
            ],
        ),
        (
            "C.1.low",
            [
                f"asr_train conf/train_ctc.yaml -> {C}",
                f"retrain {C} blstm0 {C} 1000 true -> exp/rows/C.1.low",
            ],
        ),
        (
            "A.B B.B",
            [
                f"asr_train conf/train_att_a.yaml -> {A}",
                f"asr_train conf/train_att_vgg_b.yaml -> {B}",
                f"retrain {A} softmax {B} 1000 false -> exp/rows/A.B",
                f"retrain {B} softmax {B} 1000 false -> exp/rows/B.B",
            ],
        ),
        (
            "F2.11",
            [
                "asr_train conf/train_ctc.yaml 11000 -> exp/rows/F1.scratch.1",
                "asr_train conf/train_ctc.yaml -> exp/rows/T2.80",
                "retrain exp/rows/F1.scratch.1 softmax,blstm3 "
                "exp/rows/T2.80/harvest/11.pth 21000 false -> exp/rows/F2.11",
            ],
        ),
        (
            "F1.20.3",
            [
                "asr_train conf/train_ctc.yaml 11000 -> exp/rows/F1.scratch.1",
                "asr_train conf/train_ctc.yaml -> exp/rows/T1.20",
                "retrain exp/rows/F1.scratch.1 softmax,blstm3 exp/rows/T1.20 23000 "
                "false -> exp/rows/F1.20.3",
            ],
        ),
    ],
)
def test_a_row_is_made_of_commands(rows, names, calls):
    done, made = rows(names)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert [short(c) for c in made] == calls
    table = (rows.recipe / "exp" / "rows" / "RESULTS.md").read_text()
    if names == "C.1.td":
        want = "| C.1.td | + top-down | 1000 | ctc_greedy | 10.8 | 10.3 | 8.2 | 10.3 |"
        assert want in table
    assert (
        "| D | CTC, dropout 0.5 | 3000 | - | 9.6 | not run | 7.6 | not run | - |"
        in (table)
    )
    again, made = rows(names)
    assert again.returncode == 0, again.stderr
    # a search decides itself what is left to do
    assert [c[0] for c in made] == (["search"] if names == "C.1.td" else [])


def test_parts_are_trained_on_their_own_lists(rows):
    done, made = rows("T1.5 F1.scratch.1")
    assert done.returncode == 0, done.stderr
    for call, part, n in zip(made, ("p5", "unseen"), (1, 4)):
        folder = rows.recipe / "dump" / "raw" / f"train_si284_{part}"
        assert f"{folder.relative_to(rows.recipe)}/wav.scp,speech,sound" in call
        shape = f"exp/asr_stats_raw_en_char_{part}/train/speech_shape"
        assert shape in call
        for path in (folder / "text", rows.recipe / shape):
            assert len(path.read_text().splitlines()) == n
        listed = rows.recipe / "data" / "parts_train_si284" / f"{part}.txt"
        assert len(listed.read_text().splitlines()) == n


@pytest.mark.parametrize(
    "names, words, damage, status, part",
    [
        ("A.C", [], "", 64, "E_ROW: --row A.C is unknown"),
        ("A.B", ["--row_conf", "none"], "", 66, "no file none/rows.yaml"),
        ("A.B", ["--stage", "11"], "", 64, "then give --row alone"),
        ("A.B", ["--paper", ""], "", 64, "option --paper is required"),
        ("C.1", [], "dump/raw/test_eval92", 66, "run ./run.sh --stop_stage stats"),
        ("C.1", [], "exp/asr_stats_raw_en_char", 66, "run --stage stats first"),
        ("C.1", [], "a line", 65, "E_EVAL_SET: test_eval92 has 332 utterances"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(
    rows, names, words, damage, status, part
):
    if damage == "a line":
        text = rows.recipe / "dump" / "raw" / "test_eval92" / "text"
        text.write_text(text.read_text().split("\n", 1)[1])
    elif damage:
        shutil.rmtree(rows.recipe / damage)
    done, made = rows(names, *words)
    assert (done.returncode, made) == (status, []), done.stderr
    assert part in done.stderr


def test_a_baseline_that_was_trained_on_is_not_taken_for_finished(rows):
    done, _ = rows("C.1.low")
    assert done.returncode == 0, done.stderr
    later = (rows.recipe / "exp/rows/C.1.low/.done").stat().st_mtime + 10
    os.utime(rows.recipe / C / "checkpoint.pth", (later, later))
    _, made = rows("C.1.low")
    assert [c[0] for c in made] == ["retrain"]  # which refuses, or does it again


def test_a_partial_copy_is_said(rows):
    text = rows.recipe / "dump" / "raw" / "test_eval92" / "text"
    text.write_text(text.read_text().split("\n", 1)[1])
    partial = ["--local_data_opts", "--allow_partial true"]
    done, _ = rows("C.1", *partial, FAKE_UTTS='{"test_eval92": 332}')
    assert done.returncode == 0, done.stderr
    assert "| 503 + 332 of 333 |" in (rows.recipe / "exp/rows/RESULTS.md").read_text()
