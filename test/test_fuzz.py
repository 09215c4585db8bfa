"""Hostile and damaged inputs: refused by a message, never run, never a traceback.

TOPDOWN_FUZZ=nightly runs 50 times as many inputs.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import random
import subprocess
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from bad_inputs.checkpoints import Evil
from bad_inputs.data import sets
from canary import watched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espnet_topdown.cli import installation
from espnet_topdown.cli.main import main, parser_of
from espnet_topdown.data.audio import Source, check_samples, header
from espnet_topdown.data.validate import validate_set
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.models.checkpoint import read_header
from espnet_topdown.models.layers import load_stack
from espnet_topdown.models.text import TextReader
from espnet_topdown.models.weights import header_of, load_weights, read_checkpoint
from espnet_topdown.records import Journal, recover

NIGHTLY = os.environ.get("TOPDOWN_FUZZ") == "nightly"
SCALE = 50 if NIGHTLY else 1


def sized(n: int) -> Callable:
    """Hypothesis with n examples (x 50 at night), the same ones every time."""
    return settings(
        max_examples=n * SCALE,
        deadline=None,
        derandomize=not NIGHTLY,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def attempt(work: Callable, folder: Path) -> object:
    """Call it; only our own errors may come out. None if it was refused."""
    with watched(folder):
        try:
            return work()
        except TopDownError as e:
            assert e.code.startswith("E_") and ". Do: " in str(e)
            return None


def mutate(data: bytes, rng: random.Random) -> bytes:
    """One to four bytes changed, cut out, doubled or overwritten with zeros."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, n = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 8, 64, 4096))
        kind = rng.randrange(5)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + n]
        elif kind == 2:
            out[at:at] = out[at : at + n]
        elif kind == 3:
            out[at : at + n] = bytes(len(out[at : at + n]))
        else:
            out[at:at] = rng.randbytes(min(n, 16))
    return bytes(out)


def damages(path: Path, n: int, heads: Sequence[int] = ()) -> Iterator[int]:
    """Damage a file in n ways (x 50 at night), some within the first bytes."""
    whole, rng = path.read_bytes(), random.Random(1)
    for i in range(n * SCALE):
        size = rng.choice([*heads, len(whole)])
        path.write_bytes(mutate(whole[:size], rng) + whole[size:])
        yield i
    path.write_bytes(whole)


def test_journal(tmp_path):
    """What is accepted is a beginning of what was written."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    for i in range(12):
        journal.append("scored", node=f"m1.{i}", errors=i, text='ü"\\ }')
    events = journal.events()
    for _ in damages(path, 1500):
        found = attempt(Journal(path).events, tmp_path)
        assert found is None or found == events[: len(found)]
    for _ in damages(path, 100):
        with watched(tmp_path):
            recover(path)
        found = Journal(path).events()
        kept = [e for e in found if e["event"] != "journal_cut"]
        assert kept == events[: len(kept)]


words = st.text(max_size=12) | st.sampled_from(["no", "1e-3", "~", "null", "*a", "&a"])
PIECES = ["a: ", "- ", "{", "}", "[", "]", "&a ", "*a", "\t", "\n", "  ", "? ", "| "]
PIECES += ["!!python/name:os.system ", "!!python/object/apply:os.system [touch canary]"]
PIECES += ['"', "<<: ", "2001-01-01", "0x1f", "1e400", "\x00", "\ufeff"]
PIECES += ["%YAML 9.9\n---\n"]


@sized(400)
@given(parts=st.lists(st.sampled_from(PIECES) | words, max_size=14))
def test_yaml(tmp_path, parts):
    path = tmp_path / "a.yaml"
    path.write_bytes("".join(parts).encode("utf-8", "surrogatepass"))
    found = attempt(lambda: read_yaml(path), tmp_path)
    assert found is None or isinstance(found, dict)
    assert not (tmp_path / "canary").exists()


VERBS = ["layers", "plan", "search", "retrain", "report", "score", "fsck", "decode"]
VERBS += ["validate_data", "filter_data", "token_list", "format_wav"]
ODD = ["", "--", "-", "=", "--=", "$(touch canary)", "../../x", "\n", "nan", "-1"]
actions = [action for verb in VERBS for action in parser_of(verb)._actions]
options = {o for action in actions for o in action.option_strings} - {"-h", "--help"}


@sized(250)
@given(
    verb=st.sampled_from(VERBS),
    line=st.lists(st.sampled_from(sorted(options) + ODD) | words, max_size=6),
)
def test_command_lines(tmp_path, monkeypatch, capsys, verb, line):
    """Every command, any words: a status of the table, a message, no traceback."""
    monkeypatch.setattr(installation, "check", lambda: None)  # it starts a process
    monkeypatch.chdir(tmp_path)
    line = [w.encode("utf-8", "replace").decode().replace("\x00", "") for w in line]
    status = 0
    with watched(tmp_path), contextlib.suppress(ValueError):
        try:
            main([verb, *line])
        except SystemExit as e:
            status = e.code
    assert status in (0, 64, 65, 66, 70, 73, 74, 75, 76, 78), (line, status)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert not status or said.startswith("E_"), said
    assert not list(tmp_path.rglob("*canary*"))


parts = st.sampled_from(["encoder", "decoder", "ctc", "enc", "0", "1", "10", "w"])
names = st.lists(parts, min_size=1, max_size=4).map(".".join)
regexes = names | st.sampled_from(["{i}", "(", "(a+)+$", ".*", "encoder.{i}", "["])
layer = {"name": st.sampled_from(["a", "b", "l{i}"]), "params": st.lists(regexes)}


@sized(200)
@given(
    layers=st.lists(st.fixed_dictionaries(layer), max_size=4),
    params=st.lists(names, max_size=8, unique=True),
)
def test_layer_patterns(tmp_path, layers, params):
    """A stack that is accepted gives every parameter to exactly one layer."""
    path = tmp_path / "stack.yaml"
    write_yaml(path, {"about": "x", "layers": layers})
    stack = attempt(lambda: load_stack(str(path)).bind(params), tmp_path)
    if stack is not None:
        owned = [p for g in stack.groups for p in g.params]
        assert sorted([*owned, *stack.ignored]) == sorted(params)


def test_checkpoints(tmp_path, monkeypatch):
    """Damaged archives and pickles with other opcodes: only E_CKPT_*, E_DIGEST."""
    monkeypatch.chdir(tmp_path)
    path, rng = Path("1epoch.pth"), random.Random(3)
    weights = {f"l{i}.w": torch.full((8, 8), float(i)) for i in range(3)}
    torch.save(weights, path)
    whole = path.read_bytes()
    for i in damages(path, 400):
        read = (load_weights, read_checkpoint, read_header)[i % 3]
        found = attempt(lambda: read(path), tmp_path)  # noqa: B023
        if found is not None and read is read_header:
            assert shapes(found) == shapes(header_of(weights))
        elif found is not None:  # bytes that the archive does not count
            assert all(torch.equal(found[n], w) for n, w in weights.items())
    for i in range(200 * SCALE):
        path.write_bytes(repacked(whole, rng, rng.random() < 0.3))
        read = (load_weights, read_checkpoint)[i % 2]
        whole_file = attempt(lambda: read(path), tmp_path)  # noqa: B023
        header = attempt(lambda: read_header(path), tmp_path)
        if header and whole_file and read is load_weights:
            assert shapes(header) == shapes(header_of(whole_file))
    assert not list(tmp_path.rglob("*canary*"))


def shapes(header: dict) -> dict:
    return {n: (i.dtype, i.shape, i.stride) for n, i in header.items()}


def repacked(archive: bytes, rng: random.Random, evil: bool) -> bytes:
    """A good archive whose pickle is damaged or hostile."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("data.pkl"):
                data = pickle.dumps({"a": Evil()}, 2) if evil else mutate(data, rng)
            new.writestr(name, data)
    return out.getvalue()


