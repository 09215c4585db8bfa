"""What the documents point at is there, and every command explains itself."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown.cli.main import VERBS, main, parser_of

ROOT = Path(__file__).parents[1]
SKIPPED = {".git", ".venv", "downloads", "dump", "exp", "data", "build", "dist"}
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)<>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HTML = re.compile(r"<(?:img|a|source)\b[^>]*?(?:src|href|srcset)=\"([^\"]+)\"")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
MODULE = re.compile(r"python3? -m (espnet_topdown(?:\.\w+)+)")
SCRIPT = re.compile(r"(?:espnet-topdown|-m espnet_topdown) +([a-z]\w*)")
ROOMS = "models|jobs|search|cmd|trainer|scoring|report|data|cli|bin"
CODE = re.compile(rf"`((?:{ROOMS})/[\w/]+|errors|files|records)((?:\.\w+)*)`")
TEST_FILE = re.compile(r"`((?:\w+/)*test_\w+\.py)`")


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
def test_a_document(path: Path) -> None:
    """Its links lead somewhere, and the commands that it shows exist."""
    assert broken(path) == []
    text = path.read_text(encoding="utf-8")
    modules = set(MODULE.findall(text))
    gone = {m for m in modules if importlib.util.find_spec(m) is None}
    shown = set(SCRIPT.findall("\n".join(m[0] for m in FENCE.finditer(text))))
    assert gone | (shown - set(VERBS)) == set()


def defined(tree: ast.AST, prefix: str = "") -> set[str]:
    """Functions, classes and their methods, as ``Class.method``."""
    found = set()
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            found |= {prefix + child.name} | defined(child, f"{prefix}{child.name}.")
    return found


def unknown_code(text: str) -> list[str]:
    """Modules and functions (``jobs/run.train``) that a document names wrongly."""
    wrong = []
    for module, name in CODE.findall(text):
        path = ROOT / "espnet_topdown" / module
        if path.is_dir() or name == ".yaml":
            found = path.is_dir() or path.with_suffix(".yaml").is_file()
        else:
            file = path.with_suffix(".py")
            names = defined(ast.parse(file.read_text())) if file.is_file() else set()
            found = file.is_file() and (not name or name[1:] in names)
        wrong += [] if found else [module + name]
    return wrong


def test_the_code_that_the_structure_names_is_there() -> None:
    text = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    assert len(CODE.findall(text)) > 30
    assert unknown_code(text) == []


def test_the_proofs_that_the_promises_name_are_there() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(TEST_FILE.findall(text))
    assert len(named) > 20
    assert {n for n in named if not (ROOT / "test" / n).is_file()} == set()


@pytest.mark.parametrize("name", VERBS)
def test_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the verb as it is called, and its example is a line that works."""
    with pytest.raises(SystemExit) as e:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert not e.value.code and text.startswith(f"usage: espnet-topdown {name} ")
    assert "None" not in text and "Example:" not in text
    example = text.partition("\nexample:\n")[2].split()
    assert example[:2] == ["espnet-topdown", name]
    parser_of(name).parse_args(example[2:])


@pytest.mark.parametrize("name", ["format_wav", "validate_data"])
def test_names_of_the_last_release(name: str) -> None:
    words = [sys.executable, "-m", f"espnet_topdown.bin.{name}", "--help"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(words, env=env, capture_output=True, text=True)
    assert ran.returncode == 0 and f"espnet-topdown {name} " in ran.stdout
