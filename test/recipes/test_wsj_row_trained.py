"""One row from the discs to its table, really trained: A.B, the tiniest models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_conf
import wsj_tree

from espnet_topdown.weights import differing, load_weights
from espnet_topdown.yaml_io import read_yaml

ASR1 = Path(__file__).resolve().parents[2] / "egs2" / "wsj_topdown" / "asr1"
NOT_THE_RECIPE = shutil.ignore_patterns("exp", "data", "dump")
PARTIAL = ["--local_data_opts", "--allow_partial true"]
SOFTMAX = ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]
SOFTMAX += ["decoder.output.weight", "decoder.output.bias"]
pytestmark = [pytest.mark.recipe, pytest.mark.espnet, pytest.mark.slow]


@pytest.fixture
def recipe(tmp_path) -> Path:
    """The recipe with tiny configurations, and discs beside it."""
    folder = tmp_path / "asr1"
    shutil.copytree(ASR1, folder, symlinks=True, ignore=NOT_THE_RECIPE)
    for link in [p for p in folder.iterdir() if p.is_symlink()]:
        target = (ASR1 / link.name).resolve()
        link.unlink()
        link.symlink_to(target)
    tiny_conf.write_tiny(ASR1 / "conf", folder / "tiny")
    tree = wsj_tree.describe(train=16, dev=2, test=2, words=2)
    discs = wsj_tree.write_tree(tmp_path / "discs", "dash", tree)
    db = "".join(f"{name}={path}\n" for name, path in zip(("WSJ0", "WSJ1"), discs))
    (folder / "db.sh").unlink()
    (folder / "db.sh").write_text(db)
    return folder


@pytest.mark.timeout(1500)
def test_row_a_b(recipe, run):
    options = ["--ngpu", "0", "--nj", "1", "--inference_nj", "1", *PARTIAL]
    options += ["--asr_config", "tiny/train_ctc.yaml", "--row_conf", "tiny"]
    done = run("./run.sh", *options, "--stop_stage", "10", cwd=recipe, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    done = run("./run.sh", *options, "--row", "A.B", cwd=recipe, timeout=800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    exp = recipe / "exp"
    row, b = (
        load_weights(folder / "valid.loss.best.pth")
        for folder in (exp / "rows" / "A.B", exp / "asr_train_att_vgg_b_raw_en_char")
    )
    assert differing(row, b, SOFTMAX) == []
    job = read_yaml(exp / "rows" / "A.B" / "retrain.yaml")
    assert job["base_exp"] == "exp/asr_train_att_a_raw_en_char"
    assert set(job["frozen_params"]) == set(SOFTMAX)
    table = (exp / "rows" / "RESULTS.md").read_text()
    found = [line for line in table.splitlines() if line.startswith("| A.B |")]
    assert len(found) == 2 and "| att_ctc_weight0.0 |" in found[1]
    assert all("| 2 of 503 + 2 of 333 |" in line for line in found)
    models = {p: p.stat().st_mtime_ns for p in exp.rglob("*.pth")}
    done = run("./run.sh", *options, "--row", "A.B", cwd=recipe, timeout=200)
    assert done.returncode == 0 and "is finished already" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in exp.rglob("*.pth")} == models
