"""The steps that topdown.sh asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_topdown.bin.main import main

CONF = Path(__file__).parents[2] / "egs2" / "wsj_topdown" / "asr1" / "conf"
PLAN = ["--step", "plan", "--paper", "wsj", "--row", "A.B", "--conf", str(CONF)]


def test_a_plan_is_not_made_for_other_sets_than_the_papers(tmp_path, capsys):
    sets = [tmp_path / name for name in ("test_dev93", "test_eval92")]
    for folder in sets:
        folder.mkdir()
        (folder / "text").write_text("u1 A\n")
    call = [*PLAN, "--set_dirs", *map(str, sets)]
    with pytest.raises(SystemExit) as e:
        main(["rows", *call])
    out, err = capsys.readouterr()
    assert e.value.code == 65 and err.startswith("E_EVAL_SET: ") and out == ""
    main(["rows", *call, "--allow_partial", "true"])
    assert capsys.readouterr().out.count("\n") == 3
