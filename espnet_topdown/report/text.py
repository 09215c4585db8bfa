"""The report in words: how values are written, what the numbers say, what to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from espnet_topdown.errors import REMOVED_OPTIONS, TopDownError
from espnet_topdown.report.rows import (
    MIN_UTTS,
    REASONS,
    Comparison,
    Unit,
    amount_of,
    empty_hypotheses,
    main_unit,
)
from espnet_topdown.report.seeds import BEST, Difference, Group, Seeds
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.state import (
    CANDIDATE,
    CONTROL,
    JOINT,
    NOT_RUN,
    Amount,
    Candidate,
    Key,
    SearchState,
)
from espnet_topdown.search.strategies import CONTROLS

# Options that are named only where they are not as usual.
RARE = ("epochs", "width", "budget", "steps", "reinit")

INTERVAL_NOTE = (
    "Differences in percent points: below 0 the best model is better. 95 % intervals "
    "by paired bootstrap over the n utterances, 10,000 draws, seed 0; over fewer than "
    f"{MIN_UTTS} no verdict is drawn. They hold the seeds fixed: they speak of other "
    "utterances, not of other trainings, which may differ by more."
)
MEANS_NOTE = (
    "Error rates in percent, mean and sample standard deviation over the seeds. The "
    "last columns: that rate on the last set minus that of joint training, mean over "
    "the S seeds that have both; below 0 is better. 95 % intervals: mean \u00b1 t(S-1) "
    "sqrt(s^2/S + v), where s is the standard deviation of the seeds' differences, and "
    "v the variance of their mean in 10,000 bootstrap samples of the n utterances, "
    "seed 0. They speak of other seeds and of other utterances."
)
CURVES_NOTE = (
    "A dot marks the epoch that became the model. The trainer measures these rates "
    "batch by batch; the search decides on decoded errors instead."
)


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


def rate(found: Amount | None, unit: Unit) -> str:
    """A rate, two decimals: on 10,000 characters one error shows."""
    if found is None:
        return NOT_RUN
    return f"{unit.rate(found):.2f}" if found.ref else "no reference"


def amount(found: Amount | None) -> str:
    """Errors, or nats with three decimals."""
    if found is None:
        return NOT_RUN
    return f"{found.errors}" if isinstance(found.errors, int) else f"{found.errors:.3f}"


def signed(value: float) -> str:
    """A difference of percentages, in points; never -0.00.

    >>> signed(-0.001), signed(-1.5)
    ('0.00', '-1.50')
    """
    shown = f"{value:+.2f}"
    return "0.00" if float(shown) == 0 else shown


def interval(d: Comparison | Difference) -> str:
    """The 95 % interval, or why there is none."""
    if d.low is not None and d.high is not None:
        return f"{signed(d.low)} to {signed(d.high)}"
    return f"{NOT_RUN} ({REASONS.get(d.why, d.why)})"


def _verdict(d: Comparison | Difference) -> str:
    """What an interval says of zero."""
    if d.clear is None:
        return f"too few utterances for a verdict: at least {MIN_UTTS} are needed"
    return "which excludes zero" if d.clear else "which includes zero"


def spread(mean: float, deviation: float | None, n: int) -> str:
    """Mean and deviation of percentages.

    >>> spread(17.432, 0.401, 3) == "17.43 \\u00b1 0.40"
    True
    >>> spread(17.0, None, 1), spread(float("nan"), None, 0)
    ('17.00', 'not run')
    """
    if not n:
        return NOT_RUN
    return f"{mean:.2f}" + ("" if deviation is None else f" \u00b1 {deviation:.2f}")


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
    return "not recorded" if c.valid else NOT_RUN


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


def group_label(group: Group) -> str:
    """What a kind of models is called."""
    if group.role == CONTROL:
        return f"control: {group.name.partition('.')[2]}"
    names = {JOINT: "joint training", BEST: "best of the search"}
    return names.get(group.role, math(group.name))


def plural(n: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "layer"), plural(2, "layer")
    ('1 layer', '2 layers')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def set_label(search: SearchState, key: Key) -> str:
    """The set's name; with the decoder where there are several."""
    decoder, name = key
    several = len({d for d, _ in search.test_sets}) > 1
    return f"{name} ({decoder})" if several else name


