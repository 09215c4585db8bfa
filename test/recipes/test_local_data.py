"""Stage 1 of the recipes as a user runs it: local/data.sh."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from packages import real_packages

from espnet_topdown.data.kaldi_dir import read_pairs

EGS2 = Path(__file__).resolve().parents[2] / "egs2"
RECIPES = sorted(EGS2.glob("*_topdown/asr1"))
DEB = "flight-of-the-amazon-queen"
pytestmark = pytest.mark.recipe


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda folder: folder.parent.name)
@pytest.mark.parametrize("where", [".", ".upstream"])
def test_data_sh_finds_its_recipe(recipe, where, succeed, tmp_path):
    """Also from the folder where ESPnet's asr.sh runs."""
    upstream = tmp_path / ".upstream"
    (upstream / "utils").mkdir(parents=True)  # ESPnet's, not ours
    (upstream / "local").symlink_to("../local")
    for name in ("local", "utils", "path.sh", "cmd.sh", "db.sh"):
        (tmp_path / name).symlink_to(recipe / name)
    said = succeed("local/data.sh", "--help", cwd=tmp_path / where)
    assert "usage" in said.lower()


@pytest.fixture
def data_sh(tmp_path, run, monkeypatch):
    """Run the local/data.sh of a recipe in a folder whose path has a space."""
    (tmp_path / "my recipe" / "downloads").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "my recipe")

    def start(corpus: str, *options: str, **environment: str):
        recipe = EGS2 / f"{corpus}_topdown/asr1"
        for name in ("utils", "path.sh", "cmd.sh", "db.sh"):
            Path(name).symlink_to((recipe / name).resolve())
        shutil.copytree(recipe / "local", "local")
        for name in ("random.py", "local/random.py"):
            Path(name).write_text("raise SystemExit('not me')\n")
        return run("local/data.sh", *options, cwd=Path.cwd(), **environment)

    return start


MISTAKES = [
    ("prompts", "--lang de", 64, "E_LANG: no prompts in 'de'"),
    ("prompts", "--langg es", 64, "did you mean --lang?"),
    ("prompts", "es", 64, "unexpected argument 'es'"),
    ("prompts", "--source local", 66, "asterisk-core-sounds-es-wav-1.6.1.tar.gz"),
    ("queen", "--source cd", 64, "queen.py: argument --source: invalid choice: 'cd'"),
    ("queen", "--minutes 3", 64, "unknown option --minutes"),
    ("queen", "--train_minutes half", 64, "invalid int value: 'half'. Do: see "),
    ("queen", "--source local", 66, "E_DOWNLOAD: downloads has neither queen.1c"),
    ("librispeech_100", "--source apt", 64, "argument --source: invalid choice: 'apt'"),
    ("librispeech_100", "--source local", 66, "nor train-clean-100.tar.gz. Do: put"),
    ("librispeech_100", "--allow_partial true", 65, "E_CORPUS: downloads/LibriSpeech/"),
    ("librispeech_100", "--url http://127.0.0.1:9", 66, "E_DOWNLOAD: downloads has"),
    ("voxforge", "--lang de", 64, "unknown option --lang"),
    ("voxforge", "--allow_partial maybe", 64, "unexpected argument 'maybe'"),
    ("voxforge", "--source local", 66, "downloads/it has neither tgz/*.tgz nor"),
    ("voxforge", "--url http://127.0.0.1:9", 66, "Do: put VoxForge's Italian archives"),
    ("wsj", "", 66, "E_WSJ_ROOT: WSJ0 is not set"),
    ("wsj WSJ0=. WSJ1=/none", "", 66, "E_WSJ_ROOT: WSJ1 is /none, no folder"),
    ("wsj WSJ0=/usr/bin WSJ1=/usr/bin", "", 66, "E_WSJ_LAYOUT"),
    ("wsj", "--allow_partal true", 64, "did you mean --allow_partial?"),
    ("swbd", "", 66, "E_SWBD_ROOT: SWBD is not set"),
    ("swbd SWBD=/usr/bin", "", 66, "has no folder LDC97S62"),
    ("swbd", "--allow_partal true", 64, "did you mean --allow_partial?"),
    ("swbd", "swbd", 64, "unexpected argument 'swbd'"),
]


@pytest.mark.parametrize("corpus, options, status, part", MISTAKES)
def test_mistakes(data_sh, corpus, options, status, part):
    corpus, *discs = corpus.split()
    places = dict(words.split("=") for words in discs)
    done = data_sh(corpus, *options.split(), **places)
    assert done.returncode == status and part in done.stderr, done.stderr
    assert not Path("data").exists()


def sizes() -> dict[str, int]:
    return {p.parent.name: len(read_pairs(p)) for p in Path("data").glob("*/text")}


@pytest.mark.nightly
def test_the_real_spanish_prompts(data_sh):
    real_packages(Path("downloads"))
    done = data_sh("prompts", "--lang", "es", "--source", "local")
    assert done.returncode == 0, done.stderr
    assert sizes() == {"train": 382, "dev": 47, "test": 46}
    assert all(Path(p).is_file() for p in read_pairs(Path("data/dev/wav.scp")).values())


@pytest.mark.nightly
def test_debians_package_of_the_game(data_sh):
    get = ["apt-get", "download", DEB]
    done = subprocess.run(get, cwd="downloads", capture_output=True, timeout=100)
    if done.returncode != 0:
        pytest.skip("apt-get cannot download here")
    done = data_sh("queen", "--source", "local", "--train_minutes", "30")
    assert done.returncode == 0, done.stderr
    counts = sizes()
    assert counts.pop("train_30min") > 350
    assert counts == {"train": 1329, "dev": 400, "test": 600}
    texts = read_pairs(Path("data/test/text"))
    assert sum(map(len, texts.values())) == 31034
