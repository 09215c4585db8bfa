"""Rows beside the paper's numbers: tables, spread, Figure 1."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from papers import paper

from espnet_topdown.errors import TopDownError
from espnet_topdown.report.paper import write_rows

WSJ = paper("wsj")


@pytest.fixture
def decoded(tmp_path):
    """Writes the scores of a row; eval92 has 10 errors fewer than dev93."""

    def write(row, errors, decoder="ctc_greedy", sets=WSJ.sets, utts=None):
        for i, name in enumerate(sets):
            place = "org/test_dev93" if name == "test_dev93" else name
            folder = tmp_path / row / f"decode_{decoder}" / place
            folder.mkdir(parents=True)
            counts = {"ref": 1000, "corr": 900, "sub": errors - 10 * i, "del": 0}
            score = {"utts": utts or WSJ.sets[name], "cer": {**counts, "ins": 0}}
            (folder / "score.json").write_text(json.dumps(score))

    write.folder = tmp_path
    return write


def words_in(decoded, number):
    drawn = ET.parse(decoded.folder / f"figures/figure{number}.svg").getroot()
    return {t.text for t in drawn.iter("{http://www.w3.org/2000/svg}text")}


def line(text, row):
    return [one for one in text.splitlines() if one.startswith(f"| {row} |")]


def test_ours_beside_the_papers(decoded):
    decoded("C.1", 123)
    decoded("A", 80, "att")
    decoded("A", 90, "att_ctc_weight0.0", sets=["test_eval92"])
    text = write_rows(WSJ, decoded.folder)
    (row,) = line(text, "C.1")
    want = "| C.1 | CTC, seed 1 | 1000 | ctc_greedy | 12.4 | 12.3 | 9.7 | 11.3 | 503 + "
    assert row == want + "333 |"
    first, second = line(text, "A")
    assert "| att | 8.0 | 8.0 | 6.2 | 7.0 |" in first
    assert (
        "| att_ctc_weight0.0 | 8.0 | not run | 6.2 | 9.0 | 0 of 503 + 333 |" in second
    )
    (row,) = line(text, "D.td")
    assert row.count("not run") == 2
    assert "figure1" not in text and "sclite" in text
    table = (decoded.folder / "rows.tsv").read_text().splitlines()
    cells = dict(zip(table[0].split("\t"), table[2].split("\t")))
    assert (cells["set"], cells["ours"]) == ("test_eval92", "11.3000")
    assert (cells["errors"], cells["ref"], cells["paper"]) == ("113", "1000", "9.7")
    assert len(table) == 1 + 2 * (len(WSJ.rows) + 1), "every row, A under two decoders"
    assert sum(one.split("\t")[7] == "not run" for one in table) == len(table) - 6


def test_spread_over_seeds(decoded):
    for row, errors in (("C.1", 120), ("C.2", 130), ("C.3", 140), ("D", 90)):
        decoded(row, errors)
    text = write_rows(WSJ, decoded.folder)
    assert "| C.s | test_dev93 | 3 | 13.00 | 1.00 |" in text
    assert "| D |" not in text.split("## Spread")[1]


def test_another_number_of_utterances_is_no_comparison(decoded):
    decoded("C.1", 120, sets=["test_eval92"], utts=332)
    with pytest.raises(TopDownError, match="E_EVAL_SET: test_eval92 has 332"):
        write_rows(WSJ, decoded.folder)
    text = write_rows(WSJ, decoded.folder, allow_partial=True)
    assert "332 of 333" in line(text, "C.1")[0]
    decoded("C.2", 120, sets=["test_eval92"], utts=334)
    with pytest.raises(TopDownError, match="E_EVAL_SET: test_eval92 has 334"):
        write_rows(WSJ, decoded.folder, allow_partial=True)


def test_a_page_of_somebody_else_stays(decoded):
    decoded("C.1", 120)
    page = decoded.folder / "RESULTS.md"
    page.write_text("mine\n")
    with pytest.raises(TopDownError, match="E_CREATE: .*RESULTS.md"):
        write_rows(WSJ, decoded.folder)
    assert page.read_text() == "mine\n"


def test_figure_1(decoded):
    for s in (1, 2):
        decoded(f"F1.5.{s}", 300 + s)
        decoded(f"F1.80.{s}", 200 + s)
        decoded(f"F1.scratch.{s}", 250)
    decoded("F1.random.1", 400)
    text = write_rows(WSJ, decoded.folder)
    assert "![figure1](figures/figure1.svg)" in text
    assert "| F1.5 | test_dev93 | 2 | 30.15 | 0.07 |" in text
    rows = (decoded.folder / "figures/figure1.tsv").read_text().splitlines()
    assert "test_dev93, seed 21000\t5\t30.1" in rows
    assert "test_dev93, mean\t5\t30.15" in rows
    assert "random (test_eval92)\t\t39" in rows
    assert "jointly trained (test_dev93)\t\t25" in rows
    assert len(rows) == 1 + 2 * (2 * 3 + 2)
    assert {"5", "80", "jointly trained (test_dev93)"} <= words_in(decoded, 1)


def test_figure_2(decoded):
    for epoch in range(1, 26):
        decoded(f"F2.{epoch}", 300 - epoch)
    decoded("F1.scratch.1", 250)
    text = write_rows(WSJ, decoded.folder)
    assert "![figure2](figures/figure2.svg)" in text
    assert "figure1" not in text, "the control alone is no figure"
    rows = (decoded.folder / "figures/figure2.tsv").read_text().splitlines()
    assert "test_dev93, seed 21000\t11\t28.9" in rows and len(rows) == 1 + 2 * 51
    assert {"1", "25", "epoch of the frozen classifier"} <= words_in(decoded, 2)
