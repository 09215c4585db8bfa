"""The recipes' scripts: what is shared, what is equal, what a call is told."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from lm_corpus import tiny_config, write_corpus, write_text

from espnet_topdown.data.words import read_ids

pytestmark = pytest.mark.recipe
EGS2 = Path(__file__).resolve().parents[2] / "egs2"
TEMPLATE, LM = EGS2 / "TEMPLATE" / "asr1", EGS2 / "wikitext2_topdown" / "lm1"
RECIPES = sorted(p.parent for p in EGS2.glob("*/*/run.sh"))
STAGES = (
    "1 data, 2 speed, 3 format, 4 filter, 5 tokens, 6 lm_stats, 7 lm_train, "
    "8 lm_perplexity, 9 ngram, 10 stats, 11 train"
)
TOPDOWN = "12 topdown, 13 decode, 14 score, 15 report, 16 pack"
LM_STAGES = "1 data, 11 train, 12 topdown, 13 perplexity, 15 report"
ROW = "--train_set a --valid_set b --test_sets t --row A.B"
A, SEEDS = "--train_set a --valid_set b", "--train_set train --valid_set dev --seeds"


def test_recipes_link_to_the_template():
    assert len(RECIPES) >= 7
    for recipe in RECIPES:
        for name in ("cmd.sh", "conf/slurm.conf", "conf/queue.conf", "conf/pbs.conf"):
            assert (recipe / name).read_bytes() == (TEMPLATE / name).read_bytes()
        links = [path for path in recipe.rglob("*") if path.is_symlink()]
        for path in (path for path in links if "downloads" not in path.parts):
            assert path.exists() and not os.readlink(path).startswith("/"), path
            assert EGS2.parent in path.resolve().parents, path


@pytest.mark.parametrize(
    "script, args, status, says",
    [
        ("topdown.sh", "--help", 0, f"Stages: {STAGES}, {TOPDOWN}\n"),
        ("asr_pip.sh", "--help", 0, f"Stages: {STAGES}\n"),
        ("topdown.sh", "--ngpu 0 --fs 8k --help", 0, r"CPU \[0\](.*\n)*.*Hz \[8k\]"),
        ("run.sh", "--help", 0, r"Usage: \./run.sh .*\n +\./run.sh "),
        ("run.sh", "--nosuch 1", 64, r"see \./run.sh --help"),
        ("asr_pip.sh", "--help", 0, '  --asr_config +training configuration \\[""\\]'),
        ("topdown.sh", "--stage topdown", 66, "E_ORDER: no finished .*--stage train"),
        ("topdown.sh", "--stage 16 --skip_packing false", 66, "E_ORDER: no finished"),
        ("topdown.sh", "--asr_exp exp/base --stage 13", 66, "no finished search in"),
        # a published model has the mean of its epochs alone
        ("topdown.sh", "--asr_exp exp/zoo --stage 13", 66, "no finished search in"),
        ("topdown.sh", "--stage 5 --stop_stage 4", 64, "E_USAGE: --stage 5 is after"),
        ("topdown.sh", "--use_lm true --lm_config lm.yaml", 64, "E_USAGE.*awd_lstm"),
        ("asr_pip.sh", "", 64, "E_USAGE: option --train_set is required"),
        ("asr_pip.sh", "--train_set a --valid_set a", 64, "'a' is the training set"),
        ("asr_pip.sh", f"{A} --test_sets a", 64, "E_USAGE: 'a' is the training set"),
        ("asr_pip.sh", f"{A} --feats_type fbank", 64, "E_USAGE: --feats_type"),
        ("asr_pip.sh", f"{A} --stage topdown", 64, "E_USAGE: --stage must"),
        ("asr_pip.sh", f"{A} --stage 9 --stop_stage 9 --use_ngram true", 64, "E_NGRAM"),
        ("asr_pip.sh", f"{A} --stage 3", 66, "run --stage data first"),
        ("asr_pip.sh", f"{A} --stage 4", 66, "run --stage format first"),
        ("asr_pip.sh", f"{A} --stage 10", 66, "run --stage filter first"),
        ("asr_pip.sh", "--train_set c --valid_set c2 --stage 3", 73, "E_CREATE: dump"),
        # files that a later stage would read
        ("topdown.sh", f"{A} --asr_config conf/trian.yaml", 66, "E_MISSING: --asr_c"),
        ("topdown.sh", f"{A} --inference_config conf", 66, "E_MISSING: --inf.* conf"),
        ("topdown.sh", f"{A} --seeds 7 --asr_config x.yaml", 66, "E_MISSING: .*x.yaml"),
        ("asr_pip.sh", f"{A} --asr_config x.yaml", 66, "E_MISSING: --asr_config: no"),
        ("asr_pip.sh", f"{A} --use_lm true --lm_config x", 66, "E_MISSING: --lm_conf"),
        # names as upstream's
        ("topdown.sh", "--asr_config conf/train_ctc.yaml --lang es --token_type char "
         "--stage 12", 66, "exp/asr_train_ctc_raw_es_char:"),
        ("topdown.sh", "--token_type bpe --nbpe 50 --stage 12", 66,
         "exp/asr_train_raw_bpe50:"),
        ("topdown.sh", "--asr_config conf/x.yaml --token_type word --stage 12 "
         "--speed_perturb_factors 0.9", 66, "exp/asr_x_raw_word_sp:"),
        ("topdown.sh", "--asr_tag mine --stage 12", 66, "exp/asr_mine:"),
        ("topdown.sh", "--asr_exp exp/there/ --stage 12", 66, "exp/there:"),
        ("topdown.sh", ["--token_type=char", "--stage=12", "--asr_args",
                        "--max_epoch 3 --model_conf ctc_weight=1.0"], 66,
         "exp/asr_train_raw_char_max_epoch3_model_confctc_weight1.0:"),
        # several seeds; a given experiment has one
        ("topdown.sh", [*SEEDS.split(), "7 x"], 64, "E_USAGE: --seeds '7 x'"),
        ("topdown.sh", [*SEEDS.split(), "7 7"], 64, "give different whole numbers"),
        ("topdown.sh", [*SEEDS.split(), "7", "--asr_args", "--seed 1"], 64, "a seed"),
        ("topdown.sh", f"{SEEDS} 7 --topdown_dir exp/x", 64, "give one of them"),
        ("topdown.sh", f"{SEEDS} 7 --seed_controls some", 64, "must be first or all"),
        ("topdown.sh", f"{SEEDS} 7 --nth_seed 2", 64, "--nth_seed 2 of 1 seeds"),
        ("topdown.sh", f"{SEEDS} 7 --asr_exp exp/mine --stage topdown", 66, "exp/mine"),
        # rows of a paper
        ("topdown.sh", f"{ROW} --paper wsj --stage 11", 64, "then give --row alone"),
        ("topdown.sh", ROW, 64, "option --paper is required"),
        ("topdown.sh", f"{ROW} --paper wsj", 66, "run --stage stats first"),
        ("topdown.sh", f"--seeds 7 {ROW}", 64, "--seeds with --row"),
        ("topdown.sh", f"{ROW} --paper wsj --asr_stats_dir stats --token_type word "
         "--asr_args=--use_amp=true", 66, "E_MISSING: no file conf/rows.yaml"),
        # a language model's recipe
        ("lm1/run.sh", "--help", 0, rf"Usage: \./run.sh .*\nStages: {LM_STAGES}"),
        ("lm1/run.sh", "--small maybe", 64, "E_USAGE"),
        ("lm1/run.sh", "--ngpu 2", 78, "E_MULTI_GPU"),
        ("lm1/run.sh", "--lm_config lm.yml", 66, "E_ORDER.*lm.yml.*check the path"),
        ("lm1/run.sh", "--stage train", 66, "run --stage data first"),
        ("lm1/run.sh", "--stage topdown", 66, "run --stage train first"),
        ("lm1/run.sh", "--stage decode", 64, "E_USAGE"),
    ],
)  # fmt: skip
def test_what_a_call_is_told(recipe, run, copied, tmp_path, script, args, status, says):
    folder = recipe
    if script.startswith("lm1"):
        folder, script = copied(LM, tmp_path / "lm1"), "run.sh"
    for exp, weights in (("base", "1epoch.pth"), ("zoo", "valid.acc.ave_10best.pth")):
        (folder / "exp" / exp).mkdir(parents=True)
        for name in ("config.yaml", weights):
            (folder / "exp" / exp / name).touch()
    (folder / "lm.yaml").write_text("lm: awd_lstm\n")
    for name in ("c", "c2"):
        (folder / "data" / name).mkdir(parents=True)
        (folder / "data" / name / "wav.scp").write_text("u x.wav\n")
    for file in ("stats/train/speech_shape", "data/token_list/word/tokens.txt"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).touch()
    (folder / "dump").touch()
    args = args.split() if isinstance(args, str) else args
    done = run(f"./{script}", *args, cwd=folder, timeout=100)
    assert done.returncode == status, done.stdout + done.stderr
    assert re.search(says, done.stdout + done.stderr), done.stderr
    assert status == 0 or " Do: " in done.stderr


@pytest.mark.espnet
def test_a_text_for_the_language_model_is_mended_and_checked(recipe, run, succeed):
    """Stage 4 writes it anew, stage 6 reads it as its training will."""
    for name in ("train", "dev"):
        folder = recipe / "dump" / "raw" / "org" / name
        folder.mkdir(parents=True)
        lists = {"wav.scp": "x.wav", "text": "UNO DOS", "utt2spk": "s"}
        for file, value in {**lists, "utt2num_samples": "8000"}.items():
            (folder / file).write_text(f"{name}-1 {value}\n")
    (recipe / "mine").write_text("a uno\u00a0dos\u3000\nb\n", "utf-8")
    words = "./asr_pip.sh --train_set train --valid_set dev --fs 8k --nj 1 "
    words += "--token_type char --use_lm true --lm_dev_text mine"
    succeed(*words.split(), *["--stage", "4", "--stop_stage", "4"], cwd=recipe)
    assert (recipe / "dump/raw/lm_dev.txt").read_text() == "a uno dos\n"
    tokens = recipe / "data/token_list/char/tokens.txt"
    tokens.parent.mkdir(parents=True, exist_ok=True)
    known = ["<blank>", "<unk>", "<space>", *"UNODS", "<sos/eos>"]
    tokens.write_text("".join(f"{token}\n" for token in known))
    stage_6 = ["--stage", "6", "--stop_stage", "6"]
    done = run(*words.split(), *stage_6, cwd=recipe, timeout=300)
    assert done.returncode == 65
    assert "E_TEXT_UNK: dump/raw/lm_dev.txt: 6 of 7 tokens" in done.stderr


SAYS = "#!/usr/bin/env bash\nprintf '%s\\n' \"$@\"\n"
FRENCH = "--lang fr --set_suffix _fr"
CHOICES = [  # recipe, arguments; sets, language, options of local/data.sh; the rest
    ("prompts", "", "train dev test", "es", "--lang es", ""),
    ("prompts", "--lang fr", "train_fr dev_fr test_fr", "fr", FRENCH, "--lang fr"),
    ("prompts", "--nj 1 --lang=fr", "train_fr dev_fr test_fr", "fr", FRENCH,
     "--nj 1 --lang=fr"),
    ("prompts", "--lang fr --lang es", "train dev test", "es", "--lang es",
     "--lang fr --lang es"),
    ("prompts", "--lang", "train dev test", "es", "--lang es", "--lang"),
    ("queen", "", "train dev test", "en", "", ""),
    ("queen", "--train_minutes 30", "train_30min dev test", "en_30min",
     "--train_minutes 30", ""),
    ("queen", "--stage 5 --train_minutes=60 --ngpu 1", "train_60min dev test",
     "en_60min", "--train_minutes 60", "--stage 5 --ngpu 1"),
    ("queen", "--train_minutes 0 --nj 1", "train dev test", "en", "", "--nj 1"),
]  # fmt: skip


@pytest.mark.parametrize("corpus, args, sets, lang, local, rest", CHOICES)
def test_what_run_sh_chooses(run, tmp_path, corpus, args, sets, lang, local, rest):
    """Sets are named by language and part, so that several can live side by side."""
    (tmp_path / "topdown.sh").write_text(SAYS)
    (tmp_path / "topdown.sh").chmod(0o755)
    script = EGS2 / f"{corpus}_topdown" / "asr1" / "run.sh"
    words = run(script, *args.split(), cwd=tmp_path).stdout.splitlines()
    ours = words[: len(words) - len(rest.split())]
    assert words[len(ours) :] == rest.split()
    chosen = dict(zip(ours, ours[1:]))
    names = ("--train_set", "--valid_set", "--test_sets")
    assert [chosen[name] for name in names] == sets.split()
    assert (chosen["--lang"], chosen["--local_data_opts"]) == (lang, local)


MAKES_SETS = f"""#!/usr/bin/env bash
case "$*" in *cli._recipe*) exec {sys.executable} "$@" ;; esac
while [ "$1" != --output_dir ]; do shift; done
mkdir -p "$2"/{{train,dev,test}}
"""


def test_data_of_the_prompts_is_apart_by_language(recipe, run, succeed):
    """Links in ``data``, which take nobody's place; without a suffix there are none."""
    (recipe / "local" / "data.sh").unlink()
    data = EGS2 / "prompts_topdown" / "asr1" / "local" / "data.sh"
    (recipe / "local" / "data.sh").symlink_to(data)
    (recipe / "local" / "path.sh").write_text(f'PATH="{recipe}/bin:$PATH"\n')
    (recipe / "bin").mkdir()
    (recipe / "bin" / "python3").write_text(MAKES_SETS)
    (recipe / "bin" / "python3").chmod(0o755)
    words = ["local/data.sh", "--lang", "fr", "--set_suffix", "_fr"]
    succeed(*words, cwd=recipe)
    for name in ("train", "dev", "test"):
        made = (recipe / "data" / f"{name}_fr").resolve()
        assert made == recipe / "data/local/prompts_fr" / name and made.is_dir()
    theirs = recipe / "data" / "dev_fr"
    theirs.unlink()
    theirs.mkdir()
    done = run(*words, cwd=recipe)
    assert done.returncode == 73 and "E_CREATE: data/dev_fr is" in done.stderr
    assert not list(theirs.iterdir())
    succeed(*words[:3], cwd=recipe)
    assert (recipe / "data" / "dev").is_dir()


