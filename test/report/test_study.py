"""What a report does not compare: other hypotheses, searches that are no seeds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from made_up_search import write_decode

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, read_yaml, write_json, write_yaml
from espnet_topdown.report.write import write_report
from espnet_topdown.scoring.counts import Counts, write_counts

PLACE = "decode_ctc_greedy/test"


def difference(folders: list[Path], unit: str) -> str:
    """The row of m1.1.3 and m5 in the table of differences."""
    text = write_report(folders, folders[0].parent / "out")
    row = rf"^\| test \| {unit} \|( M_.1,1,3. \|)? M_.5. \| \d.*"
    return re.search(row, text, re.MULTILINE)[0]


def without_files(folder: Path) -> None:
    shutil.rmtree(folder / "score_cer")


def one_utterance(folder: Path) -> None:
    """Of a folder of release 0.1.0, whose files are counted again."""
    (folder / "score_cer/counts.tsv").unlink()
    (folder / "score_cer/ref.trn").write_text("one (a-a)\n")


def other_words(folder: Path) -> None:
    write_decode(folder.parent / "new", "test", 60, 100, True)
    shutil.rmtree(folder / "score_cer")
    (folder.parent / "new" / "score_cer").rename(folder / "score_cer")


def fewer_utterances(folder: Path) -> None:
    """Their sums would be of different sets."""
    shutil.rmtree(folder)
    write_decode(folder, "test", 59, 120, True)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    "spoil, why",
    [
        (without_files, "no counts of single utterances beside score.json"),
        (one_utterance, "the two were not scored on the same utterances"),
        (other_words, "what lies beside score.json is of another decoding"),
        (fewer_utterances, "the two were not scored on the same utterances"),
    ],
)
def test_an_interval_is_never_of_other_hypotheses(
    three, no_figures, several, spoil, why
) -> None:
    spoil(three[0] / "m5" / PLACE)
    row = difference(three if several else three[:1], "CER")
    assert re.search(rf" \| [-+]\d\.\d\d \| not run \| not run \({why}", row), row


def test_parts_that_hubscr_scored(search: Path, no_figures) -> None:
    """Their counts are of single segments, and lie in counts.tsv as all others."""
    for name, wrong in (("m1.1.3", (0, 0, 1)), ("m5", (2, 1, 1))):
        part = search / name / PLACE
        shutil.rmtree(part / "score_wer")
        score = read_json(part / "score.json")
        score["wer"] = {"ref": 30, "corr": 30 - sum(wrong), "sub": sum(wrong)}
        score["wer"].update({"del": 0, "ins": 0, "err_utts": 3})
        write_json(part / "score.json", score)
        segments = {f"en_1_a-{i}": Counts(10, 10 - n, n) for i, n in enumerate(wrong)}
        write_counts(part / "score_wer", segments)
    assert "| -10.00 | 3 | -20.00 to 0.00 |" in difference([search], "WER")


def same_seed(folders: list[Path]) -> None:
    write_yaml(folders[1].parent / "asr_base/config.yaml", {"seed": 1})


def no_seed(folders: list[Path]) -> None:
    (folders[1].parent / "asr_base/config.yaml").unlink()
    path = folders[1] / "m5/retrain.yaml"
    write_yaml(path, {k: v for k, v in read_yaml(path).items() if k != "seed"})


def other(name: str, value: object):
    def change(folders: list[Path]) -> None:
        path = folders[0 if value == "ppl" else 1] / "search.yaml"
        write_yaml(path, {**read_yaml(path), name: value})

    return change


def other_valid(folders: list[Path]) -> None:
    path = folders[1] / "m5/score.json"
    score = read_json(path)
    score["cer"]["ref"] += 1
    write_json(path, score)


def unscored(folders: list[Path]) -> None:
    for folder in folders:
        (folder / "m5/score.json").unlink()


@pytest.mark.parametrize(
    "change, status, message",
    [
        (same_seed, 65, "have the same seed, 1.*Do: give finished searches"),
        (no_seed, 66, "the seed of its joint training"),
        (other("criterion", "wer"), 65, "differ in their criterion: cer and wer"),
        (other("decoder", "beam"), 65, "in their decoder: ctc_greedy and beam"),
        (other("layers", ["a", "b"]), 65, "differ in their layers"),
        (other_valid, 65, "differ in their validation set"),
        (other("criterion", "ppl"), 65, "language models.*--row table4"),
        (unscored, 66, "no joint model was scored"),
    ],
)
def test_searches_that_are_no_seeds(three, tmp_path, change, status, message) -> None:
    change(three)
    with pytest.raises(TopDownError, match=f"E_SEEDS: .*{message}") as e:
        write_report(three, tmp_path / "out")
    assert e.value.status == status
