"""The report in words: how values are written, what the numbers say, what to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from statistics import fmean, stdev

from espnet_topdown.errors import REMOVED_OPTIONS, TopDownError
from espnet_topdown.report._study import (
    BEST,
    MIN_UTTS,
    REASONS,
    Difference,
    Group,
    Study,
    compare,
    empty_hypotheses,
    unit_of,
)
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.state import (
    CANDIDATE,
    CONTROL,
    JOINT,
    LIKELIHOOD,
    NOT_RUN,
    Candidate,
    SearchState,
    UnitScore,
)
from espnet_topdown.search.strategies import CONTROLS

OPTIONS = (
    "strategy stack max_frozen criterion retrain_seed controls max_epoch trainer "
    "epochs width budget steps reinit fix_eval_dropout"
).split()
VERSIONS = ("python", "torch", "espnet", "espnet_topdown", "git")
UNRECORDED = "not recorded"
_HOST = ("processor", "threads")
_NO_VERDICT = f"over fewer than {MIN_UTTS} utterances no verdict is drawn."
INTERVAL_NOTE = (
    "Differences in percent points: below 0 the best model is better. 95 % intervals "
    "by paired bootstrap over the n utterances, 10,000 draws, seed 0. They hold the "
    "seeds fixed: they speak of other utterances, not of other trainings, which may "
    f"differ by more; {_NO_VERDICT}"
)
SEEDS_NOTE = (
    "Differences in percent points, means over the S seeds that have both models; "
    "below 0 the first is better. 95 % intervals: mean \u00b1 t(S-1) sqrt(s^2/S + v), "
    "where s is the standard deviation of the seeds' differences, and v the variance "
    "of their mean in 10,000 bootstrap samples of the n utterances, seed 0. They speak "
    "of other seeds and utterances; of one seed, by bootstrap alone, they hold it "
    "fixed; " + _NO_VERDICT
)
CURVES_NOTE = (
    "A dot marks the epoch that became the model. The trainer measures these rates "
    "batch by batch; the search decides on decoded errors instead."
)
RATES_NOTE = "One line a seed; a bar is the mean."


# How values are written.


def math(name: str) -> str:
    """The paper's notation of a candidate's folder; other names stay as they are.

    >>> math("m1.1.3"), math("control.joint")
    ('M_{1,1,3}', 'control.joint')
    """
    try:
        return Composition.parse(name).math
    except TopDownError:
        return name


def _math_in(sentence: str) -> str:
    """A sentence with the folders' names in the paper's notation."""
    names = r"\bm\d+(\.\d+)*(@\d+)?\b"
    return re.sub(names, lambda m: math(m.group()), sentence)


def label(group: Group) -> str:
    """What a kind of models is called."""
    return "best of the search" if group.role == BEST else math(group.name)


def rate(counts: UnitScore | None) -> str:
    """A rate, two decimals: on 10,000 characters one error shows."""
    if counts is None:
        return NOT_RUN
    return f"{counts.rate:.2f}" if counts.ref else "no reference"


def sum_of(counts: UnitScore | None) -> str:
    """Errors, or nats with three decimals."""
    if counts is None:
        return NOT_RUN
    return f"{counts.errors}" if isinstance(counts, Counts) else f"{counts.errors:.3f}"


def signed(value: float) -> str:
    """A difference of percentages, in points; never -0.00.

    >>> signed(-0.001), signed(-1.5)
    ('0.00', '-1.50')
    """
    shown = f"{value:+.2f}"
    return "0.00" if float(shown) == 0 else shown


def interval(d: Difference) -> str:
    """The 95 % interval, or why there is none."""
    if d.low is not None and d.high is not None:
        return f"{signed(d.low)} to {signed(d.high)}"
    return f"{NOT_RUN} ({REASONS.get(d.why, d.why)})"


def spread(rates: Iterable[float]) -> str:
    """Mean and deviation of percentages.

    >>> spread([17.0, 18.0]) == "17.50 \\u00b1 0.71"
    True
    >>> spread([17.0]), spread([])
    ('17.00', 'not run')
    """
    values = list(rates)
    if not values:
        return NOT_RUN
    deviation = f" \u00b1 {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{deviation}"


def duration(seconds: float) -> str:
    """Seconds in words that fit a table cell.

    >>> duration(75), duration(9000)
    ('1 min 15 s', '2 h 30 min')
    """
    s = int(seconds + 0.5)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60} s"
    return f"{s // 3600} h {s % 3600 // 60} min"


def epochs(c: Candidate) -> str:
    """Epochs trained, and which one is the model."""
    best = c.valid.epoch if c.valid else None
    if c.epochs is None:
        return f"best {best}" if best else unknown(c)
    return f"{c.epochs} (best {best})" if best else str(c.epochs)


def unknown(c: Candidate) -> str:
    """How a missing value is called: a trained model has one that nobody wrote down."""
    return UNRECORDED if c.valid else NOT_RUN


def layer_list(names: Sequence[str], most: int = 4) -> str:
    """Layer names, from the top; long lists show their ends.

    >>> layer_list(["a", "b", "c", "d", "e"])
    'a .. e (5)'
    """
    if len(names) > most:
        return f"{names[0]} .. {names[-1]} ({len(names)})"
    return ", ".join(names) if names else "none"


def status(c: Candidate, best: str | None) -> str:
    """What became of a model: ``best`` for the one that the search returned."""
    if c.name == best:
        return "best"
    if c.role == JOINT and c.status == "done":
        return "baseline"
    return f"{c.status} ({c.why})" if c.why and c.status != "failed" else c.status


def role(c: Candidate) -> str:
    """What a model is, for somebody who has not read the paper."""
    if c.role == CONTROL:
        return f"control: {c.control or c.name.partition('.')[2]}"
    return "joint training" if c.role == JOINT else "top-down"


def plural(n: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "layer"), plural(2, "layer")
    ('1 layer', '2 layers')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def as_html(sentence: str) -> str:
    """Escaped text in which M_{1,4} has a real subscript, and minus signs are minus.

    >>> as_html("M_{1,4} <b> -1.20")
    'M<sub>1,4</sub> &lt;b&gt; \u22121.20'
    """
    shown = re.sub(r"M_\{([\d,]+)\}", r"M<sub>\1</sub>", escape(str(sentence)))
    shown = re.sub(r"(?<=\d) (?=[%\w])", "\u00a0", shown)  # no line ends there
    shown = shown.replace(" -&gt; ", " \u2192 ")
    return re.sub(r"(?<![\w.-])-(?=\d)", "\u2212", shown)


def as_markdown(sentence: str) -> str:
    """Text that stays text, also in a table cell.

    >>> as_markdown("a|b <i>*")
    'a\\\\|b &lt;i>\\\\*'
    """
    shown = " ".join(str(sentence).split())
    shown = shown.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*|\[\]])", r"\\\1", shown)


# What a search brought, or several.


def headline(study: Study, differences: Sequence[Difference]) -> str:
    """One sentence: what top-down training brought."""
    best, joint, unit, n = study.best, study.joint, study.unit, len(study.searches)
    ended = _not_ended(study)
    if ended or best is None or joint is None:
        return ended
    subject = f"Over {plural(n, 'seed')} the search"
    if not study.several:
        n, k = len(study.first.layers), len(next(iter(best.members.values())).frozen)
        top = f"the top layer of {n}" if k == 1 else f"the top {k} of {n} layers"
        subject = f"Freezing {top} and retraining the rest"
    d = leading(study, differences) or compare(best, joint, None, unit)
    if d is None:
        return f"{subject} gave {label(best)}."
    place = study.sets[d.key] + (", on which it was chosen," if d.key is None else "")
    new, old = (f"{rate:.2f}{unit.sign}" for rate in d.rates)
    verb = "lowered" if d.value < 0 else "raised"
    change = f"{verb} the {unit.label} on {place} from {old} to {new}"
    if d.value == 0:
        change = f"left the {unit.label} on {place} at {new}"
    if d.low is None:
        return f"{subject} {change}."
    return f"{subject} {change}, a difference of {_measured(d)}."


def _measured(d: Difference, against: str = "") -> str:
    """A difference with its interval and what that says of zero."""
    start = f"{signed(d.value)} points{against}"
    if d.low is None:
        return f"{start}; 95 % interval {interval(d)}"
    over = "seeds and utterances" if len(d.seeds) > 1 else "utterances"
    verdict = "which excludes zero" if d.clear else "which includes zero"
    if d.clear is None:
        verdict = f"too few for a verdict: at least {MIN_UTTS} are needed"
    return f"{start} (95 % interval over {over} {interval(d)}, n = {d.n}, {verdict})"


def _not_ended(study: Study) -> str:
    """The headline where nothing was gained or nothing is known yet."""
    search, best, joint = study.first, study.best, study.joint
    if study.several:
        if best is None:
            return f"No search of {plural(len(study.searches), 'seed')} has ended."
        kept = all(s.best in (None, s.joint) for s in study.searches.values())
        n = plural(len(best.members), "seed")
        return f"Over {n} the search kept joint training." if kept else ""
    if search.status == NOT_RUN:
        return "This search has not run yet: no model was retrained."
    if not search.finished:
        scored = sum(c.valid is not None for c in search.with_role(CANDIDATE))
        models = plural(scored, "retrained model")
        begun = "was interrupted" if search.status == "interrupted" else "is running"
        return f"This search {begun}; {models} scored so far."
    if best is None or joint is None:
        return "This search ended without a model."
    if best is joint:
        why = f"no retraining made fewer {study.unit.counted} on {study.valid}"
        return f"Joint training {label(joint)} stays the best model: {why}."
    return ""


def leading(study: Study, differences: Sequence[Difference]) -> Difference | None:
    """The difference that the headline is about."""
    of = (d for d in differences if d.ours is study.best and d.other is study.joint)
    return next((d for d in of if d.unit is study.unit), None)


def evidence(study: Study, differences: Sequence[Difference]) -> list[str]:
    """The sentences after the headline: other differences, the validation set."""
    unit, search, lines = study.unit, study.first, []
    for d in differences:
        first = d.key == next(iter(study.tests))
        if d.unit is not unit or d.ours is not study.best:
            continue
        if first != (d.other is study.joint):  # the headline has joint on the first
            against = f" {unit.label} against {math(d.other.name)}"
            if study.several:
                n = plural(len(d.seeds), "seed")
                against += f" over {n}, better in {d.better}"
            lines.append(f"{study.sets[d.key]}: {_measured(d, against)}.")
    running = [str(k) for k, s in study.searches.items() if not s.finished]
    if study.several:
        of_controls = {s for g in study.with_role(CONTROL) for s in g.members}
        lacking = [str(s) for s in study.searches if s not in of_controls]
        if running:
            lines.append(f"Not finished: the search of seed {', '.join(running)}.")
        if lacking:
            lines.append(f"Controls of seed {', '.join(lacking)}: {NOT_RUN}.")
    elif search.best and search.joint and search.best is not search.joint:
        new, old = (unit.of(c.valid) for c in (search.best, search.joint))
        if new and old:
            lines.append(
                f"{study.valid}, on which the search selects: {sum_of(old)} to "
                f"{sum_of(new)} {unit.counted} in {old.ref} {unit.token}. A gain there "
                "is too good; a test set says more."
            )
    scored = bool(study.tests)
    if search.best and not study.several:  # a wider search finds another best model
        scored = bool(search.best.tests)
    if not running and not scored:
        what = "The best model on a test set" if study.tests else "A test set"
        lines.append(f"{what}: {NOT_RUN}.")
        if unit.name != LIKELIHOOD:
            lines[-1] += f" Decode one: {decode_command(search)}"
    return lines


def warnings(study: Study) -> list[str]:
    """What speaks against taking these numbers as they are."""
    lines = []
    for seed, search in study.searches.items():
        start = f"Seed {seed}: " if study.several else ""
        lines += [start + sentence for sentence in _warnings(search)]
    return lines


def _warnings(search: SearchState) -> list[str]:
    best, joint, unit, lines = search.best, search.joint, unit_of(search), []
    for c in search.candidates:
        if c.status == "failed":
            lines.append(f"{math(c.name)} failed: {c.why}; see {c.name}/train.log.")
        for score in [c.valid, *c.tests.values()]:
            n = empty_hypotheses(score, unit.name) if score else 0
            if score and n:
                of = f"{n} of {plural(score.utts or n, 'utterance')} of {score.set}"
                lines.append(f"{math(c.name)} recognised nothing in {of}.")
    valid = best.valid if best else None
    chosen = unit.of(valid)
    dev = next((c.valid.set for c in search.candidates if c.valid), "")
    is_errors = unit.counted == "errors"
    if chosen and is_errors and chosen.ref and chosen.rate >= 100:
        lines.append(
            "The best model makes an error for each token: nothing was learnt."
        )
    if valid and chosen and is_errors and 0 < (valid.utts or 0) < MIN_UTTS:
        few = f"{plural(valid.utts or 0, 'utterance')}; at least {MIN_UTTS} are needed"
        lines.append(f"The search decided on {few}.")
    for c in search.with_role(CANDIDATE):
        parent = search.find(str(c.composition.parent)) if c.composition else None
        if parent and c.errors is not None and c.errors == parent.errors:
            tie = f"{math(c.name)} and {math(parent.name)} tie on {dev}"
            lines.append(f"{tie} ({c.errors:g} {unit.counted}); ties continue.")
    if best and best is not joint and best.errors is not None:
        errors = {c.name: c.errors for c in search.with_role(CONTROL)}
        equal = [k for k, n in errors.items() if n is not None and n <= best.errors]
        names = [math(name) for name in equal]
        if names:
            lines.append(
                f"Not worse than the best model on {dev}: {', '.join(names)}. "
                "The gain may not come from freezing the top."
            )
    return lines


def path(search: SearchState) -> str:
    """The models that the search went through, in the paper's notation."""
    names = search.path or tuple(
        c.name for c in search.candidates if c.role != CONTROL and c.status != NOT_RUN
    )
    return " -> ".join(_step(search, name) for name in names) or NOT_RUN


