"""A recipe from corpus to packed model, and the search on ESPnet's own model."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import open_corpora  # noqa: E402

pytestmark = [pytest.mark.recipe, pytest.mark.espnet, pytest.mark.nightly]

OPTIONS = (
    "--lang es --fs 8k --nj 1 --ngpu 0 --max_frozen 1 "
    "--asr_config conf/train_tiny.yaml --skip_packing false"
).split()


@pytest.fixture
def tiny(recipe, template):
    """A recipe with a made-up corpus and the smallest model."""
    conf = template.parents[1] / "prompts_topdown" / "asr1" / "conf" / "train_tiny.yaml"
    shutil.copy(conf, recipe / "conf")
    corpus = template.parents[2] / "test" / "fixtures" / "tones.py"
    script = f"#!/bin/sh\nset -eu\nexec '{sys.executable}' '{corpus}' data\n"
    (recipe / "local" / "data.sh").write_text(script)
    return recipe


@pytest.mark.timeout(1500)
def test_all_stages(tiny, run):
    done = run("./run.sh", *OPTIONS, cwd=tiny, timeout=1400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Successfully finished. [elapsed=" in done.stdout.splitlines()[-1]
    base = tiny / "exp" / "asr_train_tiny_raw_es_char"
    search = tiny / "exp" / "asr_train_tiny_raw_es_char_topdown"
    assert_upstream_layout(tiny, base)
    result = json.loads((search / "result.json").read_text())
    assert list(result["nodes"]) == ["m3", "m1.2"]
    assert os.readlink(search / "best") == result["best"]
    decoded = search / "m3" / "decode_ctc_greedy" / "test"
    assert len((decoded / "text").read_text().splitlines()) == 3
    for unit in ("cer", "wer"):
        assert "Sum/Avg" in (decoded / f"score_{unit}" / "result.txt").read_text()
    assert (search / "RESULTS.md").is_file() and (search / "report.html").is_file()
    (archive,) = search.glob("*.zip")
    assert "meta.yaml" in zipfile.ZipFile(archive).namelist()
    assert_second_run_does_nothing(tiny, run, search)


def assert_upstream_layout(recipe, base):
    """The files that ESPnet's asr.sh would have left."""
    dump = recipe / "dump" / "raw"
    for folder in (dump / "org" / "train", dump / "org" / "dev", dump / "test"):
        for name in ("wav.scp", "text", "utt2spk", "spk2utt", "utt2num_samples"):
            assert (folder / name).is_file()
    first = (dump / "train" / "wav.scp").read_text().splitlines()[0]
    assert first.split()[1].startswith("dump/raw/org/train/data/format.1/")
    tokens = (recipe / "data/es_token_list/char/tokens.txt").read_text().split()
    assert tokens[:2] == ["<blank>", "<unk>"] and tokens[-1] == "<sos/eos>"
    stats = base.parent / "asr_stats_raw_es_char"
    for part in ("train", "valid"):
        shape = (stats / part / "text_shape.char").read_text().splitlines()[0]
        assert shape.endswith(f",{len(tokens)}")
    for name in ("config.yaml", "checkpoint.pth", "2epoch.pth", "valid.loss.best.pth"):
        assert (base / name).exists()


def assert_second_run_does_nothing(recipe, run, search):
    """Training and search are finished: seconds, and no file of the search changes."""
    before = {p: p.stat().st_mtime_ns for p in search.rglob("*") if p.is_file()}
    done = run("./run.sh", *OPTIONS, "--stop_stage", "13", cwd=recipe, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "is finished already" in done.stdout
    decoded = {p.resolve() for p in search.glob("*/decode_ctc_greedy/test")}
    # 3 sets, 2 filtered, tokens, stats
    assert decoded and done.stdout.count("nothing to do") == 7 + len(decoded)
    assert "nltk" not in done.stdout + done.stderr
    after = {p: p.stat().st_mtime_ns for p in search.rglob("*") if p.is_file()}
    assert {p.name for p in before if before[p] != after[p]} <= {"lock"}


@pytest.mark.timeout(600)
def test_search_from_an_experiment_that_espnet_made(run, template, tmp_path):
    source = template.parents[2].parent / "shared" / "data" / "espnet_mini_an4"
    if not source.is_dir():
        pytest.skip(f"{source} is missing")
    recipe = tmp_path / "mini an4"
    shutil.copytree(source, recipe, symlinks=True, copy_function=shutil.copyfile)
    for folder, _, _ in os.walk(recipe):
        os.chmod(folder, 0o755)
    assert run(template / "setup.sh", recipe, cwd=tmp_path).returncode == 0
    base = "exp/asr_train_asr_tiny_raw_en_char"
    options = f"--asr_exp {base} --stage 12 --stop_stage 15 --max_frozen 1 --ngpu 0"
    done = run("./topdown.sh", *options.split(), cwd=recipe, timeout=550)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "nothing is decoded" in done.stdout
    result = json.loads((recipe / f"{base}_topdown" / "result.json").read_text())
    assert len(result["nodes"]) == 2
    assert (recipe / f"{base}_topdown" / "RESULTS.md").is_file()


OPEN = {  # corpus: what run.sh is told, the layers, a test set and its size
    "librispeech_100": (
        ["--nbpe", "36", "--local_data_opts", "--allow_partial true"],
        ["m4", "m1.3"],
        ("test_other", 8),
    ),
    "voxforge": (["--max_frozen", "1", "--controls", ""], ["m4", "m1.3"], ("et_it", 2)),
}


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("corpus", OPEN)
def test_open_corpora(run, template, copied, tmp_path, warm, corpus):
    """Made-up corpora, the model of train_tiny.yaml, all stages."""
    words, models, (test_set, size) = OPEN[corpus]
    recipe = copied(
        template.parents[1] / f"{corpus}_topdown/asr1", tmp_path / "my recipe"
    )
    open_corpora.write_trees(tmp_path / "the corpora")
    places = dict.fromkeys(("LIBRISPEECH", "VOXFORGE"), str(tmp_path / "the corpora"))
    words += ["--asr_config", "conf/train_tiny.yaml", "--ngpu", "0", "--nj", "1"]
    done = run("./run.sh", *words, cwd=recipe, timeout=1400, PATH=warm, **places)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (search,) = (recipe / "exp").glob("*_topdown")
    assert list(json.loads((search / "result.json").read_text())["nodes"]) == models
    decoded = search / models[0] / "decode_ctc_greedy" / test_set / "text"
    assert len(decoded.read_text().splitlines()) == size
    assert (search / "RESULTS.md").is_file()