@pytest.mark.parametrize("script", ["topdown.sh", "asr_pip.sh"])
def test_a_script_may_be_updated_while_it_runs(recipe, run, script):
    (recipe / script).unlink()
    shutil.copy(TEMPLATE / script, recipe)
    (recipe / "local" / "data.sh").write_text(f"#!/bin/sh\necho 'exit 9' >{script}\n")
    args = f"{A} --stage data --stop_stage data"
    done = run(f"./{script}", *args.split(), cwd=recipe)
    assert (recipe / script).read_text() == "exit 9\n"
    assert done.returncode == 0, done.stderr
    assert "Successfully finished" in done.stdout.splitlines()[-1]


def test_small_data_of_a_language_model(succeed, copied, tmp_path, shared):
    recipe = copied(LM, tmp_path / "lm1")
    words = ["--small", "true", "--wikitext", shared / "wikitext2_small"]
    succeed("./run.sh", *words, "--stop_stage", "data", cwd=recipe)
    data = recipe / "data" / "small"
    tokens = (data / "tokens.txt").read_text().splitlines()
    sizes = [len(read_ids(data / f"{n}.txt", tokens)) for n in ("train", "dev", "test")]
    assert (len(tokens), sizes) == (1450, [120297, 45381, 58352])


def test_the_models_that_are_decoded(succeed):
    """Name, experiment and file of weights, the baseline first."""
    script = ". utils/common.sh; . ./path.sh; PYTHON=(python3 -P); list_models "
    script += f"{EGS2.parent}/test/golden/finished/search best"
    said = succeed("bash", "-euc", script, cwd=TEMPLATE)
    first, *others = [line.split("\t") for line in said.splitlines()]
    assert all(len(fields) == 3 for fields in (first, *others)) and others
    assert re.fullmatch(r"m\d+", first[0]) and first[2]


