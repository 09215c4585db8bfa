"""No command writes into a folder in which a user, or ESPnet, also writes."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_topdown.cli.main import main
from espnet_topdown.files import write_bytes

pytestmark = pytest.mark.espnet
SEARCH = "search --base_exp exp/joint --output_dir"
RETRAIN = "retrain --base_exp exp/joint --freeze softmax --output_dir"
DECODE = "decode --exp exp/joint --wav_scp data/valid/wav.scp"
DECODE += " --text data/valid/text --output_dir"
SCORE = "score --ref data/valid/text --hyp data/valid/text --output_dir"
SCORE_SET = "score_set --ref data/valid/text --model_file m.pth --decode_dir"
PERPLEXITY = "perplexity --exp exp/joint --text data/valid/text --output_dir"
SEEDS = "seeds --search_dirs exp/a exp/b --output_dir"


@pytest.fixture
def folders(toy_experiment) -> None:
    """What people have beside an experiment."""
    Path("link").symlink_to("exp/joint")
    Path("lists").symlink_to("data/valid")
    for path in (
        "sclite/result.txt",
        "theirs/RESULTS.md",
        "exp/joint/RESULTS.md",
        "other/config.yaml",
        "exp/found/search.yaml",
        "exp/found/m1.2/retrain.yaml",
        "espnet/inference/1best_recog/text",  # as its asr_inference leaves a set
        "espnet/test/logdir/keys.1.scp",  # as its asr.sh does
        "espnet/copied/score",
        "results/score.json",
        "espnet/scored/score_cer/ref.trn",
        "texts/text",
        "exp/asr_stats_raw_en_char/train/speech_shape",
        "exp/lm_stats_en_char/logdir/stats.1.log",
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("mine: 1\n")


LISTS = {"wav.scp": "{} x.wav", "text": "{} A", "utt2spk": "{} s"}
FORMAT = "format_wav whole --fs 8k --output_dir"
FILTER = "filter_data formatted --fs 8k --output_dir"
PERTURB = "perturb_speed whole --factors 0.9 --output_dir"
TOKENS = "token_list --input whole/text --vocab_size 5 --output_dir"


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """A data directory through stages 2 to 5, and ones of other utterances."""
    monkeypatch.chdir(tmp_path)
    for name, utts in (("whole", "abcde"), ("other", "xyz")):
        Path(name).mkdir()
        for file, line in LISTS.items():
            lines = (line.format(utt) + "\n" for utt in utts)
            Path(name, file).write_text("".join(lines))
    Path("whole/wav.scp").write_text("".join(f"{u} {u}.wav\n" for u in "abcde"))
    for utt in "abcde":
        soundfile.write(f"{utt}.wav", np.full(8000, 0.1), 16000)
    for command, place in (
        (FORMAT, "formatted"),
        (FILTER, "filtered"),
        (TOKENS, "bpe"),
    ):
        main([*command.split(), place])
    main([*PERTURB.split(), "whole_sp"])
    shutil.copytree("other", "other_sp0.9")
    for stage in ("formatted", "filtered"):
        shutil.copytree(stage, f"{stage}_other")
        for name in LISTS:
            shutil.copy(f"other/{name}", f"{stage}_other/{name}")
    Path("chars").mkdir()
    Path("chars/tokens.txt").write_text("<blank>\n")


@pytest.mark.parametrize(
    "command, place, said",
    [
        *[
            (command, place, "other/wav.scp is there and not ours")
            for command in (FORMAT, FILTER, PERTURB, TOKENS)
            for place in ("other", "./other")
        ],
        (FORMAT, "filtered", "filtered/wav.scp is there and not ours"),
        (FORMAT, "formatted_other", "wav.scp is there and holds other utterances"),
        (FILTER, "formatted", "is formatted, which is only read"),
        (FILTER, "formatted_other", "formatted_other/data is there and not ours"),
        (FILTER, "filtered_other", "wav.scp is there and holds other utterances"),
        (
            "perturb_speed other --factors 0.9 --output_dir",
            "new",
            "other_sp0.9/wav.scp",
        ),
        (TOKENS, "filtered", "filtered/wav.scp is there and not ours"),
        (TOKENS, "chars", "chars/tokens.txt is there and not ours"),
        ("filter_text --input other/text --output", "whole/text", "whole/wav.scp is"),
        (
            "filter_text --input chars/tokens.txt --output",
            "chars/tokens.txt",
            "is only",
        ),
    ],
)
def test_data_of_another_set(sets, capsys, command, place, said):
    before = files()
    with pytest.raises(SystemExit) as e:
        main([*command.split(), place])
    error = capsys.readouterr().err
    assert e.value.code == 73 and "E_CREATE: " in error and said in error
    assert files() == before


def test_a_stage_writes_again_what_it_wrote(sets):
    """Also after utterances were left out, as the messages advise."""
    for name in LISTS:
        lines = Path("whole", name).read_text().splitlines(keepends=True)
        Path("whole", name).write_text("".join(lines[1:]))
    for command, place in (
        (FORMAT, "formatted"),
        (FILTER, "filtered"),
        (PERTURB, "whole_sp"),
        (TOKENS, "bpe"),
    ):
        main([*command.split(), place])
    assert len(Path("filtered/text").read_text().splitlines()) == 4


STAGES = [(FORMAT, "formatted"), (FILTER, "filtered"), (TOKENS, "bpe")]


@pytest.mark.parametrize("command, place", [*STAGES, (PERTURB, "whole_sp")])
def test_an_interrupted_stage_goes_on(sets, monkeypatch, command, place):
    """Whichever list was the last one that it wrote."""

    def made() -> dict:  # but the record of a shard, which grows
        every = files().items()
        return {p: b for p, b in every if place in str(p) and p.name != "sources"}

    wanted, n_lists = made(), 0

    def write(*args, **options) -> None:
        nonlocal n_lists
        if n_lists == 0:
            raise KeyboardInterrupt
        n_lists -= 1
        write_bytes(*args, **options)

    monkeypatch.setattr("espnet_topdown.data.kaldi_dir.write_bytes", write)
    for last in range(10):
        for folder in Path().glob(f"{place}*"):
            if "other" not in folder.name:
                shutil.rmtree(folder)
        n_lists = last
        with contextlib.suppress(SystemExit):
            main([*command.split(), place])
        n_lists = 99
        main([*command.split(), place])
    assert made() == wanted


def files() -> dict[Path, bytes | bool]:
    return {p: p.is_file() and p.read_bytes() for p in Path().rglob("*")}


@pytest.mark.parametrize(
    "command, place, said",
    [
        *[
            (command, place, said)
            for command in (SEARCH, RETRAIN)
            for place, said in (
                ("exp/joint", "is the base experiment"),
                ("link", "is the base experiment"),
                ("exp/joint/topdown", "lies in the base experiment"),
                ("exp", "contains the base experiment"),
                (".", "contains the base experiment"),
                ("other", "other/config.yaml is there and not ours"),
                ("exp/asr_stats_raw_en_char", "/train/speech_shape is there and not"),
                ("exp/lm_stats_en_char", "/logdir is there and not ours"),
            )
        ],
        *[
            (command, place, "exp/found. Do: give another folder, such as /")
            for command in (SEARCH, RETRAIN)
            for place in ("exp/found/m3", "exp/found/m1.2/x", "exp/./found/x/y")
        ],
        (SCORE, "exp/found", "exp/found/search.yaml is there and not ours"),
        (SCORE, "exp/found/m1.2", "m1.2/retrain.yaml is there and not ours"),
        (SEARCH, "theirs", "theirs/RESULTS.md is there and not ours"),
        (DECODE, "data/valid", "data/valid/wav.scp is there and not ours"),
        (DECODE, "exp/joint", "exp/joint/config.yaml is there and not ours"),
        *[
            (DECODE, place, f"{place}/{name} is there and not ours")
            for place, name in (
                ("espnet/inference", "1best_recog"),
                ("espnet/test", "logdir"),
                ("espnet/copied", "score"),
                ("espnet/scored", "score_cer/ref.trn"),
                ("texts", "text"),
                ("results", "score.json"),
            )
        ],
        (SCORE, "espnet/scored/score_cer", "score_cer/ref.trn is there and not ours"),
        (SCORE, "data/valid", "data/valid/wav.scp is there and not ours"),
        (PERPLEXITY, "exp/joint", "exp/joint/config.yaml is there and not ours"),
        (PERPLEXITY, "results", "results/score.json is there and not ours"),
        (SCORE_SET, "results", "results/score.json is there and not ours"),
        (SEEDS, "theirs", "theirs/RESULTS.md is there and not ours"),
        (SEARCH, "data/valid", "data/valid/wav.scp is there and not ours"),
        (RETRAIN, "data/valid", "data/valid/wav.scp is there and not ours"),
        (SCORE, "sclite", "sclite/result.txt is there and not ours"),
        *[
            (f"{stage} --data_dir data/valid --output_dir", place, "is data/valid")
            for stage in ("format_wav", "filter_data", "perturb_speed")
            for place in ("data/valid", "data/../data/valid", "lists")
        ],
    ],
)
def test_a_folder_that_is_somebody_elses(folders, capsys, command, place, said):
    before = files()
    name, *words = [*command.split(), place]
    with pytest.raises(SystemExit) as e:
        if name == "perplexity":
            main(["perplexity", *words])
        else:
            main([name, *words])
    error = capsys.readouterr().err
    assert e.value.code == 73 and "E_CREATE: " in error and said in error
    assert files() == before


def test_a_report_is_written_over_ours_only(search, capsys):
    search({"m3": 50, "m1.2": 60})
    for place, name in (
        ("exp/joint", "config.yaml"),
        ("data/valid", "wav.scp"),
        ("exp/search", "figures/rates.tsv"),
    ):
        if name.startswith("figures"):
            Path(place, "figures").mkdir()
            Path(place, name).write_text("mine\n")
        before = files()
        with pytest.raises(SystemExit, match="73"):
            main(["report", "exp/search", "--output_dir", place])
        assert f"{place}/{name} is there and not ours" in capsys.readouterr().err
        assert files() == before
    Path("exp/search/figures/rates.tsv").unlink()
    report = Path("exp/search/RESULTS.md")
    main(["report", "--search_dir", "exp/search"])
    first = report.read_bytes()
    main(["report", "--search_dir", "exp/search"])
    assert report.read_bytes() == first
    report.write_text("what I think of it\n")
    with pytest.raises(SystemExit) as e:
        main(["report", "--search_dir", "exp/search"])
    assert e.value.code == 73
    assert "RESULTS.md is there and not ours" in capsys.readouterr().err
    assert report.read_text() == "what I think of it\n"