def test_data_folders(tmp_path, monkeypatch):
    """A damaged list is refused, or what it says is still the same set."""
    monkeypatch.chdir(tmp_path)
    sets()
    cut = TextReader.of({"token_type": "char"}, "test").tokens
    lists = [Path("train/wav.scp"), Path("train/text"), Path("tokens.txt")]

    def check():
        tokens = Path("tokens.txt").read_bytes().decode("utf-8", "replace")
        options = {"token_list": tokens.split("\n")[:-1], "full": False}
        return validate_set(*lists[:2], fs=8000, cut=cut, **options)

    for path in lists:
        for _ in damages(path, 84):
            report = attempt(check, tmp_path)
            assert report is None or len(report.texts) <= 4


def damaged_audio(folder: Path) -> None:
    """What is accepted is finite; most is refused."""
    refused = 0
    for kind in ("WAV", "FLAC", "NIST"):
        path = folder / f"a.{kind.lower()}"
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, 2000)
        soundfile.write(path, noise, 8000, "PCM_16", format=kind)
        source = Source("u", str(path), "utt u")
        for _ in damages(path, 300, heads=(64, 1100)):
            found = attempt(lambda: (header(source), check_samples(source)), folder)  # noqa: B023
            assert found is None or (found[0][0] > 0 and np.isfinite(found[0][1]))
            refused += found is None
    assert refused > 180 * SCALE


def test_audio(tmp_path):
    """In a child process: a crash of the library would be noticed."""
    child = multiprocessing.get_context("fork").Process(
        target=damaged_audio, args=(tmp_path,)
    )
    child.start()
    child.join()
    assert child.exitcode == 0


@pytest.mark.recipe
def test_shell_options(tmp_path):
    """Words with every metacharacter: status 64 or taken as they are, never run."""
    parser = Path(__file__).parents[1] / "egs2/TEMPLATE/asr1/utils/parse_options.sh"
    script = tmp_path / "s.sh"
    script.write_text(
        "set -euo pipefail\nSTAGES=([1]=data [2]=train) LAST_STAGE=2\n"
        'stage=1\ntag=""\nasr_exp=""\nnj=3\nflag=false\n'
        f'. "{parser}"\nprintf "%s\\0" "$stage" "$tag" "$asr_exp" "$nj" "$flag"\n'
    )
    rng = random.Random(4)
    odd = ["$(touch canary)", "`touch canary`", ";touch canary", "a\ntouch canary"]
    odd += ["|", "&", ">canary", "$((x[$(touch canary)]))", "a[$(touch canary)]", "*"]
    odd += ["", *r"""-- - = x'y x"y \ {a,b} ~ !x é 1 true""".split()]
    names = ["--stage", "--tag", "--asr_exp", "--nj", "--flag", "--PATH", "--IFS"]
    for _ in range(40 * SCALE):
        line = []
        for _ in range(rng.randint(1, 3)):
            name = rng.choice(names)
            value = rng.choice(odd) + rng.choice(["", rng.choice(odd)])
            line += [f"{name}={value}"] if rng.random() < 0.5 else [name, value]
        call = ["bash", str(script), *line]
        out = subprocess.run(call, cwd=tmp_path, capture_output=True, timeout=10)
        assert out.returncode in (0, 64), (line, out.stderr)
        assert not out.returncode or out.stderr.startswith(b"E_"), (line, out.stderr)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.sh"]
