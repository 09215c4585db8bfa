"""The catalogue of bad inputs: what is said, with which status, and nothing is changed.

The table is catalogue.yaml, what makes the inputs is fixtures/bad_inputs/. The real
commands run.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from pathlib import Path

import pytest
import yaml
from bad_inputs import builders
from bad_inputs.machine import call

HERE = Path(__file__).parent
ROWS = {
    str(row): entry
    for row, entry in yaml.safe_load((HERE / "catalogue.yaml").read_text()).items()
}
MESSAGE = re.compile(r"[EW]_[A-Z0-9_]+: \S.*\S Do: \S.*[^.]\.", re.DOTALL)
BUILDERS = builders()
MAY_CHANGE = re.compile(r"(^|/)(lock|\.lock|\.train\.lock)$")


@pytest.fixture(scope="session", autouse=True)
def espnet_is_loaded() -> None:
    """Slow, so not in a test's time."""
    importlib.import_module("espnet_topdown.trainer.task")


def snapshot(folder: Path) -> dict[str, str]:
    """Every file's digest and every link's target; a lock's content is its own."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file() and not MAY_CHANGE.search(name):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.mark.espnet
@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r}: {ROWS[r]['input']}")
def test_row(row, tmp_path, monkeypatch, capfd, caplog):
    """Status, message, and what became of the files."""
    monkeypatch.chdir(tmp_path)
    entry, command, status = ROWS[row], BUILDERS[row](), 0
    before = snapshot(tmp_path)
    caplog.clear(), capfd.readouterr()
    try:
        command() if callable(command) else call(command)
    except SystemExit as e:
        status = e.code or 0
    said = capfd.readouterr().err if status else caplog.text
    after = snapshot(tmp_path)
    assert status == entry["status"], said
    assert entry.get("says", "") in said
    assert "Traceback" not in said
    if status:
        message = said[said.index(entry["code"] + ": ") :].strip()
        assert MESSAGE.fullmatch(message), message
        changed = {n for n in before if after.get(n) != before[n]}
        assert changed <= {entry.get("changes")}, "a refused command changed these"
    elif "code" in entry:
        assert f"{entry['code']}: " in said
    assert not list(tmp_path.rglob("*canary*"))
    if not entry.get("leaves"):
        assert set(after) - set(before) == set(), "a refused command left these"
