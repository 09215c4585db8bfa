"""Every remedy can be followed: its options, verbs, recipe options and targets exist.

The messages are found in the sources: the third argument of ``TopDownError``, ``do`` of
a function that returns one, through local names and f-strings, and the third word of
``die`` in shell scripts. A remedy that names its command is checked with that command's
parser. One that only names an option must name one of every verb that can reach it, by
a graph of the functions that call each other.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from espnet_topdown.cli.main import VERBS, parser_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "espnet_topdown"
SCRIPTS = sorted((ROOT / "egs2" / "TEMPLATE").rglob("*.sh"))
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
NAMED = re.compile(r"espnet-topdown (\w+)([^';(]*)")
RECIPE = re.compile(r"(?:(?:\./)?(?:run|topdown|lm|asr_pip)\.sh|in a recipe:)([^';)]*)")
# Others that a remedy names: where their options are declared.
OTHERS = {
    r"launcher's (--[a-z]\w*)": "cmd/local.py",
    r"train .*with (--[a-z]\w*)": "trainer/_options.py",
}
FOREIGN = re.compile(r"(pip|apt-get|srun|sbatch|qsub|uv|python3? -m|sox|ffmpeg) [^';]*")
# A job's train.yaml has them, so that only who calls the trainer himself is told.
OF_THE_TRAINER = {"--dist_launcher", "--ignore_init_mismatch"}
STEPS = frozenset({"rows"})  # run.sh --row: their options are its own
# A verb that reaches the function, but not this message, and why.
WAIVED = {
    ("Experiment.check_finished", "retrain"),  # asks whether its own job is trained
    ("Experiment.model_file", "fsck"),  # its finding: the file is missing
    ("Experiment.model_file", "pack"),  # gives a remedy of its own
    ("Experiment.model_file", "report"),  # reads another 'table' than a plan's
    ("LayerStack.check_frozen", "search"),  # its candidates freeze from the top down
    ("CTCGuard.report", "report"),  # calls another method of that name
    *(("Report.show", verb) for verb in ("retrain", "search")),  # so do these
}
TRAINERS = ("espnet_topdown.bin.asr_train", "espnet_topdown.bin.lm_train")


def module_name(path: Path) -> str:
    words = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(w for w in words if w != "__init__")


TREES = {module_name(p): ast.parse(p.read_text()) for p in PACKAGE.rglob("*.py")}
Function = tuple[str, str]  # module and name, with the class before a dot


def functions(module: str) -> Iterator[tuple[str, ast.AST]]:
    """Functions and methods; what stands outside of them is ``""``."""
    tree = TREES[module]
    yield "", tree
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    yield f"{node.name}.{part.name}", part


BODIES: dict[Function, ast.AST] = {
    (module, name): node for module in TREES for name, node in functions(module)
}


@functools.cache
def imported(module: str) -> dict[str, Function]:
    """A name in a module -> what it stands for, in this package."""
    found: dict[str, Function] = {}
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found.update({a.name: (a.name, "") for a in node.names if a.name in TREES})
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = alias.asname or alias.name
                if f"{node.module}.{alias.name}" in TREES:
                    found[name] = (f"{node.module}.{alias.name}", "")
                elif node.module in TREES:
                    found[name] = (node.module, alias.name)
    return found


def all_from(start: Any, follow: Callable[[Any], Iterable]) -> frozenset:
    """It, and where it leads to in any number of steps."""
    seen, todo = set(), [start]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo += follow(here)
    return frozenset(seen)


@functools.cache
def closure(module: str) -> frozenset[str]:
    """The modules that a module imports, and they."""
    return all_from(module, lambda here: [m for m, _ in imported(here).values()])


def members(module: str, name: str, caller: str = "") -> Iterator[Function]:
    """A function, or what a class does by itself; ESPnet calls a trainer's methods."""
    trains = ("espnet_topdown.trainer.", "espnet_topdown.bin.")
    hooks = module.startswith(trains[0]) and caller.startswith(trains)
    for where, known in BODIES:
        holder, _, method = known.partition(".")
        if where == module and holder == name:
            if not method or hooks or method.startswith("__"):
                yield module, known