DECODE = """. utils/common.sh
decode_cmd=true gpu_inference=false eval_valid_set=false test_sets= use_lm=false
data_feats=dump HOW=beam inference_config=b.yaml INFERENCE_ARGS=(); . utils/decoding.sh
decode_beam() { echo decodes; touch "$4/text"; }
decode exp m.pth test out; {then}
decode exp m.pth test out
"""


@pytest.mark.parametrize(
    "then, times",
    [
        ("", 1),
        ("touch -d 1999-01-01 exp/m.pth", 2),
        ("echo u a >dump/test/text", 2),
        ("touch -d 1999-01-01 a.wav", 2),
        ("echo beam_size: 2 >b.yaml", 2),
        ("INFERENCE_ARGS=(--beam_size 2)", 2),
        ("rm out/text", 2),
    ],
)
def test_what_is_decoded_is_not_decoded_again(succeed, recipe, then, times):
    for folder in ("exp", "dump/test"):
        (recipe / folder).mkdir(parents=True)
    for file in ("exp/m.pth", "exp/config.yaml", "b.yaml", "a.wav"):
        (recipe / file).touch()
    (recipe / "dump/test/wav.scp").write_text("u a.wav\n")
    said = succeed("bash", "-euc", DECODE.replace("{then}", then), cwd=recipe)
    assert said.count("decodes\n") == times
    assert ("nothing to do" in said) == (times == 1)


