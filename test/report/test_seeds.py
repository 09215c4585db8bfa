"""Searches of several seeds: means, differences, and what may not be compared."""

from __future__ import annotations

import re
import shutil
import statistics
from pathlib import Path

import pytest
from made_up_search import write_decode, write_result

from espnet_topdown.bin.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, read_yaml, write_json, write_yaml
from espnet_topdown.report import text
from espnet_topdown.report.rows import utterance_counts
from espnet_topdown.report.seeds import differences, read_seeds
from espnet_topdown.report.write import write_seeds
from espnet_topdown.scoring.bootstrap import paired_bootstrap, seeds_interval
from espnet_topdown.scoring.counts import total

TEST = ("ctc_greedy", "test")


@pytest.fixture
def three(finished_exp: Path, tmp_path: Path) -> list[Path]:
    """Searches of the seeds 1, 2, 3; the third keeps its joint model."""
    found = []
    for seed in (1, 2, 3):
        exp = tmp_path / f"s{seed}"
        shutil.copytree(finished_exp, exp, symlinks=True)
        folder = exp / "asr_base_topdown"
        write_yaml(exp / "asr_base/config.yaml", {"seed": seed, "max_epoch": 14})
        request = read_yaml(folder / "search.yaml")
        write_yaml(
            folder / "search.yaml", {**request, "base_exp": str(exp / "asr_base")}
        )
        for node, errors in (("m5", 150), ("m1.1.3", 130 + 5 * seed)):
            test = folder / node / "decode_ctc_greedy/test"
            shutil.rmtree(test)
            write_decode(test, "test", 60, errors, True)
        found.append(folder)
    for name in ("result.json", "best"):
        (found[2] / name).unlink()
    write_result(found[2], best="m5")
    return found


def test_means_and_deviations(three: list[Path]):
    seeds = read_seeds(three[::-1])  # any order
    assert list(seeds.searches) == [1, 2, 3]
    names = [g.name for g in seeds.groups]
    assert names == [
        "m5", "m1.4", "m1.1.3", "m1.1.1.2", "best", "control.joint", "control.warm"
    ]  # fmt: skip
    group = seeds.groups[2]
    files = [f / "m1.1.3/decode_ctc_greedy/test/score.json" for f in three]
    counts = [read_json(f)["cer"] for f in files]
    rates = [100 * (c["sub"] + c["del"] + c["ins"]) / c["ref"] for c in counts]
    assert len(set(rates)) == 3
    mean, deviation, n = group.mean(TEST, "cer")
    assert mean == pytest.approx(statistics.mean(rates)) and n == 3
    assert deviation == pytest.approx(statistics.stdev(rates))
    assert group.mean(("beam", "test"), "cer")[1:] == (None, 0)


def test_best_is_what_each_search_returned(three: list[Path]):
    seeds = read_seeds(three)
    best = next(g for g in seeds.groups if g.name == "best")
    assert {s: n.name for s, n in best.members.items()} == {
        1: "m1.1.3",
        2: "m1.1.3",
        3: "m5",
    }
    found = {d.group.name: d for d in differences(seeds, TEST, "cer")}
    assert found["best"].better == 2  # the third is the joint model itself
    assert found["m1.1.3"].better == 3
    assert "m5" not in found


def test_the_interval_is_over_seeds_and_utterances(three: list[Path]):
    seeds = read_seeds(three)
    d = next(d for d in differences(seeds, TEST, "cer") if d.group.name == "m1.1.3")
    scores = [g.scores(TEST).values() for g in (d.group, seeds.joint)]
    sides = [[utterance_counts(s, "cer") for s in of_seeds] for of_seeds in scores]
    assert (d.value, d.low, d.high) == pytest.approx(seeds_interval(*sides))
    pooled = [{u: total(c[u] for c in by) for u in by[0]} for by in sides]
    low, high = paired_bootstrap(*pooled)  # holds the seeds fixed
    assert d.low < low < d.value < high < d.high


def test_one_seed_says_nothing_of_others(three: list[Path], tmp_path: Path):
    shown = write_seeds(three[:1], tmp_path / "out").markdown
    assert "Over 1 seed the search lowered the CER on test" in shown
    assert "not run (one seed)" in shown and "95 % interval over" not in shown


def test_without_single_utterances_there_is_no_interval(three: list[Path]):
    shutil.rmtree(three[0] / "m5/decode_ctc_greedy/test/score_cer")
    seeds = read_seeds(three)
    d = differences(seeds, TEST, "cer")[0]
    assert d.low is None and d.value != 0
    assert "no counts of single utterances" in text.interval(d)


def test_other_utterances_give_no_interval(three: list[Path]):
    """Only one seed's test set lacks one: their sums would be of different sets."""
    for node in ("m5", "m1.1.3"):
        place = three[0] / node / "decode_ctc_greedy/test"
        shutil.rmtree(place)
        write_decode(place, "test", 59, 120, True)
    d = differences(read_seeds(three), TEST, "cer")[0]
    assert d.low is None and d.value != 0


def test_seeds_that_lack_a_model_are_left_out_on_both_sides(three: list[Path]):
    shutil.rmtree(three[1] / "m1.1.3/decode_ctc_greedy")
    seeds = read_seeds(three)
    d = next(d for d in differences(seeds, TEST, "cer") if d.group.name == "m1.1.3")
    assert d.seeds == (1, 3)
    base = seeds.joint.scores(TEST)
    ours = d.group.scores(TEST)
    wanted = total(ours[s].counts["cer"] for s in d.seeds).percent
    wanted -= total(base[s].counts["cer"] for s in d.seeds).percent
    assert d.value == pytest.approx(wanted)


