"""python test/golden/record.py [NAME...]: write down what must not change.

Each section is a function that makes its values from nothing; the file of its name
holds them and test_golden.py compares. A difference that is meant is recorded by this
script and has its line in CHANGES.md. Values only: no wording, no digest of a file that
names a version, no date, no path of this machine.

The folders finished, joint_best and interrupted are not made here: version 0.1.0 wrote
them (git 5fa0e67, ESPnet 202511), and every later one has to read them.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.metadata
import io
import itertools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown import errors
from espnet_topdown.jobs.prepare import prepare
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import shipped, stack_for
from espnet_topdown.search.composition import Composition
from espnet_topdown.search.strategies import STRATEGIES, Space, outcome

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
FIXTURES = HERE.parent / "fixtures"
PACKAGE = Path(errors.__file__).parent
RELEASE = importlib.metadata.version("espnet")
CASES = yaml.safe_load((HERE / "cases.yaml").read_text())
SECTIONS: dict[str, Callable[[], Any]] = {}
# Those with other values for each ESPnet release.
BY_RELEASE = {"layers", "train_yaml", "losses", "resumed"}
sys.path.insert(0, str(FIXTURES))


def section(make: Callable[[], Any]) -> Callable[[], Any]:
    """Enter a section under its function's name."""
    SECTIONS[make.__name__] = make
    return make


def file_of(name: str) -> Path:
    """The recorded file of a section."""
    return HERE / (f"{name}.{RELEASE}.json" if name in BY_RELEASE else f"{name}.json")


def values(name: str, folder: Path) -> Any:
    """A section's values as JSON gives them back, made in an empty folder."""
    with contextlib.chdir(folder):
        return json.loads(json.dumps(SECTIONS[name]()))


def called(*words: object) -> tuple[int, str]:
    """Status and output of a command, in this process.

    ``espnet-topdown VERB ..`` by its entry point, a file, else ``python -m MODULE ..``.
    """
    shown, before = io.StringIO(), sys.argv
    sys.argv = [str(w) for w in words]
    try:
        with contextlib.redirect_stdout(shown):
            if words[0] == "espnet-topdown":
                scripts = importlib.metadata.distribution("espnet_topdown").entry_points
                (entry,) = (e for e in scripts if e.name == words[0])
                entry.load()()
            elif str(words[0]).endswith(".py"):
                runpy.run_path(str(words[0]), run_name="__main__")
            else:
                runpy.run_module(str(words[0]), run_name="__main__", alter_sys=True)
    except SystemExit as e:
        return int(e.code or 0), shown.getvalue()
    finally:
        sys.argv = before
    return 0, shown.getvalue()


def read(path: Path) -> Any:
    """A YAML or JSON file, without digests, versions, dates, times and sentences."""
    gone = re.compile(r".*(_sha256|_digest)|versions?|finished|seconds|reason")
    found = yaml.safe_load(path.read_text())
    return {k: v for k, v in found.items() if not gone.fullmatch(k)}


def digest(data: bytes) -> str:
    """Enough of it."""
    return hashlib.sha256(data).hexdigest()[:12]


def figures(text: str) -> str:
    """The numbers in it."""
    return " ".join(re.findall(r"-?\d[\d.,]*", text))


# --- the search
ERRORS: dict[str, Callable[[Composition], int]] = {
    "falling": lambda candidate: 100 - candidate.n_frozen,
    "rising": lambda candidate: 100 + candidate.n_frozen,
    "equal": lambda candidate: 7,
    "mixed": lambda candidate: zlib.crc32(str(candidate).encode()) % 5,
    "shuffled": lambda candidate: zlib.crc32(str(candidate)[::-1].encode()) % 11,
}


@section
def traces() -> dict[str, str]:
    """What each strategy asks for, round by round, then the best model and its path."""
    found = {}
    for n, more, kind in itertools.product(range(2, 7), CASES["strategies"], ERRORS):
        limits = {"max_frozen": n - 1, **more}
        strategy = limits.pop("strategy")
        space, errors, rounds = Space(n, **limits), {}, []
        while batch := STRATEGIES[strategy](space, errors):
            errors.update((c, ERRORS[kind](c)) for c in batch)
            rounds.append(batch)
        ended = outcome(strategy, space, errors)
        rounds.append([ended.best, *ended.path])
        asked = " ".join(f"{k}={v}" for k, v in {"n": n, **more}.items())
        found[f"{asked} {kind}"] = "; ".join(" ".join(map(str, r)) for r in rounds)
    return found