@pytest.mark.parametrize(
    "then, times",
    [
        ("", 2),
        ("touch -d 1999-01-01 exp/lm/m.pth", 4),
        ("touch -d 1999-01-01 exp/lm/config.yaml", 4),
        ("echo w3 >>data/test.txt", 4),
        ("words+=(--test_width 2)", 4),
        ("rm search/m1.2/decode_perplexity/test/score.json", 3),
    ],
)
def test_a_perplexity_is_not_computed_again(succeed, copied, tmp_path, then, times):
    recipe = copied(LM, tmp_path / "lm1")
    write_text(write_corpus(recipe / "data") / "test.txt", 10, 3)
    for file in ("exp/lm/m.pth", "exp/lm/config.yaml", "search/result.json"):
        (recipe / file).parent.mkdir(parents=True, exist_ok=True)
        (recipe / file).touch()
    (recipe / "exp/lm/valid.loss.best.pth").symlink_to("m.pth")
    (recipe / "python").write_text(MODELS_AND_PERPLEXITIES)
    (recipe / "python").chmod(0o755)
    script = f"""words=(--lm_config conf/train.yaml --lm_exp exp/lm --topdown_dir search
        --python ./python --stage perplexity --stop_stage perplexity)
        ./lm.sh "${{words[@]}}"; {then}
        ./lm.sh "${{words[@]}}" """
    said = succeed("bash", "-euc", script, cwd=recipe)
    assert said.count("computed\n") == times
    assert said.count("nothing to do") == 4 - times


