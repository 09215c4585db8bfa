"""python .ci/count_lines.py

Lines of code of each folder: not blank, no comment, no docstring; Python, YAML,
templates, style sheets and shell. Links and what git does not track do not count.
"""

from __future__ import annotations

import ast
import io
import subprocess
import tokenize
from collections import Counter
from pathlib import Path

KINDS = {".py", ".yaml", ".yml", ".sh", ".j2", ".css"}
TOPS = ("espnet_topdown", "egs2", "test", "bench")
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def docstring_lines(tree: ast.AST) -> set[int]:
    """Line numbers that docstrings take."""
    found: set[int] = set()
    for node in ast.walk(tree):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node) is not None:
            first = node.body[0]
            found |= set(range(first.lineno, first.end_lineno + 1))
    return found


def code_lines(path: Path) -> int:
    """Lines of code of one file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        lines = (line.strip() for line in text.splitlines())
        return sum(bool(line) and not line.startswith("#") for line in lines)
    used: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            used |= set(range(token.start[0], token.end[0] + 1))
    return len(used - docstring_lines(ast.parse(text)))


def main() -> None:
    """Print a table: folder, files, all lines, lines of code."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    files, lines, code = Counter(), Counter(), Counter()
    for path in map(Path, names):
        if path.parts and path.parts[0] in TOPS and path.is_file():
            if path.is_symlink() or path.suffix not in KINDS:
                continue
            room = "/".join(path.parts[:2]) if len(path.parts) > 2 else path.parts[0]
            for key in {room, f"{path.parts[0]} (all)"}:
                files[key] += 1
                lines[key] += len(path.read_text(encoding="utf-8").splitlines())
                code[key] += code_lines(path)
    for key in sorted(files):
        print(f"{key:32} {files[key]:4} files {lines[key]:7} lines {code[key]:7} code")


if __name__ == "__main__":
    main()