def _step(search: SearchState, name: str) -> str:
    c = search.find(name)
    if c is None or c.status in ("done", "accepted", "trained", NOT_RUN):
        return math(name)
    return f"{math(name)} ({c.status})"


def ending(search: SearchState) -> str:
    """Why the search stopped, or where it is."""
    if search.finished:
        best = math(search.best_name) if search.best_name else NOT_RUN
        reason = _math_in(search.reason).rstrip(".")
        return f"Best: {best}. Stopped: {reason}."
    if search.status == NOT_RUN:
        return f"Search: {NOT_RUN}."
    if search.status == "running":
        return "Running."
    return "Interrupted; the same command continues."


def controls(search: SearchState) -> list[str]:
    """Which controls ran, one sentence each; asked for but absent ones say so."""
    asked = [str(c) for c in search.request.get("controls") or ()]
    ran = {c.control or c.name.partition(".")[2]: c for c in search.with_role(CONTROL)}
    lines = []
    for kind in dict.fromkeys([*asked, *ran]):
        if kind not in ran and f"{kind}1" in ran:  # a chain of models
            continue
        state = status(ran[kind], None) if kind in ran else NOT_RUN
        meaning = CONTROLS.get(kind.rstrip("0123456789"), "")
        lines.append(f"{kind}: {state}" + (f" ({meaning})" if meaning else ""))
    return lines or ["No control was asked for (--controls joint,warm)."]


