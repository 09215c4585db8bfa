"""Scores of a recognised set: counts of each utterance, ``score.json``, sclite's files.

A scored folder is as asr.sh leaves it, ``score_cer/{ref.trn,hyp.trn,result.txt}``,
and has ``counts.tsv`` besides: whoever compares two systems aligns nothing again.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import (
    c_sorted,
    duplicate_error,
    iter_pairs,
    read_pairs,
)
from espnet_topdown.errors import warn
from espnet_topdown.files import check_output, write_bytes, write_json
from espnet_topdown.scoring._align import count, paths
from espnet_topdown.scoring._sclite import (
    is_suspect,
    read_trn,
    render,
    sclite_note,
    table_rows,
    write_trn,
)
from espnet_topdown.scoring.bootstrap import paired_bootstrap
from espnet_topdown.scoring.counts import FILE, Counts, summary, total, write_counts
from espnet_topdown.scoring.units import UNITS, check_same_utterances, read_nlsyms

_DRAWS = 10_000
_SPACE = "<space>"  # ESPnet's name of a blank between words
_NAMES = {"cer": "characters", "wer": "words"}
_HEAD = "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|\n" + "|---" * 9 + "|"
_UNREAD, _READ = Counts(), Counts()  # these very objects
Cut = Callable[[str], Sequence[str]]


def count_set(
    ref: Mapping[str, str], hyp: Mapping[str, str], cut: Cut
) -> dict[str, Counts]:
    """Count the errors of every utterance.

    Args:
        ref: Utterance id -> text that was said.
        hyp: Utterance id -> text that was recognised; the same ids.
        cut: From a text to the tokens that are scored.

    Returns:
        Counts by utterance id.

    Raises:
        TopDownError: E_UTT_SETS (65) unless both have the same utterances: a lost
            part of a decoding must never look like a better error rate.
    """
    check_same_utterances(ref, hyp)
    pairs = (_cut_both(text, hyp[utt], cut) for utt, text in ref.items())
    return dict(zip(ref, map(count, paths(pairs))))


def _cut_both(said: str, spoken: str, cut: Cut) -> tuple[Sequence[str], Sequence[str]]:
    tokens = cut(said)
    return tokens, tokens if spoken == said else cut(spoken)


def _count_list(
    said: Mapping[str, str], names: tuple[Path, Path], cut: Cut
) -> tuple[dict[str, Counts], dict[str, str]]:
    """``count_set`` of a list that is not held as a whole.

    Returns:
        Counts by utterance id, and those texts that ``sclite_note`` has to see.
    """
    counts = dict.fromkeys(said, _UNREAD)
    others: dict[str, None] = {}
    suspect: dict[str, str] = {}
    waiting: deque[str] = deque()

    def pairs() -> Iterator[tuple[Sequence[str], Sequence[str]]]:
        for utt, text in iter_pairs(names[1]):
            seen = counts.get(utt)
            if seen is None:
                others[utt] = None
                continue
            if seen is not _UNREAD:
                raise duplicate_error(names[1], utt)
            counts[utt] = _READ
            waiting.append(utt)
            if is_suspect(text):
                suspect[utt] = text
            yield _cut_both(said[utt], text, cut)

    for steps in paths(pairs()):
        counts[waiting.popleft()] = count(steps)
    if others or not said or any(c is _UNREAD for c in counts.values()):
        found = [utt for utt, c in counts.items() if c is not _UNREAD]
        sides = said, dict.fromkeys([*found, *others])
        check_same_utterances(*sides, (str(names[0]), str(names[1])))
    return counts, suspect


def write_scores(
    folder: Path,
    ref: Mapping[str, str],
    hyp: Mapping[str, str],
    cut: Cut,
    utt2spk: Mapping[str, str],
) -> dict[str, Counts]:
    """Score a set and write ``ref.trn``, ``hyp.trn``, ``result.txt``, ``counts.tsv``.

    Args:
        folder: Where to, for example ``score_cer``.
        ref: Utterance id -> text that was said.
        hyp: Utterance id -> text that was recognised; the same ids.
        cut: From a text to the tokens that are scored.
        utt2spk: Speaker of each utterance; its own id where there is none.

    Returns:
        The counts of each utterance.

    Raises:
        TopDownError: E_UTT_SETS (65), before anything is written.
    """
    check_same_utterances(ref, hyp)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    utts = c_sorted(ref)
    speaker = {utt: utt2spk.get(utt, utt) for utt in utts}
    said, spoken = (
        {utt: [_SPACE if t == " " else t for t in cut(side[utt])] for utt in utts}
        for side in (ref, hyp)
    )
    ops = dict(zip(utts, paths((said[utt], spoken[utt]) for utt in utts)))
    counts = {utt: count(steps) for utt, steps in ops.items()}
    write_trn(folder / "ref.trn", said, speaker)
    write_trn(folder / "hyp.trn", spoken, speaker)
    text = render(str(folder / "hyp.trn"), said, spoken, speaker, ops)
    write_bytes(folder / "result.txt", text.encode())
    write_counts(folder, counts)
    return counts


def recount(folder: Path) -> dict[str, Counts]:
    """Count again what ``write_scores`` left, from ``ref.trn`` and ``hyp.trn``.

    Returns:
        Counts by ``speaker-utterance``.

    Raises:
        TopDownError: E_MISSING (66) without the files, E_UTT_SETS (65).
    """
    ref, hyp = (read_trn(Path(folder) / f"{side}.trn") for side in ("ref", "hyp"))
    check_same_utterances(ref, hyp)
    return dict(zip(ref, map(count, paths((ref[u], hyp[u]) for u in ref))))


def check_score_dir(folder: Path) -> None:
    """Refuse to write scores where a user writes, or sclite that ESPnet started.

    Raises:
        TopDownError: E_CREATE (73).
    """
    names: tuple[str, ...] = ("wav.scp", "config.yaml", "search.yaml", "retrain.yaml")
    if not (Path(folder) / FILE).exists():
        names += ("ref.trn", "hyp.trn", "result.txt")
    check_output(folder, names)


def check_score_file(folder: Path) -> None:
    """Refuse to write over somebody else's ``score.json``.

    Raises:
        TopDownError: E_CREATE (73).
    """
    check_output(folder, ("score.json",), ours=rb'\A\{\s*"schema": \d+,\s*"set": ')


def read_speakers(utt2spk: Path | None, beside: Path) -> dict[str, str]:
    """Read the speakers as a ``.trn`` file names them.

    A blank or parenthesis, which would end an id there, becomes ``_``.

    Args:
        utt2spk: The list; None is the one beside a file, if there is one.
        beside: That file, such as ``data/test/text``.

    Returns:
        Utterance id -> speaker.

    Raises:
        TopDownError: Those of ``read_pairs``.
    """
    found = Path(utt2spk) if utt2spk else Path(beside).with_name("utt2spk")
    spoken_by = read_pairs(found) if utt2spk or found.is_file() else {}
    return {utt: re.sub(r"[()\s]", "_", name) for utt, name in spoken_by.items()}


def score_record(
    name: str, decoder: str, weights: Path, epoch: int | None, **numbers: Any
) -> dict[str, Any]:
    """What ``score.json`` says.

    Args:
        name: Of the set.
        decoder: What made the hypotheses, or the likelihood.
        weights: File of weights that it was made with.
        epoch: Of the weights, where that is known.
        **numbers: What was counted.

    Returns:
        All in the order in which it is written.
    """
    model_file = Path(weights).name
    head = {"schema": 1, "set": name, "decoder": decoder, "model_file": model_file}
    return {**head, "epoch": epoch, **numbers}


def count_record(
    counts: Mapping[str, Mapping[str, Counts]], hyp: Mapping[str, str]
) -> dict[str, Any]:
    """Return what ``score.json`` says of recognised texts.

    Args:
        counts: ``cer``, ``wer``, ``ter`` -> counts by utterance id.
        hyp: Utterance id -> text that was recognised.
    """
    sums = {unit: summary(by_utt) for unit, by_utt in counts.items()}
    return {"utts": len(hyp), **sums, "hyp_sha256": hypothesis_digest(hyp)}


def hypothesis_digest(text: Mapping[str, str]) -> str:
    """Return the SHA-256 of the lines ``utterance text``, sorted by utterance.

    Args:
        text: Utterance id -> text that was recognised.
    """
    lines = "".join(f"{utt} {text[utt]}\n" for utt in sorted(text))
    return hashlib.sha256(lines.encode()).hexdigest()


def warn_sclite_syntax(unit: str, *texts: Mapping[str, str]) -> None:
    """Warn (W_SCLITE_SYNTAX) if sclite would count these texts in another way.

    Args:
        unit: ``cer`` or ``wer``.
        *texts: Utterance id -> text, of reference and hypothesis.
    """
    if note := sclite_note(unit, *texts):
        warn("W_SCLITE_SYNTAX", note)


def score_set(
    ref: Path,
    decode_dir: Path,
    decoder: str,
    model_file: Path,
    nlsyms: Path | None = None,
) -> dict[str, Any]:
    """Write ``score.json`` beside ``text``, for decoders that do not count.

    Args:
        ref: ``text`` with what was said.
        decode_dir: Holds ``text`` with what was recognised; its name is the set's.
        decoder: What made it, for the report.
        model_file: Weights that it was made with.
        nlsyms: Symbols that are not scored, one a line.

    Returns:
        What ``score.json`` holds.

    Raises:
        TopDownError: E_UTT_SETS (65) when an utterance is missing or too many;
            E_CREATE (73) for a score.json of somebody else's.
    """
    check_score_file(decode_dir)
    said, text = _read_sides(ref, Path(decode_dir) / "text")
    symbols, counts = read_nlsyms(nlsyms), {}
    for unit, cut in UNITS.items():
        warn_sclite_syntax(unit, said, text)
        counts[unit] = count_set(said, text, functools.partial(cut, nlsyms=symbols))
    name = Path(decode_dir).name
    numbers = {**count_record(counts, text), "seconds": None, "infeasible": 0}
    score = score_record(name, decoder, model_file, None, **numbers)
    write_json(Path(decode_dir) / "score.json", score)
    return score


def _read_sides(ref: Path, hyp: Path) -> tuple[dict[str, str], dict[str, str]]:
    said, text = read_pairs(ref), read_pairs(hyp)
    check_same_utterances(said, text, (str(ref), str(hyp)))
    return said, text


def score_files(
    ref: Path,
    hyp: Path,
    unit: str = "wer",
    nlsyms: Path | None = None,
    utt2spk: Path | None = None,
    output_dir: Path | None = None,
    bootstrap_against: Path | None = None,
    seed: int = 0,
) -> str:
    """A table in the layout of ESPnet's RESULTS.md, and what a comparison says.

    Args:
        ref: ``text`` with what was said.
        hyp: ``text`` with what was recognised.
        unit: ``cer`` or ``wer``.
        nlsyms: Symbols that are not scored, one a line.
        utt2spk: Speakers for ``result.txt``; by default the file beside ``ref``.
        output_dir: Gets what ``write_scores`` writes.
        bootstrap_against: ``text`` of another system.
        seed: Of the bootstrap.

    Returns:
        Lines of Markdown.

    Raises:
        TopDownError: E_UTT_SETS (65), E_CREATE (73).
    """
    if output_dir is not None:
        check_score_dir(output_dir)
    cut = functools.partial(UNITS[unit], nlsyms=read_nlsyms(nlsyms))
    if output_dir is None:
        said = read_pairs(ref)
        counts, text = _count_list(said, (ref, hyp), cut)
    else:
        said, text = _read_sides(ref, hyp)
        speaker = read_speakers(utt2spk, beside=ref)
        counts = write_scores(output_dir, said, text, cut, speaker)
    lines = [f"### {unit.upper()}: Wrd are {_NAMES[unit]}", ""]
    lines += [_HEAD, _row(hyp, counts)]
    other: dict[str, str] = {}
    if bootstrap_against is not None:
        others, other = _count_list(said, (ref, bootstrap_against), cut)
        lines += [_row(bootstrap_against, others), "", _compared(counts, others, seed)]
    if note := sclite_note(unit, said, text, other):
        lines.append(f"W_SCLITE_SYNTAX: {note}")
    return "\n".join(lines)


def _row(hyp: Path, counts: Mapping[str, Counts]) -> str:
    (_, *cells), *_ = table_rows({"": counts}, percent=True)
    return "|".join(["", str(hyp), *cells, ""])


def _compared(a: Mapping[str, Counts], b: Mapping[str, Counts], seed: int) -> str:
    low, high = paired_bootstrap(a, b, _DRAWS, seed)
    diff = total(a.values()).rate - total(b.values()).rate
    return (
        f"difference (first - second): {diff:+.2f} points, 95 % interval "
        f"[{low:+.2f}, {high:+.2f}], n = {len(a)} (bootstrap over the n utterances, "
        f"{_DRAWS} draws, seed {seed})"
    )
