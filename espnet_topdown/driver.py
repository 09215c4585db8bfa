"""The whole loop: which model next, train it, score it, decide; resumable anywhere.

The driver holds no state of its own. What is done is what the folders say; the journal
records how it came about.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from espnet_topdown.abandon import abandoned, keep_up
from espnet_topdown.composition import Composition
from espnet_topdown.controls import next_bottom_up
from espnet_topdown.cost import announce, check_budget
from espnet_topdown.errors import INTERNAL, RETRY, TopDownError
from espnet_topdown.experiment import Experiment
from espnet_topdown.job import is_done
from espnet_topdown.journal import Journal, Lock, utc_now
from espnet_topdown.launch import Job, backend_cmd, run_jobs, share_cores
from espnet_topdown.progress import Progress
from espnet_topdown.request import Nodes, SearchRequest, write_request
from espnet_topdown.result import is_finished, read_score, write_result
from espnet_topdown.retrain import extend, prepare, prepare_base, versions
from espnet_topdown.search import STRATEGIES, Outcome, outcome
from espnet_topdown.tasks import amount, shown
from espnet_topdown.weights import sha256
from espnet_topdown.yaml_io import read_json

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
    nodes = Nodes.of(request)
    with Lock(request.output_dir / "lock"):
        if not (request.output_dir / "search.yaml").is_file():
            nodes.task.call("check")(
                nodes.base,
                request.allow_unfinished,
                request.allow_pipes,
                request.allow_overlap,
            )
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
        jobs = [*self._candidates(), *self._controls()]
        run_jobs(
            jobs,
            cmd,
            max_jobs=self.request.max_jobs,
            on_poll=self.progress.show,
            on_done=self._done,
        )
        if self.failed:
            raise self._failure()
        return self._finish(begun)

    def _candidates(self) -> list[Job]:
        """Jobs for the models that the strategy asks for; finished ones count."""
        while True:
            batch = STRATEGIES[self.request.strategy](self.nodes.space, self.errors)
            finished = [c for c in batch if is_done(self.nodes.folder(str(c)))]
            if not finished:
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
            first = read_json(self.nodes.folder(str(self.root)) / "score.json")
            ref = first[self.request.criterion]["ref"], first["utts"]
            if ref != (counts["ref"], score["utts"]):
                raise TopDownError(
                    "E_EVAL_SET",
                    f"{node} was scored on {score['utts']} utterances and "
                    f"{counts['ref']} symbols, {self.root} on {ref[1]} and {ref[0]}",
                    "give another --output_dir: the validation set has changed",
                    INTERNAL,
                )
        self.errors[node] = errors = amount(counts)
        verdict = ""
        if node.parent and self.request.strategy == "greedy":
            accepted = errors <= self.errors[node.parent]
            verdict = " accepted" if accepted else " rejected"
        if abandoned(folder):
            log.info("%s was abandoned after epoch %d", node, abandoned(folder))
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
            if self.request.abandon and node.parent != self.root:
                above = Experiment(self.nodes.folder(str(node.parent)))
                keep_up(folder, self.request.abandon, above)
            elif self.request.abandon:
                keep_up(folder, self.request.abandon, self.nodes.base)
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
            epochs, options = self._sure_epochs(), ("--train_only", "true")
            if epochs <= self.joint_epochs:
                return []
        else:
            epochs, options = self._path_epochs(), ()
        self.joint_epochs = epochs
        self._prepare_joint(epochs)
        return [self._job("control.joint", *options)]

    def _sure_epochs(self) -> int:
        """Epochs that the path will have at least: the base's and one retraining's."""
        base = self.nodes.base
        first = (self.nodes.space.children(self.root) or [self.root])[0]
        if first in self.errors and first != self.root:
            more = Experiment(self.nodes.folder(str(first))).last_epoch
        else:
            more = int(self.request.max_epoch or base.config["max_epoch"])
            patience = base.config.get("patience")
            if patience is not None:  # it cannot stop earlier
                more = min(more, int(patience) + 2)
        return base.last_epoch + more

    def _prepare_joint(self, epochs: int) -> None:
        """Prepare joint training, or raise the number of its epochs."""
        folder = self.nodes.folder("control.joint")
        spec = self.nodes.control("joint", epochs)
        prepare(spec, folder)

        extend(folder, epochs)

    def _job(self, node: str, *options: str) -> Job:
        folder = self.nodes.folder(node)
        self.started.add(node)
        self.journal.append("started", node=node)
        self.progress.started(node)
        command = [sys.executable, "-m", "espnet_topdown.bin.run_job"]
        command += ["--folder", str(folder), *options]
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
        searching = not job.name.startswith("control.")
        more = self._candidates() if searching else []
        return [*more, *self._joint(), *self._bottom_up()]

    def _path_epochs(self) -> int:
        """Epochs of all trainings from the base to the best model."""
        best = self._outcome().best
        path = [c for c in best.ancestry if c.parent]
        if not path:  # nothing was gained: as much as the rejected retraining had
            path = [c for c in self.errors if c.parent == self.root][:1]
        trained = [Experiment(self.nodes.folder(str(c))).last_epoch for c in path]
        return self.nodes.base.last_epoch + sum(trained)

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
        folder = self.request.output_dir
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
        write_result(folder, self.journal, result)
        log.info("best: %s (%s)", found.best, found.reason)
        return result

    def _all_nodes(self) -> list[str]:
        names = [c for c in self.request.controls if c != "bottom_up"]
        controls = [f"control.{c}" for c in names] + self._chain()
        return [str(c) for c in sorted(self.errors, key=lambda c: c.rank)] + controls

    def _summary(self, node: str) -> dict[str, Any]:
        score = read_json(self.nodes.folder(node) / "score.json")
        counts = score[self.request.criterion]
        ref, epoch = counts["ref"], score["epoch"]
        return {"errors": amount(counts), "ref": ref, "epoch": epoch}