@functools.cache
def called(function: Function) -> frozenset[Function]:
    """What a function may call: by name, by a module's name, or any method so named."""
    module, own = function
    found: set[Function] = set()
    names = imported(module)
    for node in ast.walk(BODIES[function]):
        if isinstance(node, ast.Name):
            where, name = names.get(node.id, (module, node.id))
            found.update(members(where, name, module))
        elif isinstance(node, ast.Attribute):
            holder = node.value.id if isinstance(node.value, ast.Name) else ""
            if holder in sys.stdlib_module_names:
                continue
            if names.get(holder, ("", "x"))[1] == "":
                found.update(members(names[holder][0], node.attr, module))
            else:
                methods = (f for f in BODIES if f[1].endswith(f".{node.attr}"))
                found.update(f for f in methods if f[0] in closure(module))
        elif isinstance(node, ast.Constant) and node.value in TREES:
            found.update(members(node.value, "main"))
    used = {n.attr for n in ast.walk(BODIES[function]) if isinstance(n, ast.Attribute)}
    if "import_module" in used:  # a trainer, by its name in retrain.yaml or tasks.yaml
        entries = used & {"main", "get_parser"}
        found.update((m, name) for m in TRAINERS for name in entries)
    return frozenset(f for f in found if f != function and f[1])


def assigned(name: str, nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """What a name is set to."""
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            to = node.targets[0] if isinstance(node, ast.Assign) else node.target
            pairs = [(to, node.value)]
            if isinstance(to, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(to.elts, node.value.elts))
            yield from (v for t, v in pairs if getattr(t, "id", "") == name)


def texts(expr: ast.AST, function: ast.AST, module: ast.AST) -> Iterator[str]:
    """The strings that an expression may be."""
    if isinstance(expr, ast.Constant):
        if isinstance(expr.value, str):
            yield expr.value
    elif isinstance(expr, ast.JoinedStr):
        yield "".join(
            str(v.value) if isinstance(v, ast.Constant) else "X" for v in expr.values
        )
    elif isinstance(expr, ast.Name):
        own = list(assigned(expr.id, ast.walk(function)))
        for value in own or assigned(expr.id, module.body):
            yield from texts(value, function, module)
    else:
        for child in ast.iter_child_nodes(expr):
            yield from texts(child, function, module)


@functools.cache
def helpers(tree: ast.AST) -> dict[str, int]:
    """Functions that make an error of a remedy that they are given: its place."""
    found = {}
    for node in ast.walk(tree):
        returned = getattr(getattr(node, "returns", None), "id", "")
        if returned == "TopDownError":
            names = [a.arg for a in node.args.args if a.arg != "self"]
            if "do" in names:
                found[node.name] = names.index("do")
    return found


def remedies_in(body: ast.AST, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each remedy in a function."""
    places = {"TopDownError": 2, **helpers(tree)}
    for node in ast.walk(body):
        if isinstance(node, ast.Call):
            names = getattr(node.func, "id", ""), getattr(node.func, "attr", "")
            for place in {places[name] for name in names if name in places}:
                named = [k.value for k in node.keywords if k.arg == "do"]
                for expr in (*node.args[place : place + 1], *named):
                    yield from ((node.lineno, text) for text in texts(expr, body, tree))


def remedies() -> list[tuple[Function, int, str]]:
    """Function, line and text of each remedy in the package."""
    bodies = ((key, body) for key, body in BODIES.items() if key[1])
    return [
        (key, line, text)
        for key, body in bodies
        for line, text in remedies_in(body, TREES[key[0]])
    ]


def shell_remedies() -> set[str]:
    """The third word of each ``die``."""
    word = r'"((?:[^"\\]|\\.)*)"'
    found = set()
    for path in ROOT.glob("egs2/**/*.sh"):
        if not path.is_symlink():
            text = path.read_text().replace("\\\n", "  ")
            said = re.findall(rf"\bdie E_\w+\s+{word}\s+{word}", text)
            found |= {remedy for _, remedy in said}
    return found


def local_remedies() -> list[tuple[Path, str]]:
    """Of the recipes' own scripts, which run.sh starts with --local_data_opts."""
    found = []
    for path in sorted(ROOT.glob("egs2/*/*/local/*.py")):
        tree = ast.parse(path.read_text())
        for body in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
            found += [(path, text) for _, text in remedies_in(body, tree)]
    return found


@functools.cache
def options_of(verb: str) -> frozenset[str]:
    actions = parser_of(verb)._actions
    return frozenset(option for action in actions for option in action.option_strings)


@functools.cache
def recipe_options() -> frozenset[str]:
    text = "\n".join(p.read_text() for p in SCRIPTS if p.name.endswith("options.sh"))
    names = re.findall(r"^([a-z]\w*)=", text, re.MULTILINE)
    return frozenset(f"--{n}" for n in names)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))