MODELS_AND_PERPLEXITIES = r"""#!/bin/bash
case "$*" in
    *_decoding*) printf '%s\texp/lm\tm.pth\n' m3 m1.2 ;;
    *perplexity*) echo computed && mkdir -p "${@: -1}" && touch "${@: -1}/score.json" ;;
esac
"""


def test_a_language_models_search_is_told_its_gpus(succeed, copied, tmp_path):
    recipe = copied(LM, tmp_path / "lm1")
    (recipe / "exp/lm").mkdir(parents=True)
    (recipe / "exp/lm/valid.loss.best.pth").touch()
    (recipe / "python").write_text('#!/bin/sh\necho "called $*"\n')
    (recipe / "python").chmod(0o755)
    words = "--lm_exp exp/lm --python ./python --stage topdown --stop_stage topdown"
    said = succeed("./lm.sh", *words.split(), "--ngpu", "0", cwd=recipe)
    assert re.search("called .*topdown search .*--ngpu 0 ", said)


LAUNCHES_AND_SAYS = """#!/bin/bash
case "$*" in
    *"topdown launch"*) exec python3 "$@" ;;
    *token_list*--vocab*) echo made ;;
esac
"""


def test_a_name_with_a_space_and_symbols_in_a_file(succeed, recipe):
    for file in ("train/speech_shape", "valid/speech_shape", "tokens"):
        (recipe / "stats" / file).parent.mkdir(parents=True, exist_ok=True)
        (recipe / "stats" / file).touch()
    (recipe / "stats" / "symbols").write_text("<a>\n")
    (recipe / "python").write_text(LAUNCHES_AND_SAYS)
    (recipe / "python").chmod(0o755)
    script = f"""touch stats/{{train,valid}}/text_shape.bpe
        words=({A} --python ./python --ngpu 0 --asr_stats_dir stats
            --bpe_train_text stats/tokens --bpe_nlsyms stats/symbols)
        tokens() {{ ./asr_pip.sh "${{words[@]}}" --stage 5 --stop_stage 5; }}
        tokens; tokens; echo '<b>' >>stats/symbols; tokens
        mkdir -p data/token_list/bpe_unigram30
        touch data/token_list/bpe_unigram30/tokens.txt
        ./asr_pip.sh "${{words[@]}}" --asr_exp "exp/my model" --stage 11"""
    said = succeed("bash", "-euc", script, cwd=recipe)
    assert (said.count("made\n"), said.count("nothing to do")) == (2, 1)
    assert "code 0" in (recipe / "exp" / "my model" / "train.log").read_text()


