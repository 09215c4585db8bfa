"""Beam search in shards: what a shard loses is found before anything is scored."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.recipe
SCRIPT = """
set -euo pipefail
decode_cmd=./launcher gpu_inference=false test_sets=eval valid_set= eval_valid_set=false
inference_nj=3 inference_config=decode.yaml inference_args= use_lm=false data_feats=dump
PYTHON=(python3) INFERENCE_ARGS=() expdir=exp
. "$1/utils/common.sh"
. "$1/utils/decoding.sh"
exact_ctc() { true; }
decode_beam exp/x valid.acc.best.pth eval out
echo decoded
"""
LAUNCHER = """#!/usr/bin/env python3
import os, pathlib
for keys in sorted(pathlib.Path("out/logdir").glob("keys.*.scp")):
    job = keys.name.split(".")[1]
    utts = [line.split()[0] for line in keys.read_text().splitlines()]
    lose = os.environ["LOSE"]
    if lose == f"shard {job}":
        continue
    if lose == f"first of {job}":
        del utts[0]
    if lose == f"twice in {job}":
        utts.append(utts[0])
    folder = pathlib.Path(f"out/logdir/output.{job}/1best_recog")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("token", "token_int", "score", "text"):
        (folder / name).write_text("".join(f"{u} x\\n" for u in utts))
"""


@pytest.fixture
def decode(tmp_path, template, run):
    (tmp_path / "dump" / "eval").mkdir(parents=True)
    lines = "".join(f"u{i} x.flac\n" for i in range(7))
    (tmp_path / "dump" / "eval" / "wav.scp").write_text(lines)
    (tmp_path / "launcher").write_text(LAUNCHER)
    (tmp_path / "launcher").chmod(0o755)
    words = ("bash", "-c", SCRIPT, "bash", template)
    return lambda lose: (run(*words, cwd=tmp_path, LOSE=lose), tmp_path / "out")


def test_shards_are_put_together(decode):
    done, out = decode("nothing")
    assert done.returncode == 0, done.stderr
    assert (out / "text").read_text() == "".join(f"u{i} x\n" for i in range(7))
    assert len(list((out / "logdir").glob("keys.*.scp"))) == 3


@pytest.mark.parametrize(
    "lose, where",
    [
        ("shard 2", "output.2/1best_recog/text is missing"),
        ("first of 3", "keys.3.scp differ in utterances (< u5)"),
        ("twice in 1", "keys.1.scp differ in utterances (> u0)"),
    ],
)
def test_what_is_lost_is_named(decode, lose, where):
    """Fewer utterances could look like a better result."""
    done, out = decode(lose)
    assert done.returncode == 65 and "decoded" not in done.stdout
    assert "E_UTT_SETS" in done.stderr and where in done.stderr, done.stderr
    assert "Do: " in done.stderr and not (out / "text").exists()
