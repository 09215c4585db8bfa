"""The rows of the paper: the file is complete, and rows come after what they need."""

from __future__ import annotations

from pathlib import Path

import pytest
from papers import paper

from espnet_topdown.errors import TopDownError
from espnet_topdown.search.rows import RANDOM, read_paper

WSJ = paper("wsj")
CONF = Path(__file__).parents[1] / "egs2" / "wsj_topdown" / "asr1" / "conf"


@pytest.mark.parametrize(
    "names, order",
    [
        (["C.1"], "C.1"),
        (["C.2.td"], "C.2 C.2.td"),
        (["C.1.low"], "C.1 C.1.low"),
        (["A.A"], "A A.A"),
        (["A.B"], "A B A.B"),
        (["B.A", "A"], "B A B.A"),
        (["D.td", "D"], "D D.td"),
        (["F1.20.3"], "F1.scratch.1 T1.20 F1.20.3"),
        (["F1.random.2"], "F1.scratch.1 F1.random.2"),
        (["F2.11"], "F1.scratch.1 T2.80 F2.11"),
        (["table1"], "T1.5 T1.10 T1.20 T1.40 T1.80"),
    ],
)
def test_order(names, order):
    assert [row.name for row in WSJ.in_order(names)] == order.split()


@pytest.mark.parametrize(
    "name, how, freeze, source, seed, paper",
    [
        ("C.1", "joint", "", "", 1000, (12.4, 9.7)),
        ("C.2", "joint", "", "", 2000, (12.6, 10.4)),
        ("C.3.td", "search", "", "", 3000, (11.5, 8.9)),
        ("C.1.low", "retrain", "blstm0", "C.1", 1000, (13.1, 10.5)),
        ("D", "joint", "", "", 3000, (9.6, 7.6)),
        ("A.B", "retrain", "softmax", "B", 1000, (7.5, 5.7)),
        ("B.A", "retrain", "softmax", "A", 1000, (6.7, 5.2)),
        ("F1.40.2", "retrain", "softmax,blstm3", "T1.40", 22000, ()),
        ("F1.random.5", "retrain", "softmax,blstm3", RANDOM, 25000, ()),
    ],
)
def test_rows(name, how, freeze, source, seed, paper):
    row = WSJ.rows[name]
    found = (row.how, row.freeze, row.source, WSJ.seed(row), row.paper)
    assert found == (how, freeze, source, seed, paper)


def test_controls_are_a_group():
    groups = paper("wikitext2").groups
    assert groups["controls"] == ["L.2.free", "L.2.long", "L.2.random"]
    assert groups["all"] == groups["table4"] == ["L", "L.1", "L.2", "L.3"]
    assert "controls" not in WSJ.groups


def test_groups():
    assert len(WSJ.groups["all"]) == 20 and len(WSJ.groups["table2"]) == 15
    assert len(WSJ.groups["figure1"]) == 7 * 5
    assert len(WSJ.groups["figure2"]) == 1 + 25
    assert [WSJ.rows[f"F2.{e}"].epoch for e in (1, 25)] == [1, 25]
    three = [WSJ.groups[name] for name in ("table1", "figure1", "figure2")]
    assert WSJ.groups["transfer"] == sum(three, [])


@pytest.mark.parametrize("corpus", ["wsj", "swbd"])
def test_every_row_is_complete(corpus):
    known = paper(corpus)
    for row in known.rows.values():
        assert row.how in ("joint", "search", "retrain"), row
        assert bool(row.config) == (row.how == "joint") == (not row.of), row
        assert bool(row.freeze) == bool(row.source) == (row.how == "retrain"), row
        assert all(need in known.rows for need in row.needs if need), row
        assert len(row.paper) == (len(known.sets) if row.table else 0), row
        assert not row.data or row.data in known.parts, row
        if corpus == "wsj" and row.config:
            assert (CONF / f"{row.config}.yaml").is_file(), row


def test_unknown_names():
    with pytest.raises(TopDownError, match="E_ROW: --row A.C .*nearest: A") as e:
        WSJ.in_order(["A.C"])
    assert e.value.status == 64
    with pytest.raises(TopDownError, match="E_PAPER.*wsj"):
        read_paper("wjs", CONF)
