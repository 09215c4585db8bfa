"""What the shell needs to know to make rows of the paper (``run.sh --row``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.errors import DATA, MISSING, TopDownError
from espnet_topdown.files import read_yaml
from espnet_topdown.search.paper import RANDOM, Paper, Row

FIELDS = ("how", "name", "config", "args", "data", "of", "freeze", "source")
FIELDS += ("epoch", "seed", "any_order", "decode", "wanted")


def plan_rows(paper: Paper, names: Sequence[str], conf: Path) -> list[str]:
    """One line a row, needed ones first: FIELDS between tabs, ``-`` for nothing.

    Raises:
        TopDownError: E_ROW (64); E_MISSING (66) when a configuration is not there;
            E_SHAPE_MISMATCH (65) when a row's classifier cannot fit its model.
    """
    wanted = {row.name for row in paper.chosen(names)}
    lines = []
    for row in paper.in_order(names):
        _check_fit(paper, row, conf)
        values = _values(paper, row, conf)
        values["wanted"] = str(row.name in wanted).lower()
        lines.append("\t".join(values[f] or "-" for f in FIELDS))
    return lines


def _check_fit(paper: Paper, row: Row, conf: Path) -> None:
    """Refuse a classifier of another size before either model is trained."""
    if row.source in ("", RANDOM, row.of):
        return
    paths = [conf / f"{paper.rows[n].config}.yaml" for n in (row.of, row.source)]
    ours, theirs = (read_yaml(path) for path in paths)
    for part, key in (("encoder_conf", "output_size"), ("decoder_conf", "hidden_size")):
        sizes = [(c.get(part) or {}).get(key) for c in (ours, theirs)]
        if sizes[0] != sizes[1]:
            raise TopDownError(
                "E_SHAPE_MISMATCH",
                f"row {row.name}: {part} {key} is {sizes[0]} in {paths[0]}, {sizes[1]} "
                f"in {paths[1]}",
                "give both models the same size below the softmax layers",
                DATA,
            )


def _values(paper: Paper, row: Row, conf: Path) -> dict[str, str]:
    seed, args, config = paper.seed(row), row.args, ""
    if row.how == "joint":
        config = str(conf / f"{row.config}.yaml")
        if read_yaml(Path(config)).get("seed") != seed:
            args = f"{args} --seed {seed}".strip()
    return {
        "how": row.how,
        "name": row.name,
        "config": config,
        "args": args,
        "data": row.data,
        "of": row.of,
        "freeze": row.freeze,
        "source": row.source,
        "epoch": "" if row.epoch is None else str(row.epoch),
        "seed": str(seed),
        "any_order": str(row.any_order).lower(),
        "decode": row.decode,
    }


def check_sets(paper: Paper, folders: Sequence[Path], allow_partial: bool) -> None:
    """Refuse sets that are not the paper's, before anything is trained.

    Args:
        paper: Says how many utterances each set has.
        folders: Data directories; their names are the sets'.
        allow_partial: Take fewer utterances (an incomplete copy of the corpus).

    Raises:
        TopDownError: E_ORDER (66) where a set is missing, E_EVAL_SET (65).
    """
    found = {Path(f).name: Path(f) for f in folders}
    for name in [paper.within] if paper.within else paper.sets:
        path = found.get(name, Path(name)) / "text"
        if not path.is_file():
            raise TopDownError(
                "E_ORDER",
                f"no set {name}: {path} is missing",
                "run ./run.sh --stop_stage stats first",
                MISSING,
            )
        if not paper.within:  # else its parts are counted when they are scored
            check_count(name, len(read_lines(path)), paper.sets, allow_partial)


def check_count(
    name: str, have: int, sets: Mapping[str, int], allow_partial: bool
) -> None:
    """Refuse a set with another number of utterances than the paper's.

    Raises:
        TopDownError: E_EVAL_SET (65).
    """
    want = sets[name]
    if have == want or (allow_partial and have < want):
        return
    raise TopDownError(
        "E_EVAL_SET",
        f"{name} has {have} utterances, the paper's has {want}",
        'complete the corpus, or give --local_data_opts "--allow_partial true"',
        DATA,
    )
