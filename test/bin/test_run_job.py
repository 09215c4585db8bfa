"""What the command line of a job asks for."""

from __future__ import annotations

import pytest

from espnet_topdown.bin import run_job


@pytest.mark.parametrize("given", [["--num_nodes", "0"], ["--ngpu", "-1"]])
def test_numbers_that_make_no_sense(given, tmp_path, capsys):
    with pytest.raises(SystemExit) as e:
        run_job.main(["--folder", str(tmp_path), *given])
    assert e.value.code == 78
    assert capsys.readouterr().err.startswith("E_RANGE: ")


def test_what_is_asked_for():
    args = run_job.get_parser().parse_args(
        ["--folder", "a", "--num_nodes", "2", "--ngpu", "1"]
    )
    workers = run_job.workers_of(args)
    assert (workers.num_nodes, workers.ngpu) == (2, 1)
