"""One training at a time in a folder."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer.resume import one_training


def hold(folder, taken, release):
    with one_training(folder):
        taken.set()
        release.wait(30)


@pytest.fixture(params=["asr", "lm"])
def task(request):
    """What trains."""
    pytest.importorskip("espnet2")
    from espnet_topdown.models.tasks import find_task

    return find_task(request.param).call("task")


@pytest.mark.espnet
def test_two_trainings_in_one_folder(task, tmp_path):
    context = multiprocessing.get_context("fork")
    taken, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path, taken, release))
    holder.start()
    assert taken.wait(30)
    try:
        with pytest.raises(TopDownError, match="E_LOCKED.*is held by pid .*training"):
            task.main(cmd=["--output_dir", str(tmp_path), "--token_list", "t.txt"])
    finally:
        release.set()
        holder.join()
    assert os.listdir(tmp_path) == [".train.lock"]


@pytest.mark.espnet
def test_where_to_write_must_be_said_and_be_a_folder(task, tmp_path, capsys):
    with pytest.raises(SystemExit) as e:
        task.main(cmd=["--token_list", "t.txt"])
    assert e.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("the following arguments are required: --output_dir")
    (tmp_path / "exp").touch()
    with pytest.raises(TopDownError, match="E_CREATE.*exp is a file"):
        task.main(cmd=["--output_dir", str(tmp_path / "exp"), "--token_list", "t.txt"])
