"""eval2000's word error rates: CTM lines, and sctk's own figures digit for digit."""

from __future__ import annotations

from pathlib import Path

import pytest
import swbd_tree
from corpora import load

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json
from espnet_topdown.scoring.counts import Counts, read_counts

hub5 = load("score_hub5")
ALIGNED, ctm_lines, scored = hub5.ALIGNED, hub5.ctm_lines, hub5.scored
read_segments, read_table, score_hub5 = (
    hub5.read_segments, hub5.read_table, hub5.score_hub5
)  # fmt: skip

needs_sctk = pytest.mark.skipif(
    hub5.find_hubscr() is None, reason="sctk is not installed"
)
HYP = {
    "en_4001-A_001015-001250": "he is going to call tomorrow uh",
    "en_4001-A_001300-001429": "yeah not you okey",
    "sw_4001-A_000100-000301": "uh-huh [laughter] i can not say",
    "sw_4001-B_000400-000657": "",
}


@pytest.fixture
def data(tmp_path):
    """A data directory with the golden reference, and hypotheses beside it."""
    folder = tmp_path / "my data" / "eval2000"
    folder.mkdir(parents=True)
    raw = tmp_path / "raw.stm"
    raw.write_text(swbd_tree.STM)
    (folder / "stm").write_text("\n".join(load("prepare_swbd").mended_stm(raw)) + "\n")
    (folder / "glm").write_text(swbd_tree.GLM)
    (folder / "text").write_text("".join(f"{u} some words\n" for u in HYP))
    hyp = "".join(f"{u} {t}".rstrip() + "\n" for u, t in HYP.items())
    (tmp_path / "hyp").write_text(hyp)
    return folder


def score(data, out="score"):
    folder = data.parents[1]
    return score_hub5(data, folder / "hyp", folder / out), folder / out


def test_ctm():
    lines = ctm_lines({"en_4001-A_001015-001250": "he is going to call"})
    assert lines[0] == "en_4001 A 10.15 0.47  HE"
    assert lines[-1] == "en_4001 A 12.03 0.47  CALL" and len(lines) == 5
    every = ctm_lines(HYP)
    assert len(every) == 17 and len(scored(every)) == 15
    gone = set(every) - set(scored(every))
    assert "en_4001 A 12.13 0.37  UH" in gone
    assert any(line.endswith("  [LAUGHTER]") for line in gone)


@pytest.mark.parametrize(
    "word, stays",
    [("UH", False), ("UHS", True), ("laughter", False), ("[NOISE]", False)]
    + [("NOISE", True), ("[vocalized-noise]", False), ("<unk>", False)]
    + [("W-", False), ("UH-HUH", True), ("HUH", False), ("WOODEN", True)],
)
def test_what_is_not_scored(word, stays):
    assert bool(scored([f"sw_1 A 0.00 1.00  {word}"])) is stays


def test_ids_that_say_no_times():
    with pytest.raises(TopDownError) as e:
        ctm_lines({"utt1": "a"})
    assert e.value.code == "E_HUB5_UTT" and "'utt1'" in str(e.value)


@needs_sctk
def test_golden(data):
    """The figures that the field's own pipeline gives for this case."""
    text, out = score(data)
    segments, row = read_table(out / "eval2000/hyp.ctm.filt.sys", "Sum/Avg")
    assert (segments, row) == (4, [21, 90.5, 4.8, 4.8, 0.0, 9.5, 50.0])
    segments, row = read_table(out / "swbd/hyp.ctm.filt.sys", "Sum/Avg")
    assert (segments, row[0], row[5]) == (2, 8, 0.0)
    segments, row = read_table(out / "callhm/hyp.ctm.filt.sys", "Sum/Avg")
    assert (segments, row[0], row[5]) == (2, 13, 15.4)
    assert text.splitlines()[:3] == [
        "eval2000: WER 9.5 % (4 segments, 21 words)",
        "swbd: WER 0.0 % (2 segments, 8 words)",
        "callhm: WER 15.4 % (2 segments, 13 words)",
    ]
    record = read_json(out / "callhm/score.json")
    assert record["utts"] == 2 and record["wer"] == {
        "ref": 13, "corr": 11, "sub": 1, "del": 1, "ins": 0, "err_utts": 2
    }  # fmt: skip
    assert (out / "result.txt").read_text().startswith("eval2000: WER 9.5 %")
    segments = read_segments(out / "callhm" / ALIGNED)
    assert segments == {
        "en_4001_a-000": Counts(8, 7, 0, 1, 0),
        "en_4001_a-001": Counts(5, 4, 1, 0, 0),
    }
    assert read_counts(out / "callhm/score_wer") == segments


