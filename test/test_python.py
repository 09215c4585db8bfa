"""The functions of ``espnet_topdown`` for Python: those that the command line calls."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from record import unpack

import espnet_topdown
from espnet_topdown import (
    TopDownError,
    list_layers,
    load_search,
    plan_retraining,
    retrain,
    run_search,
)
from espnet_topdown.cli import installation
from espnet_topdown.cli.main import main
from espnet_topdown.jobs import run

ROOT = Path(__file__).parents[1]


@pytest.fixture
def finished(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    unpack("finished")
    return Path("exp/search")


@pytest.fixture(autouse=True)
def installed(monkeypatch) -> None:
    monkeypatch.setattr(installation, "check", lambda: None)


def test_the_import_loads_nothing_heavy() -> None:
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; import espnet_topdown as t; "
    code += "print(dir(t)); print(*sys.modules)"
    words = [sys.executable, "-c", code]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    names, modules = ran.stdout.splitlines()
    assert names == str(sorted([*espnet_topdown.__all__, "__version__"]))
    assert not {"torch", "numpy", "yaml", "espnet2", "argparse"} & {*modules.split()}


@pytest.mark.parametrize(
    "words, call, options",
    [
        ("layers", list_layers, {}),
        ("layers --stack asr_rnn", list_layers, {"stack": "asr_rnn"}),
        ("plan --freeze softmax", plan_retraining, {"freeze": "softmax"}),
        (
            "plan --freeze softmax,blstm1 --seed 7 --allow_any_order",
            plan_retraining,
            {"freeze": ["softmax", "blstm1"], "seed": "7", "allow_any_order": True},
        ),
    ],
)
def test_tables_are_those_of_the_command_line(
    toy_experiment, capsys, words, call, options
):
    text = call("exp/joint", **options)
    main([*words.split(), "exp/joint"])
    assert capsys.readouterr().out == f"{text}\n" == f"{text!r}\n"
    html = text._repr_html_()
    assert html.startswith('<pre style="font-family: monospace;') and "softmax" in html


def test_a_search_that_was_loaded(finished: Path, capsys, monkeypatch) -> None:
    search = load_search(str(finished))
    main(["status", "exp/search"])
    assert capsys.readouterr().out == f"{search.status()}\n"
    assert search.best == finished / "m1.2"
    rows = {row["model"]: row for row in search.table}
    assert list(rows) == ["m3", "m1.2", "m1.1.1", "control.joint", "control.warm"]
    assert (rows["m1.2"]["errors"], rows["m1.2"]["frozen"]) == (40, "softmax")
    assert round(rows["m1.2"]["cer test (ctc_greedy)"], 2) == 5.47
    table = search.table._repr_html_()
    assert "<th>cer test (ctc_greedy)</th>" in table and "<td>5.47</td>" in table
    assert table.count("<tr>") == 1 + len(rows) and "None" not in table
    text = search.report("elsewhere")
    assert "# RESULTS" in text and Path("elsewhere/report.html").is_file()
    assert not Path(finished, "RESULTS.md").exists()
    frames = SimpleNamespace(DataFrame=list)
    monkeypatch.setitem(sys.modules, "pandas", frames)
    assert search.table.to_pandas() == list(search.table)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(TopDownError, match="E_INSTALL: pandas") as e:
        search.table.to_pandas()
    assert e.value.remedy == "run pip install 'espnet_topdown[notebook]'"


@pytest.mark.parametrize(
    "folder, state, best, figures",
    [
        ("finished", "finished", Path("exp/search/m1.2"), ["rates", "differences"]),
        ("joint_best", "finished", Path("exp/joint"), []),
        ("interrupted", "interrupted", None, []),
    ],
)
def test_a_search_shows_itself(tmp_path, monkeypatch, folder, state, best, figures):
    """With its figures, of what the folder says now, without writing into it."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    unpack(folder)
    search = load_search("exp/search")
    assert search.best == best
    html = search._repr_html_()
    assert html.startswith(search.status()._repr_html_()) and state in html
    for name in figures:
        assert f'<img alt="{name}" src="data:image/svg+xml;base64,' in html
    assert not Path("exp/search/figures").exists()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert search._repr_html_() == search.status()._repr_html_()