@section
def jobs() -> dict[str, Any]:
    """Every job of whole searches: its seed, source, files and epochs."""
    from toys import toys_pass, write_joint

    write_joint(n_blstm=3, seed=3)
    errors = {"root": "m4", **CASES["searches"]["errors"]}
    Path("errors.json").write_text(json.dumps(errors))
    launcher = f"env FAKE_DIR={Path.cwd()} {sys.executable} {FIXTURES}/fake_job.py"
    found = {}
    for name in ("full", "same", "shrink", "steps"):
        asked = ["--base_exp", "exp/joint", "--output_dir", f"exp/{name}"]
        asked += [*CASES["searches"][name].split(), "--cmd", launcher]
        with toys_pass():
            status, _ = called("espnet-topdown", "search", *asked)
        search = Path("exp", name)
        events = map(json.loads, (search / "journal.jsonl").open())
        found[name] = {
            "status": status,
            "search.yaml": read(search / "search.yaml"),
            "result.json": read(search / "result.json"),
            "events": [f"{e['event']} {e.get('node', '')}".strip() for e in events],
            "best": os.readlink(search / "best"),
            "jobs": {
                p.parent.name: job(p.parent) for p in search.glob("[mc]*/retrain.yaml")
            },
        }
    return found


def job(folder: Path) -> dict[str, Any]:
    """retrain.yaml, what a retraining decides of train.yaml, and the tensors."""
    found: dict[str, Any] = {"retrain.yaml": read(folder / "retrain.yaml")}
    if (folder / "train.yaml").is_file():
        train = read(folder / "train.yaml")
        decided = "seed resume init_param freeze_param max_epoch patience".split()
        found["train.yaml"] = {k: train[k] for k in decided}
    for name in ("frozen.pth", "start.pth"):
        if (folder / name).is_file():
            found[name] = tensors(folder / name)
    return json.loads(json.dumps(found), object_hook=briefly)


def briefly(mapping: dict[str, Any]) -> dict[str, Any]:
    """Long lists of names as their number and digest; the layers have them whole."""
    for key, value in mapping.items():
        if isinstance(value, list) and len(value) > 6:
            mapping[key] = f"{len(value)} names {digest(' '.join(value).encode())}"
    return mapping


def tensors(path: Path) -> str:
    """The number of tensors, the first with its shape, the digest of all.

    In start.pth some values are drawn: the first of each, rounded.
    """
    import torch

    lines = []
    for name, value in torch.load(path, weights_only=True).items():
        bits = digest(value.contiguous().numpy().tobytes())
        if path.name == "start.pth":
            bits = f"{float(value.flatten()[0]):.4f}"
        lines.append(f"{name} {tuple(value.shape)} {value.dtype} {bits}")
    return f"{len(lines)} tensors, {lines[0]} .. {digest(chr(10).join(lines).encode())}"


# --- layers and what `retrain` writes
def write_model(name: str) -> Path:
    """A finished experiment of a tiny model, its values made from the names."""
    import torch
    from toys import write_experiment

    exp = Path("exp", name)
    if name == "awd_lstm":
        import lm_corpus

        data = lm_corpus.write_corpus(Path("text"))
        train(lm_corpus.tiny_config(data, max_epoch=1), exp, "lm_train")
        (best,) = exp.glob("[0-9]*epoch.pth")
        torch.save(numbered(torch.load(best, weights_only=True)), best)
        return exp
    from espnet2.tasks.asr import ASRTask

    args = ASRTask.get_parser().parse_args([])
    args.token_list, args.seed = ["<blank>", "<unk>", "a", "<sos/eos>"], 1
    args.frontend_conf = {"fs": "8k", "n_mels": 10, "n_fft": 64}
    args.model_conf = {"ctc_weight": 0.3 if "decoder" in CASES["models"][name] else 1.0}
    vars(args).update(CASES["models"][name])
    weights = numbered(ASRTask.build_model(args).state_dict())
    return write_experiment(exp, weights, **json.loads(json.dumps(vars(args))))


