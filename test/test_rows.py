"""Rows of the paper: what they are, in which order, and how they are made."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from papers import paper

from espnet_topdown.cli.main import main, parser_of
from espnet_topdown.errors import TopDownError
from espnet_topdown.search import rows
from espnet_topdown.search.rows import RANDOM, RowMaker, read_paper

WSJ = paper("wsj")
CONF = Path(__file__).parents[1] / "egs2" / "wsj_topdown" / "asr1" / "conf"


@pytest.mark.parametrize(
    "names, order",
    [
        (["B.A", "A"], "B A B.A"),
        (["D.td", "D"], "D D.td"),
        (["F1.20.3"], "F1.scratch.1 T1.20 F1.20.3"),
        (["F1.random.2"], "F1.scratch.1 F1.random.2"),
        (["table1"], "T1.5 T1.10 T1.20 T1.40 T1.80"),
    ],
)
def test_order(names, order):
    """Needed ones first, each once."""
    assert [row.name for row in WSJ.in_order(names)] == order.split()


@pytest.mark.parametrize(
    "name, how, freeze, source, seed, paper",
    [
        ("C.2", "joint", "", "", 2000, (12.6, 10.4)),
        ("C.3.td", "search", "", "", 3000, (11.5, 8.9)),
        ("D", "joint", "", "", 3000, (9.6, 7.6)),
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
    section = groups["table1"] + groups["figure1"] + groups["figure2"]
    assert groups["transfer"] == section
    every = groups["all"] + groups["figure1"] + groups["figure2"]
    assert len(WSJ.in_order(every)) == len(WSJ.rows)
    WSJ.check(every)
    other = paper("wikitext2").groups
    assert other["controls"] == ["L.2.free", "L.2.long", "L.2.random"]
    assert other["all"] == other["table4"] == ["L", "L.1", "L.2", "L.3"]
    assert "controls" not in groups


@pytest.mark.parametrize("corpus", ["wsj", "swbd", "wikitext2"])
def test_every_row_is_complete(corpus):
    known = paper(corpus)
    for row in known.rows.values():
        assert row.how in ("joint", "search", "retrain"), row
        assert bool(row.config) == (row.how == "joint") == (not row.of), row
        assert bool(row.freeze) == bool(row.source), row
        assert row.how == "retrain" or not row.freeze, row
        assert all(need in known.rows for need in row.needs if need), row
        assert len(row.paper) == (len(known.sets) if row.table else 0), row
        assert not row.data or row.data in known.parts, row


def row_maker(known=WSJ, exp="exp/asr_CONFIG_rawARGS", **options):
    return RowMaker(known, Path("exp/rows"), ["run.sh"], exp, **options)


@pytest.mark.parametrize(
    "key, size",
    [("encoder_conf", "output_size: 320"), ("decoder_conf", "hidden_size: 320\n")],
)
def test_a_classifier_that_cannot_fit(maker, tmp_path, key, size):
    for name in ("rows.yaml", "train_att_a.yaml", "train_att_vgg_b.yaml"):
        (tmp_path / name).write_text((CONF / name).read_text())
    head, tail = (CONF / "train_att_vgg_b.yaml").read_text().split(f"{key}:")
    tail = tail.replace(size, size.replace("320", "300"), 1)
    (tmp_path / "train_att_vgg_b.yaml").write_text(f"{head}{key}:{tail}")
    other = read_paper("", tmp_path)
    with pytest.raises(TopDownError, match=f"E_SHAPE_MISMATCH: row A.B: {key}") as e:
        row_maker(other).make_rows(["A.B"])
    assert e.value.status == 65 and maker[0] == []
    other.check(["B.B"])


@pytest.fixture
def maker(tmp_path, monkeypatch):
    """What stages and retrainings rows are made of; nothing is trained."""
    monkeypatch.chdir(tmp_path)
    made: list[str] = []

    def experiment(folder: str, seed: str) -> None:
        if Path(folder, "config.yaml").exists():
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        for name in ("valid.loss.best.pth", "checkpoint.pth"):
            Path(folder, name).touch()
        text = "best_model_criterion: [[valid, loss, min]]\nmax_epoch: 7\n"
        Path(folder, "config.yaml").write_text(f"{text}seed: {seed or 1000}\n")

    def stages(words):
        given = dict(zip(words[1::2], words[2::2]))
        exp = given.get("--asr_exp", "")
        said = [given["--stage"], exp]
        if given["--stage"] == "11":
            args = given["--asr_args"]
            experiment(exp, args.partition("--seed ")[2])
            said += [args, *words[11:]]
        elif given["--stage"] == "12":
            experiment(f"{exp}_topdown/m1.4", "")
            said += words[7:]
        elif given["--stage"] == "13":
            said += words[words.index("--decode_candidates") + 2 :]
        made.append(" ".join(said).strip())
        return subprocess.CompletedProcess(words, 0)

    def retrain(command, log, folder, cmd, backend):
        words = command[command.index("retrain") + 1 :]
        given = parser_of("retrain").parse_args(words)
        assert given.allow_pipes and given.allow_overlap and given.output_dir == folder
        experiment(folder, given.seed)
        (folder / ".done").touch()
        said = [given.base_exp, given.freeze, given.frozen_from, given.seed]
        said += [given.max_epoch, given.allow_any_order]
        made.append(f"retrain {folder.name}: " + " ".join(map(str, said)))
        return 0

    best = SimpleNamespace(name="m1.4", frozen=("softmax",))
    monkeypatch.setattr(rows, "read_state", lambda _: SimpleNamespace(best=best))
    monkeypatch.setattr(rows.subprocess, "run", stages)
    monkeypatch.setattr(rows, "run_and_show", retrain)
    monkeypatch.setattr(rows, "make_part", lambda *a: made.append(f"part {a[0]}"))
    return made, experiment


C, M = "exp/asr_train_ctc_raw", "valid.loss.best.pth"
A, B = "exp/asr_train_att_a_raw", "exp/asr_train_att_vgg_b_raw"
BEAM = "--inference_config beam.yaml"
# The stages with their options, and of a retraining what it is of, what is frozen, from
# where, the seed, the epochs and whether other layers than the top ones may be.
CALLS = {
    "C.1": f"""