# Where the numbers come from.


def provenance(search: SearchState) -> list[tuple[str, str]]:
    """What was asked for, what it was made of, and with which versions."""
    asked, unit, first = search.request, unit_of(search), search.last_event or NOT_RUN
    layers = [f"{name} ({n:,})" if n else name for name, n in search.layers]
    parameters = sum(n or 0 for _, n in search.layers)
    measure = f"{unit.label} errors" if unit.counted == "errors" else unit.counted
    hosts = [[c.progress.get(k) for k in _HOST] for c in search.candidates]
    machines = {f"{processor}, {n}": None for processor, n in hosts if processor and n}
    hours = f"{search.train_hours:.3g} h" if search.train_hours else UNRECORDED
    versions = dict.fromkeys(VERSIONS, UNRECORDED) | dict(search.versions)
    return [
        ("joint training", search.base_exp),
        ("layers, from the top", ", ".join(layers) or UNRECORDED),
        ("parameters", f"{parameters:,}" if parameters else UNRECORDED),
        ("speech for training", hours),
        ("processor, threads", "; ".join(machines) or UNRECORDED),
        ("layer stack", search.stack),
        ("strategy", search.strategy),
        ("layers frozen at most", str(asked.get("max_frozen", "all but one"))),
        ("criterion", f"{measure}, {search.decoder}"),
        *[(f"--{k}, removed", str(asked[k])) for k in REMOVED_OPTIONS if asked.get(k)],
        ("date", search.finished or f"not finished; {first}"),
        *versions.items(),
    ]


def commands(search: SearchState) -> list[str]:
    """What to type for the same search, for a test set, and for this report."""
    place = _place(search)
    words = ["espnet-topdown search", shlex.quote(search.base_exp), shlex.quote(place)]
    for option in OPTIONS:
        value = search.request.get(option)
        value = ",".join(map(str, value)) if isinstance(value, list) else value
        if value not in (None, ""):
            words.append(f"--{option} {shlex.quote(str(value))}")
    lines = [" ".join(words)]
    if search.finished and search.criterion != LIKELIHOOD:
        lines.append(decode_command(search))
    return [*lines, f"espnet-topdown report {shlex.quote(place)}"]


def decode_command(search: SearchState) -> str:
    """Decode a set with joint training, the best model and the controls."""
    return f"espnet-topdown decode {shlex.quote(_place(search))} --data dump/raw/test"


def _place(search: SearchState) -> str:
    """The folder as seen from the recipe, however the report was asked for."""
    folder, above = search.folder.resolve(), Path(search.base_exp).parent
    beside = folder.parent.parts[-len(above.parts) :] == above.parts
    return str(above / folder.name) if above.parts and beside else folder.name
