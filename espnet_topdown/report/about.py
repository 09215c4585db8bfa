"""Where the numbers come from: request, date, versions, commands."""

from __future__ import annotations

import shlex
from pathlib import Path

from espnet_topdown.errors import REMOVED_OPTIONS
from espnet_topdown.report.nodes import NOT_RUN, Node
from espnet_topdown.report.rows import SearchReport

# Options that are named only where they are not as usual.
RARE = ("epochs", "width", "budget", "steps", "reinit")


def request(search: SearchReport) -> list[tuple[str, str]]:
    """What was asked for."""
    asked, names = search.request, ", ".join(name for name, _ in search.layers)
    return [
        ("joint training", search.base_exp),
        ("layers, from the top", names or "not recorded"),
        ("layer stack", search.stack),
        ("strategy", search.strategy),
        ("layers frozen at most", str(asked.get("max_frozen", "all but one"))),
        ("criterion", f"{_measure(search.criterion)}, {search.decoder}"),
        *[(f"--{k}, removed", str(asked[k])) for k in REMOVED_OPTIONS if asked.get(k)],
    ]


def _measure(criterion: str) -> str:
    return "nats" if criterion == "ppl" else f"{criterion.upper()} errors"


def environment(search: SearchReport) -> list[tuple[str, str]]:
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
    mixed = [n for n in search.nodes if _differs(n, search)]
    if mixed:
        listed = ", ".join(n.name for n in mixed)
        rows.append(("other versions", f"{listed}: see retrain.yaml"))
    return rows


def _differs(node: Node, search: SearchReport) -> bool:
    pairs = node.versions.items()
    return any(search.versions.get(k, v) != v for k, v in pairs)


def commands(search: SearchReport) -> list[str]:
    """What to type to ask for the same search, and for this report."""
    asked = search.request
    options = {
        "base_exp": search.base_exp,
        "output_dir": _place(search),
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
    return [
        _command("search", **options),
        _command("report", search_dir=options["output_dir"]),
    ]


def _plain(value: object) -> object:
    """A list as the option takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _command(name: str, **options: object) -> str:
    words = [f"espnet-topdown {name}"]
    for option, value in options.items():
        if value not in (None, ""):
            words.append(f"--{option} {shlex.quote(str(value))}")
    return " ".join(words)


def _place(search: SearchReport) -> str:
    """The folder as seen from the recipe, however the report was asked for."""
    folder, above = search.folder.resolve(), Path(search.base_exp).parent
    beside = folder.parent.parts[-len(above.parts) :] == above.parts
    return str(above / folder.name) if above.parts and beside else folder.name
