"""The loop: which model next, train it, score it, decide; resumable anywhere.

What is done is what the folders say; the journal records how it came about. The driver
holds nothing that those two do not.
"""

from __future__ import annotations

import functools
import logging
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.launch import (
    Job,
    backend_cmd,
    check_launcher,
    out_of_gpu_memory,
    run_jobs,
    share_cores,
)
from espnet_topdown.cmd.places import SharedGPUs
from espnet_topdown.cmd.python import python_module
from espnet_topdown.errors import INTERNAL, RETRY, TopDownError, warn
from espnet_topdown.files import Lock, read_json, sha256, utc_now
from espnet_topdown.jobs.check import check_trained, check_works
from espnet_topdown.jobs.prepare import prepare, prepare_base, versions
from espnet_topdown.jobs.run import is_done, is_trained
from espnet_topdown.records import Journal
from espnet_topdown.scoring.counts import unit_score
from espnet_topdown.search import _controls, state
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.curves import read_curve
from espnet_topdown.search.progress import ProgressLine
from espnet_topdown.search.request import (
    Search,
    SearchRequest,
    check_budget,
    widened,
    write_request,
)
from espnet_topdown.search.strategies import STRATEGIES, Outcome, outcome

log = logging.getLogger(__name__)
_CONTEXT_MIB = 1024  # of CUDA and its libraries in a process, beside torch's memory


def run_search(request: SearchRequest) -> dict[str, Any]:
    """Run or continue a search; a finished one is returned as it is.

    Args:
        request: What is asked for; its ``output_dir`` is the folder.

    Returns:
        What result.json holds.

    Raises:
        TopDownError: E_LOCKED (75), E_CONFIG_CHANGED or E_BUDGET (78), E_JOB_FAILED,
            or anything that the checks of the base experiment and its data find.
    """
    request.check()
    search = Search.of(request)
    if not state.is_finished(request.output_dir) or widened(search):
        of_base = search.base.config.get("ngpu") or 0
        ngpu = of_base if request.ngpu is None else request.ngpu
        cmd = request.cmd or backend_cmd(request.cmd_backend)
        check_launcher(cmd, ngpu, request.jobs_per_gpu)
    if not (request.output_dir / "search.yaml").is_file():  # cheap refusals first
        base, task, trainer = search.base, search.task, search.request.trainer
        check_budget(search)
        check_trained(base, request.allow_unfinished)
        allowed = request.allow_pipes, request.allow_overlap
        check_data = functools.partial(task.call("check"), base, *allowed)
        check_works(base, search.stack, task, trainer, check_data)
    with Lock(request.output_dir / "lock"):
        if wider := write_request(search):
            log.info("wider than before: %s; what is trained stays", ", ".join(wider))
        if state.is_finished(request.output_dir):
            log.info("this search is finished; nothing to do")
            return read_json(request.output_dir / state.RESULT)
        return _Driver(search).run()


