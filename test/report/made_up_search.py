"""A search folder made up for the report: n = 5, CTC, Algorithm 1, two controls."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path

from espnet_topdown.journal import Journal
from espnet_topdown.score.align import Counts, align, total
from espnet_topdown.score.trn import write_trn
from espnet_topdown.yaml_io import write_json, write_yaml

LAYERS = ["softmax", "blstm3", "blstm2", "blstm1", "blstm0"]
VERSIONS = {"python": "3.11.7", "torch": "2.12.1", "espnet": "202511"}
# name: (frozen layers, errors wanted in 1200 characters of dev, worse on test)
MODELS = {
    "m5": (0, 131),
    "m1.4": (1, 121),
    "m1.1.3": (2, 112),
    "m1.1.1.2": (3, 118),
    "control.joint": (0, 128),
    "control.warm": (1, 129),
}
CUTS = {
    "cer": lambda line: [c if c != " " else "<space>" for c in line],
    "wer": str.split,
}
WORDS = "one two three four five six seven eight nine ten left right stop go".split()


def text_of(n: int, seed: int) -> dict[str, str]:
    """Reference sentences by utterance id."""
    draw = random.Random(seed)
    return {f"utt{i:03d}": " ".join(draw.choices(WORDS, k=6)) for i in range(n)}


def spoil(text: dict[str, str], errors: int, seed: int) -> dict[str, str]:
    """The same sentences with about that many wrong characters."""
    draw = random.Random(seed)
    lines = {utt: list(line) for utt, line in text.items()}
    for _ in range(errors):
        line = lines[draw.choice(sorted(lines))]
        at = draw.randrange(len(line))
        line[at] = draw.choice(["x", "", "zz"])
    return {utt: "".join(line) for utt, line in lines.items()}


def as_json(counts: list[Counts]) -> dict[str, int]:
    """The integers of one unit in score.json."""
    c = total(counts)
    wrong = sum(x.errors > 0 for x in counts)
    numbers = {"ref": c.ref, "corr": c.corr, "sub": c.sub, "del": c.dele, "ins": c.ins}
    return {**numbers, "err_utts": wrong}


@functools.cache
def decoded(name: str, n: int, errors: int) -> dict[str, tuple]:
    """By unit: what was said, what was recognised, the counts."""
    text = text_of(n, seed=len(name))
    spoken = spoil(text, errors, seed=3)
    found = {}
    for unit, cut in CUTS.items():
        ref, hyp = ({utt: cut(line) for utt, line in x.items()} for x in (text, spoken))
        found[unit] = (ref, hyp, as_json([align(ref[u], hyp[u]) for u in ref]))
    return found


def write_decode(folder: Path, name: str, n: int, errors: int, files: bool) -> None:
    """`score.json`, and what was scored beside it where `files` is set."""
    folder.mkdir(parents=True, exist_ok=True)
    score = {
        "schema": 1,
        "set": name,
        "decoder": "ctc_greedy",
        "model_file": "valid.loss.best.pth",
        "epoch": 11,
        "utts": n,
        "seconds": 1.2,
        "infeasible": 0,
    }
    for unit, (ref, hyp, counts) in decoded(name, n, errors).items():
        score[unit] = counts
        place = folder / f"score_{unit}"
        for side, tokens in (("ref", ref), ("hyp", hyp)) if files else ():
            place.mkdir(exist_ok=True)
            write_trn(place / f"{side}.trn", tokens, {})
    write_json(folder / "score.json", score)


def write_curve(path: Path, level: float, epochs: int) -> None:
    """A falling curve that ends near `level`, a fraction."""
    rows = []
    for e in range(1, epochs + 1):
        cer = level * (1 + 8 * 0.6**e)
        valid = {"loss": 20 * cer, "cer_ctc": cer}
        rows.append({"epoch": e, "seconds": 5.5, "train": {"loss": 9}, "valid": valid})
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def write_node(search: Path, name: str, base_exp: str, tests: bool) -> None:
    """One finished model."""
    n_frozen, errors = MODELS[name]
    node = search / name
    node.mkdir(parents=True)
    write_yaml(
        node / "retrain.yaml",
        {
            "node": name,
            "base_exp": base_exp,
            "frozen_from": None if name == "m5" else f"{base_exp}/11epoch.pth",
            "frozen": LAYERS[:n_frozen],
            "frozen_params": [] if "control" in name else LAYERS[:n_frozen],
            "reinit": [] if name == "m5" else LAYERS[n_frozen:],
            "seed": 1000 * len(name),
            "control": name.partition(".")[2] if "control" in name else None,
            "max_epoch": 14,
            "versions": VERSIONS,
        },
    )
    write_decode(node, "dev", 46, errors, files=False)
    if tests:
        write_decode(node / "decode_ctc_greedy/test", "test", 60, errors + 30, True)
    home = search.parent / "asr_base" if name == "m5" else node
    write_curve(home / "curve.jsonl", errors / 1200, 12)
    (node / ".done").touch()


def write_search(
    search: Path,
    models: tuple[str, ...] = tuple(MODELS),
    tests: bool = True,
    finished: bool = True,
    failed: bool = True,
    **request: object,
) -> Path:
    """The whole folder; `request` replaces entries of search.yaml."""
    base = search.parent / "asr_base"
    base.mkdir(parents=True, exist_ok=True)
    write_yaml(base / "config.yaml", {"seed": 1, "max_epoch": 14})
    search.mkdir(parents=True, exist_ok=True)
    asked = {
        "base_exp": f"{search.parent.name}/asr_base",
        "stack": "asr_rnn",
        "layers": LAYERS,
        "strategy": "greedy",
        "criterion": "cer",
        "decoder": "ctc_greedy",
        "controls": ["joint", "warm"],
        "versions": VERSIONS,
    }
    write_yaml(search / "search.yaml", {**asked, **request})
    journal = Journal(search / "journal.jsonl")
    journal.append("search_open")
    for name in models:
        write_node(search, name, str(asked["base_exp"]), tests)
        journal.append("started", node=name)
        journal.append("trained", node=name)
        verdict = "rejected" if name == "m1.1.1.2" else "accepted"
        journal.append("scored", node=name, verdict=verdict if "m1" in name else None)
    if failed:
        journal.append("started", node="m2.3")
        journal.append("failed", node="m2.3", status=70)
    if finished:
        write_result(search)
    return search


def write_result(search: Path, best: str = "m1.1.3") -> None:
    """The last file of a search."""
    reason = "m1.1.1.2 is worse: more errors than m1.1.3"
    result = {
        "schema": 1,
        "best": best,
        "criterion": "cer",
        "path": ["m5", "m1.4", "m1.1.3", "m1.1.1.2"],
        "reason": reason,
        "finished": "2026-01-31T08:30:00Z",
        "nodes": {},
        "versions": VERSIONS,
        "seconds": 400,
    }
    write_json(search / "result.json", result)
    (search / "best").symlink_to(best)
