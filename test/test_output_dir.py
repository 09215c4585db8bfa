"""No command writes into a folder in which a user, or ESPnet, also writes."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from record import unpack
from toys import write_joint

from espnet_topdown.cli.main import main
from espnet_topdown.files import write_bytes

pytestmark = pytest.mark.espnet
SEARCH = "search --base_exp exp/joint --output_dir"
RETRAIN = "retrain --base_exp exp/joint --freeze softmax --output_dir"
JOBS = [SEARCH, RETRAIN]
DECODE = "decode --exp exp/joint --wav_scp data/valid/wav.scp"
DECODE += " --text data/valid/text --output_dir"
SCORE = "score --ref data/valid/text --hyp data/valid/text --output_dir"
SCORE_SET = "score_set --ref data/valid/text --model_file m.pth --decode_dir"
PERPLEXITY = "perplexity --exp exp/joint --text data/valid/text --output_dir"
SEEDS = "seeds --search_dirs exp/a exp/b --output_dir"
FORMAT = "format_wav whole --fs 8k --output_dir"
FILTER = "filter_data formatted --fs 8k --output_dir"
PERTURB = "perturb_speed whole --factors 0.9 --output_dir"
TOKENS = "token_list --input whole/text --vocab_size 5 --output_dir"
STAGES = {FORMAT: "formatted", FILTER: "filtered", TOKENS: "bpe", PERTURB: "whole_sp"}

LISTS = {"wav.scp": "{} {}.wav", "text": "{} A", "utt2spk": "{} s"}
THEIRS = (  # what people have beside an experiment
    "sclite/result.txt",
    "theirs/RESULTS.md",
    "their_exp/config.yaml",
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
    "chars/tokens.txt",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """An experiment, what people have beside it, and data after stages 2 to 5."""
    root = tmp_path_factory.mktemp("made")
    with contextlib.chdir(root):
        write_joint()
        Path("link").symlink_to("exp/joint")
        Path("lists").symlink_to("data/valid")
        for path in map(Path, THEIRS):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("mine: 1\n")
        for name, utts in (("whole", "abcde"), ("other", "xyz")):
            Path(name).mkdir()
            for file, line in LISTS.items():
                lines = (line.format(utt, utt) + "\n" for utt in utts)
                Path(name, file).write_text("".join(lines))
        for utt in "abcde":
            soundfile.write(f"{utt}.wav", np.full(8000, 0.1), 16000)
        for command, place in STAGES.items():
            main([*command.split(), place])
        shutil.copytree("other", "other_sp0.9")
        for stage in ("formatted", "filtered"):
            shutil.copytree(stage, f"{stage}_other")
            shutil.copytree("other", f"{stage}_other", dirs_exist_ok=True)
    return root


@pytest.fixture
def sets(made, tmp_path, monkeypatch) -> None:
    """The current folder is a copy."""
    shutil.copytree(made, tmp_path / "w", symlinks=True)
    monkeypatch.chdir(tmp_path / "w")


def files() -> dict[Path, bytes | bool]:
    return {p: p.is_file() and p.read_bytes() for p in Path().rglob("*")}


NOT_OURS = [
    (JOBS, "their_exp", "their_exp/config.yaml"),
    (JOBS, "exp/asr_stats_raw_en_char", "/train/speech_shape"),
    (JOBS, "exp/lm_stats_en_char", "/logdir"),
    ([*JOBS, DECODE, SCORE], "data/valid", "data/valid/wav.scp"),
    ([SEARCH, SEEDS], "theirs", "theirs/RESULTS.md"),
    ([DECODE, PERPLEXITY], "exp/joint", "exp/joint/config.yaml"),
    ([DECODE, PERPLEXITY, SCORE_SET], "results", "results/score.json"),
    ([DECODE], "espnet/inference", "espnet/inference/1best_recog"),
    ([DECODE], "espnet/test", "espnet/test/logdir"),
    ([DECODE], "espnet/copied", "espnet/copied/score"),
    ([DECODE], "espnet/scored", "espnet/scored/score_cer/ref.trn"),
    ([DECODE], "texts", "texts/text"),
    ([SCORE], "espnet/scored/score_cer", "score_cer/ref.trn"),
    ([SCORE], "exp/found", "exp/found/search.yaml"),
    ([SCORE], "exp/found/m1.2", "m1.2/retrain.yaml"),
    ([SCORE], "sclite", "sclite/result.txt"),
    (STAGES, "other", "other/wav.scp"),
    (STAGES, "./other", "other/wav.scp"),
    ([FORMAT, TOKENS], "filtered", "filtered/wav.scp"),
    ([FILTER], "formatted_other", "formatted_other/data"),
    (["perturb_speed other --factors 0.9 --output_dir"], "new", "other_sp0.9/wav.scp"),
    ([TOKENS], "chars", "chars/tokens.txt"),
    (["filter_text --input other/text --output"], "whole/text", "whole/wav.scp"),
]
VALID = [
    f"{stage} --data_dir data/valid --output_dir"
    for stage in ("format_wav", "filter_data", "perturb_speed")
]
OTHERS = "wav.scp is there and holds other utterances"


@pytest.mark.parametrize(
    "commands, place, said",
    [
        *((c, p, f"{file} is there and not ours") for c, p, file in NOT_OURS),
        (JOBS, "exp/joint", "is the base experiment"),
        (JOBS, "link", "is the base experiment"),
        (JOBS, "exp/joint/topdown", "lies in the base experiment"),
        (JOBS, "exp", "contains the base experiment"),
        (JOBS, ".", "contains the base experiment"),
        (JOBS, "exp/found/m3", "exp/found. Do: give another folder, such as /"),
        (JOBS, "exp/found/m1.2/x", "exp/found. Do: give another folder, such as /"),
        (JOBS, "exp/./found/x/y", "exp/found. Do: give another folder, such as /"),
        (VALID, "data/valid", "is data/valid"),
        (VALID, "data/../data/valid", "is data/valid"),
        (VALID, "lists", "is data/valid"),
        ([FORMAT], "formatted_other", OTHERS),
        ([FILTER], "filtered_other", OTHERS),
        ([FILTER], "formatted", "is formatted, which is only read"),
        (["filter_text --input texts/text --output"], "texts/text", "is only"),
    ],
)
def test_a_folder_that_is_somebody_elses(
    made, monkeypatch, capsys, commands, place, said
):
    monkeypatch.chdir(made)
    before = files()
    for command in commands:
        with pytest.raises(SystemExit, match="73"):
            main([*command.split(), place])
        error = capsys.readouterr().err
        assert "E_CREATE: " in error and said in error, command
        assert files() == before, command


def test_a_stage_writes_again_what_it_wrote(sets):
    """Also after utterances were left out, as the messages advise."""
    for name in LISTS:
        lines = Path("whole", name).read_text().splitlines(keepends=True)
        Path("whole", name).write_text("".join(lines[1:]))
    for command, place in STAGES.items():
        main([*command.split(), place])
    assert len(Path("filtered/text").read_text().splitlines()) == 4


@pytest.mark.parametrize("command, place", STAGES.items())
def test_an_interrupted_stage_goes_on(sets, monkeypatch, command, place):
    """Whichever list was the last one that it wrote."""

    def made() -> dict:  # but the record of a shard, which grows
        every = files().items()
        return {p: b for p, b in every if place in str(p) and p.stem != "sources"}

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


def test_a_report_is_written_over_ours_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    unpack("finished")
    report, figure = Path("exp/search/RESULTS.md"), Path("exp/search/figures/rates.tsv")
    for path in (figure, Path("data/wav.scp")):
        path.parent.mkdir()
        path.write_text("mine\n")

    def refuses(folder: str, name: str) -> None:
        before = files()
        with pytest.raises(SystemExit, match="73"):
            main(["report", "exp/search", "--output_dir", folder])
        assert f"{folder}/{name} is there and not ours" in capsys.readouterr().err
        assert files() == before

    refuses("exp/joint", "config.yaml")
    refuses("data", "wav.scp")
    refuses("exp/search", "figures/rates.tsv")
    figure.unlink()
    main(["report", "exp/search"])
    first = report.read_bytes()
    main(["report", "exp/search"])
    assert report.read_bytes() == first
    report.write_text("what I think of it\n")
    refuses("exp/search", "RESULTS.md")
