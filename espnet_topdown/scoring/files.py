"""Score text files, and compare two systems."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.scoring.align import Counts, align, total
from espnet_topdown.scoring.folder import speakers, write_scores
from espnet_topdown.scoring.result import tenth
from espnet_topdown.scoring.significance import mapsswe, paired_bootstrap
from espnet_topdown.scoring.units import UNITS, check_same_utterances, read_nlsyms

DRAWS = 10_000
HEAD = "|dataset|Snt|Wrd|Corr|Sub|Del|Ins|Err|S.Err|\n" + "|---" * 9 + "|"


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
    """A table in the layout of ESPnet's RESULTS.md, and what the tests of chance say.

    Args:
        ref: ``text`` with what was said.
        hyp: ``text`` with what was recognised.
        unit: ``cer`` or ``wer``.
        nlsyms: Symbols that are not scored, one a line.
        utt2spk: Speakers for ``result.txt``; by default the file beside ``ref``.
        output_dir: Gets ``ref.trn``, ``hyp.trn`` and ``result.txt``.
        bootstrap_against: ``text`` of another system.
        seed: Of the bootstrap.
    """
    cut = functools.partial(UNITS[unit], nlsyms=read_nlsyms(nlsyms))
    said, text = read_pairs(ref), read_pairs(hyp)
    check_same_utterances(said, text, (str(ref), str(hyp)))
    if output_dir is not None:
        write_scores(output_dir, said, text, cut, speakers(utt2spk, beside=ref))
    lines = [HEAD, _row(str(hyp), _counts(said, text, cut))]
    if bootstrap_against is not None:
        other = read_pairs(bootstrap_against)
        check_same_utterances(said, other, (str(ref), str(bootstrap_against)))
        lines.append(_row(str(bootstrap_against), _counts(said, other, cut)))
        lines += ["", _compared(said, text, other, cut, seed)]
    return "\n".join(lines)


Cut = Callable[[str], list[str]]


def _counts(
    ref: Mapping[str, str], hyp: Mapping[str, str], cut: Cut
) -> dict[str, Counts]:
    return {utt: align(cut(ref[utt]), cut(hyp[utt])) for utt in ref}


def _row(name: str, counts: Mapping[str, Counts]) -> str:
    c = total(counts.values())
    wrong = sum(u.errors > 0 for u in counts.values())
    rates = [tenth(100.0 * x / max(c.ref, 1)) for x in _columns(c)]
    rates.append(tenth(100.0 * wrong / len(counts)))
    return "|".join(["", name, str(len(counts)), str(c.ref), *rates, ""])


def _columns(c: Counts) -> tuple[int, ...]:
    return c.corr, c.sub, c.dele, c.ins, c.errors


def _compared(
    ref: Mapping[str, str],
    a: Mapping[str, str],
    b: Mapping[str, str],
    cut: Cut,
    seed: int,
) -> str:
    ours, other = _counts(ref, a, cut), _counts(ref, b, cut)
    low, high = paired_bootstrap(ours, other, DRAWS, seed)
    tokens = [{utt: cut(side[utt]) for utt in ref} for side in (ref, a, b)]
    test = mapsswe(*tokens)
    diff = total(ours.values()).percent - total(other.values()).percent
    return (
        f"difference (first - second): {diff:+.2f} points, 95 % interval "
        f"[{low:+.2f}, {high:+.2f}] (bootstrap, {DRAWS} draws, seed {seed}); "
        f"MAPSSWE: {test.segments} segments, Z {test.z:.2f}, p {test.p:.3g}"
    )