@needs_sctk
def test_nothing_recognised_and_a_part_that_is_not_there(data):
    hyp = data.parents[1] / "hyp"
    hyp.write_text("".join(f"{u}\n" for u in HYP))
    stm = (data / "stm").read_text().splitlines()
    (data / "stm").write_text("\n".join(x for x in stm if x[:3] != "en_") + "\n")
    text, out = score(data)
    assert "eval2000: WER " in text and not (out / "callhm").exists()
    assert read_json(out / "swbd/score.json")["wer"]["ins"] == 0


@needs_sctk
def test_a_glm_that_csrfilt_cannot_read(data):
    rules = (data / "glm").read_text().split("\n", 1)[1]
    (data / "glm").write_text(rules)
    with pytest.raises(TopDownError) as e:
        score(data)
    assert e.value.code == "E_HUBSCR" and "hubscr.log" in str(e.value)


def test_lost_hypotheses_are_refused(data):
    """A shard that is lost must not give a better result."""
    hyp = data.parents[1] / "hyp"
    hyp.write_text("\n".join(hyp.read_text().splitlines()[1:]) + "\n")
    with pytest.raises(TopDownError) as e:
        score(data)
    assert e.value.code == "E_UTT_SETS" and not (data.parents[1] / "score").exists()


@pytest.mark.parametrize("name", ["stm", "glm"])
def test_no_reference(data, name):
    (data / name).unlink()
    with pytest.raises(TopDownError) as e:
        score(data)
    assert e.value.code == "E_HUB5_REF" and e.value.status == 66


def test_without_sctk(data, monkeypatch, caplog):
    monkeypatch.setattr(hub5, "find_hubscr", lambda: None)
    text, out = score(data)
    assert text.startswith("raw WER") and "not comparable" in text
    assert "W_NO_SCTK" in caplog.text and "apt-get install sctk" in caplog.text
    assert (out / "result.txt").read_text().strip() == text
    assert not list(out.rglob("score.json"))
    assert score(data) == (text, out)
    (out / "result.txt").write_text("what sclite said\n")
    with pytest.raises(TopDownError, match="E_CREATE: .*result.txt is there and not"):
        score(data)


def test_tables(tmp_path):
    table = tmp_path / "x.sys"
    row = "| {} | 4459  42989 | 88.1  8.2  3.7  1.7  13.6  48.1 |"
    table.write_text(f"{row.format('Mean')}\n{row.format('Sum/Avg')}\n")
    wanted = (4459, [42989.0, 88.1, 8.2, 3.7, 1.7, 13.6, 48.1])
    assert read_table(table, "Sum/Avg") == wanted
    with pytest.raises(TopDownError) as e:
        read_table(table, "Sum")
    assert e.value.code == "E_HUBSCR"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id: (a-0)\n",
        "id: (a-0)\nScores: (#C #S #D #I) 1 0 0\n",
        2 * "id: (a-0)\nScores: (#C #S #D #I) 1 0 0 0\n",
    ],
)
def test_alignments_that_cannot_be_read(tmp_path, text):
    path = tmp_path / ALIGNED
    path.write_text(text)
    with pytest.raises(TopDownError) as e:
        read_segments(path)
    assert e.value.code == "E_HUBSCR"


@pytest.mark.parametrize("counted, percent", [(4, 20.0), (3, 21.0)])
def test_two_tables_that_disagree(tmp_path, counted, percent):
    counts = {"ref": 15, "corr": 13, "sub": 1, "del": 1, "ins": 1, "err": counted}
    result = hub5.Result("swbd", 3, counts, {"err": percent})
    with pytest.raises(TopDownError, match="E_HUBSCR: x says .* the counts 20.00 %"):
        hub5._compare(result, Path("x"))
    right = hub5.Result("swbd", 3, {**counts, "err": 3}, {"err": 20.0})
    hub5._compare(right, Path("x"))


def test_command(data, capsys):
    words = ["--data_dir", str(data), "--hyp", str(data.parents[1] / "hyp")]
    hub5.main([*words, "--output_dir", str(data.parents[1] / "out")])
    assert "WER" in capsys.readouterr().out
