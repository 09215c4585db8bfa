"""The report in sentences: what was gained, how far the search is, why it stopped."""

from __future__ import annotations

from collections.abc import Sequence

from espnet_topdown.report import words
from espnet_topdown.report.gains import Gain
from espnet_topdown.report.nodes import BASELINE, CANDIDATE, CONTROL, NOT_RUN, Node
from espnet_topdown.report.rows import SearchReport
from espnet_topdown.report.tables import set_label, valid_label
from espnet_topdown.search.strategies import CONTROLS


def headline(search: SearchReport, found: Sequence[Gain]) -> str:
    """One sentence: what top-down training brought."""
    if search.state == NOT_RUN:
        return "This search has not run yet: no model was retrained."
    best, base = search.best_node, search.baseline
    if search.state == "running":
        scored = [n for n in search.having(CANDIDATE) if n.valid]
        done = words.plural(len(scored), "retrained model")
        return f"This search is not finished; {done} scored so far."
    if best is None or base is None:
        return "This search ended without a model."
    if best is base:
        return (
            f"Joint training {words.math(base.name)} stays the best model: no "
            f"retraining made fewer errors on {valid_label(search)}."
        )
    n, k = len(search.layers), len(best.frozen)
    top = f"the top layer of {n}" if k == 1 else f"the top {k} of {n} layers"
    did = f"Freezing {top} and retraining the rest"
    return f"{did} {_change(search, best, base)}{_interval(leading(search, found))}."


def leading(search: SearchReport, found: Sequence[Gain]) -> Gain | None:
    """The comparison that the headline is about."""
    base = search.baseline.name if search.baseline else ""
    of_base = [g for g in found if g.other == base and g.unit == search.criterion]
    return of_base[0] if of_base else None


def _interval(gain: Gain | None) -> str:
    if gain is None or gain.low is None or gain.high is None:
        return ""
    low, high = words.signed(gain.low), words.signed(gain.high)
    zero = "" if gain.clear else ", which includes zero"
    start = f", a difference of {words.signed(gain.difference)} points"
    return f"{start} (95 % interval {low} to {high}{zero})"


def _change(search: SearchReport, best: Node, base: Node) -> str:
    unit = search.criterion
    scores = [
        (set_label(search, key), best.tests.get(key), base.tests.get(key))
        for key in search.test_sets
    ]
    scores.append((valid_label(search), best.valid, base.valid))
    for name, a, b in scores:
        if a and b and unit in a.counts and unit in b.counts:
            new, old = a.counts[unit], b.counts[unit]
            rates = (words.percent(old), words.percent(new))
            if new.errors == old.errors:
                return f"left the {unit.upper()} on {name} at {rates[0]} %"
            verb = "lowered" if new.errors < old.errors else "raised"
            what = f"{verb} the {unit.upper()} on {name}"
            return f"{what} from {rates[0]} % to {rates[1]} %"
    return f"gave {words.math(best.name)}"


def evidence(search: SearchReport, found: Sequence[Gain]) -> list[str]:
    """The sentences after the headline: intervals, the validation set, the seeds."""
    told = leading(search, found)
    base_name = search.baseline.name if search.baseline else ""
    said = [
        _gain_sentence(search, g)
        for g in found
        if g.unit == search.criterion
        and (g.other == base_name or g.key == search.test_sets[0])
        and (g is not told or g.low is None)
    ]
    best, base = search.best_node, search.baseline
    if best and base and best is not base and not found:
        said.append(f"Decoding a test set with both models: {NOT_RUN}.")
    if best and base and best is not base and best.valid and base.valid:
        said.append(_valid_sentence(search, best, base))
    if found:
        said.append(
            "The interval is over utterances only; another seed may differ by more."
        )
    return said


def _gain_sentence(search: SearchReport, gain: Gain) -> str:
    other = search.node(gain.other)
    name = words.math(gain.other)
    if other and other.role == BASELINE:
        name = "joint training"
    start = (
        f"{set_label(search, gain.key)}: {words.signed(gain.difference)} points "
        f"{gain.unit.upper()} against {name}"
    )
    if gain.low is None or gain.high is None:
        return f"{start}; 95 % interval {NOT_RUN} ({gain.reason})."
    verdict = "excludes" if gain.clear else "includes"
    return (
        f"{start}, 95 % interval {words.signed(gain.low)} to "
        f"{words.signed(gain.high)}, which {verdict} zero."
    )


