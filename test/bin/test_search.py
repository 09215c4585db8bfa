"""What the command line of a search asks for."""

from __future__ import annotations

import pytest

from espnet_topdown.bin import search
from espnet_topdown.search import driver


@pytest.mark.parametrize(
    "given, controls",
    [
        ([], ()),
        (["--controls", "none"], ()),
        (["--controls", ""], ()),
        (["--controls", "joint,warm"], ("joint", "warm")),
    ],
)
def test_controls(given, controls, monkeypatch, capsys):
    asked = []

    def run(request):
        asked.append(request)
        return {"best": "m1.4", "reason": "made up"}

    monkeypatch.setattr(driver, "run_search", run)
    search.main(["--base_exp", "exp/a", "--output_dir", "exp/b", *given])
    assert asked[0].controls == controls
    assert capsys.readouterr().out == "best: exp/b/m1.4 (made up)\n"
