"""A recipe from corpus to packed model, and the search on ESPnet's own model."""

from __future__ import annotations

import json
import os
import shutil
import zipfile

import open_corpora
import pytest

pytestmark = [pytest.mark.recipe, pytest.mark.espnet, pytest.mark.nightly]

OPTIONS = (
    "--lang es --fs 8k --nj 1 --ngpu 0 --max_frozen 1 "
    "--asr_config conf/train_tiny.yaml --skip_packing false"
).split()


@pytest.mark.timeout(1500)
def test_all_stages(tiny, succeed):
    said = succeed("./run.sh", *OPTIONS, cwd=tiny, timeout=1400)
    assert "Successfully finished. [elapsed=" in said.splitlines()[-1]
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
    assert_second_run_does_nothing(tiny, succeed, search)


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


def assert_second_run_does_nothing(recipe, succeed, search):
    """Training and search are finished: seconds, and no file of the search changes."""
    before = {p: p.stat().st_mtime_ns for p in search.rglob("*") if p.is_file()}
    said = succeed("./run.sh", *OPTIONS, "--stop_stage", "13", cwd=recipe, timeout=120)
    assert "is finished already" in said and "nltk" not in said
    decoded = {p.resolve() for p in search.glob("*/decode_ctc_greedy/test")}
    # 3 sets, 2 filtered, tokens, stats
    assert decoded and said.count("nothing to do") == 7 + len(decoded)
    after = {p: p.stat().st_mtime_ns for p in search.rglob("*") if p.is_file()}
    assert {p.name for p in before if before[p] != after[p]} <= {"lock"}
    (recipe / "dump/raw/org/train/text").write_text("")  # one output of stage 3
    said = succeed("./run.sh", *OPTIONS, "--stop_stage", "4", cwd=recipe, timeout=120)
    made = [x.split()[2] for x in said.splitlines() if "nothing to do" in x]
    assert len(made) == 4 and "dump/raw/org/train:" not in made
    assert len((recipe / "dump/raw/train/text").read_text().splitlines()) == 8


@pytest.mark.timeout(600)
def test_search_from_an_experiment_of_espnet(succeed, template, tmp_path, shared):
    recipe = tmp_path / "mini an4"
    source = shared / "espnet_mini_an4"
    shutil.copytree(source, recipe, symlinks=True, copy_function=shutil.copyfile)
    for folder, _, _ in os.walk(recipe):
        os.chmod(folder, 0o755)
    succeed(template / "setup.sh", recipe, cwd=tmp_path)
    base = "exp/asr_train_asr_tiny_raw_en_char"
    options = f"--asr_exp {base} --stage 12 --stop_stage 15 --max_frozen 1 --ngpu 0"
    said = succeed("./topdown.sh", *options.split(), cwd=recipe, timeout=550)
    assert "nothing is decoded" in said
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
def test_open_corpora(succeed, template, copied, tmp_path, warm, corpus):
    """Made-up corpora, the model of train_tiny.yaml, all stages."""
    words, models, (test_set, size) = OPEN[corpus]
    recipe = copied(
        template.parents[1] / f"{corpus}_topdown/asr1", tmp_path / "my recipe"
    )
    open_corpora.write_trees(tmp_path / "the corpora")
    places = dict.fromkeys(("LIBRISPEECH", "VOXFORGE"), str(tmp_path / "the corpora"))
    words += ["--asr_config", "conf/train_tiny.yaml", "--ngpu", "0", "--nj", "1"]
    succeed("./run.sh", *words, cwd=recipe, timeout=1400, PATH=warm, **places)
    (search,) = (recipe / "exp").glob("*_topdown")
    assert list(json.loads((search / "result.json").read_text())["nodes"]) == models
    decoded = search / models[0] / "decode_ctc_greedy" / test_set / "text"
    assert len(decoded.read_text().splitlines()) == size
    assert (search / "RESULTS.md").is_file()