def numbered(state: dict[str, Any]) -> dict[str, Any]:
    """The same tensors, tied ones too, with values that follow from their names."""
    import numpy as np
    import torch

    for name, value in state.items():
        if value.is_floating_point():
            draw = np.random.RandomState(zlib.crc32(name.encode()) % 2**31)
            value.copy_(torch.from_numpy(draw.uniform(-1, 1, tuple(value.shape))))
    return state


def train(config: dict[str, Any], exp: Path, command: str = "asr_train") -> None:
    """Train as ``python -m`` does."""
    Path("train.yaml").write_text(yaml.safe_dump(config))
    words = ["--config", "train.yaml", "--output_dir", exp]
    status, _ = called(f"espnet_topdown.bin.{command}", *words)
    assert status == 0, f"{exp}: status {status}"


@section
def layers() -> dict[str, Any]:
    """Layer tables, plans and prepared jobs of every shipped stack."""
    found: dict[str, Any] = {"stacks": sorted(shipped())}
    for name in (*CASES["models"], "awd_lstm"):
        exp, stack = write_model(name), name if name in found["stacks"] else "auto"
        experiment = Experiment(exp)
        bound = stack_for(experiment.config, stack).bind(experiment.weights())
        table = {group.name: list(group.params) for group in bound.groups}
        _, text = called("espnet-topdown", "layers", exp, "--stack", stack)
        names = [*table]
        asked = {"top": names[:1], "half": names[: len(names) // 2], "low": names[-1:]}
        found[name] = {"sizes": sizes(text, names)}
        found[name]["layers"] = {k: without_prefix(v) for k, v in table.items()}
        for what, freeze in asked.items():
            words = ["--base_exp", exp, "--freeze", ",".join(freeze), "--stack", stack]
            words += ["--allow_any_order", "true"]
            _, text = called("espnet-topdown", "plan", *words)
            folder = prepare_job(exp, ",".join(freeze), Path("job", name, what), stack)
            found[name][what] = {"plan": sizes(text, names), **job(folder)}
    return found


def prepare_job(exp: Path, freeze: str, folder: Path, stack: str = "auto") -> Path:
    """What ``espnet-topdown retrain`` writes before it trains."""
    options = {"stack": stack, "any_order": True, "folder": folder}
    prepare(spec_by_hand(exp, freeze, **options), folder)
    return folder


def without_prefix(names: list[str]) -> str:
    """Names with what they all begin with only once; very many as their digest."""
    if len(names) > 40:
        return f"{len(names)} names {digest(' '.join(names).encode())}"
    same = os.path.commonprefix(names)
    return f"{same}: " + " ".join(n[len(same) :] for n in names)


def sizes(text: str, names: list[str]) -> str:
    """Each layer with its first number in a printed table, and "frozen" if said."""
    found = {}
    for words in map(str.split, text.splitlines()):
        for name in set(names) & set(words) - set(found):
            after = words[words.index(name) + 1 :]
            size = next(w for w in after if re.fullmatch(r"[\d,]+", w))
            found[name] = f"{name} {size}" + " frozen" * ("frozen" in words)
    return "; ".join(found[n] for n in names)


@section
def train_yaml() -> dict[str, Any]:
    """The whole train.yaml of three kinds of models, under this ESPnet release."""
    found = {}
    for name in ("ctc_rnn", "att_conformer", "awd_lstm"):
        folder = prepare_job(write_model(name), "softmax", Path("job", name))
        found[name] = read(folder / "train.yaml")
    same = {k: v for k, v in found["ctc_rnn"].items() if found["att_conformer"][k] == v}
    for key in same:
        del found["att_conformer"][key]
    return found


# --- training
@section
def losses() -> dict[str, Any]:
    """Training losses of ten steps, and the validation loss after each."""
    import lm_corpus
    import tones

    short = {"max_epoch": 10, "keep_nbest_models": 1, "seed": 5}
    corpus = tones.write_corpus(Path("tones"))
    text = lm_corpus.write_corpus(Path("text"))
    step = {"num_iters_per_epoch": 1, "allow_infeasible": True, **short}
    found = {}
    for name, fast in itertools.product(CASES["families"], (True, False)):
        changes = {**CASES["families"][name], **step, "fast_lstm": fast}
        exp = Path("exp", f"{name} {'fast_lstm' if fast else 'stock'}")
        train(tones.tiny_config(corpus, **changes), exp)
        found[exp.name] = curve(exp)
    lm_corpus.write_text(text / "train.txt", 4, 1)  # a step or two an epoch
    train(lm_corpus.tiny_config(text, **short), Path("exp/awd_lstm"), "lm_train")
    return {**found, "awd_lstm": curve(Path("exp/awd_lstm"))}


def curve(exp: Path) -> dict[str, list[float]]:
    """The losses in ESPnet's checkpoint."""
    import torch

    state = torch.load(exp / "checkpoint.pth", weights_only=False)
    stats = state["reporter"]["stats"]
    return {
        phase: [float(f"{stats[e][phase]['loss']:.7g}") for e in sorted(stats)]
        for phase in ("train", "valid")
    }


# --- data and scores
@section
def data() -> dict[str, dict[str, str]]:
    """Stage 1 of both corpora: for every file its lines or samples, and the digest."""
    import swbd_tree
    import wsj_tree

    discs = Path("discs").absolute()
    wsj = wsj_tree.write_tree(discs / "wsj", "dash", wsj_tree.describe())
    swbd = swbd_tree.write_tree(discs / "swbd", "split", swbd_tree.describe(2, 4))
    settings = {"wsj": f"WSJ0={wsj[0]}\nWSJ1={wsj[1]}\n", "swbd": f"SWBD={swbd}\n"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": path}
    env["PYTHONPATH"] = str(PACKAGE.parent)
    for name, setting in settings.items():
        shutil.copytree(REPO / "egs2" / f"{name}_topdown" / "asr1", name)
        Path(name, "db.sh").write_text(setting)
        words = ["local/data.sh", "--nj", "1", "--allow_partial", "true"]
        ran = subprocess.run(words, cwd=name, env=env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    made = (p for name in settings for p in sorted(Path(name, "data").rglob("*")))
    return {str(p): content(p) for p in made if p.is_file() and p.parts[2] != "local"}


def content(path: Path) -> str:
    """The samples of a sound, the sorted lines of a list."""
    if path.suffix == ".flac":
        import soundfile

        samples, rate = soundfile.read(path, dtype="int16")
        return f"{len(samples)} samples {rate} Hz {digest(samples.tobytes())}"
    lines = sorted(path.read_bytes().splitlines())
    return f"{len(lines)} lines {digest(chr(10).encode().join(lines))}"


@section
def scores() -> dict[str, Any]:
    """Counts, scored files and decoded text of fixed texts and a fixed model."""
    said = "a1 one two  three\na2 four <noise> five\nb1 six\nb2 x y\n"
    heard = "a1 one too three\na2 for five five\nb1\nb2 x <noise> y\n"
    for name, text in (("ref", said), ("hyp", heard)):
        Path(name).mkdir()
        Path(name, "text").write_text(text)
        Path(name, "utt2spk").write_text("a1 a\na2 a\nb1 b\nb2 b\n")
    Path("nlsyms").write_text("<noise>\n")
    unpack("interrupted")
    ref = "--ref ref/text --nlsyms nlsyms".split()
    exp = "--exp exp/joint --wav_scp data/dev/wav.scp --text data/dev/text".split()
    model = ["--model_file", "exp/joint/valid.loss.best.pth"]
    cut = "espnet-topdown score --hyp hyp/text --unit".split()
    score_set = ["espnet-topdown", "score_set", "--decode_dir", "hyp", *model]
    ran = [
        called(*cut, "cer", "--output_dir", "cer", *ref)[0],
        called(*cut, "wer", "--output_dir", "wer", *ref)[0],
        called(*score_set, *ref)[0],
        called("espnet-topdown", "decode", *exp, "--output_dir", "decoded")[0],
    ]
    found: dict[str, Any] = {"statuses": ran}
    for path in sorted(Path().glob("[cdhw]*/**/*")):
        if path.name == "score.json":
            found[str(path)] = read(path)
        elif path.name in ("ref.trn", "hyp.trn", "text") and path.parts[0] != "data":
            found[str(path)] = path.read_text().splitlines()
        elif path.name == "result.txt":
            found[str(path)] = figures(path.read_text())
    return found


# --- what a user meets
@section
def options() -> dict[str, str]:
    """The option names in every command's help; of a trainer not ESPnet's own."""
    _, text = called("espnet-topdown", "--help")
    verbs = re.findall(r"^  ([a-z_]+?) ", text, re.MULTILINE)
    shown = {f"espnet-topdown {v}": help_of("espnet-topdown", v) for v in verbs}
    for path in sorted((PACKAGE / "bin").glob("[!_]*.py")):
        if path.stem not in (*verbs, "main", "asr_inference"):  # all ESPnet's options
            theirs = path.stem.endswith("_train")
            known = help_of(f"espnet2.bin.{path.stem}") if theirs else set()
            module = f"espnet_topdown.bin.{path.stem}"
            shown[f"python -m {module}"] = help_of(module) - known
    for path in REPO.glob("egs2/*_topdown/*/local/*.py"):
        if "__main__" in path.read_text():
            shown[path.name] = help_of(str(path))
    for script in ("asr1/topdown.sh", "asr1/asr_pip.sh", "lm1/lm.sh"):
        path = REPO / "egs2" / "TEMPLATE" / script
        words = [f"./{path.name}", "--help"]
        ran = subprocess.run(words, cwd=path.parent, capture_output=True, text=True)
        shown[path.name] = names_in(ran.stdout)
    return {name: " ".join(sorted(names)) for name, names in shown.items()}


def help_of(*words: str) -> set[str]:
    """Of a Python command."""
    return names_in(called(*words, "--help")[1])


def names_in(text: str) -> set[str]:
    """The long options at the beginning of the lines of a help text."""
    heads = re.findall(r"^ {2,4}(-.*?)(?:  |$)", text, re.MULTILINE)
    names = {n for head in heads for n in re.findall(r"--[a-zA-Z]\w*", head)}
    return names - {"--help"}


@section
def codes() -> dict[str, dict[str, list[int]]]:
    """Every E_ code in the sources; its exit statuses where they stand there."""
    python: dict[str, set[int]] = {}
    for path in (*PACKAGE.rglob("*.py"), *REPO.glob("egs2/**/*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        for node in nodes:
            if isinstance(node, ast.Constant) and is_code(node):
                python.setdefault(node.value, set())
            if isinstance(node, ast.Call) and node.args and is_code(node.args[0]):
                python.setdefault(node.args[0].value, set()).update(status(node, nodes))
    shell: dict[str, set[int]] = {}
    for path in REPO.glob("egs2/**/*.sh"):
        text = path.read_text().replace("\\\n", " ")
        for code, rest in re.findall(r"die (E_\w+)(.*)", text):
            last = re.search(r'" (\d+)\b', rest)
            shell.setdefault(code, set()).add(int(last[1]) if last else 64)
    found = {"python": python, "shell": shell}
    return {k: {c: sorted(s) for c, s in sorted(v.items())} for k, v in found.items()}


def is_code(node: ast.expr) -> bool:
    """Whether an expression is a constant such as "E_STACK"."""
    return bool(re.fullmatch(r"E_[A-Z0-9_]+", str(getattr(node, "value", ""))))


def status(call: ast.Call, nodes: list[ast.AST]) -> set[int]:
    """Of a TopDownError, or of the one that a helper of the same module makes."""
    name = getattr(call.func, "id", "")
    if name == "TopDownError":
        given = [k.value for k in call.keywords if k.arg == "status"] + call.args[3:4]
        if not given:
            return {errors.CONFIG}
        found = getattr(errors, getattr(given[0], "id", ""), None)
        return {found} if found else set()
    helpers = (n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == name)
    made = (n for h in helpers for n in ast.walk(h) if isinstance(n, ast.Call))
    makers = (n for n in made if getattr(n.func, "id", "") == "TopDownError")
    return {number for n in makers for number in status(n, nodes)}


# --- folders of version 0.1.0
def unpack(name: str) -> None:
    """The folder as it was written, as ``exp``; its sounds are made again.

    Of ``joint_best`` only what differs from ``finished`` is kept.
    """
    import tones

    if name == "joint_best":
        others = shutil.ignore_patterns("best", "m1.1.1", "control.*", "decode_*")
        shutil.copytree(HERE / "finished", "exp", symlinks=True, ignore=others)
    shutil.copytree(HERE / name, "exp", symlinks=True, dirs_exist_ok=True)
    if name == "interrupted":
        tones.write_corpus(Path("data"))


@section
def folders() -> dict[str, Any]:
    """What status, report, fsck and the same command make of the old folders."""
    found = {}
    for name in ("finished", "joint_best", "interrupted"):
        Path(name).mkdir()
        with contextlib.chdir(name):
            unpack(name)
            found[name] = looked_at(Path("exp/search"))
    return found


def looked_at(search: Path) -> dict[str, Any]:
    """The numbers of a search, as the commands show them."""
    _, screen = called("espnet-topdown", "status", search)
    found: dict[str, Any] = {
        "report": called("espnet-topdown", "report", "--search_dir", search)[0],
        "fsck": called("espnet-topdown", "fsck", search)[0],
        "status": [
            " ".join([w[0], *re.findall(r" (\d[\d/]*|accepted|rejected)(?= |$)", line)])
            for line in screen.splitlines()
            if (w := line.split()) and (search / w[0] / "retrain.yaml").is_file()
        ],
        "tables": tables((search / "RESULTS.md").read_text()),
    }
    if (search / "result.json").is_file():  # finished: the same command does nothing
        before = (search / "result.json").read_bytes()
        found.update(result=read(search / "result.json"), again=resume(search))
        assert (search / "result.json").read_bytes() == before
    return found


@section
def resumed() -> dict[str, Any]:
    """The interrupted search, begun under ESPnet 202511, after the same command."""
    unpack("interrupted")
    search = Path("exp/search")
    path = search / "m1.1.1" / "retrain.yaml"
    now = importlib.metadata.version("torch")  # no other build of torch is meant here
    path.write_text(re.sub(r"torch: .*", f"torch: {now}", path.read_text()))
    found: dict[str, Any] = {"status": resume(search)}
    if found["status"] == 0:
        found["result"] = read(search / "result.json")
        found["work"] = [
            e["event"] + " " + e.get("node", "")
            for e in map(json.loads, (search / "journal.jsonl").open())
        ]
        found["curve"] = curve(search / "m1.1.1")
    return found


def resume(search: Path) -> int:
    """The status of the same command again."""
    asked = read(search / "search.yaml")
    words = ["--base_exp", "exp/joint", "--output_dir", search]
    words += ["--controls", ",".join(asked["controls"]), "--trainer", asked["trainer"]]
    return called("espnet-topdown", "search", *words)[0]


def tables(text: str) -> list[str]:
    """The first cell of each row, and the numbers of the others; no times."""
    found = []
    lines = text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""]):
        first, *cells = (c.strip(" *") for c in line.strip("| ").split("|"))
        if line.startswith("|") and "---" not in line + after:
            cells = [c for c in cells if not re.fullmatch(r"[\d.]+ (s|min|h)", c)]
            found.append(f"{first} {figures(' '.join(cells))}")
    return found


def lines(value: Any, depth: int) -> str:
    """JSON with a line for each entry, down to a depth."""
    if not (depth and isinstance(value, dict)):
        return json.dumps(value, sort_keys=True)
    entries = (
        f"{json.dumps(k)}: {lines(v, depth - 1)}" for k, v in sorted(value.items())
    )
    return "{\n" + ",\n".join(entries) + "\n}"


def main(names: list[str]) -> None:
    """Record the sections named, or all."""
    for name in names or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            made = values(name, Path(folder))
        file_of(name).write_text(lines(made, 3) + "\n")
        print(file_of(name).name)


if __name__ == "__main__":
    main(sys.argv[1:])
