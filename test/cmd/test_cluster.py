"""What becomes of a request to stop before there is a job to cancel."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import fake_slurm
import pytest

from espnet_topdown.cmd import cluster
from espnet_topdown.cmd.local import parse
from espnet_topdown.cmd.scheduler import Signs, Unreachable
from espnet_topdown.cmd.slurm import Slurm


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_before_the_submission(tmp_path: Path, monkeypatch, number) -> None:
    """A signal while an earlier job is looked for: nothing is submitted."""

    def interrupted(*args: object) -> None:
        os.kill(os.getpid(), number)

    def submit(*args: object) -> None:
        pytest.fail("submitted all the same")

    path = fake_slurm.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    monkeypatch.setattr(cluster, "_hang_up_with_parent", lambda: None)
    monkeypatch.setattr(cluster, "attach", interrupted)
    monkeypatch.setattr(cluster, "submit", submit)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        cluster.run(parse([str(tmp_path / "a.log"), "true"]), Slurm)


def test_stopped_while_the_scheduler_is_away() -> None:
    class Away:
        def find(self, signs: Signs) -> str:
            raise Unreachable("no answer")

    class Stop:
        def check(self) -> None:
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        cluster._taken(Away(), Signs("token", ""), Stop(), 0.1)