def same_seed(folders: list[Path]) -> None:
    write_yaml(folders[1].parent / "asr_base/config.yaml", {"seed": 1})


def no_seed(folders: list[Path]) -> None:
    (folders[1].parent / "asr_base/config.yaml").unlink()
    path = folders[1] / "m5/retrain.yaml"
    write_yaml(path, {k: v for k, v in read_yaml(path).items() if k != "seed"})


def other(name: str, value: object):
    def change(folders: list[Path]) -> None:
        path = folders[1] / "search.yaml"
        write_yaml(path, {**read_yaml(path), name: value})

    return change


def other_valid(folders: list[Path]) -> None:
    path = folders[1] / "m5/score.json"
    score = read_json(path)
    score["cer"]["ref"] += 1
    write_json(path, score)


@pytest.mark.parametrize(
    "change, says",
    [
        (same_seed, "have the same seed, 1"),
        (no_seed, "the seed of its joint training"),
        (other("criterion", "wer"), "differ in their criterion: cer and wer"),
        (other("decoder", "beam"), "differ in their decoder: ctc_greedy and beam"),
        (other("layers", ["a", "b"]), "differ in their layers"),
        (other_valid, "differ in their validation set"),
    ],
)
def test_searches_of_another_kind_are_refused(three: list[Path], change, says):
    change(three)
    with pytest.raises(TopDownError) as e:
        read_seeds(three)
    assert e.value.code == "E_SEEDS" and says in str(e.value)
    assert "Do: give finished searches" in str(e.value)


def test_language_models_have_their_own_table(three: list[Path]):
    other("criterion", "ppl")([three[0], three[0]])
    with pytest.raises(TopDownError, match="lm_rows"):
        read_seeds(three[:1])


def test_the_report(three: list[Path], tmp_path: Path):
    """Numbers, links to the searches' pages, no wider than what was compared."""
    (three[1] / "report.html").touch()
    written = write_seeds(three, tmp_path / "new/out")
    said, page = (tmp_path / f"new/out/{n}" for n in ("RESULTS.md", "report.html"))
    shown, html = said.read_text(), page.read_text()
    assert written.markdown == shown
    assert "Over 3 seeds the search lowered the CER on test" in shown
    seeds = read_seeds(three)
    best = next(d for d in differences(seeds, TEST, "cer") if d.group.name == "best")
    assert f"{best.value:+.2f} points (95 % interval" in shown and "n = 60" in shown
    assert f"| {best.value:+.2f} | 60 | {text.interval(best)} | 2 of 3 |" in shown
    rows = re.findall(r"^\| \**([13])\** \|", shown, re.M)
    assert rows.count("1") == rows.count("3") == 6
    for group in seeds.groups:
        assert text.spread(*group.mean(TEST, "cer")) in shown
        assert text.spread(*group.mean(TEST, "cer")) in html
    assert html.count('id="seeds-seed') == 3
    links = re.findall(r'<dd><a href="([^"]*)"', html)
    assert len(links) == 3 and all((page.parent / x).exists() for x in links)
    assert links[1].endswith("asr_base_topdown/report.html")


def test_joint_training_in_every_seed(three: list[Path], tmp_path: Path):
    for folder in three[:2]:
        (folder / "best").unlink()
        write_result(folder, best="m5")
    shown = write_seeds(three, tmp_path / "out").markdown
    assert "**Over 3 seeds the search kept joint training.**" in shown


def test_nothing_decoded_and_nothing_finished(three: list[Path], tmp_path: Path):
    for folder in three:
        (folder / "result.json").unlink()
        for path in folder.glob("*/decode_ctc_greedy"):
            if not path.parent.is_symlink():
                shutil.rmtree(path)
    shown = write_seeds(three, tmp_path / "out").markdown
    assert "No search of 3 seeds has ended with a decoded model." in shown
    assert "Not finished: the search of seed 1, 2, 3." in shown
    assert "dev CER" in shown


def test_a_search_whose_joint_model_was_not_scored_yet(three: list[Path]):
    (three[1] / "m5/score.json").unlink()
    assert list(read_seeds(three).joint.members) == [1, 3]


def test_no_joint_model_was_scored(three: list[Path]):
    for folder in three:
        (folder / "m5/score.json").unlink()
    with pytest.raises(TopDownError, match="E_SEEDS: .*no joint model was scored"):
        read_seeds(three)


def test_no_search_at_all():
    with pytest.raises(TopDownError, match="E_SEEDS: no search was given") as e:
        read_seeds([])
    assert e.value.status == 66


def test_missing_controls_are_named(three: list[Path]):
    for name in ("control.joint", "control.warm"):
        shutil.rmtree(three[1] / name)
    said = text.seeds_evidence(read_seeds(three), [], "test")
    assert said == ["Controls of seed 2: not run."]


def test_command(three: list[Path], tmp_path: Path, capsys):
    dirs = [str(p) for p in three]
    out = ["--output_dir", str(tmp_path / "out")]
    main(["seeds", *dirs, *out])
    main(["seeds", "--search_dirs", *dirs, *out])
    shown = capsys.readouterr().out
    assert "## Means over the seeds" in shown
    assert shown.rstrip().endswith("report.html")


def test_folder_that_cannot_be_made(three: list[Path], tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(TopDownError) as e:
        write_seeds(three, tmp_path / "file" / "out")
    assert (e.value.code, e.value.status) == ("E_CREATE", 73)
    assert "another --output_dir" in str(e.value)
