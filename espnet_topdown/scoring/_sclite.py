"""The files of NIST's sclite: trn, and ``result.txt`` of ``sclite -o all stdout``.

A trn file holds lines of ``tokens TAB (speaker-utterance)``. ``result.txt`` is what
ESPnet's ``show_asr_result.sh`` and people who know sclite read: a table of
percentages by speaker, a table of counts, then every alignment.
"""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from espnet_topdown.data.kaldi_dir import c_sorted, read_lines, write_lines
from espnet_topdown.errors import DATA, TopDownError
from espnet_topdown.scoring._align import count, fold
from espnet_topdown.scoring.counts import Counts, err_utts, total

Cells = list[str]
# What sclite 2.10 does not read as plain words (tried: all of ASCII and Unicode's
# spaces, alone and at each place of a word). "@" is no word, "{ a / b }" are
# alternatives, "\\" is taken out, what follows ";" inside a word is its tag, "*" ends
# one; ";;" and "**" begin a comment; a NUL ends the text; only ASCII's spaces
# part words.
_SPACES = r"\x00\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_AT_STAR = r"(?<!\S)@(?!\S)|(?<=\S)\*(?![^\s;])|(?<!\S)\*(?=\*)"
is_suspect = re.compile(rf"[@{{\\;*{_SPACES}]").search  # a text of ``sclite_note``
_SYNTAX = {
    "cer": re.compile(rf"[@{{{_SPACES}]"),
    "wer": re.compile(rf"{_AT_STAR}|\{{|(?<=\S)[\\;]|\\(?=\S)|;(?=;)|[{_SPACES}]"),
}
# Alone, one of these two is the other to sclite.
_ALIKE = {"cer": re.compile(r"[\\;]"), "wer": re.compile(r"(?<!\S)[\\;](?!\S)")}
_LINE = re.compile(r"(.*?)[ \t]*\(([^()\s]+)\)[ \t]*")


def write_trn(
    path: Path, tokens: Mapping[str, Sequence[str]], utt2spk: Mapping[str, str]
) -> None:
    """Write tokens by utterance id, sorted by it; without a speaker it is its own."""
    lines = (
        f"{' '.join(tokens[utt])}\t({utt2spk.get(utt, utt)}-{utt})"
        for utt in c_sorted(tokens)
    )
    write_lines(path, lines)


