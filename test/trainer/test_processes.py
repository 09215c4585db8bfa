"""Two processes train one model through ESPnet's own options, gloo on this machine."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._dynamo  # noqa: F401 for seconds the first optimizer would import it
import yaml
from tones import tiny_config

from espnet_topdown.errors import TopDownError
from espnet_topdown.models.weights import differing, load_weights
from espnet_topdown.trainer._processes import (
    exit_as_child,
    is_first,
    together,
    watch_children,
)
from espnet_topdown.trainer.task import TopDownASRTask
from espnet_topdown.trainer.trainer import TopDownTrainer

pytestmark = [pytest.mark.espnet, pytest.mark.timeout(120)]
TRAIN = {"batch_size": 4, "freeze_param": ["ctc.ctc_lo"], "max_epoch": 3}


class Processes:
    """Trainings in forks of this process, which has imported ESPnet already."""

    def __init__(self, tones: Path, folder: Path) -> None:
        self.tones, self.root = tones, folder
        self.running: set[int] = set()

    def start(self, name: str, n: int, at_batch: Any = None, **changes: Any) -> list:
        config = self.root / f"{name}.yaml"
        changes = {**TRAIN, **changes}
        config.write_text(yaml.safe_dump(tiny_config(self.tones, **changes)))
        line = ["--config", str(config), "--output_dir", str(self.root / name)]
        if n > 1:
            init = self.root / f"{name}.{time.monotonic_ns()}"
            line += ["--multiprocessing_distributed", "true", "--dist_backend", "gloo"]
            line += ["--dist_init_method", f"file://{init}", "--local_rank", "0"]
            line += ["--dist_world_size", str(n), "--dist_rank"]
        lines = [[*line, str(i)] if n > 1 else line for i in range(n)]
        return [self._fork(line, name, i, at_batch) for i, line in enumerate(lines)]

    def _fork(self, line: list[str], name: str, number: int, at_batch: Any) -> int:
        pid = os.fork()
        if pid:
            self.running.add(pid)
            return pid
        status = 70
        try:
            log = os.open(self.root / f"{name}.{number}.log", os.O_WRONLY | os.O_CREAT)
            sys.stdout = sys.stderr = os.fdopen(log, "w", buffering=1)
            logging.basicConfig(force=True, format="%(levelname)s %(message)s")
            if at_batch:
                watch_batches(lambda *a: at_batch(number, *a))
            TopDownASRTask.main(cmd=line)
            status = 0
        except TopDownError as e:
            print(e, file=sys.stderr)
            status = e.status
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def wait(self, pids: list[int]) -> list[int]:
        ended = [os.waitpid(p, 0) for p in pids]
        self.running.difference_update(pids)
        return [os.waitstatus_to_exitcode(status) for _, status in ended]

    def run(self, name: str, n: int, at_batch: Any = None) -> list[int]:
        return self.wait(self.start(name, n, at_batch))

    def log(self, name: str, number: int = 0) -> str:
        return (self.root / f"{name}.{number}.log").read_text()

    def model(self, name: str) -> dict[str, torch.Tensor]:
        return load_weights(self.root / name / "3epoch.pth")


def watch_batches(call: Callable[[int, list[str]], None]) -> None:
    """Call with epoch and utterances of each batch that is trained."""
    original = TopDownTrainer.train_one_epoch.__func__

    def watched(cls, model, iterator, **others):  # type: ignore[no-untyped-def]
        epoch = others["reporter"].get_epoch()

        class Batches(list):
            def __iter__(self):  # type: ignore[no-untyped-def]
                for batch in list.__iter__(self):
                    call(epoch, batch[0])
                    yield batch

        return original(cls, model, iterator=Batches(iterator), **others)

    TopDownTrainer.train_one_epoch = classmethod(watched)


@pytest.fixture
def processes(tones: Path, tmp_path: Path) -> Iterator[Processes]:
    both = Processes(tones, tmp_path)
    yield both
    for pid in both.running:  # the test has failed, at its limit perhaps
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def curve(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").open()]


def test_two_processes_are_one_training(processes: Processes) -> None:
    seen = processes.root / "seen"

    def note(number: int, epoch: int, utterances: list[str]) -> None:
        with seen.open("a") as f:
            f.write("".join(f"{number} {epoch} {u}\n" for u in utterances))

    assert processes.run("two", 2, note) == [0, 0], processes.log("two", 1)
    assert processes.run("one", 1) == [0]
    lines = seen.read_text().split("\n")[:-1]
    assert len(lines) == len(set(lines)) == 18, "six utterances an epoch, each once"
    assert {line[0] for line in lines} == {"0", "1"}
    assert "epoch 3/3" in processes.log("two", 0)
    assert "INFO" not in processes.log("two", 1)
    one, two = processes.model("one"), processes.model("two")
    frozen = [n for n in one if n.startswith("ctc.ctc_lo.")]
    assert len(frozen) == 2 and differing(one, two, frozen) == []
    assert differing(one, two, one), "sums are in another order, so the rest is not"
    for a, b in zip(curve(processes.root / "two"), curve(processes.root / "one")):
        assert a["train"]["loss"] == pytest.approx(b["train"]["loss"], rel=1e-4)
        assert a["valid"]["loss"] == pytest.approx(b["valid"]["loss"], rel=1e-4)
        assert a["valid"]["cer_ctc"] == pytest.approx(b["valid"]["cer_ctc"], abs=0.2)


def test_a_signal_to_one_stops_both_at_the_same_batch(processes: Processes) -> None:
    def stop_here(number: int, epoch: int, utterances: list[str]) -> None:
        if (number, epoch) == (1, 2) and not (processes.root / "stopped").exists():
            (processes.root / "stopped").touch()
            os.kill(os.getpid(), signal.SIGUSR2)

    assert processes.run("parts", 2, stop_here) == [75, 75]
    for number in (0, 1):
        assert "in epoch 2; epoch 1 is saved" in processes.log("parts", number)
    assert processes.run("parts", 2) == [0, 0]
    assert processes.run("whole", 2) == [0, 0]
    parts, whole = processes.model("parts"), processes.model("whole")
    assert differing(parts, whole, whole) == [], "resumed as if never stopped"


def test_an_error_of_one_ends_the_other(processes: Processes) -> None:
    def fail(number: int, epoch: int, utterances: list[str]) -> None:
        if (number, epoch) == (1, 2):
            raise TopDownError("E_CTC_INFEASIBLE", "made up", "nothing", 65)

    status = processes.run("exp", 2, fail)
    assert status[1] == 65 and status[0] != 0
    assert (processes.root / "exp/1epoch.pth").is_file()


def test_one_holds_the_folder(processes: Processes) -> None:
    """A second pair finds it locked, and its second process does not write alone."""

    def slow(number: int, epoch: int, utterances: list[str]) -> None:
        (processes.root / "training").touch()
        time.sleep(3)

    first = processes.start("exp", 2, slow, max_epoch=1)
    deadline = time.monotonic() + 30
    while not (processes.root / "training").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    intruder = processes.start("exp", 1, max_epoch=1)
    assert processes.wait(intruder) == [75]
    assert "E_LOCKED: " in processes.log("exp")
    assert processes.wait(first) == [0, 0]


SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_NODEID": "1"}
SLURM.update(SLURM_STEP_NUM_NODES="2", SLURM_STEP_NODELIST="n[1-2]")
MPI = {"RANK": "1", "WORLD_SIZE": "2"}
BY_SLURM = {"dist_launcher": "slurm"}


@pytest.mark.parametrize(
    ("options", "environ", "several", "first"),
    [
        ({}, {}, False, True),
        ({"dist_rank": 0, "dist_world_size": 2}, {}, True, True),
        ({"dist_rank": 1, "dist_world_size": 2}, {}, True, False),
        (BY_SLURM, SLURM, True, False),
        (BY_SLURM, {**SLURM, "SLURM_NODEID": "0"}, True, True),
        (BY_SLURM, {}, "E_RANGE.*srun", None),
        ({}, MPI, True, False),
        ({}, {"RANK": "1"}, False, True),
    ],
)
def test_who_is_first(monkeypatch, options, environ, several, first) -> None:
    for name in (*SLURM, *MPI):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    known = {"dist_rank": None, "dist_world_size": None, "dist_launcher": None}
    args = SimpleNamespace(**{**known, **options})
    if first is None:
        with pytest.raises(TopDownError, match=several):
            together(args)
        return
    assert (together(args), is_first(args)) == (several, first)


def test_status_of_espnets_own_processes() -> None:
    def fail(code: int) -> None:
        error = torch.multiprocessing.ProcessExitedException
        raise error("ended", error_index=1, error_pid=1, exit_code=code)

    with pytest.raises(SystemExit) as caught:
        watch_children(lambda: fail(75))
    assert caught.value.code == 75
    with pytest.raises(torch.multiprocessing.ProcessExitedException):
        watch_children(lambda: fail(1))


def child_with_error() -> None:
    def fail() -> None:
        raise TopDownError("E_DISK", "full", "make room", 74)

    exit_as_child(fail)


def child_that_waits(path: str) -> None:
    signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75))
    Path(path).touch()
    time.sleep(60)


def test_a_child_tells_its_status_and_gets_signals(tmp_path: Path) -> None:
    fork = torch.multiprocessing.get_context("fork")
    child = fork.Process(target=child_with_error)
    child.start()
    child.join()
    assert child.exitcode == 74
    ready = tmp_path / "ready"
    waiting = fork.Process(target=child_that_waits, args=(str(ready),))

    def parent() -> None:
        waiting.start()
        while not ready.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR2)
        waiting.join(30)

    watch_children(parent)
    assert waiting.exitcode == 75
