"""Writing the report: which files, the same bytes, without matplotlib."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from made_up_search import write_search

from espnet_topdown.bin.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.report.write import write_report

NAMES = {
    "RESULTS.md",
    "report.html",
    "figures/errors.svg",
    "figures/errors.tsv",
    "figures/learning_curves.svg",
    "figures/learning_curves.tsv",
}


def snapshot(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_the_same_folders_give_the_same_bytes(search: Path, monkeypatch):
    pytest.importorskip("matplotlib")
    before = snapshot(search)
    written = write_report(search)
    first = snapshot(search)
    assert set(first) - set(before) == NAMES
    assert {p.relative_to(search).as_posix() for p in written.files} == NAMES
    monkeypatch.chdir(search.parent)
    write_report(Path(search.name))
    assert snapshot(search) == first


def test_a_search_of_another_place_gives_the_same_page(tmp_path: Path):
    texts = []
    for place in ("a", "b"):
        folder = write_search(tmp_path / place / "exp" / "s")
        (folder / "journal.jsonl").unlink()  # it holds the time
        write_report(folder)
        texts.append((folder / "report.html").read_bytes())
    assert texts[0] == texts[1]


def test_without_matplotlib(search: Path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with caplog.at_level(logging.WARNING):
        write_report(search)
    warnings = [r.getMessage() for r in caplog.records]
    assert len(warnings) == 1
    assert warnings[0].startswith("W_NO_MATPLOTLIB")
    assert "\n" not in warnings[0]
    assert not list(search.glob("figures/*.svg"))
    assert (search / "figures/learning_curves.tsv").is_file()
    assert "polyline" in (search / "report.html").read_text()
    assert "figures/errors.svg" not in (search / "RESULTS.md").read_text()


def test_numbers_beside_the_figures(search: Path):
    write_report(search)
    lines = (search / "figures/learning_curves.tsv").read_text().splitlines()
    assert lines[0] == "model\tepoch\tcer_ctc"
    assert len(lines) == 1 + 6 * 12
    rows = (search / "figures/errors.tsv").read_text().splitlines()
    assert len(rows) == 1 + 6 * 2 * 2
    assert len({row.count("\t") for row in rows}) == 1


@pytest.mark.parametrize("models", [(), ("m5",), ("m5", "m1.4")])
def test_an_unfinished_search_has_a_report(tmp_path: Path, models):
    folder = write_search(tmp_path / "s", models=models, finished=False, tests=False)
    assert "M_{5}" in write_report(folder).markdown


def test_another_output_folder_leaves_the_search_alone(search: Path, tmp_path: Path):
    before = snapshot(search)
    write_report(search, tmp_path / "out" / "here")
    assert snapshot(search) == before
    assert (tmp_path / "out/here/report.html").is_file()


def test_an_output_folder_that_cannot_be(search: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(TopDownError) as error:
        write_report(search, tmp_path / "file")
    assert error.value.code == "E_CREATE" and "another --output_dir" in str(error.value)


def test_the_command_prints_the_tables_and_where_the_files_are(search: Path, capsys):
    main(["report", "--search_dir", str(search)])
    out = capsys.readouterr().out
    assert "| **M_{1,1,3}** |" in out
    assert str(search / "report.html") in out


@pytest.mark.parametrize(
    "options, status, code",
    [([], 64, "E_USAGE"), (["--search_dir", "nowhere"], 66, "E_NO_SEARCH")],
)
def test_the_command_refuses(options, status, code, capsys):
    with pytest.raises(SystemExit) as error:
        main(["report", *options])
    assert error.value.code == status
    assert capsys.readouterr().err.startswith(code)
