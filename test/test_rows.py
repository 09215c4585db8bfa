"""Rows of the paper: what they are, in which order, and how they are made."""

from __future__ import annotations

from pathlib import Path

import pytest
from papers import paper

from espnet_topdown.errors import TopDownError
from espnet_topdown.search import rows
from espnet_topdown.search.rows import (
    FIELDS,
    RANDOM,
    check_sets,
    plan_rows,
    read_paper,
)

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
    """Needed ones first; a line for each, without an empty field."""
    lines = [dict(zip(FIELDS, x.split("\t"))) for x in plan_rows(WSJ, names, CONF)]
    assert [line["name"] for line in lines] == order.split()
    assert all(len(line) == len(FIELDS) and all(line.values()) for line in lines)
    wanted = {row.name for row in WSJ.chosen(names)}
    assert {line["name"] for line in lines if line["wanted"] == "true"} == wanted


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


def test_groups():
    groups = WSJ.groups
    sizes = {"all": 20, "table2": 15, "figure1": 7 * 5, "figure2": 1 + 25}
    assert {name: len(groups[name]) for name in sizes} == sizes
    assert [WSJ.rows[f"F2.{e}"].epoch for e in (1, 25)] == [1, 25]
    three = [groups[name] for name in ("table1", "figure1", "figure2")]
    assert groups["transfer"] == sum(three, [])
    every = [*groups["all"], *groups["figure1"], *groups["figure2"]]
    assert len(plan_rows(WSJ, every, CONF)) == len(WSJ.rows)
    other = paper("wikitext2").groups
    assert other["controls"] == ["L.2.free", "L.2.long", "L.2.random"]
    assert other["all"] == other["table4"] == ["L", "L.1", "L.2", "L.3"]
    assert "controls" not in groups


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


@pytest.mark.parametrize(
    "row, args",
    [
        ("C.1", "-"),
        ("C.2", "--seed 2000"),
        ("D", "-"),
        ("T1.5", "-"),
        ("T2.80", "--max_epoch 25 --patience none --harvest softmax,blstm3"),
    ],
)
def test_a_seed_is_given_where_it_is_not_the_configurations(row, args):
    (line,) = plan_rows(WSJ, [row], CONF)
    assert line.split("\t")[FIELDS.index("args")] == args


@pytest.mark.parametrize("key", ["encoder_conf", "decoder_conf"])
def test_a_classifier_that_cannot_fit(tmp_path, key):
    for name in ("a", "vgg_b"):
        text = (CONF / f"train_att_{name}.yaml").read_text()
        if name == "vgg_b":
            old = "output_size: 320" if key == "encoder_conf" else "hidden_size: 320\n"
            head, tail = text.split(f"{key}:")
            text = f"{head}{key}:{tail.replace(old, old.replace('320', '300'), 1)}"
        (tmp_path / f"train_att_{name}.yaml").write_text(text)
    with pytest.raises(TopDownError, match=f"E_SHAPE_MISMATCH: row A.B: {key}") as e:
        plan_rows(WSJ, ["A.B"], tmp_path)
    assert e.value.status == 65
    assert plan_rows(WSJ, ["B.B"], tmp_path)


@pytest.mark.parametrize(
    "utts, partial, code",
    [(333, False, ""), (332, False, "E_EVAL_SET"), (332, True, "")]
    + [(334, True, "E_EVAL_SET"), (None, True, "E_ORDER")],
)
def test_sets_must_be_the_papers(tmp_path, utts, partial, code):
    folders = [tmp_path / "org" / "test_dev93", tmp_path / "test_eval92"]
    for folder, n in zip(folders, (503, utts)):
        folder.mkdir(parents=True)
        if n is not None:
            lines = "".join(f"u{i} A\n" for i in range(n))
            (folder / "text").write_text(lines)
    if not code:
        check_sets(WSJ, folders, partial)
        return
    with pytest.raises(TopDownError, match=code):
        check_sets(WSJ, folders, partial)


def test_a_search_is_not_made_here(tmp_path, monkeypatch):
    """It has a stage of its own; nothing else is trained in its place."""
    trained, wsj = [], paper("wsj")  # its tables have rows of searches
    monkeypatch.setattr(rows, "_scores", lambda *a: {})
    monkeypatch.setattr(rows, "_train", lambda row, *a: trained.append(row.name))
    setting = rows.Setting(tmp_path / "exp", tmp_path / "out", {})
    with pytest.raises(TopDownError, match="E_ROW: row C.1.td is a search"):
        rows.make_rows(wsj, ["C.1.td"], setting)
    assert trained == ["C.1"] and not (tmp_path / "out").exists()
