"""The WSJ recipe from made-up discs to tables and figures, with models of a few cells.

Every stage and a selection of rows are trained at every run of the tests; with
``TOPDOWN_ROWS=all`` so is every row of both tables and all of ``transfer.sh``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tiny_conf
import wsj_tree
from papers import paper

from espnet_topdown.files import read_json, read_yaml
from espnet_topdown.models.weights import differing, load_weights

ASR1 = Path(__file__).resolve().parents[2] / "egs2" / "wsj_topdown" / "asr1"
OPTIONS = ["--ngpu", "0", "--nj", "1", "--inference_nj", "1", "--row_conf", "tiny"]
OPTIONS += ["--local_data_opts", "--allow_partial true"]
OPTIONS += ["--asr_config", "tiny/train_ctc.yaml"]
SOFTMAX = ["ctc.ctc_lo.weight", "ctc.ctc_lo.bias"]
OUTPUT = ["decoder.output.weight", "decoder.output.bias"]
BLSTM3 = ["encoder.enc.0.bt3.weight", "encoder.enc.0.birnn3.weight_hh_l0_reverse"]
EVERY = os.environ.get("TOPDOWN_ROWS") == "all"
pytestmark = [pytest.mark.recipe, pytest.mark.espnet, pytest.mark.nightly]
pytestmark += [pytest.mark.timeout(7200 if EVERY else 1500)]
WSJ = paper("wsj")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, copied) -> Path:
    """The recipe with tiny configurations, and discs beside it."""
    root = tmp_path_factory.mktemp("wsj")
    folder = copied(ASR1, root / "asr1")
    tiny_conf.write_tiny(ASR1 / "conf", folder / "tiny")
    tree = wsj_tree.describe(train=40, dev=2, test=2, words=2)
    discs = wsj_tree.write_tree(root / "discs", "dash", tree)
    db = "".join(f"{name}={path}\n" for name, path in zip(("WSJ0", "WSJ1"), discs))
    (folder / "db.sh").unlink()
    (folder / "db.sh").write_text(db)
    return folder


@pytest.fixture
def go(recipe, succeed, warm):
    """Run a script of the recipe, which must succeed; what it says."""

    def call(script: str, *words: str, timeout: int = 1200) -> str:
        return succeed(script, *OPTIONS, *words, cwd=recipe, timeout=timeout, PATH=warm)

    return call


@pytest.fixture
def trained(go, recipe) -> Path:
    """All stages, run once: the recipe's experiments."""
    if not (recipe / "exp").exists():
        go("./run.sh", "--stage", "1", "--stop_stage", "15")
    return recipe / "exp"


def models(exp: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in exp.rglob("*.pth")}


def test_stages_1_to_15(trained, recipe):
    wavs = (recipe / "dump/raw/test_eval92/wav.scp").read_text().splitlines()
    assert wavs[0] == "440c0200 data/flac/440/440c0200.flac"  # not a second copy
    search = trained / "asr_train_ctc_raw_en_char_topdown"
    result = read_json(search / "result.json")
    for node in {"m5", result["best"]}:
        for name in ("org/test_dev93", "test_eval92"):
            folder = search / node / "decode_ctc_greedy" / name
            assert len((folder / "text").read_text().splitlines()) == 2
            assert "Sum/Avg" in (folder / "score_cer" / "result.txt").read_text()
    report = (search / "RESULTS.md").read_text()
    assert "test_eval92" in report and (search / "report.html").is_file()


def test_rows_of_table_2(trained, go):
    rows = ("./run.sh", "--row", "C.1.td C.1.low A.B")
    go(*rows)
    row = load_weights(trained / "rows" / "A.B" / "valid.loss.best.pth")
    b = load_weights(trained / "asr_train_att_vgg_b_raw_en_char/valid.loss.best.pth")
    assert differing(row, b, SOFTMAX + OUTPUT) == []
    job = read_yaml(trained / "rows" / "A.B" / "retrain.yaml")
    assert job["base_exp"] == "exp/asr_train_att_a_raw_en_char"
    assert set(job["frozen_params"]) == {*SOFTMAX, *OUTPUT}
    text = (trained / "rows" / "RESULTS.md").read_text()
    found = [line for line in text.splitlines() if line.startswith("| A.B |")]
    assert len(found) == 2 and "| att_ctc_weight0.0 |" in found[1]
    assert all("| 2 of 503 + 2 of 333 |" in line for line in found)
    low = read_yaml(trained / "rows" / "C.1.low" / "retrain.yaml")
    assert (low["frozen"], low["seed"]) == (["blstm0"], 1000)
    before = models(trained)
    assert "is finished already" in go(*rows)
    assert models(trained) == before
    done = trained / "rows" / "C.1.low" / ".done"
    joint = trained / "asr_train_ctc_raw_en_char" / "checkpoint.pth"
    os.utime(joint, (done.stat().st_mtime + 10,) * 2)  # trained on since then?
    go("./run.sh", "--row", "C.1.low")
    assert done.with_name("train.log.1").is_file(), "the retraining looks at it again"


def test_points_of_both_figures(trained, go):
    go("./run.sh", "--row", "F1.20.1 F1.random.1 F1.scratch.1 F2.2")
    rows = trained / "rows"
    sources = {"F1.20.1": "T1.20/valid.loss.best.pth", "F2.2": "T2.80/harvest/2.pth"}
    for row, source in sources.items():
        ours = load_weights(rows / row / "valid.loss.best.pth")
        assert differing(ours, load_weights(rows / source), SOFTMAX + BLSTM3) == []
        data = read_yaml(rows / row / "train.yaml")["train_shape_file"]
        assert all("_unseen/" in file for file in data)
    assert len(list((rows / "T2.80" / "harvest").iterdir())) == 25
    assert len(list((rows / "T2.80").glob("*epoch.pth"))) <= 2  # not 25 models
    for number, points in ((1, 4), (2, 4)):
        path = rows / "figures" / f"figure{number}.tsv"
        assert len(path.read_text().splitlines()) == 1 + 2 * points
        assert "<svg" in path.with_suffix(".svg").read_text()


@pytest.mark.skipif(not EVERY, reason="TOPDOWN_ROWS=all was not asked for")
def test_every_row(trained, go):
    """Both tables are full, and the figures have all their points."""
    go("./run.sh", "--row", "all", timeout=5000)
    go("./transfer.sh", timeout=5000)
    head, *lines = (trained / "rows" / "rows.tsv").read_text().splitlines()
    rows = [dict(zip(head.split("\t"), line.split("\t"))) for line in lines]
    assert {r["row"] for r in rows if r["ours"] != "not run"} >= set(WSJ.groups["all"])
    assert not [r for r in rows if r["ours"] == "not run"]
    for number, points in ((1, 5 * 5 + 5 + 2), (2, 25 + 25 + 2)):  # means, controls
        path = trained / "rows" / "figures" / f"figure{number}.tsv"
        assert len(path.read_text().splitlines()) == 1 + 2 * points
