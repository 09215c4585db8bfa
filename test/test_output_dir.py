"""No command writes into a folder in which a user, or ESPnet, also writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_topdown.bin.main import main

pytestmark = pytest.mark.espnet
SEARCH = "search --base_exp exp/joint --output_dir"
RETRAIN = "retrain --base_exp exp/joint --freeze softmax --output_dir"
DECODE = "decode --exp exp/joint --wav_scp data/valid/wav.scp"
DECODE += " --text data/valid/text --output_dir"
SCORE = "score --ref data/valid/text --hyp data/valid/text --output_dir"
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
    ):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("mine: 1\n")


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
            )
        ],
        (SEARCH, "theirs", "theirs/RESULTS.md is there and not ours"),
        (DECODE, "data/valid", "data/valid/wav.scp is there and not ours"),
        (DECODE, "exp/joint", "exp/joint/config.yaml is there and not ours"),
        (SCORE, "data/valid", "data/valid/wav.scp is there and not ours"),
        (PERPLEXITY, "exp/joint", "exp/joint/config.yaml is there and not ours"),
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
