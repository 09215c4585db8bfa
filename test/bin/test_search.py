"""What the command line of a search asks for."""

from __future__ import annotations

import pytest

from espnet_topdown.bin.main import main
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
    main(["search", "--base_exp", "exp/a", "--output_dir", "exp/b", *given])
    assert asked[0].controls == controls
    best, after = capsys.readouterr().out.splitlines()
    assert best == "best: exp/b/m1.4 (made up)"
    assert after == "next: espnet-topdown decode exp/b --data DATA_DIR"