def read_trn(path: Path) -> dict[str, list[str]]:
    """Return tokens by ``speaker-utterance``, in the file's order.

    Raises:
        TopDownError: E_TRN for a line without an id or with one that was there before.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(path, keep_mark=True), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            what = f"{path} line {number} does not end in '(speaker-utterance)'"
            raise TopDownError("E_TRN", what, "correct the line", DATA)
        text, name = match.groups()
        if name in found:
            what = f"{name} is twice in {path}, again in line {number}"
            raise TopDownError("E_TRN", what, "keep one of the lines", DATA)
        found[name] = text.split()
    return found


def sclite_note(unit: str, *texts: Mapping[str, str]) -> str:
    """A warning if sclite would count these texts in another way, else nothing.

    Args:
        unit: ``cer`` or ``wer``; others are never given to sclite.
        *texts: References and hypotheses by utterance id.

    Returns:
        Which characters are its syntax, and in how many lines they stand.
    """
    found, alike = Counter[str](), defaultdict[str, set[str]](set)
    for side in texts if unit in _SYNTAX else ():
        for utt, text in side.items():
            if is_suspect(text):
                found.update(set(_SYNTAX[unit].findall(text)))
                alike[utt].update(_ALIKE[unit].findall(text))
    for both in alike.values():
        found.update(both if len(both) == 2 else ())
    if not found:
        return ""
    names = ", ".join(
        f"{repr(c) if c.isprintable() else f'U+{ord(c):04X}'} in {n} lines"
        for c, n in sorted(found.items())
    )
    what = f"{unit.upper()}: {names}: sclite's syntax, or no space to it; counted here "
    return what + "as any other character, Unicode's spaces as ' '"


def render(
    name: str,
    ref: Mapping[str, Sequence[str]],
    hyp: Mapping[str, Sequence[str]],
    speaker: Mapping[str, str],
    ops: Mapping[str, str],
) -> str:
    """Return the whole of ``result.txt``.

    Args:
        name: Title of the tables.
        ref: Tokens by utterance id, in the order in which they are listed.
        hyp: Tokens of the same utterances.
        speaker: Speaker of each utterance.
        ops: Alignment of each utterance, from ``paths``.
    """
    by_speaker: dict[str, dict[str, Counts]] = {}
    for utt, steps in ops.items():
        by_speaker.setdefault(speaker[utt], {})[utt] = count(steps)
    parts = [
        _table(name, table_rows(by_speaker, True)),
        _NO_REFERENCE if _without_reference(by_speaker) else "",
        _table(name, table_rows(by_speaker, False)),
        f"\t\tDUMP OF SYSTEM ALIGNMENT STRUCTURE\n\nSystem name:   {name}\n",
    ]
    for number, (spk, utts) in enumerate(by_speaker.items()):
        parts.append(f"Speaker sentences {number:3d}:  {spk}   #utts: {len(utts)}")
        for utt, c in utts.items():
            scores = f"{c.corr} {c.sub} {c.dele} {c.ins}"
            rows = _alignment(ref[utt], hyp[utt], ops[utt])
            parts.append(f"id: ({spk}-{utt})\nScores: (#C #S #D #I) {scores}\n{rows}")
    return "\n".join(parts) + "\n"


_HEAD = "SPKR|# Snt|# Wrd|Corr|Sub|Del|Ins|Err|S.Err".split("|")
_NO_REFERENCE = (
    "* No Reference words for this/these speaker(s).  Word counts supplied\n"
    "  rather than percents.\n"
    "+ Speaker(s) with no reference data is ignored\n"
)
BySpeaker = Mapping[str, Mapping[str, Counts]]


def _without_reference(by_speaker: BySpeaker) -> bool:
    return any(not total(utts.values()).ref for utts in by_speaker.values())


def table_rows(by_speaker: BySpeaker, percent: bool) -> list[Cells]:
    """One of the two tables: speakers, Sum, Mean, S.D., Median.

    Args:
        by_speaker: Counts by speaker and utterance.
        percent: Percentages, not counts.

    Returns:
        The cells of each row: name, sentences, words, correct, sub, del, ins, errors,
        sentences with errors.
    """
    everything, *more = by_speaker.values() or [{}]
    if more:
        everything = {u: c for utts in by_speaker.values() for u, c in utts.items()}
    rows, table = [], []
    named = {**by_speaker, "Sum/Avg" if percent else "Sum": everything}
    for name, utts in named.items():
        c, wrong = total(utts.values()), err_utts(utts)
        counts = [c.corr, c.sub, c.dele, c.ins, c.errors]
        values = [float(n) for n in (len(utts), c.ref, *counts, wrong)]
        shown = list(map(str, (len(utts), c.ref, *counts, wrong)))
        if percent:
            rates = [100.0 * n / c.ref if c.ref else math.nan for n in counts]
            values[2:] = [*rates, 100.0 * wrong / max(1, len(utts))]
            shown[2:] = [
                _tenth(x) if x == x else f"{s}*" for x, s in zip(values, shown)
            ][2:]
        rows.append([name, *shown])
        table.append(values)
    mark = "+" if percent and _without_reference(by_speaker) else ""
    return rows + _statistics(table[:-1], mark)


def _statistics(table: list[list[float]], mark: str = "") -> list[Cells]:
    """Return mean, standard deviation (n - 1) and median of columns over speakers."""
    columns = [[x for x in column if not math.isnan(x)] for column in zip(*table)]
    marks = ["", "", *[mark] * (len(columns) - 3), ""]
    kinds: dict[str, Callable[[list[float]], float]] = {
        "Mean": statistics.fmean,
        "S.D.": lambda x: statistics.stdev(x) if len(x) > 1 else 0.0,
        "Median": statistics.median,
    }
    return [
        [name, *(_tenth(f(c) if c else 0.0) + m for c, m in zip(columns, marks))]
        for name, f in kinds.items()
    ]


def _tenth(x: float) -> str:
    """Return one digit after the point, halves away from zero, as sclite prints it.

    >>> _tenth(6.25), f"{6.25:.1f}"
    ('6.3', '6.2')
    """
    return f"{math.floor(x * 10.0 + 0.5 + 1e-9) / 10.0:.1f}"


def _table(name: str, rows: list[Cells]) -> str:
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows)]
    widths[0] += max(0, len(name) - _inner(widths))
    inner = _inner(widths)
    thin, thick = f"|{'-' * inner}|", f"|{'=' * inner}|"
    above = {"Sum": thick, "Sum/Avg": thick, "Mean": thick, "S.D.": "", "Median": ""}
    lines = [f",{'-' * inner}.", f"|{name:^{inner}}|", thin, _row(_HEAD, widths)]
    for cells in rows:
        lines += [above.get(cells[0], thin), _row(cells, widths)]
    lines.append(f"`{'-' * inner}'")
    title = "SYSTEM SUMMARY PERCENTAGES by SPEAKER"
    return f"\n\n{title:^{inner + 2}}\n\n" + "\n".join(filter(None, lines)) + "\n"


def _inner(widths: list[int]) -> int:
    return sum(widths) + 3 * len(widths) - 1


def _row(cells: Cells, widths: list[int]) -> str:
    first, *rest = (
        f"{c:<{w}}" if i == 0 else f"{c:>{w}}"
        for i, (c, w) in enumerate(zip(cells, widths))
    )
    return f"| {first} | {rest[0]}   {rest[1]} | {'   '.join(rest[2:])} |"


def _alignment(ref: Sequence[str], hyp: Sequence[str], ops: str) -> str:
    """Return lines REF, HYP, Eval: correct tokens in lower case, others in capitals."""
    columns, r, h = [], iter(ref), iter(hyp)
    for op in ops:
        a = next(r) if op in "CSD" else ""
        b = next(h) if op in "CSI" else ""
        a, b = (fold(a), fold(b)) if op == "C" else (a.upper(), b.upper())
        a, b = a or "*" * len(b), b or "*" * len(a)
        columns.append((a, b, "" if op == "C" else op))
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for label, cells in zip(("REF:  ", "HYP:  ", "Eval: "), zip(*columns)):
        lines.append(label + " ".join(f"{c:<{w}}" for c, w in zip(cells, widths)))
    return "\n".join(lines) + "\n"
