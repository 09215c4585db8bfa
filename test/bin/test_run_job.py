"""What the command line of a job asks for."""

from __future__ import annotations

import pytest

from espnet_topdown.bin import run_job


@pytest.mark.parametrize(
    "given, said",
    [
        (["--num_nodes", "2"], "--num_nodes was removed, see docs/structure.md"),
        (["--ngpu", "-1"], "--ngpu: must be 0 or more, got '-1'"),
    ],
)
def test_what_is_refused(given, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as e:
        run_job.main(["--folder", str(tmp_path), *given])
    assert e.value.code == 64
    assert said in capsys.readouterr().err
