"""The Switchboard recipe on made-up discs: stage 1, then all stages of a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import swbd_tree  # noqa: E402

from espnet_topdown.machine import SCTK, find_tool  # noqa: E402
from espnet_topdown.weights import differing, load_weights  # noqa: E402

ASR1 = Path(__file__).resolve().parents[2] / "egs2" / "swbd_topdown" / "asr1"
PARTIAL = ["--local_data_opts", "--allow_partial true --nj 2"]
pytestmark = pytest.mark.recipe


@pytest.fixture
def swbd(tmp_path, run, copied):
    """The recipe in a folder with a space, and the corpora below another."""
    recipe = copied(ASR1, tmp_path / "my recipe")
    files = swbd_tree.describe(conversations=3, lines=5, words=3)
    corpora = swbd_tree.write_tree(tmp_path / "the corpora", "split", files)

    def go(*words, swbd=corpora, timeout=60, **more):
        return run(*words, cwd=recipe, timeout=timeout, SWBD=str(swbd), **more)

    go.recipe, go.corpora = recipe, corpora
    return go


def test_stage_1(swbd):
    done = swbd("./run.sh", "--stop_stage", "1", *PARTIAL)
    assert done.returncode == 0, done.stderr
    data = swbd.recipe / "data"
    counts = {
        name: len((data / name / "text").read_text().splitlines())
        for name in ("train_nodup", "train_dev", "eval2000")
    }
    assert list(counts.values()) == [22, 2, 3]
    wav = (data / "eval2000" / "wav.scp").read_text().splitlines()[0]
    assert wav == "en_4001-A data/flac/en_40/en_4001-A.flac"
    assert (data / "eval2000/glm").read_text() == swbd_tree.GLM
    logs = sorted((data / "local/swbd/log").glob("convert.*.log"))
    assert [log.name for log in logs] == ["convert.1.log", "convert.2.log"]


@pytest.mark.parametrize(
    "words, places, status, part",
    [
        ([], {"swbd": ""}, 66, "E_SWBD_ROOT: SWBD is not set"),
        ([], {"swbd": "/usr/bin"}, 66, "has no folder LDC97S62"),
        ([], {}, 65, "E_SWBD_COUNT: 3 conversations with audio, not 2435 or 2438"),
        (["--allow_partal", "true"], {}, 64, "did you mean --allow_partial?"),
        (["swbd"], {}, 64, "unexpected argument 'swbd'"),
    ],
)
def test_mistakes(swbd, words, places, status, part):
    done = swbd("local/data.sh", *words, **places)
    assert done.returncode == status and part in done.stderr, done.stderr
    assert not (swbd.recipe / "data").exists()


@pytest.mark.espnet
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_all_stages(swbd, warm):
    options = ["--asr_config", "conf/train_tiny.yaml", "--nbpe", "45", "--ngpu", "0"]
    options += ["--nj", "1", "--inference_nj", "2", "--max_frozen", "1", *PARTIAL]
    options += ["--inference_args", "--beam_size 2 --maxlenratio 0.05"]
    options += ["--skip_packing", "false"]
    done = swbd("./run.sh", *options, timeout=1400, PATH=warm)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    exp = swbd.recipe / "exp"
    search = exp / "asr_train_tiny_raw_en_bpe45_topdown"
    result = json.loads((search / "result.json").read_text())
    assert list(result["nodes"]) == ["m6", "m1.5"]
    (decoded,) = (search / "m6").glob("decode_asr_*/eval2000")
    assert len((decoded / "text").read_text().splitlines()) == 3
    assert len(list((decoded / "logdir").glob("asr_inference.*.log"))) == 2
    figures = (decoded / "hub5" / "result.txt").read_text()
    if find_tool("hubscr.pl", SCTK):
        assert "swbd: WER" in figures and figures.count("(2 segments, ") == 2
        assert "eval2000/hub5/swbd" in (search / "RESULTS.md").read_text()
    else:
        assert "not comparable" in figures
    assert list(search.glob("*.zip"))
    assert_rows(swbd, options, warm)


def assert_rows(swbd, options, path):
    """W and W.td: means of epochs, the softmax of the mean, parts of eval2000."""
    conf = swbd.recipe / "tiny"
    conf.mkdir()
    text = (swbd.recipe / "conf" / "train_tiny.yaml").read_text()
    (conf / "train_asr_transformer.yaml").write_text(text)
    words = ["--row", "W.td", "--row_conf", "tiny", *options]
    done = swbd("./run.sh", *words, timeout=1000, PATH=path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    rows = swbd.recipe / "exp" / "rows"
    base = swbd.recipe / "exp" / "asr_train_asr_transformer_raw_en_bpe45"
    mean, again = (
        load_weights(folder / "valid.acc.average10.pth")
        for folder in (base, rows / "W.td")
    )
    softmax = [n for n in mean if n.startswith(("ctc.ctc_lo", "decoder.output_layer"))]
    assert len(softmax) == 4 and differing(mean, again, softmax) == []
    assert differing(mean, again, mean)
    if find_tool("hubscr.pl", SCTK):
        table = (rows / "RESULTS.md").read_text()
        (line,) = [x for x in table.splitlines() if x.startswith("| W.td |")]
        assert "| 2 of 1831 + 2 of 2628 |" in line and "not run" not in line
        assert "hubscr.pl" in table and "Beyond the paper" in table
