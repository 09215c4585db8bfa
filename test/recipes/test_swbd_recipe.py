"""The Switchboard recipe on made-up discs: all stages, rows of tiny models.

With ``TOPDOWN_ROWS=all`` the rows beyond the paper are trained too.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest
import swbd_tree
import tiny_conf

from espnet_topdown.cli._doctor import find_program
from espnet_topdown.files import read_json, read_yaml
from espnet_topdown.models.weights import differing, load_weights

ASR1 = Path(__file__).resolve().parents[2] / "egs2" / "swbd_topdown" / "asr1"
PARTIAL = ["--local_data_opts", "--allow_partial true --nj 2"]
CONFIG = "tiny/train_asr_transformer.yaml"
OPTIONS = ["--asr_config", CONFIG, "--row_conf", "tiny", "--nbpe", "45", "--ngpu", "0"]
OPTIONS += ["--nj", "1", "--inference_nj", "2", "--max_frozen", "1", *PARTIAL]
OPTIONS += ["--inference_args", "--beam_size 2 --maxlenratio 0.05"]
OPTIONS += ["--skip_packing", "false"]
# so little text for training lacks letters of the test set, which is refused
TEXTS = "dump/raw/train_nodup/text dump/raw/eval2000/text"
OPTIONS += ["--bpe_train_text", TEXTS]
W = "asr_train_asr_transformer_raw_en_bpe45"
X = "asr_train_asr_conformer_raw_en_bpe45"
E = "asr_train_asr_e_branchformer_raw_en_bpe45"
MEAN = "valid.acc.average10.pth"
EVERY = os.environ.get("TOPDOWN_ROWS") == "all"
pytestmark = [pytest.mark.recipe, pytest.mark.espnet, pytest.mark.nightly]
pytestmark += [pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, copied) -> Path:
    """The recipe with tiny configurations, and the corpora beside it."""
    root = tmp_path_factory.mktemp("swbd")
    folder = copied(ASR1, root / "my recipe")
    files = swbd_tree.describe(conversations=3, lines=5, words=3)
    swbd_tree.write_tree(root / "the corpora", "split", files)
    tiny_conf.write_tiny_blocks(ASR1 / "conf", folder / "tiny")
    return folder


@pytest.fixture
def go(recipe, succeed, warm):
    """Call ``run.sh``, which must succeed."""
    more = {"SWBD": str(recipe.parent / "the corpora"), "PATH": warm}
    words = ("./run.sh", *OPTIONS)
    return functools.partial(succeed, *words, cwd=recipe, timeout=1400, **more)


@pytest.fixture
def trained(go, recipe) -> Path:
    """All stages, run once: the experiments."""
    if not (recipe / "exp").exists():
        go()
    return recipe / "exp"


def test_all_stages(trained):
    search = trained / f"{W}_topdown"
    result = read_json(search / "result.json")
    assert list(result["nodes"]) == ["m6", "m1.5"]
    (decoded,) = (search / "m6").glob("decode_asr_*/eval2000")
    assert len((decoded / "text").read_text().splitlines()) == 3
    assert len(list((decoded / "logdir").glob("asr_inference.*.log"))) == 2
    figures = (decoded / "hub5" / "result.txt").read_text()
    if find_program("hubscr.pl"):
        assert "swbd: WER" in figures and figures.count("(2 segments, ") == 2
        report = (search / "RESULTS.md").read_text()
        lines = [x for x in report.splitlines() if "eval2000/hub5/swbd" in x]
        assert lines and not [x for x in lines if "not run" in x]
    else:
        assert "not comparable" in figures
    assert list(search.glob("*.zip"))


def assert_frozen(exp, base, row):
    """What a row froze is what the mean of its base has; everything else moved."""
    mean = load_weights(exp / base / MEAN)
    again = load_weights(exp / "rows" / row / MEAN)
    frozen = read_yaml(exp / "rows" / row / "retrain.yaml")["frozen_params"]
    starts = ("ctc.ctc_lo", "decoder.output_layer")
    assert set(frozen) == {n for n in mean if n.startswith(starts)}
    assert len(frozen) == 4 and differing(mean, again, frozen) == []
    assert len(differing(mean, again, list(mean))) > len(mean) / 2


def table(exp):
    """Lines of the table of rows by name."""
    lines = (exp / "rows" / "RESULTS.md").read_text().splitlines()
    return {x.split("|")[1].strip(): x for x in lines if x.startswith("| ")}


def test_rows_of_table_3(trained, go):
    """Means of epochs, the softmax of the mean, a shared search, parts of eval2000."""
    before = (trained / f"{W}_topdown" / "result.json").stat().st_mtime_ns
    go("--row", "W.td W.search")
    assert (trained / f"{W}_topdown" / "result.json").stat().st_mtime_ns == before
    assert_frozen(trained, W, "W.td")
    if find_program("hubscr.pl"):
        for row in ("W.td", "W.search"):
            line = table(trained)[row]
            assert "| 2 of 1831 + 2 of 2628 |" in line and "not run" not in line
        text = (trained / "rows" / "RESULTS.md").read_text()
        assert "hubscr.pl" in text and "Beyond the paper" in text


@pytest.mark.skipif(not EVERY, reason="TOPDOWN_ROWS=all was not asked for")
def test_every_row(trained, go):
    go("--row", "all beyond")
    rows = table(trained)
    for base, row in ((X, "X.td"), (E, "E.td")):
        assert_frozen(trained, base, row)
    if find_program("hubscr.pl"):
        for row in ("W", "W.td", "W.search", "X", "X.td", "E", "E.td"):
            assert "not run" not in rows[row]