def valid_label(search: SearchState) -> str:
    """The name of the validation set."""
    found = (c.valid.set for c in search.candidates if c.valid)
    return next(found, "validation")


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


# What a search brought.


def headline(search: SearchState, found: Sequence[Comparison]) -> str:
    """One sentence: what top-down training brought."""
    best, joint, unit = search.best, search.joint, main_unit(search)
    if search.status == NOT_RUN:
        return "This search has not run yet: no model was retrained."
    if not search.finished:
        n = sum(c.valid is not None for c in search.having(CANDIDATE))
        begun = "was interrupted" if search.status == "interrupted" else "is running"
        return f"This search {begun}; {plural(n, 'retrained model')} scored so far."
    if best is None or joint is None:
        return "This search ended without a model."
    if best is joint:
        return (
            f"Joint training {math(joint.name)} stays the best model: no retraining "
            f"made fewer {unit.amount} on {valid_label(search)}."
        )
    n, k = len(search.layers), len(best.frozen)
    top = f"the top layer of {n}" if k == 1 else f"the top {k} of {n} layers"
    change = f"Freezing {top} and retraining the rest {_change(search, best, joint)}"
    d = leading(search, found)
    if d is None or d.low is None:
        return f"{change}."
    if d.clear is None:
        return f"{change} (n = {d.n}: {_verdict(d)})."
    zero = "" if d.clear else ", which includes zero"
    points = f"a difference of {signed(d.difference)} points"
    bounds = f"95 % interval over utterances {interval(d)}, n = {d.n}{zero}"
    return f"{change}, {points} ({bounds})."


def leading(search: SearchState, found: Sequence[Comparison]) -> Comparison | None:
    """The comparison that the headline is about."""
    joint = search.joint.name if search.joint else ""
    of_joint = [d for d in found if d.other == joint and d.unit is main_unit(search)]
    return of_joint[0] if of_joint else None


def _change(search: SearchState, best: Candidate, joint: Candidate) -> str:
    unit = main_unit(search)
    scores = [
        (set_label(search, key), best.tests.get(key), joint.tests.get(key))
        for key in search.test_sets
    ]
    selected = f"{valid_label(search)}, on which it was chosen,"
    for name, *pair in [*scores, (selected, best.valid, joint.valid)]:
        new, old = (amount_of(score, unit) for score in pair)
        if new is None or old is None:
            continue
        what = f"the {unit.label} on {name}"
        if new.errors == old.errors:
            return f"left {what} at {rate(old, unit)}{unit.sign}"
        verb = "lowered" if new.errors < old.errors else "raised"
        rates = (f"{rate(x, unit)}{unit.sign}" for x in (old, new))
        return f"{verb} {what} from {' to '.join(rates)}"
    return f"gave {math(best.name)}"


def evidence(search: SearchState, found: Sequence[Comparison]) -> list[str]:
    """The sentences after the headline: other comparisons, the validation set."""
    joint, unit, first = search.joint, main_unit(search), leading(search, found)
    said = [
        _comparison(search, d)
        for d in found
        if d.unit is unit
        and ((joint and d.other == joint.name) or d.key == search.test_sets[0])
        and (d is not first or d.clear is None)
    ]
    if search.best and joint and search.best is not joint:
        new, old = (amount_of(c.valid, unit) for c in (search.best, joint))
        if new and old:
            said.append(
                f"{valid_label(search)}, on which the search selects: {amount(old)} to "
                f"{amount(new)} {unit.amount} in {old.ref} {unit.token}. A gain there "
                "is too good; a test set says more."
            )
    if search.finished and search.best and not any(c.tests for c in search.candidates):
        how = "" if unit.name == "ppl" else f" Decode one: {decode_command(search)}"
        said.append(f"A test set: {NOT_RUN}.{how}")
    return said


