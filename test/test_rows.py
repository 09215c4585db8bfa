"""What the shell is told about rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from papers import paper

from espnet_topdown.errors import TopDownError
from espnet_topdown.search.rows import FIELDS, check_sets, plan_rows

WSJ = paper("wsj")
CONF = Path(__file__).parents[1] / "egs2" / "wsj_topdown" / "asr1" / "conf"


def test_a_plan_has_a_line_for_each_row_and_no_empty_field():
    lines = [line.split("\t") for line in plan_rows(WSJ, ["A.B"], CONF)]
    assert [line[:2] for line in lines] == [
        ["joint", "A"],
        ["joint", "B"],
        ["retrain", "A.B"],
    ]
    assert all(len(line) == len(FIELDS) and all(line) for line in lines)
    last = dict(zip(FIELDS, lines[-1]))
    assert (last["of"], last["source"], last["freeze"]) == ("A", "B", "softmax")
    assert [line[-1] for line in lines] == ["false", "false", "true"]


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


def test_every_row_can_be_planned():
    groups = WSJ.groups
    every = [*groups["all"], *groups["figure1"], *groups["figure2"]]
    assert len(plan_rows(WSJ, every, CONF)) == len(WSJ.rows)


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