def wrong(text: str, verbs: frozenset[str]) -> list[str]:
    """What does not exist in a remedy that these verbs can print."""
    found = []
    for verb, rest in NAMED.findall(text):
        if verb not in VERBS:
            found.append(f"espnet-topdown {verb}")
        else:
            lack = set(OPTION.findall(rest)) - options_of(verb)
            found += [f"espnet-topdown {verb} {o}" for o in lack]
    for rest in RECIPE.findall(text):
        found += [f"recipe {o}" for o in set(OPTION.findall(rest)) - recipe_options()]
    found += [
        f"make {t}"
        for t in re.findall(r"['`]make (\S+)['`]", text)
        if t not in targets()
    ]
    rest = FOREIGN.sub("", RECIPE.sub("", NAMED.sub("", re.sub('"[^"]*"', "", text))))
    for pattern, path in OTHERS.items():
        declared = (PACKAGE / path).read_text()
        found += [o for o in re.findall(pattern, rest) if o[2:] not in declared]
        rest = re.sub(pattern, "", rest)
    for name in sorted(set(OPTION.findall(rest)) - OF_THE_TRAINER):
        lack = sorted(v for v in verbs - STEPS if name not in options_of(v))
        if verbs and verbs <= STEPS:
            lack = [] if name in recipe_options() else ["run.sh"]
        if lack:
            found.append(f"{name} is no option of {' '.join(lack)}")
    return found


@functools.cache
def verbs_of() -> dict[Function, frozenset[str]]:
    """Which verbs can reach a function."""
    starts = {n: (v.run.__module__, n) for n, v in VERBS.items()}
    by_verb = {n: all_from(start, called) for n, start in starts.items()}
    return {
        f: frozenset(n for n in by_verb if f in by_verb[n] and (f[1], n) not in WAIVED)
        for f in BODIES
    }


def test_remedies_of_the_package() -> None:
    bad, can_be_said = set(), 0
    for function, line, text in remedies():
        verbs = verbs_of()[function]
        can_be_said += bool(verbs)
        for what in wrong(text, verbs):
            where = f"{function[0].partition('.')[2]}:{line} {function[1]}"
            bad.add(f"{where}: {what}   [{text}]")
    assert can_be_said > 200
    assert sorted(bad) == []


@pytest.mark.parametrize("text", sorted(shell_remedies()))
def test_remedies_of_the_recipes(text: str) -> None:
    rest = text.replace("--${name}", "").replace("--${1}", "")
    lack = set(OPTION.findall(FOREIGN.sub("", NAMED.sub("", rest)))) - recipe_options()
    assert lack - {"--help"} == set() and not wrong(text, frozenset())


def test_remedies_of_the_recipes_own_scripts() -> None:
    seen, bad = local_remedies(), []
    for path, text in seen:
        known = set(OPTION.findall((path.parents[1] / "run.sh").read_text()))
        known |= recipe_options() | {"--step", "--job"}  # of who calls it himself
        last = re.sub('"[^"]*"', "", text).rpartition("of a recipe:")[2]
        bad += [f"{path.name}: {text}"] * (set(OPTION.findall(last)) - known != set())
    assert len(seen) > 50 and bad == []


# Of a launcher's own file, and what TOPDOWN_CMD_BACKEND is in a recipe.
NOT_OF_A_RECIPE = {"--config", "--cmd_backend"}


def test_what_a_search_advises_its_recipe_takes() -> None:
    """By the same name, or the remedy says by which."""
    bad = []
    for function, _, text in remedies():
        room = [*function[0].split("."), ""][1]
        own = room in ("search", "models", "cmd") or "--allow" in text
        if own and "search" in verbs_of()[function]:
            rest = re.sub(r"[^;,.]*" + RECIPE.pattern, "", FOREIGN.sub("", text))
            lack = set(OPTION.findall(NAMED.sub("", rest))) - recipe_options()
            bad += [f"{function} {text}"] * bool(lack - NOT_OF_A_RECIPE)
    assert bad == []
