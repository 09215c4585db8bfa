from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer.alone import alone


def hold(folder, taken, release):
    with alone(folder):
        taken.set()
        release.wait(30)


def test_the_second_leaves(tmp_path):
    context = multiprocessing.get_context("fork")
    taken, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "exp", taken, release))
    holder.start()
    assert taken.wait(30)
    with pytest.raises(TopDownError, match=f"E_LOCKED.*pid {holder.pid} on") as e:
        with alone(tmp_path / "exp"):
            pass
    assert e.value.status == 75
    release.set()
    holder.join()
    with alone(tmp_path / "exp"):
        pass


def test_a_killed_holder_does_not_keep_it_through_its_children(tmp_path):
    read, write = os.pipe()
    holder = os.fork()
    if holder == 0:
        with alone(tmp_path):
            worker = os.fork()  # as that of a loader
            if worker:
                os.write(write, b"%d\n" % worker)
            time.sleep(60)
        os._exit(0)
    with os.fdopen(read) as pipe:
        worker = int(pipe.readline())
    with pytest.raises(TopDownError, match="E_LOCKED"):
        with alone(tmp_path):
            pass
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with alone(tmp_path):
        os.kill(worker, signal.SIGKILL)
    os.close(write)


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
        with pytest.raises(TopDownError, match="E_LOCKED.*is being trained in"):
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


def test_not_writable(tmp_path):
    (tmp_path / "exp").touch()
    with pytest.raises(TopDownError, match="E_CREATE") as e:
        with alone(tmp_path / "exp"):
            pass
    assert e.value.status == 73
