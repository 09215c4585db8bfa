"""The whole loop: which model next, train it, score it, decide; resumable anywhere.

The driver holds no state of its own. What is done is what the folders say; the journal
records how it came about.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Sequence
from typing import Any

from espnet_topdown.cmd.launch import (
    Job,
    backend_cmd,
    check_launcher,
    run_jobs,
    share_cores,
)
from espnet_topdown.cmd.python import python_module
from espnet_topdown.errors import INTERNAL, RETRY, TopDownError
from espnet_topdown.files import Lock, read_json, sha256, utc_now
from espnet_topdown.jobs.prepare import prepare, prepare_base, versions
from espnet_topdown.jobs.run import is_done
from espnet_topdown.models.tasks import amount, shown
from espnet_topdown.records import Journal
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.controls import (
    next_bottom_up,
    path_epochs,
    prepare_joint,
    sure_epochs,
)
from espnet_topdown.search.cost import announce, check_budget
from espnet_topdown.search.progress import Progress
from espnet_topdown.search.request import Nodes, SearchRequest, write_request
from espnet_topdown.search.result import (
    check_same_set,
    is_finished,
    read_score,
    write_result,
)
from espnet_topdown.search.strategies import STRATEGIES, Outcome, outcome

log = logging.getLogger(__name__)


def run_search(request: SearchRequest) -> dict[str, Any]:
    """Run or continue a search; a finished one is returned as it is.

    Returns:
        What result.json holds.

    Raises:
        TopDownError: E_LOCKED (75), E_CONFIG_CHANGED (78), E_JOB_FAILED, or anything
            that the checks of the base experiment and its data find.
    """
    request.check()
    if not is_finished(request.output_dir):
        check_launcher(request.cmd or backend_cmd(request.cmd_backend), request.ngpu)
    nodes = Nodes.of(request)
    with Lock(request.output_dir / "lock"):
        if not (request.output_dir / "search.yaml").is_file():
            r, check = request, nodes.task.call("check")
            check(nodes.base, r.allow_unfinished, r.allow_pipes, r.allow_overlap)
            check_budget(nodes)
        write_request(nodes)
        if is_finished(request.output_dir):
            log.info("this search is finished; nothing to do")
            return read_json(request.output_dir / "result.json")
        return Driver(nodes).run()


class Driver:
    """One run of the loop over the nodes of a search."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.request = nodes.request
        self.journal = Journal(self.request.output_dir / "journal.jsonl")
        self.root = Composition((nodes.stack.n,))
        self.errors: dict[Composition, float] = {}
        self.started: set[str] = set()
        self.failed: dict[str, int] = {}
        self.recorded: dict[str, Any] = {}
        self.joint_epochs = 0
        self.progress = Progress(self.request.output_dir)

    def run(self) -> dict[str, Any]:
        """Train until the strategy is satisfied, then the controls, then the result."""
        begun = time.time()
        events = self.journal.events()
        self.recorded = {e["node"]: e for e in events if e["event"] == "scored"}
        asked = sha256(self.request.output_dir / "search.yaml")
        opened = "search_continued" if events else "search_open"
        self.journal.append(opened, request=asked)
        self.progress.expect(announce(self.nodes), self.request.controls)
        cmd = self.request.cmd or backend_cmd(self.request.cmd_backend)
        if "cmd.local" in str(cmd):
            share_cores(self.request.max_jobs)
        launcher = shlex.split(cmd) if isinstance(cmd, str) else list(cmd)
        if self.request.ngpu is not None and "--gpu" not in launcher:
            launcher += ["--gpu", str(self.request.ngpu)]
        jobs = [*self._candidates(), *self._controls()]
        run_jobs(
            jobs,
            launcher,
            max_jobs=self.request.max_jobs,
            on_poll=self.progress.show,
            on_done=self._done,
        )
        if self.failed:
            raise self._failure()
        return self._finish(begun)

    def _candidates(self) -> list[Job]:
        """Jobs for the models that the strategy asks for; finished ones count."""
        strategy, space = STRATEGIES[self.request.strategy], self.nodes.space
        while True:
            batch = strategy(space, self.errors)
            finished = [c for c in batch if is_done(self.nodes.folder(str(c)))]
            if not finished:
                if batch == [self.root] and self.request.max_jobs > 1:
                    batch += strategy(space, {self.root: 0})  # whatever its error is
                new = [c for c in batch if str(c) not in self.started]
                return [self._prepare(c) for c in new]
            for node in finished:
                self._count(node)

    def _count(self, node: Composition) -> None:
        """Take a finished model's errors into the search."""
        folder = self.nodes.folder(str(node))
        score, done = read_score(folder, self.recorded.get(str(node), {}))
        counts = score[self.request.criterion]
        if node != self.root:
            root = self.nodes.folder(str(self.root))
            check_same_set(str(node), score, root, self.request.criterion)
        self.errors[node] = errors = amount(counts)
        verdict = ""
        if node.parent and self.request.strategy == "greedy":
            accepted = errors <= self.errors[node.parent]
            verdict = " accepted" if accepted else " rejected"
        log.info("%s: %s%s", node, shown(self.request.criterion, counts), verdict)
        if str(node) not in self.recorded:
            told = {"errors": errors, "verdict": verdict.strip() or None, "done": done}
            self.journal.append("scored", node=str(node), **told)

    def _prepare(self, node: Composition) -> Job:
        folder = self.nodes.folder(str(node))
        if node == self.root:
            prepare_base(self.nodes.base, folder, self.nodes.task.name)
        else:
            spec = self.nodes.candidate(node)
            planned = prepare(spec, folder)
            log.info("%s:\n%s", node, planned.table(spec))
        return self._job(str(node))

    def _controls(self) -> list[Job]:
        """The controls' jobs that can start at once."""
        jobs = self._joint()
        for name in self.request.controls:
            node = f"control.{name}"
            if name in ("joint", "bottom_up") or is_done(self.nodes.folder(node)):
                continue
            prepare(self.nodes.control(name), self.nodes.folder(node))
            jobs.append(self._job(node))
        return [*jobs, *self._bottom_up()]

    def _bottom_up(self) -> list[Job]:
        """The next model of control bottom_up, once the joint model is scored."""
        if "bottom_up" not in self.request.controls or self.root not in self.errors:
            return []
        done = {n.partition(".")[2]: self._summary(n)["errors"] for n in self._chain()}
        name = next_bottom_up(done, self.errors[self.root], self.nodes.max_frozen)
        node = f"control.{name}"
        if not name or node in self.started:
            return []
        prepare(self.nodes.control(name), self.nodes.folder(node))
        return [self._job(node)]

    def _chain(self) -> list[str]:
        """The finished models of control bottom_up."""
        names = [f"control.bottom_up{k}" for k in range(1, self.root.n)]
        return [n for n in names if is_done(self.nodes.folder(n))]

    def _joint(self) -> list[Job]:
        """The next part of control joint: as far as the path is known by now."""
        folder = self.nodes.folder("control.joint")
        if (
            "joint" not in self.request.controls
            or self.failed
            or "control.joint" in self.progress.running
            or is_done(folder)
        ):
            return []
        if any(not n.startswith("control.") for n in self.progress.running):
            options: tuple[str, ...] = ("--train_only", "true")
            epochs = sure_epochs(self.nodes, self.errors)
            if epochs <= self.joint_epochs:
                return []
        else:
            options = ()
            epochs = path_epochs(self.nodes, self.errors, self._outcome().best)
        self.joint_epochs = epochs
        prepare_joint(self.nodes, epochs)
        return [self._job("control.joint", *options)]

    def _job(self, node: str, *options: str) -> Job:
        folder = self.nodes.folder(node)
        self.started.add(node)
        self.journal.append("started", node=node)
        self.progress.started(node)
        command = python_module("espnet_topdown.bin.run_job")
        command += ["--folder", str(folder), *options]
        if self.request.ngpu is not None:
            command += ["--ngpu", str(self.request.ngpu)]
        return Job(node, folder / "train.log", command)

    def _done(self, job: Job, status: int) -> Sequence[Job]:
        """Take note of a job's end; returns the jobs that may start now."""
        self.progress.ended(job.name)
        if status != 0:
            self.failed[job.name] = status
            self.journal.append("failed", node=job.name, status=status)
            log.error("%s failed with status %d, see %s", job.name, status, job.log)
            return []
        self.journal.append("trained", node=job.name)
        more = [] if job.name.startswith("control.") else self._candidates()
        return [*more, *self._joint(), *self._bottom_up()]

    def _outcome(self) -> Outcome:
        return outcome(self.request.strategy, self.nodes.space, self.errors)

    def _failure(self) -> TopDownError:
        node, status = next(iter(self.failed.items()))
        path = self.nodes.folder(node) / "train.log"
        return TopDownError(
            "E_JOB_FAILED",
            f"{', '.join(self.failed)} failed (status {status}), see {path}",
            "correct what the log says; the same command continues",
            status if status in (65, 66, 70, 73, 74, RETRY, 76, 78) else INTERNAL,
        )

    def _finish(self, begun: float) -> dict[str, Any]:
        found = self._outcome()
        result = {
            "schema": 1,
            "best": str(found.best),
            "criterion": self.request.criterion,
            "path": [str(c) for c in found.path],
            "reason": found.reason.replace("errors", self.nodes.task.counted),
            "finished": utc_now(),
            "seconds": round(time.time() - begun, 1),
            "nodes": {n: self._summary(n) for n in self._all_nodes()},
            "versions": versions(),
        }
        write_result(self.request.output_dir, self.journal, result)
        log.info("best: %s (%s)", found.best, found.reason)
        return result

    def _all_nodes(self) -> list[str]:
        names = [c for c in self.request.controls if c != "bottom_up"]
        controls = [f"control.{c}" for c in names] + self._chain()
        return [str(c) for c in sorted(self.errors, key=lambda c: c.rank)] + controls

    def _summary(self, node: str) -> dict[str, Any]:
        score = read_json(self.nodes.folder(node) / "score.json")
        counts = score[self.request.criterion]
        return {"errors": amount(counts), "ref": counts["ref"], "epoch": score["epoch"]}
