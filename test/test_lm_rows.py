"""The rows of the language model's tables, without a training."""

from __future__ import annotations

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.search import lm_rows


def test_a_search_is_not_made_here(tmp_path, monkeypatch):
    """It has a stage of its own; nothing else is trained in its place."""
    trained = []
    monkeypatch.setattr(lm_rows, "PAPER", "wsj")  # its tables have rows of searches
    monkeypatch.setattr(lm_rows, "_scores", lambda *a: {})
    monkeypatch.setattr(lm_rows, "_train", lambda row, *a: trained.append(row.name))
    setting = lm_rows.Setting(tmp_path / "exp", tmp_path / "out", {})
    with pytest.raises(TopDownError, match="E_ROW: row C.1.td is a search"):
        lm_rows.make_rows(["C.1.td"], setting)
    assert trained == ["C.1"] and not (tmp_path / "out").exists()
