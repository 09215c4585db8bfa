"""The tool that takes guards away, and a few of its places, others every day.

All of them: ``python test/mutations.py``; docs/reliability.md has the figures.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from mutation_places import places, switched
from mutation_runs import killed

HERE = Path(__file__).parent
PLACES = {p.key: p for p in places(HERE.parent / "espnet_topdown")}


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("mutations", HERE / "mutations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOURCES = {  # statement: kind, what, what is done with the guard and without
    "raise TopDownError('E_X', 'a', 'b')": ("refusal", "E_X", ["made E_X"], []),
    "raise TopDownError(code, 'a', 'b')": (
        *("refusal", "TopDownError"),
        *(["made E_Y"], []),
    ),
    "raise _made() from None": ("refusal", "_made", ["made E_Y"], []),
    "raise self._made()": ("refusal", "_made", ["made E_Y"], []),
    "_ends()": ("refusal", "_ends", ["made E_Z"], []),
    "os.fsync(1)": ("fsync", "fsync", ["fsync"], []),
    "os.replace(\n        'a',\n    'b')": ("rename", "replace", ["replace"], ["copy"]),
    "path.replace('b')": ("rename", "replace", ["replace"], ["copy"]),
    "fcntl.flock(1, 1)": ("lock", "flock", ["flock"], []),
    "with Lock('a'): pass": ("lock", "Lock", ["Lock"], []),
    "check_seal(1)": ("digest check", "check_seal", ["check_seal"], []),
    "self._check_size(1)": ("check", "_check_size", ["_check_size"], []),
    "checked(1)": None,
    "x = check_seal(1)": None,
    "raise ValueError('a')": None,
    "raise": None,
}
ABOVE = """
def _made() -> TopDownError: return TopDownError(code, what, do)
def _ends() -> NoReturn: raise TopDownError("E_Z", "it is its call that counts", do)
def größer() -> None:
    """


class Names(dict):
    """Whatever a module uses, writing down what it calls."""

    def __init__(self, done: list[str]) -> None:
        def note(word: str):
            return lambda *args, **options: done.append(word)

        class TopDownError(Exception):
            def __init__(self, code: str, what: str, do: str) -> None:
                done.append(f"made {code}")

        def lock(path):
            done.append("Lock")
            return contextlib.nullcontext()

        words = ("fsync", "replace", "flock", "check_seal", "_check_size")
        thing = types.SimpleNamespace(**{w: note(w) for w in words})
        thing._made = lambda: TopDownError("E_Y", "", "")
        super().__init__(os=thing, fcntl=thing, self=thing, path=thing, Lock=lock)
        self.update(check_seal=thing.check_seal, NoReturn=None, code="E_Y", what="")
        self.update(do="", TopDownError=TopDownError)


@pytest.mark.parametrize("source", SOURCES)
def test_places(source, tmp_path, monkeypatch):
    whole = f"{ABOVE}{source}\n".encode()
    (tmp_path / "a.py").write_bytes(whole)
    found = places(tmp_path)
    if SOURCES[source] is None:
        assert found == []
        return
    (place,) = found
    kind, what, *both = SOURCES[source]
    assert place.key == f"a:größer:{kind}:{what}"
    text = switched(whole, found, "on").decode()
    for here, wanted in zip((True, False), both):
        assert outcome(text, here, monkeypatch) == (wanted, [place.key])


@pytest.mark.parametrize(
    "source, what",
    [
        ('raise Another("E_X", 1)', "refusal:E_X"),
        ('raise Another("E_X: 1")', None),
        ("raise reason", "refusal:reason"),
        ("raise other", None),
        ('self.look(_ends, "E_X", 1)', "refusal:E_X"),
        ('_ends("E_X", 1)', "refusal:E_X"),
        ('problems.append(("E_X", 1))', "refusal:E_X"),
        ('problems.append(str(Another("E_X", 1)))', "refusal:E_X"),
        ('problems.append(text.replace("E_X: ", ""))', None),
        ('problems.append((1, "E_X"))', None),
        ("fcntl.lockf(1, 2)", "lock:lockf"),
        ("raise argparse.ArgumentTypeError(1)", "refusal:ArgumentTypeError"),
    ],
)
def test_other_refusals(source, what, tmp_path):
    ends = 'def _ends(*what) -> NoReturn: raise Another("E_X", *what)'
    text = f"{ends}\ndef f(reason: TopDownError, other): {source}\n"
    (tmp_path / "a.py").write_text(text)
    assert [p.key for p in places(tmp_path)] == ([f"a:f:{what}"] if what else [])


def outcome(text: str, here: bool, monkeypatch) -> tuple[list, list]:
    """What a function does with or without its guard, and what it asked for."""
    done, asked = [], []
    monkeypatch.setattr(shutil, "copyfile", lambda *args: done.append("copy"))
    names = Names(done)
    names["on"] = lambda key: asked.append(key) or here
    exec(text, names)
    with contextlib.suppress(names["TopDownError"]):
        names["größer"]()
    return done, asked


def test_equal_places_have_different_keys(tmp_path):
    line = "    check_seal(a)\n"
    (tmp_path / "a.py").write_text(f"def f():\n{line}{line}def g():\n{line}")
    keys = [f"a:{k}:digest check:check_seal" for k in ("f", "f", "g")]
    keys[1] += ":2"
    assert [p.key for p in places(tmp_path)] == keys


def test_a_run_without_a_failed_test():
    """It may hang or die; that pytest itself had trouble says nothing."""
    assert killed(-1) and killed(-15)
    assert not any(killed(status) for status in (0, 1, 2, 3, 4, 5))


def test_the_exceptions_are_places(tool):
    assert set(tool.EXCEPTIONS) <= set(PLACES)


def test_every_guard_has_a_test_or_a_reason(tool):
    """Write one, then run ``mutations.py --missing --tests WORD --record``."""
    assert not PLACES.keys() - tool.read_record().keys() - tool.EXCEPTIONS.keys()


def test_the_recorded_tests_are_there(tool):
    """A test that was renamed: run ``mutations.py --again --record``."""
    for test in set(tool.read_record().values()):
        file, _, name = test.partition("::")
        function = name.partition("[")[0].rpartition("::")[2]
        assert file.endswith(".py") and f"def {function}(" in text_of(file), test


@functools.cache
def text_of(file: str) -> str:
    path = HERE.parent / file
    return path.read_text() if path.is_file() else ""


def test_each_day_has_its_sample(tool, monkeypatch):
    record = dict.fromkeys(PLACES, "test/test_seal.py::test_x")
    days = []
    for day in ("7", "7", "8"):
        monkeypatch.setenv("TOPDOWN_DAY", day)
        days.append(tool.sample(record, list(PLACES.values()), 4))
    assert days[0] == days[1] and not set(days[0]) & set(days[2])
    assert tool.sample({}, list(PLACES.values()), 4) == []


@pytest.mark.slow
def test_todays_sample_is_noticed():
    words = [sys.executable, HERE / "mutations.py", "--sample", "4"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(words, capture_output=True, text=True, timeout=280, env=env)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "noticed 4 of 4" in ran.stdout