def _comparison(search: SearchState, d: Comparison) -> str:
    other = search.find(d.other)
    name = "joint training" if other and other.role == JOINT else math(d.other)
    start = f"{set_label(search, d.key)}: {signed(d.difference)} points "
    start += f"{d.unit.label} against {name}"
    if d.low is None:
        return f"{start}; 95 % interval {interval(d)}."
    return f"{start}, 95 % interval {interval(d)} (n = {d.n}), {_verdict(d)}."


def warnings(search: SearchState) -> list[str]:
    """What speaks against taking these numbers as they are."""
    unit, best = main_unit(search), search.best
    said = []
    for c in search.candidates:
        for score in [c.valid, *c.tests.values()]:
            n = empty_hypotheses(score, unit.name) if score else 0
            if score and n:
                of = f"{n} of {plural(score.utts or n, 'utterance')} of {score.set}"
                said.append(f"{math(c.name)} recognised nothing in {of}.")
    chosen = amount_of(best.valid, unit) if best else None
    if chosen and unit.amount == "errors" and chosen.ref and unit.rate(chosen) >= 100:
        said.append("The best model makes an error for each token: nothing was learnt.")
    n = best.valid.utts or 0 if best and best.valid else 0
    if chosen and unit.amount == "errors" and 0 < n < MIN_UTTS:
        few = f"{plural(n, 'utterance')}; at least {MIN_UTTS} are needed"
        said.append(f"The search decided on {few}.")
    for c in search.having(CANDIDATE):
        parent = search.find(str(c.composition.parent)) if c.composition else None
        if parent and c.errors is not None and c.errors == parent.errors:
            tie = f"{math(c.name)} and {math(parent.name)} tie on {valid_label(search)}"
            said.append(f"{tie} ({c.errors:g} {unit.amount}); ties continue.")
    if best and best is not search.joint and best.errors is not None:
        equal = [c for c in search.having(CONTROL) if c.errors is not None]
        names = [math(c.name) for c in equal if c.errors <= best.errors]
        if names:
            said.append(
                f"Not worse than the best model on {valid_label(search)}: "
                f"{', '.join(names)}. The gain may not come from freezing the top."
            )
    return said


def path(search: SearchState) -> str:
    """The models that the search went through, in the paper's notation."""
    names = search.path or tuple(
        c.name for c in search.candidates if c.role != CONTROL and c.status != NOT_RUN
    )
    return " -> ".join(_step(search, name) for name in names) or NOT_RUN


def _step(search: SearchState, name: str) -> str:
    c = search.find(name)
    plain = c is None or c.status in ("done", "accepted", "trained", NOT_RUN)
    return math(name) if plain else f"{math(name)} ({c.status})"


def ending(search: SearchState) -> str:
    """Why the search stopped, or where it is."""
    if search.finished:
        best = math(search.best_name) if search.best_name else NOT_RUN
        reason = _math_in(search.reason).rstrip(".") or "no reason recorded"
        return f"Best: {best}. Stopped: {reason}."
    if search.status == NOT_RUN:
        return f"Search: {NOT_RUN}."
    state = search.status.capitalize()
    failed = any(c.status == "failed" for c in search.candidates)
    if failed and search.status == "interrupted":
        state = "Stopped by a failure"
    more = "" if search.status == "running" else "; the same command continues"
    parts = [state + more]
    for c in search.candidates:
        if c.status in ("running", "waiting", "interrupted"):
            parts.append(f"{math(c.name)}: {c.status}, {c.why or 'first epoch'}")
    if search.last_event:
        parts.append(f"last event: {search.last_event}")
    return "; ".join(parts) + "."


