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


def test_not_writable(tmp_path):
    (tmp_path / "exp").touch()
    with pytest.raises(TopDownError, match="E_CREATE") as e:
        with alone(tmp_path / "exp"):
            pass
    assert e.value.status == 73
