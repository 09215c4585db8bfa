"""The Switchboard recipe on made-up discs: stage 1, then all stages of a tiny model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import swbd_tree  # noqa: E402

from espnet_topdown.machine import SCTK, find_tool  # noqa: E402

ASR1 = Path(__file__).resolve().parents[2] / "egs2" / "swbd_topdown" / "asr1"
NOT_THE_RECIPE = shutil.ignore_patterns("exp", "data", "dump")
PARTIAL = ["--local_data_opts", "--allow_partial true --nj 2"]
pytestmark = pytest.mark.recipe


@pytest.fixture
def swbd(tmp_path, run):
    """The recipe in a folder with a space, and the corpora below another."""
    recipe = tmp_path / "my recipe"
    shutil.copytree(ASR1, recipe, symlinks=True, ignore=NOT_THE_RECIPE)
    for link in [p for p in recipe.iterdir() if p.is_symlink()]:
        target = (ASR1 / link.name).resolve()
        link.unlink()
        link.symlink_to(target)
    files = swbd_tree.describe(conversations=3, lines=6, words=3)
    corpora = swbd_tree.write_tree(tmp_path / "the corpora", "split", files)

    def go(*words, swbd=corpora, timeout=60):
        return run(*words, cwd=recipe, timeout=timeout, SWBD=str(swbd))

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
    assert list(counts.values()) == [27, 3, 3]
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
def test_all_stages(swbd):
    options = ["--asr_config", "conf/train_tiny.yaml", "--nbpe", "45", "--ngpu", "0"]
    options += ["--nj", "1", "--inference_nj", "2", "--max_frozen", "1", *PARTIAL]
    options += ["--inference_args", "--beam_size 2 --maxlenratio 0.05"]
    options += ["--allow_overlap", "true", "--skip_packing", "false"]
    done = swbd("./run.sh", *options, timeout=1400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    exp = swbd.recipe / "exp"
    search = exp / "asr_train_tiny_raw_en_bpe45_topdown"
    result = json.loads((search / "result.json").read_text())
    assert list(result["nodes"]) == ["m6", "m1.5"]
    (decoded,) = (search / "m6").glob("decode_asr_*/eval2000")
    assert len((decoded / "text").read_text().splitlines()) == 3
    assert len(list((decoded / "logdir").glob("asr_inference.*.log"))) == 2
    figures = (decoded / "score_hub5" / "result.txt").read_text()
    if find_tool("hubscr.pl", SCTK):
        assert "swbd: WER" in figures and "(2 segments, 8 words)" in figures
        assert "eval2000/score_hub5/swbd" in (search / "RESULTS.md").read_text()
    else:
        assert "not comparable" in figures
    assert list(search.glob("*.zip"))