def controls(search: SearchState) -> list[str]:
    """Which controls ran, one sentence each; asked for but absent ones say so."""
    asked = [str(c) for c in search.request.get("controls") or ()]
    ran = {c.control or c.name.partition(".")[2]: c for c in search.having(CONTROL)}
    said = []
    for kind in dict.fromkeys([*asked, *ran]):
        if kind not in ran and f"{kind}1" in ran:  # a chain of models
            continue
        state = status(ran[kind], None) if kind in ran else NOT_RUN
        meaning = CONTROLS.get(kind.rstrip("0123456789"), "")
        said.append(f"{kind}: {state}" + (f" ({meaning})" if meaning else ""))
    return said or ["none was asked for (--controls joint,warm says where gains start)"]


def failures(search: SearchState) -> list[str]:
    """Models whose training failed, and what the journal says of the cause."""
    return [
        f"{math(c.name)} failed: {c.why or 'no cause recorded'}; see {c.name}/train.log"
        for c in search.candidates
        if c.status == "failed"
    ]


def facts(
    search: SearchState, found: Sequence[Comparison]
) -> list[tuple[str, str, str]]:
    """A few numbers worth a large type: what, the value, a remark."""
    best, joint, unit = search.best, search.joint, main_unit(search)
    rows = []
    for d in [d for d in found if joint and d.other == joint.name][:2]:
        what = f"{d.unit.label} on {set_label(search, d.key)}, points"
        remark = "no interval" if d.low is None else f"{interval(d)}, n = {d.n}"
        rows.append((what, signed(d.difference), remark))
    pair = [amount_of(c.valid, unit) for c in (joint, best) if c]
    if best is not joint and len(pair) == 2 and all(pair):
        value = " -> ".join(map(amount, pair))
        rows.append((f"{unit.amount} on {valid_label(search)}", value, "selected on"))
    trained = [c for c in search.candidates if c.role != JOINT and c.valid]
    if trained:
        known = [c.seconds for c in trained if c.seconds is not None]
        spent = f"{duration(sum(known))} of training" if known else "time not recorded"
        rows.append(("models retrained", str(len(trained)), spent))
    return rows


# Over several seeds.


def seeds_headline(
    seeds: Seeds, found: Sequence[Difference], name: str, key: Key | None
) -> str:
    """What the searches gained on average on one set."""
    unit = main_unit(seeds.first)
    best = next((g for g in seeds.groups if g.role == BEST), None)
    n = plural(len(seeds.searches), "seed")
    if best is None or not best.rates(key, unit.name):
        return f"No search of {n} has ended with a decoded model."
    kept = [s for s in seeds.searches.values() if s.best and s.best is s.joint]
    if len(kept) == len(best.members):
        return f"Over {plural(len(kept), 'seed')} the search kept joint training."
    d = next((d for d in found if d.group.role == BEST), None)
    if d is None:
        return f"Joint training was not decoded on {name}."
    rates = []
    for group in (seeds.joint, best):
        values = [v for s, v in group.rates(key, unit.name).items() if s in d.seeds]
        rates.append(sum(values) / len(values))
    what = f"the {unit.label} on {name}"
    change = f"left {what} at {rates[1]:.2f} %"
    if d.value:
        verb = "lowered" if d.value < 0 else "raised"
        change = f"{verb} {what} from {rates[0]:.2f} % to {rates[1]:.2f} %"
    said = f"Over {plural(len(d.seeds), 'seed')} the search {change}, a difference of "
    said += f"{signed(d.value)} points"
    if d.low is None:
        return f"{said}."
    zero = "" if d.clear else f", {_verdict(d)}"
    bounds = f"95 % interval over seeds and utterances {interval(d)}, n = {d.n}"
    return f"{said} ({bounds}{zero})."