class _Driver:
    """One run of the loop over the candidates and controls of a search."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.request = search.request
        self.root = search.space.root
        self.journal = Journal(self.request.output_dir / "journal.jsonl")
        self.scored: dict[str, Any] = {}  # name -> the journal's event
        self.jobs: dict[str, str] = {}  # name -> the last event
        self.gpus: SharedGPUs | None = None
        if (most := self.request.jobs_per_gpu) > 1:
            self.gpus = SharedGPUs(most, self._memory_mib, self._has_allocated)
        self.errors: dict[Composition, float] = {}  # of folders that were checked
        self.path = 0  # epochs that control joint may come to; 0 once that is known
        if "joint" in self.request.controls:
            self.path = search.max_path_epochs

    def run(self) -> dict[str, Any]:
        """Train until the strategy is satisfied, then the controls, then the result.

        Returns:
            What result.json holds.
        """
        begun = time.time()
        events = self.journal.events()
        self.scored = {e["node"]: e for e in events if e["event"] == "scored"}
        controls = self.request.output_dir.glob("control.*")
        self.jobs = {f.name: "trained" for f in controls if is_done(f)}
        asked = sha256(self.request.output_dir / "search.yaml")
        opened = "search_continued" if events else "search_open"
        self.journal.append(opened, request=asked)
        self._announce()
        progress = ProgressLine(self.request.output_dir)
        status = run_jobs(
            [*self._candidates(), *self._controls()],
            self._launcher(),
            max_jobs=self.request.max_jobs,
            on_poll=lambda: progress.show(self._running(), self._left(), self.path),
            on_done=self._done,
            gpus=self.gpus,
        )
        if failed := {name: code for name, code in status.items() if code}:
            raise self._failure(failed)
        return self._finish(begun)

    def _announce(self) -> None:
        """Log the layers, the count of trainings and the hours."""
        search, request = self.search, self.request
        names = search.stack.names
        log.info("%d layers from the top: %s", len(names), ", ".join(names))
        most = search.longest[0]
        log.info(
            "search %s: at most %d retrainings and %d controls, %d at a time, %s",
            request.strategy,
            most,
            search.max_trainings - most,
            request.max_jobs,
            search.max_time,
        )

    def _launcher(self) -> list[str]:
        request = self.request
        words = shlex.split(request.cmd) or backend_cmd(request.cmd_backend)
        if any("cmd.local" in word for word in words):
            share_cores(self.request.max_jobs)
        if self.gpus:
            words += ["--gpu", "0"]  # the jobs have theirs
        elif self.request.ngpu is not None and "--gpu" not in words:
            words += ["--gpu", str(self.request.ngpu)]
        return words

    # What a training takes of a GPU: as much as torch has reserved for any of this
    # folder, by ESPnet's log; 0 where none has ended an epoch on a GPU.
    def _memory_mib(self) -> float:
        folders = state.job_folders(self.request.output_dir)
        epochs = [epoch.train for folder in folders for epoch in read_curve(folder)]
        most = max((e.get("gpu_max_cached_mem_GB", 0.0) for e in epochs), default=0.0)
        return 1024 * most + _CONTEXT_MIB if most else 0.0

    # Whether a job has ended an epoch since it was started.
    def _has_allocated(self, name: str, since: float) -> bool:
        curve = self.search.folder(name) / "curve.jsonl"
        return curve.is_file() and curve.stat().st_mtime > since

    def _note(self, event: str, name: str, **more: Any) -> None:
        """Write down what became of a job."""
        self.journal.append(event, node=name, **more)
        self.jobs[name] = event

    def _running(self) -> list[str]:
        return [name for name, event in self.jobs.items() if event == "started"]

    # Whether models of the search are trained or scored; each end begins the next ones.
    def _searching(self) -> bool:
        return any(not name.startswith("control.") for name in self._running())

    # Jobs that may still be begun.
    def _left(self) -> int:
        begun = {*map(str, self.errors), *self.jobs}
        controls = sum(name.startswith("control.") for name in begun)
        candidates = 1 + self.search.longest[0] - (len(begun) - controls)
        left = self.search.max_trainings - self.search.longest[0] - controls
        return left + (candidates if self._searching() else 0)

    # Jobs for the models that the strategy asks for; finished ones count.
    def _candidates(self) -> list[Job]:
        strategy, space = STRATEGIES[self.request.strategy], self.search.space
        while True:
            batch = strategy(space, self.errors) or self._of_narrower()
            finished = [c for c in batch if is_done(self.search.folder(str(c)))]
            if not finished:
                if batch == [self.root] and self.request.max_jobs > 1:
                    batch += strategy(space, {self.root: 0})  # whatever its error is
                return [self._candidate(c) for c in batch if str(c) not in self.jobs]
            for composition in finished:
                self._count(composition)

    # Scored models that a wider request does not ask for: a beam went another way.
    def _of_narrower(self) -> list[Composition]:
        scored = {Composition.parse(n) for n in self.scored} - self.errors.keys()
        return sorted(c for c in scored if is_done(self.search.folder(str(c))))

    def _count(self, composition: Composition) -> None:
        """Take a finished model's errors into the search."""
        name, criterion = str(composition), self.request.criterion
        folder = self.search.folder(name)
        score, done = state.sealed_score(folder, self.scored.get(name, {}))
        if composition != self.root:
            root = self.search.folder(str(self.root))
            _check_same_set(name, score, root, criterion)
        counts = unit_score(score[criterion])
        self.errors[composition] = errors = counts.errors
        verdict = None
        if composition.parent and self.request.strategy == "greedy":
            accepted = errors <= self.errors[composition.parent]
            verdict = "accepted" if accepted else "rejected"
        log.info("%s: %s %s", name, counts.show(criterion), verdict or "")
        if name not in self.scored:
            fields = {"errors": errors, "verdict": verdict, "done": done}
            self.scored[name] = self.journal.append("scored", node=name, **fields)

    def _candidate(self, composition: Composition) -> Job:
        name = str(composition)
        if composition == self.root:
            folder = self.search.folder(name)
            prepare_base(self.search.base, folder, self.search.task.name)
        else:
            spec = self.search.candidate(composition)
            planned = prepare(spec, self.search.folder(name))
            log.info("%s:\n%s", name, planned.table(spec))
        return self._job(name)

    # The controls' jobs that can start at once.
    def _controls(self) -> list[Job]:
        jobs = self._joint()
        for name in self.request.controls:
            if name not in ("joint", "bottom_up"):
                jobs += self._control(name)
        return [*jobs, *self._bottom_up()]

    def _control(self, name: str) -> list[Job]:
        folder = self.search.folder(f"control.{name}")
        if folder.name in self.jobs:
            return []
        prepare(_controls.control_spec(self.search, name), folder)
        return [self._job(folder.name)]

    # The next model of control bottom_up, once the joint model is scored.
    def _bottom_up(self) -> list[Job]:
        if "bottom_up" not in self.request.controls or self.root not in self.errors:
            return []
        done = {n.partition(".")[2]: self._summary(n)["errors"] for n in self._chain()}
        most = self.search.space.max_frozen
        name = _controls.next_bottom_up(done, self.errors[self.root], most)
        return self._control(name) if name else []

    # The finished models of control bottom_up.
    def _chain(self) -> list[str]:
        names = [f"control.bottom_up{k}" for k in range(1, self.root.n)]
        return [n for n in names if is_done(self.search.folder(n))]

    # The next part of control joint: as far as the path is known by now.
    def _joint(self) -> list[Job]:
        folder, running = self.search.folder("control.joint"), self._running()
        if (
            "joint" not in self.request.controls
            or "failed" in self.jobs.values()
            or folder.name in running
        ):
            return []
        parts = self._searching()
        if parts:
            epochs = _controls.least_epochs(self.search, self.errors)
        else:
            best = self._outcome().best
            self.path = 0
            epochs = _controls.path_epochs(self.search, best)
        enough = epochs <= _controls.joint_epochs(self.search)
        if enough and (is_done(folder) or (parts and is_trained(folder))):
            return []
        if is_done(folder) and not (folder / "checkpoint.pth").is_file():
            what = f"{folder} cannot be trained on to {epochs} epochs, which the path "
            warn("W_CONTROL_SHORT", what + "now has: its checkpoint.pth was removed")
            return []
        _controls.prepare_joint(self.search, epochs)
        return [self._job(folder.name, *(["--train_only", "true"] if parts else []))]

    def _job(self, name: str, *options: str) -> Job:
        folder = self.search.folder(name)
        self._note("started", name)
        command = python_module("espnet_topdown.bin.run_job")
        command += ["--folder", str(folder), *options]
        if self.request.ngpu is not None:
            command += ["--ngpu", str(self.request.ngpu)]
        if self.request.allow_infeasible:
            command += ["--allow_infeasible", "true"]
        return Job(name, folder / "train.log", command)

    # Take note of a job's end; returns the jobs that may start now.
    def _done(self, job: Job, status: int) -> Sequence[Job]:
        if status != 0:
            self._note("failed", job.name, status=status)
            log.error("%s failed with status %d, see %s", job.name, status, job.log)
            if self.gpus and job.name in self.gpus.shared and out_of_gpu_memory(job):
                log.warning("%s was short of GPU memory: again, alone", job.name)
                self.gpus.exclusive.add(job.name)
                self._note("started", job.name)
                return [job]
            return []
        self._note("trained", job.name)
        more = [] if job.name.startswith("control.") else self._candidates()
        return [*more, *self._joint(), *self._bottom_up()]

    def _outcome(self) -> Outcome:
        return outcome(self.request.strategy, self.search.space, self.errors)

    def _failure(self, failed: dict[str, int]) -> TopDownError:
        name, status = next(iter(failed.items()))
        path = self.search.folder(name) / "train.log"
        return TopDownError(
            "E_JOB_FAILED",
            f"{', '.join(failed)} failed (status {status}), see {path}",
            "correct what the log says; the same command continues",
            status if status in (65, 66, 70, 73, 74, RETRY, 76, 78) else INTERNAL,
        )

    def _finish(self, begun: float) -> dict[str, Any]:
        found = self._outcome()
        ended = {
            "schema": 1,
            "best": str(found.best),
            "criterion": self.request.criterion,
            "path": [str(c) for c in found.path],
            "reason": found.reason.replace("errors", self.search.task.counted),
            "finished": utc_now(),
            "seconds": round(time.time() - begun, 1),
            "nodes": {name: self._summary(name) for name in self._names()},
            "versions": versions(),
        }
        state.write_result(self.request.output_dir, self.journal, ended)
        log.info("best: %s (%s)", found.best, found.reason)
        return ended

    # Of everything that was trained: candidates, then controls.
    def _names(self) -> list[str]:
        names = [c for c in self.request.controls if c != "bottom_up"]
        candidates = [str(c) for c in sorted(self.errors, key=lambda c: c.rank)]
        return [*candidates, *(f"control.{c}" for c in names), *self._chain()]

    def _summary(self, name: str) -> dict[str, Any]:
        score = read_json(self.search.folder(name) / "score.json")
        counts = unit_score(score[self.request.criterion])
        return {"errors": counts.errors, "ref": counts.ref, "epoch": score["epoch"]}


def _check_same_set(name: str, score: Mapping[str, Any], root: Path, unit: str) -> None:
    """Refuse to compare two models on different validation sets.

    Raises:
        TopDownError: E_EVAL_SET (70).
    """
    first = read_json(root / "score.json")
    mine, its = ((s[unit]["ref"], s["utts"]) for s in (score, first))
    if mine != its:
        what = f"{name} was scored on {mine[1]} utterances and {mine[0]} symbols, "
        what += f"{root.name} on {its[1]} and {its[0]}"
        do = "give another folder (in a recipe: --topdown_dir): the validation "
        raise TopDownError("E_EVAL_SET", what, f"{do}set has changed", INTERNAL)
