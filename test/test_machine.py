"""Where programs are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_topdown.cli import machine


def test_find_tool_skips_what_is_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("NO_SUCH_ROOT", raising=False)
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o755)
    assert machine.find_tool("tool", ["{NO_SUCH_ROOT}/x", str(tmp_path)])
    (tmp_path / "tool").chmod(0o644)
    assert machine.find_tool("tool", [str(tmp_path)]) is None
