"""Stages 1 to 4 of the WSJ recipe on made-up discs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import wsj_tree  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
ASR1 = ROOT / "egs2" / "wsj_topdown" / "asr1"
PARTIAL = ["--local_data_opts", "--allow_partial true --nj 2"]
pytestmark = pytest.mark.recipe


@pytest.fixture
def wsj(tmp_path, run, copied):
    """The recipe in a folder with a space, and discs below another."""
    recipe = copied(ASR1, tmp_path / "my recipe")
    discs = wsj_tree.write_tree(tmp_path / "the discs", "mixed", wsj_tree.describe())

    def go(*words, wsj0=discs[0], wsj1=discs[1]):
        places = {"WSJ0": str(wsj0), "WSJ1": str(wsj1)}
        return run(*words, cwd=recipe, timeout=50, **places)

    go.recipe, go.discs = recipe, discs
    return go


def test_stages_1_to_4(wsj):
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


SETS = ("train_si284", "train_si84", "test_dev93", "test_eval92")
FILES = [f"{name}/{f}" for name in SETS for f in ("text", "wav.scp", "utt2spk")]
FILES += [f"{name}/spk2utt" for name in SETS] + ["nlsyms.txt"]


@pytest.fixture(scope="module")
def first():
    """What stage 1 wrote for the first layout."""
    return {}


@pytest.mark.parametrize("layout", wsj_tree.LAYOUTS)
def test_stage_1_writes_the_same_bytes_for_every_layout(wsj, first, tmp_path, layout):
    tree = wsj_tree.write_tree(tmp_path / layout, layout, wsj_tree.describe())
    options = ["--stage", "1", "--stop_stage", "1", *PARTIAL]
    done = wsj("./run.sh", *options, wsj0=tree[0], wsj1=tree[1])
    assert done.returncode == 0, done.stderr
    data = wsj.recipe / "data"
    found = {name: (data / name).read_bytes() for name in FILES}
    flac = {p.relative_to(data): p.read_bytes() for p in data.rglob("*.flac")}
    assert len(flac) == 20 and found["train_si284/text"].count(b"\n") == 12
    assert first.setdefault("found", found) == found
    assert first.setdefault("flac", flac) == flac


def test_wrong_counts_stop_stage_1(wsj):
    done = wsj("./run.sh", "--stop_stage", "1")
    assert done.returncode == 65
    assert "E_WSJ_COUNT" in done.stderr and "37416" in done.stderr
    assert '--local_data_opts "--allow_partial true"' in done.stderr


def test_a_damaged_file_is_named_and_stage_1_can_be_repeated(wsj):
    bad = next(wsj.discs[0].rglob("440c0201.wv1"))
    good = bad.read_bytes()
    bad.write_bytes(good[:-200])
    done = wsj("local/data.sh", *PARTIAL[1].split())
    assert done.returncode != 0
    assert "440c0201.wv1" in done.stderr and "E_SPHERE_TRUNCATED" in done.stderr
    assert len(list(wsj.recipe.glob("data/flac/*/*.flac"))) == 19
    assert not (wsj.recipe / "data/test_eval92").exists()
    bad.write_bytes(good)
    done = wsj("local/data.sh", *PARTIAL[1].split())
    assert done.returncode == 0, done.stderr
    assert (wsj.recipe / "data/test_eval92/wav.scp").exists()


@pytest.mark.parametrize(
    "words, places, status, part",
    [
        ([], {"wsj0": ""}, 66, "E_WSJ_ROOT: WSJ0 is not set"),
        ([], {"wsj1": "/none"}, 66, "E_WSJ_ROOT: WSJ1 is /none, no folder"),
        ([], {"wsj0": "/usr/bin", "wsj1": "/usr/bin"}, 66, "E_WSJ_LAYOUT"),
        (["--allow_partal", "true"], {}, 64, "did you mean --allow_partial?"),
        (["wsj"], {}, 64, "unexpected argument 'wsj'"),
    ],
)
def test_mistakes(wsj, words, places, status, part):
    done = wsj("local/data.sh", *words, **places)
    assert done.returncode == status and part in done.stderr
    assert not (wsj.recipe / "data").exists()