def _valid_sentence(search: SearchReport, best: Node, base: Node) -> str:
    unit = search.criterion
    a = best.valid.counts.get(unit) if best.valid else None
    b = base.valid.counts.get(unit) if base.valid else None
    if a is None or b is None:
        return f"Validation {unit.upper()}: {NOT_RUN}."
    return (
        f"{valid_label(search)}, on which the search decides: {b.errors} to "
        f"{a.errors} errors in {a.ref}."
    )


def path(search: SearchReport) -> str:
    """The models that the search went through, in the paper's notation."""
    names = search.path or tuple(
        n.name for n in search.nodes if n.role != CONTROL and n.status != NOT_RUN
    )
    return " -> ".join(_step(search, name) for name in names) or NOT_RUN


def _step(search: SearchReport, name: str) -> str:
    node = search.node(name)
    away = node is not None and node.status in ("rejected", "failed", "running")
    return f"{words.math(name)} ({node.status})" if node and away else words.math(name)


def ending(search: SearchReport) -> str:
    """Why the search stopped, or where it is."""
    if search.finished:
        best = words.math(search.best) if search.best else NOT_RUN
        reason = words.math_in(search.reason).rstrip(".")
        return f"Best: {best}. Stopped: {reason or 'no reason recorded'}."
    running = [
        f"{words.math(n.name)} is training, {n.why or 'first epoch'}"
        for n in search.nodes
        if n.status == "running"
    ]
    if search.state == NOT_RUN:
        return f"Search: {NOT_RUN}."
    state = "Running, or interrupted"
    if any(n.status == "failed" for n in search.nodes) and not running:
        state = "Stopped by a failure"
    parts = [f"{state}; the same command continues", *running]
    if search.last_event:
        parts.append(f"last event: {search.last_event}")
    return "; ".join(parts) + "."


def controls(search: SearchReport) -> list[str]:
    """Which controls ran, one sentence each; asked for but absent ones say so."""
    asked = [str(c) for c in search.request.get("controls") or ()]
    nodes = {n.control or n.name.partition(".")[2]: n for n in search.having(CONTROL)}
    said = []
    for kind in dict.fromkeys([*asked, *nodes]):
        if kind not in nodes and f"{kind}1" in nodes:  # a chain of models
            continue
        node = nodes.get(kind)
        state = words.status(node, None) if node else NOT_RUN
        meaning = CONTROLS.get(kind.rstrip("0123456789"), "")
        said.append(f"{kind}: {state}" + (f" ({meaning})" if meaning else ""))
    return said or [f"none: {NOT_RUN}"]


def failures(search: SearchReport) -> list[str]:
    """Models whose training failed, and what the journal says of the cause."""
    return [
        f"{words.math(n.name)} failed: {n.why or 'no cause recorded'}; "
        f"see {n.name}/train.log"
        for n in search.nodes
        if n.status == "failed"
    ]


def facts(search: SearchReport, found: Sequence[Gain]) -> list[tuple[str, str, str]]:
    """A few numbers worth a large type: what, the value, a remark."""
    rows = []
    best, base = search.best_node, search.baseline
    for gain in found:
        if base and gain.other == base.name and len(rows) < 2:
            interval = "no interval"
            if gain.low is not None and gain.high is not None:
                interval = f"{words.signed(gain.low)} to {words.signed(gain.high)}"
            what = f"{gain.unit.upper()} on {set_label(search, gain.key)}, points"
            rows.append((what, words.signed(gain.difference), interval))
    if best and base and best is not base and base.valid and best.valid:
        counts = [n.valid.counts.get(search.criterion) for n in (base, best) if n.valid]
        if all(counts):
            value = " -> ".join(str(c.errors) for c in counts if c)
            rows.append((f"errors on {valid_label(search)}", value, "validation"))
    trained = [n for n in search.nodes if n.role != BASELINE and n.valid]
    if trained:
        known = [n.seconds for n in trained if n.seconds is not None]
        spent = words.duration(sum(known)) if known else words.NOT_RUN
        rows.append(("models retrained", str(len(trained)), f"{spent} of training"))
    return rows
