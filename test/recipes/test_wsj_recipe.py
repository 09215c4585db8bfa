"""Stages 1 to 4 of the WSJ recipe on made-up discs."""

from __future__ import annotations

from pathlib import Path

import pytest
import wsj_tree

ROOT = Path(__file__).resolve().parents[2]
ASR1 = ROOT / "egs2" / "wsj_topdown" / "asr1"
PARTIAL = ["--local_data_opts", "--allow_partial true --nj 2"]
pytestmark = [pytest.mark.recipe, pytest.mark.nightly]


@pytest.fixture
def wsj(tmp_path, run, copied):
    """The recipe in a folder with a space, and discs below another."""
    recipe = copied(ASR1, tmp_path / "my recipe")
    discs = wsj_tree.write_tree(
        tmp_path / "the discs", "mixed", wsj_tree.describe(words=2)
    )

    def go(*words, wsj0=discs[0], wsj1=discs[1]):
        places = {"WSJ0": str(wsj0), "WSJ1": str(wsj1)}
        return run(*words, cwd=recipe, timeout=200, **places)

    go.recipe, go.discs = recipe, discs
    (recipe / "local" / "random.py").write_text("raise SystemExit('not me')\n")
    return go


def test_stages_1_to_4(wsj):
    """A damaged file is named, and the same stage repeated; what is there is kept."""
    bad = next(wsj.discs[0].rglob("440c0201.wv1"))
    good = bad.read_bytes()
    bad.write_bytes(good[:-200])
    done = wsj("local/data.sh", *PARTIAL[1].split())
    assert done.returncode != 0
    assert "440c0201.wv1" in done.stderr and "E_SPHERE_TRUNCATED" in done.stderr
    assert len(list(wsj.recipe.glob("data/flac/*/*.flac"))) == 19
    assert not (wsj.recipe / "data/test_eval92").exists()
    bad.write_bytes(good)
    done = wsj("./run.sh", "--stop_stage", "4", "--nj", "1", *PARTIAL)
    assert done.returncode == 0, done.stderr
    dump = wsj.recipe / "dump" / "raw"
    counts = {
        name: len((dump / name / "text").read_text().splitlines())
        for name in ("train_si284", "test_dev93", "org/test_dev93", "test_eval92")
    }
    assert list(counts.values()) == [12, 4, 4, 4]
    wav = (dump / "test_eval92" / "wav.scp").read_text().splitlines()[0]
    assert wav == "440c0200 data/flac/440/440c0200.flac"  # not a second copy
    assert (wsj.recipe / "data/nlsyms.txt").read_text().count("\n") == 3
    logs = sorted((wsj.recipe / "data/local/wsj/log").glob("convert.*.log"))
    assert [log.name for log in logs] == ["convert.1.log", "convert.2.log"]
    (dump / "org/train_si284/text").write_text("")  # one output of stage 3
    done = wsj("./run.sh", "--stop_stage", "4", "--nj", "1", *PARTIAL)
    assert done.returncode == 0, done.stderr
    made = [x.split()[2] for x in done.stdout.splitlines() if "nothing to do" in x]
    assert len(made) == 4 and "dump/raw/org/train_si284:" not in made
    assert len((dump / "train_si284/text").read_text().splitlines()) == 12
