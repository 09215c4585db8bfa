"""The report of a language model's search, from files only."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from espnet_topdown.files import write_yaml
from espnet_topdown.report.write import write_report


@pytest.fixture
def search(tmp_path: Path) -> Path:
    folder = tmp_path / "lm_topdown"
    request = {"base_exp": "exp/lm", "stack": "lm_awd_lstm", "strategy": "greedy"}
    request.update(criterion="ppl", decoder="perplexity", layers=["softmax", "lstm0"])
    folder.mkdir()
    write_yaml(folder / "search.yaml", request)
    for node, nats in (("m2", 400.0), ("m1.1", 390.0)):
        (folder / node).mkdir()
        frozen = ["softmax"] if node != "m2" else []
        write_yaml(folder / node / "retrain.yaml", {"node": node, "frozen": frozen})
        score = {"set": "dev", "decoder": "perplexity", "epoch": 3, "utts": 10}
        score["ppl"] = {"ref": 100, "nll": nats}
        (folder / node / "score.json").write_text(json.dumps(score))
    return folder


def finish(folder: Path, best: str) -> None:
    result = {"best": best, "path": ["m2", "m1.1"], "reason": "r", "finished": "now"}
    (folder / "result.json").write_text(json.dumps({**result, "nodes": {}}))


def test_table_and_headline(search: Path) -> None:
    finish(search, "m1.1")
    text = write_report(search).markdown
    assert f"perplexity from {math.exp(4.0):.2f} to {math.exp(3.9):.2f}." in text
    rows = [x for x in text.splitlines() if "M_{" in x and x.startswith("|")]
    assert len(rows) == 2
    bold = "| **49.40** | **390.000** | **not run** | **not run** |"
    assert bold in rows[1]


def test_unfinished_and_no_gain(search: Path) -> None:
    assert "not finished" in write_report(search).markdown
    finish(search, "m2")
    assert "Joint training stays the best" in write_report(search).markdown


def test_test_text(search: Path) -> None:
    finish(search, "m1.1")
    place = search / "m1.1" / "decode_perplexity" / "test"
    place.mkdir(parents=True)
    score = {"set": "test", "ppl": {"ref": 10, "nll": 20.0}}
    (place / "score.json").write_text(json.dumps(score))
    assert "| **7.39** | **20.000** |" in write_report(search).markdown
    numbers = (search / "figures" / "perplexities.tsv").read_text().splitlines()
    assert numbers[-1] == "m1.1\ttest\t10\t20.000000\t7.389056"
    assert len(numbers) == 4


def test_page_and_curves(search: Path) -> None:
    """The page is that of a recogniser without error rates; curves are of the loss."""
    finish(search, "m1.1")
    point = {"epoch": 1, "seconds": 1.0, "train": {}, "valid": {"loss": 3.9}}
    (search / "m1.1" / "curve.jsonl").write_text(json.dumps(point) + "\n")
    names = {p.name for p in write_report(search).files}
    assert {"RESULTS.md", "report.html", "learning_curves.tsv"} <= names
    page = (search / "report.html").read_text()
    headings = re.findall("<h2>(.*?)</h2>", page)
    known = ["The search", "Models", "Learning curves", "How it was made"]
    assert headings == known
    assert "49.40" in page and "nats a token" in page and "rrors on" not in page
    assert "figures/learning_curves.tsv" in page and " errors " not in page


@pytest.mark.parametrize("nats, said", [(380.0, True), (390.0, True), (395.0, False)])
def test_a_control_that_is_not_worse_is_said(search: Path, nats, said) -> None:
    finish(search, "m1.1")
    folder = search / "control.joint"
    folder.mkdir()
    job = {"node": folder.name, "frozen": [], "control": "joint"}
    write_yaml(folder / "retrain.yaml", job)
    (folder / "score.json").write_text(json.dumps({"ppl": {"ref": 100, "nll": nats}}))
    text = write_report(search).markdown
    sentence = f"validation text: control.joint {math.exp(nats / 100):.2f}."
    assert (sentence in text) == said
    assert (sentence in (search / "report.html").read_text()) == said