def seeds_evidence(seeds: Seeds, found: Sequence[Difference], name: str) -> list[str]:
    """What a reader must know beside the headline."""
    said = [
        f"{group_label(d.group)} against joint training on {name}: {signed(d.value)} "
        f"points over {plural(len(d.seeds), 'seed')}, better in {d.better}."
        for d in found
        if d.group.role != BEST
    ]
    running = [str(k) for k, s in seeds.searches.items() if not s.finished]
    if running:
        said.append(f"Not finished: the search of seed {', '.join(running)}.")
    controlled = {s for g in seeds.groups if g.role == CONTROL for s in g.members}
    lacking = [str(s) for s in seeds.searches if s not in controlled]
    if lacking:
        said.append(f"Controls of seed {', '.join(lacking)}: {NOT_RUN}.")
    return said


# Where the numbers come from.


def request(search: SearchState) -> list[tuple[str, str]]:
    """What was asked for."""
    asked, unit = search.request, main_unit(search)
    names = [f"{name} ({n:,})" if n else name for name, n in search.layers]
    measure = f"{unit.label} errors" if unit.amount == "errors" else unit.amount
    return [
        ("joint training", search.base_exp),
        ("layers, from the top", ", ".join(names) or "not recorded"),
        ("layer stack", search.stack),
        ("strategy", search.strategy),
        ("layers frozen at most", str(asked.get("max_frozen", "all but one"))),
        ("criterion", f"{measure}, {search.decoder}"),
        *[(f"--{k}, removed", str(asked[k])) for k in REMOVED_OPTIONS if asked.get(k)],
    ]


def environment(search: SearchState) -> list[tuple[str, str]]:
    """Date and versions; what was not recorded says so."""
    known = {k.lower(): v for k, v in search.versions.items()}
    names = ("python", "torch", "espnet", "espnet_topdown", "git")
    alias = {"git": ("git", "git_hash", "commit"), "torch": ("torch", "pytorch")}
    unfinished = f"not finished; {search.last_event or NOT_RUN}"
    rows = [("date", search.finished or unfinished)]
    for name in names:
        keys = alias.get(name, (name,))
        value = next((known.pop(k) for k in keys if k in known), "not recorded")
        rows.append((name, value))
    rows += sorted(known.items())
    mixed = [c.name for c in search.candidates if _differs(c.versions, search.versions)]
    if mixed:
        rows.append(("other versions", f"{', '.join(mixed)}: see retrain.yaml"))
    return rows


def _differs(mine: Mapping[str, str], common: Mapping[str, str]) -> bool:
    return any(common.get(k, v) != v for k, v in mine.items())


def commands(search: SearchState) -> list[str]:
    """What to type for the same search, for a test set, and for this report."""
    asked, place = search.request, _place(search)
    options = {
        "search": search.strategy,
        "stack": search.stack,
        "max_frozen": asked.get("max_frozen"),
        "criterion": search.criterion,
        "retrain_seed": asked.get("retrain_seed"),
        "controls": ",".join(str(c) for c in asked.get("controls") or ()),
        "max_epoch": asked.get("max_epoch"),
        "trainer": asked.get("trainer"),
        **{k: _plain(asked.get(k)) for k in RARE},
    }
    words = ["espnet-topdown search", shlex.quote(search.base_exp), shlex.quote(place)]
    for option, value in options.items():
        if value not in (None, ""):
            words.append(f"--{option} {shlex.quote(str(value))}")
    lines = [" ".join(words)]
    if search.finished and search.criterion != "ppl":
        lines.append(decode_command(search))
    return [*lines, f"espnet-topdown report {shlex.quote(place)}"]


def decode_command(search: SearchState) -> str:
    """Decode a set with joint training, the best model and the controls."""
    return f"espnet-topdown decode {shlex.quote(_place(search))} --data dump/raw/test"


def _plain(value: object) -> object:
    """A list as the option takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _place(search: SearchState) -> str:
    """The folder as seen from the recipe, however the report was asked for."""
    folder, above = search.folder.resolve(), Path(search.base_exp).parent
    beside = folder.parent.parts[-len(above.parts) :] == above.parts
    return str(above / folder.name) if above.parts and beside else folder.name