NEW = ("exp/joint", "out")
OLD = ("exp/joint", "exp/search")
SOFTMAX = ("exp/joint", "softmax")


@pytest.mark.parametrize(
    "call, given, options, message",
    [
        (load_search, ["exp"], {}, "E_NO_SEARCH: no search in exp"),
        (plan_retraining, SOFTMAX, {"sed": 1}, "E_USAGE.*--sed=1 .nearest: --seed"),
        (run_search, NEW, {"strateg": "x"}, "E_USAGE.*--strateg=x .nearest: --stra"),
        (run_search, NEW, {"max_jobs": 1.5}, "E_USAGE.*--max_jobs: invalid int .*1.5"),
        (run_search, NEW, {"controls": ["warn"]}, "E_RANGE: --controls warn .*: warm"),
        (run_search, OLD, {"strategy": "full"}, "E_CONFIG_CHANGED.*greedy, now fu"),
        (run_search, OLD, {"stack": "x.yaml"}, "E_STACK: .*x.yaml"),
        (retrain, [*NEW, "softmaks"], {}, "E_FREEZE_NOMATCH.*nearest: softmax"),
    ],
)
def test_mistakes(finished: Path, call, given, options: dict, message: str) -> None:
    with pytest.raises(TopDownError, match=message) as e:
        call(*given, **options)
    assert e.value.remedy and not Path("out").exists()


def test_one_retraining(finished: Path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(run, "run_by_hand", lambda *given: asked.append(given))
    made = retrain("exp/joint", "exp/soft", freeze="softmax", ngpu=1)
    assert made == Path("exp/soft")
    ((spec, folder, ngpu, *allowed),) = asked
    assert (spec.frozen, folder, ngpu) == (("softmax",), Path("exp/soft"), 1)
    assert spec.base.folder == Path("exp/joint") and allowed == [False] * 3


INTERRUPTING = """import os, runpy, signal, sys, time
from pathlib import Path
once = Path(os.environ["FAKE_DIR"], "interrupt")
if once.exists() and "m1.1.1" in sys.argv[1]:
    number = int(once.read_text())
    once.unlink()
    os.kill(os.getppid(), number)
    time.sleep(60)
runpy.run_path({fake!r}, run_name="__main__")
"""


@pytest.mark.espnet
@pytest.mark.parametrize(
    "number, says",
    [
        (signal.SIGINT, None),  # in a cell
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "interrupted by TERM"),
        (signal.SIGHUP, "interrupted by HUP"),
    ],
)
def test_an_interrupted_cell_or_command_is_continued(
    toy_experiment: Path, fake_cmd: str, tmp_path: Path, number, says, capsys
) -> None:
    python, fake = fake_cmd.split()
    (tmp_path / "launcher.py").write_text(INTERRUPTING.format(fake=fake))
    errors = {"root": "m3", "m3": 50, "m1.2": 40, "m1.1.1": 41}
    (tmp_path / "errors.json").write_text(json.dumps(errors))
    (tmp_path / "interrupt").write_text(str(int(number)))
    options = {"controls": "none", "cmd": f"{python} {tmp_path / 'launcher.py'}"}
    words = ["search", str(toy_experiment), "exp/search"]
    words += [word for name, value in options.items() for word in (f"--{name}", value)]
    if says is None:
        with pytest.raises(KeyboardInterrupt):
            run_search(str(toy_experiment), "exp/search", **options)
    else:
        with pytest.raises(SystemExit, match=f"^{128 + number}$"):
            main(words)
        said = capsys.readouterr().err
        assert f"{says}; the same command continues\n" in said
    stopped = load_search("exp/search")
    assert stopped.best is None and "interrupted" in stopped.status()
    if says is not None:
        main(words)
    search = run_search(str(toy_experiment), "exp/search", **options)
    assert search.best == Path("exp/search/m1.2")
    calls = (tmp_path / "calls").read_text().split()
    assert calls == ["m3", "m1.2", "m1.1.1"]
    assert run_search(toy_experiment, "exp/search", **options).best == search.best
    assert (tmp_path / "calls").read_text().split() == calls
