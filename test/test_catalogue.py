"""The catalogue of bad inputs: what is said, with which status, and nothing is changed.

The table is catalogue.yaml, what makes the inputs is fixtures/bad_inputs/. The real
commands run.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from bad_inputs import builders
from bad_inputs.machine import call as run

from espnet_topdown.errors import TopDownError

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


def call(command: object, capfd, caplog, recipe: Callable) -> tuple[int, str]:  # type: ignore[no-untyped-def]
    """Run it; returns the exit status and what was said."""
    caplog.clear(), capfd.readouterr()
    if isinstance(command, tuple) and command[0] == "recipe":
        return recipe(command[1:])
    status = 0
    try:
        if callable(command):
            command()
        else:
            run(command)
    except SystemExit as e:
        status = e.code or 0
    except TopDownError as e:  # a function of the library, not a command
        return e.status, str(e)
    return status, capfd.readouterr().err if status else caplog.text


@pytest.fixture
def recipe(tmp_path_factory):
    """Run a recipe's topdown.sh in a fresh copy; its folder is compared too."""
    import subprocess
    import sys

    def run(words: tuple) -> tuple[int, str]:
        folder = tmp_path_factory.mktemp("recipe") / "asr1"
        setup = HERE.parent / "egs2" / "TEMPLATE" / "asr1" / "setup.sh"
        options = dict(capture_output=True, text=True, timeout=120)
        subprocess.run(["bash", str(setup), str(folder)], check=True, **options)
        before = snapshot(folder)
        env = {k: v for k, v in os.environ.items() if k != "ESPNET_ROOT"}
        env.update(VIRTUAL_ENV=sys.prefix)
        env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        call = ["bash", "./topdown.sh", *words]
        ran = subprocess.run(call, cwd=folder, env=env, **options)
        assert snapshot(folder) == before, "a recipe that refuses changes nothing"
        return ran.returncode, ran.stderr

    return run


@pytest.mark.espnet
@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r}: {ROWS[r]['input']}")
def test_row(row, tmp_path, monkeypatch, capfd, caplog, recipe):
    """Status, message, and what became of the files."""
    monkeypatch.chdir(tmp_path)
    entry = ROWS[row]
    command = BUILDERS[row]()
    before = snapshot(tmp_path)
    status, said = call(command, capfd, caplog, recipe)
    after = snapshot(tmp_path)
    assert status == entry["status"], said
    assert entry.get("says", "") in said
    assert "Traceback" not in said
    if status:
        message = said[said.index(entry["code"] + ": ") :].strip()
        assert MESSAGE.fullmatch(message), message
    elif "code" in entry:
        assert f"{entry['code']}: " in said
    assert not list(tmp_path.rglob("*canary*"))
    changed = {n for n in before if after.get(n) != before[n]}
    if status:
        assert changed <= {entry.get("changes")}, "a refused command changed these"
    if not entry.get("leaves"):
        assert set(after) - set(before) == set(), "a refused command left these"


def test_all_seventy_rows_are_in_the_table() -> None:
    numbers = {int(re.match(r"\d+", row)[0]) for row in ROWS}
    assert numbers == set(range(1, 71))
    assert set(BUILDERS) == set(ROWS)
    assert all("status" in entry for entry in ROWS.values())


def test_a_wrong_message_would_be_noticed() -> None:
    assert MESSAGE.fullmatch("E_X: what, where. Do: remedy.")
    for wrong in ("E_X what. Do: x.", "E_X: what. x.", "E_X: what. Do: x..", "X: a."):
        assert not MESSAGE.fullmatch(wrong), wrong
