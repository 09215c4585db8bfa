"""What ``espnet-topdown decode`` does with an experiment or with a search.

``python -m espnet_topdown.cli._decoding exp/asr_x_topdown best`` prints the models that
a recipe decodes: name, experiment and file, with tabs between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.cmd.places import check_gpus
from espnet_topdown.errors import USAGE, TopDownError, command
from espnet_topdown.files import check_writable
from espnet_topdown.models.type_checks import import_quietly
from espnet_topdown.scoring.counts import unit_score
from espnet_topdown.search.state import CANDIDATE, check_finished, model_of, read_state


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
        data: Data directories; those that hold ``text`` are scored too.
        models: Of a search: "best" or "all", see ``chosen``.
        wav_scp: A set by its list, instead of ``data``.
        text: References of ``wav_scp``.
        output_dir: Gets the set of ``wav_scp``, or the folders of ``data`` as they are
            in ``exp`` otherwise, ``decode_ctc_greedy/SET``.
        model_file: Of an experiment, see ``decode_set``.
        **options: More for ``decode_set``; ``utt2spk`` of ``wav_scp``.

    Yields:
        A line for each set that has references, then where the report is.

    Raises:
        TopDownError: E_USAGE (64), E_GPU (78), E_CREATE (73); those of the decoding
            and of the report.
    """
    from espnet_topdown.report.write import write_report

    is_search = (exp / "search.yaml").is_file()
    what, do = "", "give --data DIR"
    if bool(data) == bool(wav_scp) or (wav_scp and is_search):
        what = "decode needs sets: --data, or --wav_scp with an experiment"
    elif data and text:
        what, do = "--text goes with --wav_scp", "leave it out: DIR/text is taken"
    elif is_search and model_file != "best":
        what, do = f"{exp} is a search, without --model_file", f"give {exp}/MODEL"
    if what:
        raise TopDownError("E_USAGE", what, do, USAGE)
    check_gpus(options["ngpu"])
    check_writable(output_dir or exp)
    decode_set = import_quietly("espnet_topdown.scoring.decode").decode_set
    if wav_scp:
        out = output_dir or exp / "decode_ctc_greedy" / _name(wav_scp.parent)
        score = decode_set(exp, model_file, wav_scp, out, text, **options)
        yield from _line(str(text), score)
    which = {"": (exp, model_file)}
    if is_search:
        which = chosen(exp, models)
        if read_state(exp).request.get("fix_eval_dropout"):
            options["fix_eval_dropout"] = True
    for folder in data:
        ref = folder / "text" if (folder / "text").exists() else None
        for name, (base, file) in which.items():
            out = (output_dir or exp) / name / "decode_ctc_greedy" / _name(folder)
            score = decode_set(base, file, folder / "wav.scp", out, ref, **options)
            yield from _line(f"{name} {_name(folder)}".strip(), score)
    if is_search:
        write_report([exp], exp)
        yield f"report: {exp / 'RESULTS.md'}, {exp / 'report.html'}"


def _line(what: str, score: Mapping[str, Any] | None) -> Iterator[str]:
    if score:
        rates = [unit_score(score[unit]).show(unit) for unit in ("cer", "wer")]
        yield f"{what}: {', '.join(rates)}"


def chosen(search_dir: Path, models: str) -> dict[str, tuple[Path, str]]:
    """Return experiment and file of weights of a search's models, the base first.

    Args:
        search_dir: A finished search.
        models: "best" is the base, the best one and the controls; "all" every one.

    Raises:
        TopDownError: E_UNFINISHED (78) before the search has a result.
    """
    search = check_finished(search_dir)
    return {
        c.name: model_of(search, c.name)
        for c in search.candidates
        if c.valid and (models == "all" or c.role != CANDIDATE or c == search.best)
    }


def _name(folder: Path) -> str:
    return f"org/{folder.name}" if folder.parent.name == "org" else folder.name


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Print the models of a search."""
    folder, models = sys.argv[1:] if cmd is None else cmd
    for name, (exp, file) in chosen(Path(folder), models).items():
        print(name, exp, file, sep="\t")


if __name__ == "__main__":
    main()
