"""What the documents point at is there, and every command explains itself."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SKIPPED = {".git", ".venv", "downloads", "dump", "exp", "data", "build", "dist"}
COMMANDS = sorted(p.stem for p in (ROOT / "espnet_topdown" / "bin").glob("[!_]*.py"))
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HTML = re.compile(r"<(?:img|a|source)\b[^>]*?(?:src|href|srcset)=\"([^\"]+)\"")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"python3? -m (espnet_topdown(?:\.\w+)+)")
SCRIPT = re.compile(r"espnet-topdown (\w+)")

TRAINERS = {"asr_train": "--fast_lstm", "lm_train": "--bptt"}  # and an option of ours


def markdown() -> list[Path]:
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in SKIPPED and f[:1] != "."]
        found += [Path(folder) / n for n in names if n.endswith(".md")]
    return sorted(found)


def targets(text: str) -> list[str]:
    """Relative links of a document, those in code left out."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    links = LINK.findall(prose) + HTML.findall(prose)
    return [x for x in links if not re.match(r"[a-z][a-z0-9+.-]*:|//", x)]


def anchors(text: str) -> set[str]:
    """The names that a code host gives to the headings."""
    heads = re.findall(r"^#+ +(.+?) *#*$", FENCE.sub("", text), re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", h.lower()).strip() for h in heads]
    return {h.replace(" ", "-") for h in kept}


def broken(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    found = []
    for link in targets(text):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            found.append(link)
        elif anchor and target.suffix == ".md":
            known = anchors(target.read_text(encoding="utf-8"))
            found += [link] if anchor not in known else []
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", markdown(), ids=relative)
def test_links_of_documents_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


@pytest.mark.parametrize("path", markdown(), ids=relative)
def test_commands_in_documents_exist(path: Path) -> None:
    from espnet_topdown.bin import main

    text = path.read_text(encoding="utf-8")
    modules = set(MODULE.findall(text))
    gone = {m for m in modules if importlib.util.find_spec(m) is None}
    shown = set(SCRIPT.findall("\n".join(m[0] for m in FENCE.finditer(text))))
    assert gone | (shown - set(main.COMMANDS)) == set()


@pytest.mark.parametrize(
    "text, found",
    [
        ("[a](b.md) ![x](i.png)", ["b.md", "i.png"]),
        ("[a](https://x.org) [m](mailto:a@b.c)", []),
        ('<img width="3" src="a.svg"> <a href="b.md#c">', ["a.svg", "b.md#c"]),
        ("`[a](b.md)`\n```\n[a](c.md)\n```\n[t](d.md 'x')", []),
        ('[t](d.md "title") [s](<e.md>)', ["d.md", "e.md"]),
    ],
)
def test_links_are_recognised(text: str, found: list[str]) -> None:
    assert targets(text) == found


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# What it does, in `short`\n[x](b.md) [y](#none)")
    assert broken(tmp_path / "a.md") == ["b.md", "#none"]
    (tmp_path / "c.md").write_text("[x](a.md#what-it-does-in-short)")
    assert broken(tmp_path / "c.md") == []


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in TRAINERS])
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"espnet_topdown.bin.{name}")
    try:
        module.main(["--help"])
    except SystemExit as e:
        assert not e.code
    shown = capsys.readouterr().out
    assert "usage" in shown.lower() and len(shown.splitlines()) > 3


@pytest.mark.espnet
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", TRAINERS)
def test_help_of_a_trainer(name: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", f"espnet_topdown.bin.{name}", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert TRAINERS[name] in ran.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_begins_with_a_line_that_works(name: str) -> None:
    """Its module's docstring; the options shown there exist."""
    module = importlib.import_module(f"espnet_topdown.bin.{name}")
    first = (module.__doc__ or "").splitlines()[0]
    assert first.startswith(
        (f"python -m espnet_topdown.bin.{name}", f"espnet-topdown {name}", "espnet-top")
    )
    if name in (*TRAINERS, "main"):
        return
    known = {o for a in module.get_parser()._actions for o in a.option_strings}
    assert set(re.findall(r"--\w+", first)) <= known