11 {C}
13 {C}
""",
    "C.1.td": f"""
11 {C}
12 {C} --topdown_dir {C}_topdown --retrain_seed same
13 {C}_topdown/m1.4
""",
    "C.1.low": f"""
11 {C}
retrain C.1.low: {C} blstm0 {C}/{M} 1000 None True
13 exp/rows/C.1.low
""",
    "A.B": f"""
11 {A}
11 {B}
retrain A.B: {A} softmax {B}/{M} 1000 None False
13 exp/rows/A.B {BEAM}
13 exp/rows/A.B {BEAM} --inference_args --ctc_weight 0.0
""",
    "F2.11": """
part unseen
11 exp/rows/F1.scratch.1 --seed 11000 \
--train_set train_unseen --asr_stats_dir stats_unseen
part p80
11 exp/rows/T2.80 --max_epoch 25 --patience none --harvest softmax,blstm3 \
--train_set train_p80 --asr_stats_dir stats_p80
retrain F2.11: exp/rows/F1.scratch.1 softmax,blstm3 exp/rows/T2.80/harvest/11.pth \
21000 None False
13 exp/rows/F2.11
""",
}


@pytest.mark.parametrize("row", CALLS)
def test_a_row_is_made_by_stages(maker, row):
    made, _ = maker
    options = {"inference_config": "beam.yaml", "stats_dir": Path("stats")}
    ours = row_maker(train_dir=Path("dump/train"), **options)
    ours.make_rows([row])
    assert made == CALLS[row].strip().split("\n")
    made.clear()
    ours.make_rows([row])
    assert not [call for call in made if call.startswith("retrain")], "it is finished"


@pytest.mark.parametrize(
    "utts, row, more, status, message",
    [
        (333, "C.1", [], 0, ""),
        (332, "C.1", [], 65, "E_EVAL_SET: test_eval92 has 332 utterances"),
        (332, "C.1", ["--allow_partial"], 0, ""),
        (334, "C.1", ["--allow_partial"], 65, "E_EVAL_SET: test_eval92 has 334"),
        (None, "C.1", ["--allow_partial"], 66, "E_ORDER"),
        (333, "A.C", [], 64, "E_ROW: --row A.C is unknown (nearest: A"),
        (333, "C.1", ["--paper", "wjs"], 64, "E_PAPER: --paper 'wjs' is unknown"),
        (333, "T1.5", ["--train_dir", "dump/t_sp"], 64, "E_USAGE: rows on parts"),
        (333, "C.1 A.B", ["--conf", "mine"], 66, "mine/train_att_a.yaml"),
    ],
)
def test_mistakes_are_named_before_a_row_is_made(
    maker, capsys, utts, row, more, status, message
):
    for name, n in (("org/test_dev93", 503), ("test_eval92", utts)):
        folder = Path("dump", name)
        folder.mkdir(parents=True)
        if n is not None:
            (folder / "text").write_text("".join(f"u{i} A\n" for i in range(n)))
    Path("mine").mkdir()
    for name in ("rows.yaml", "train_ctc.yaml"):
        Path("mine", name).write_text((CONF / name).read_text())
    call = ["rows", "--conf", str(CONF), "--train_dir", "dump/train", "--rows_dir"]
    call += ["exp/rows", "--exp", "exp/asr_CONFIG_rawARGS", "--row", row, *more]
    try:
        main([*call, "--", "run.sh"])
    except SystemExit as e:
        assert e.code == status and message in capsys.readouterr().err
    assert maker[0] == ([] if status else [f"11 {C}", f"13 {C}"])


def test_a_retraining_that_fails_ends_the_rows(maker, monkeypatch):
    made, _ = maker
    monkeypatch.setattr(rows, "run_and_show", lambda *words: 65)
    with pytest.raises(TopDownError, match="E_JOB: row C.1.low failed.*65") as e:
        row_maker().make_rows(["C.1.low"])
    assert e.value.status == 65 and made == [f"11 {C}"]


def test_rows_of_a_language_model(maker):
    """Of the one baseline, with seeds that are counted from its seed."""
    made, experiment = maker
    experiment("exp/lm", "5000")
    row_maker(paper("wikitext2"), "exp/lm").make_rows(["L.2", "L.2.long"])
    assert [call for call in made if call.startswith("retrain")] == [
        f"retrain L.2: exp/lm softmax exp/lm/{M} 6000 None False",
        "retrain L.2.long: exp/lm  None 6000 14 False",
    ]
    assert len(made) == 4