@pytest.mark.nightly
@pytest.mark.timeout(1500)
def test_rows_of_a_language_model(run, succeed, copied, tmp_path):
    """From joint training to two rows beside the paper's; again: nothing to do."""
    recipe = copied(LM, tmp_path / "lm1")
    data = write_corpus(recipe / "data")
    write_text(data / "test.txt", 10, 3)
    config = tiny_config(data, lm="awd_lstm", model="continuous", max_epoch=2)
    config = {k: v for k, v in config.items() if not k.endswith("name_and_type")}
    (recipe / "conf" / "tiny.yaml").write_text(yaml.safe_dump(config))
    words = ["./lm.sh", "--lm_config", "conf/tiny.yaml", "--ngpu", "0"]
    words += ["--test_width", "2", "--dev_width", "2"]
    succeed(*words, "--stage", "11", "--stop_stage", "11", cwd=recipe, timeout=600)
    words += ["--stage", "topdown"]
    succeed(*words, "--row", "L.1 L.2.random", cwd=recipe, timeout=1200)
    folder = recipe / "exp" / "lm_tiny_rows"
    lines = (folder / "rows.tsv").read_text().splitlines()[1:]
    made = {(row[0], row[4]): row[7] for row in (line.split("\t") for line in lines)}
    measured = {place for place, ours in made.items() if ours != "not run"}
    assert measured == {(n, s) for n in ("L.1", "L.2.random") for s in ("dev", "test")}
    assert all(1 < float(made[place]) < 1e6 for place in measured), made
    ran = run(*words, "--row", "L.1", cwd=recipe, timeout=600)
    assert ran.returncode == 0 and "L.1 is finished already" in ran.stderr, ran.stderr
