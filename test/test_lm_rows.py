"""The rows of the language model's tables, without a training."""

from __future__ import annotations

import pytest
from papers import paper

from espnet_topdown.errors import TopDownError
from espnet_topdown.search import rows


def test_a_search_is_not_made_here(tmp_path, monkeypatch):
    """It has a stage of its own; nothing else is trained in its place."""
    trained, wsj = [], paper("wsj")  # its tables have rows of searches
    monkeypatch.setattr(rows, "_scores", lambda *a: {})
    monkeypatch.setattr(rows, "_train", lambda row, *a: trained.append(row.name))
    setting = rows.Setting(tmp_path / "exp", tmp_path / "out", {})
    with pytest.raises(TopDownError, match="E_ROW: row C.1.td is a search"):
        rows.make_rows(wsj, ["C.1.td"], setting)
    assert trained == ["C.1"] and not (tmp_path / "out").exists()
