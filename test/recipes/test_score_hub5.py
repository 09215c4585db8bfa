"""eval2000's word error rates: CTM lines, and sctk's own figures digit for digit."""

from __future__ import annotations

from pathlib import Path

import pytest
import swbd_tree
from corpora import load, refused

from espnet_topdown.errors import CREATE, INTERNAL, MISSING
from espnet_topdown.files import read_json
from espnet_topdown.scoring.counts import Counts, read_counts

hub5 = load("score_hub5")
needs_sctk = pytest.mark.skipif(
    hub5.find_hubscr() is None, reason="sctk is not installed"
)
HYP = {
    "en_4001-A_001015-001250": "he is going to call tomorrow uh",
    "en_4001-A_001300-001429": "yeah not you okey",
    "sw_4001-A_000100-000301": "uh-huh [laughter] i can not say",
    "sw_4001-B_000400-000657": "",
}


def write_hyp(texts: dict[str, str]) -> None:
    Path("hyp").write_text(
        "".join(f"{u} {t}".rstrip() + "\n" for u, t in texts.items())
    )


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """A data directory with the golden reference, and hypotheses beside it."""
    monkeypatch.chdir(tmp_path)
    folder = Path("my data/eval2000")
    folder.mkdir(parents=True)
    Path("raw.stm").write_text(swbd_tree.STM)
    stm = load("prepare_swbd").mended_stm(Path("raw.stm"))
    (folder / "stm").write_text("\n".join(stm) + "\n")
    (folder / "glm").write_text(swbd_tree.GLM)
    (folder / "text").write_text("".join(f"{u} some words\n" for u in HYP))
    write_hyp(HYP)
    return folder


def score() -> str:
    """The text of ``result.txt``; all is in the folder ``score``."""
    return hub5.score_hub5(Path("my data/eval2000"), Path("hyp"), Path("score"))


def test_ctm():
    lines = hub5.ctm_lines({"en_4001-A_001015-001250": "he is going to call"})
    assert lines[0] == "en_4001 A 10.15 0.47  HE"
    assert lines[-1] == "en_4001 A 12.03 0.47  CALL" and len(lines) == 5
    refused(lambda: hub5.ctm_lines({"utt1": "a"}), "E_HUB5_UTT", "'utt1'")


@pytest.mark.parametrize(
    "words, stay",
    [
        ("UHS NOISE UH-HUH WOODEN", True),
        ("UH laughter [LAUGHTER] [NOISE] [vocalized-noise] <unk> W- HUH", False),
    ],
)
def test_what_is_scored(words, stay):
    lines = [f"sw_1 A 0.00 1.00  {word}" for word in words.split()]
    assert hub5.scored(lines) == (lines if stay else [])


@needs_sctk
def test_golden(capsys):
    """The figures that the field's own pipeline gives for this case."""
    words = ["--data_dir", "my data/eval2000", "--hyp", "hyp", "--output_dir", "score"]
    hub5.main(words)
    lines = [
        "eval2000: WER 9.5 % (4 segments, 21 words)",
        "swbd: WER 0.0 % (2 segments, 8 words)",
        "callhm: WER 15.4 % (2 segments, 13 words)",
    ]
    assert capsys.readouterr().out.splitlines()[:3] == lines
    assert Path("score/result.txt").read_text().splitlines()[:3] == lines
    table = Path("score/eval2000/hyp.ctm.filt.sys")
    wanted = (4, [21, 90.5, 4.8, 4.8, 0.0, 9.5, 50.0])
    assert hub5.read_table(table, "Sum/Avg") == wanted
    record = read_json(Path("score/callhm/score.json"))
    counts = {"ref": 13, "corr": 11, "sub": 1, "del": 1, "ins": 0, "err_utts": 2}
    assert (record["utts"], record["wer"]) == (2, counts)
    assert read_counts(Path("score/callhm/score_wer")) == {
        "en_4001_a-000": Counts(8, 7, 0, 1, 0),
        "en_4001_a-001": Counts(5, 4, 1, 0, 0),
    }


@needs_sctk
def test_nothing_recognised_and_a_part_that_is_not_there(data):
    write_hyp(dict.fromkeys(HYP, ""))
    stm = (data / "stm").read_text().splitlines()
    (data / "stm").write_text("\n".join(x for x in stm if x[:3] != "en_") + "\n")
    assert "eval2000: WER " in score() and not Path("score/callhm").exists()
    assert read_json(Path("score/swbd/score.json"))["wer"]["ins"] == 0


@needs_sctk
def test_a_glm_that_csrfilt_cannot_read(data):
    (data / "glm").write_text(swbd_tree.GLM.split("\n", 1)[1])
    refused(score, "E_HUBSCR", "hubscr.log")


def test_lost_hypotheses_are_refused():
    """A shard that is lost must not give a better result."""
    write_hyp(dict(list(HYP.items())[1:]))
    refused(score, "E_UTT_SETS")
    assert not Path("score").exists()


@pytest.mark.parametrize("name", ["stm", "glm"])
def test_no_reference(data, name):
    (data / name).unlink()
    refused(score, "E_HUB5_REF", status=MISSING)


def test_without_sctk(monkeypatch, caplog):
    monkeypatch.setattr(hub5, "find_hubscr", lambda: None)
    text = score()
    assert text.startswith("raw WER") and "not comparable" in text
    assert "W_NO_SCTK" in caplog.text and "apt-get install sctk" in caplog.text
    assert Path("score/result.txt").read_text().strip() == text
    assert not list(Path("score").rglob("score.json"))
    assert score() == text
    Path("score/result.txt").write_text("what sclite said\n")
    refused(score, "E_CREATE", "result.txt is there and not", status=CREATE)


def test_tables():
    row = "| {} | 4459  42989 | 88.1  8.2  3.7  1.7  13.6  48.1 |"
    Path("x.sys").write_text(f"{row.format('Mean')}\n{row.format('Sum/Avg')}\n")
    wanted = (4459, [42989.0, 88.1, 8.2, 3.7, 1.7, 13.6, 48.1])
    assert hub5.read_table(Path("x.sys"), "Sum/Avg") == wanted
    refused(lambda: hub5.read_table(Path("x.sys"), "Sum"), "E_HUBSCR")


SEGMENT, COUNTS = "id: (a-0)\n", "Scores: (#C #S #D #I) 1 0 0"


@pytest.mark.parametrize(
    "text", ["", SEGMENT, f"{SEGMENT}{COUNTS}\n", 2 * f"{SEGMENT}{COUNTS} 0\n"]
)
def test_alignments_that_cannot_be_read(text):
    Path(hub5.ALIGNED).write_text(text)
    refused(lambda: hub5.read_segments(Path(hub5.ALIGNED)), "E_HUBSCR")


@pytest.mark.parametrize("counted, percent", [(4, 20.0), (3, 21.0)])
def test_two_tables_that_disagree(counted, percent):
    counts = {"ref": 15, "corr": 13, "sub": 1, "del": 1, "ins": 1}

    def compare(counted: int, percent: float) -> None:
        ours = {**counts, "err": counted}
        hub5._compare(hub5.Result("swbd", 3, ours, {"err": percent}), Path("x"))

    parts = "E_HUBSCR", "x says ", "the counts 20.00 %"
    refused(lambda: compare(counted, percent), *parts, status=INTERNAL)
    compare(3, 20.0)
