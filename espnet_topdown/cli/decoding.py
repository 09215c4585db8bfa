"""What ``espnet-topdown decode`` does with an experiment or with a search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.errors import USAGE, TopDownError
from espnet_topdown.files import read_json, read_yaml
from espnet_topdown.models.tasks import shown


def decode_sets(
    exp: Path,
    data: Sequence[Path],
    models: str,
    wav_scp: Path | None,
    text: Path | None,
    output_dir: Path | None,
    model_file: str,
    **options: Any,
) -> Iterator[str]:
    """Decode sets with an experiment, or with the models of a search.

    Args:
        exp: An experiment, or the folder of a search; then its report is written again.
        data: Data directories; with ``text`` they are scored too.
        models: Of a search: "best" or "all", see ``chosen``.
        wav_scp: A set by its list, instead of ``data``.
        text: Its references.
        output_dir: Gets the set of ``wav_scp``, or the folders of ``data`` as they are
            in ``exp`` otherwise, ``decode_ctc_greedy/SET``.
        model_file: Of an experiment, see ``decode_experiment``.
        **options: More for ``decode_experiment``; ``utt2spk`` of ``wav_scp``.

    Yields:
        A line for each set that has references, then where the report is.

    Raises:
        TopDownError: E_USAGE (64); those of the decoding and of the report.
    """
    from espnet_topdown.report.write import write_report
    from espnet_topdown.scoring.decode import decode_experiment, decode_models

    is_search = (exp / "search.yaml").is_file()
    if bool(data) == bool(wav_scp) or (wav_scp and is_search):
        raise TopDownError("E_USAGE", "decode: which set?", "give --data DIR", USAGE)
    if wav_scp:
        out = output_dir or exp / "decode_ctc_greedy" / _name(wav_scp.parent)
        score = decode_experiment(exp, model_file, wav_scp, out, text=text, **options)
        yield from _line(str(text), score)
    found = chosen(exp, models) if is_search else [("", exp, model_file)]
    if is_search and read_yaml(exp / "search.yaml").get("fix_eval_dropout"):
        options["fix_eval_dropout"] = True
    for folder in data:
        out = Path("decode_ctc_greedy", _name(folder))
        to = {(output_dir or exp) / n / out: (base, file) for n, base, file in found}
        scores = decode_models(to, folder, **options)
        for (name, *_), score in zip(found, scores.values()):
            yield from _line(f"{name} {_name(folder)}".strip(), score)
    if is_search:
        write_report(exp)
        yield f"report: {exp / 'RESULTS.md'}, {exp / 'report.html'}"


def _line(what: str, score: Mapping[str, Any] | None) -> Iterator[str]:
    if score:
        yield f"{what}: {', '.join(shown(u, score[u]) for u in ('cer', 'wer'))}"


def chosen(search_dir: Path, models: str) -> list[tuple[str, Path, str]]:
    """Name, experiment and file of weights of a search's models, the base first.

    Args:
        search_dir: A finished search.
        models: "best" is the base, the best one and the controls; "all" every one.

    Raises:
        TopDownError: E_UNFINISHED (78) before the search has a result.
    """
    if not (search_dir / "result.json").is_file():
        what = f"{search_dir}: the search has no result yet"
        raise TopDownError("E_UNFINISHED", what, "let it finish first")
    result = read_json(search_dir / "result.json")
    base = result["path"][0]
    names = [n for n in result["nodes"] if models == "all" or n == result["best"]]
    controls = [n for n in result["nodes"] if n.startswith("control.")]
    found = []
    for name in dict.fromkeys([base, *names, *controls]):
        exp = search_dir / name
        if name == base:
            exp = Path(read_yaml(search_dir / "search.yaml")["base_exp"])
        score = read_json(search_dir / name / "score.json")
        found.append((name, exp, score.get("model_file", "best")))
    return found


def _name(folder: Path) -> str:
    """Of a set; ESPnet's stage 3 keeps those that are trained on under ``org``."""
    return f"org/{folder.name}" if folder.parent.name == "org" else folder.name
