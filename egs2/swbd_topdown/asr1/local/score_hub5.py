#!/usr/bin/env python3
"""local/score_hub5.py --data_dir data/eval2000 --hyp text --output_dir D

The word error rates of eval2000 and its parts swbd and callhm, by sctk's hubscr.pl.

The rules of the corpus (GLM) and its segments (STM) decide what is counted, so nothing
but that program gives numbers that can be put beside published ones. Without it the
plain word error rate is written, and it says that it is not comparable.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import c_sorted, read_lines, read_pairs, write_lines
from espnet_topdown.errors import DATA, INTERNAL, MISSING, TopDownError, command, warn
from espnet_topdown.files import check_output, write_json
from espnet_topdown.scoring.counts import Counts, total, write_counts
from espnet_topdown.scoring.score import count_set
from espnet_topdown.scoring.units import check_same_utterances

PARTS = {"eval2000": "", "swbd": "sw_", "callhm": "en_"}  # what their files start with
SCTK: tuple[str, ...] = ("/usr/lib/sctk/bin", "{KALDI_ROOT}/tools/sctk/bin")
SCTK += ("{MAIN_ROOT}/tools/sctk/bin", "{ESPNET_ROOT}/tools/sctk/bin")
INSTALL = "apt-get install sctk, or build it in $KALDI_ROOT/tools"
COLUMNS = ("ref", "corr", "sub", "del", "ins", "err", "err_utts")
ALIGNED = "hyp.ctm.filt.pra"  # the alignment of every segment
_SEGMENT = re.compile(r"id: \((.+)\)$")
_SCORES = re.compile(r"Scores: \(#C #S #D #I\) (\d+) (\d+) (\d+) (\d+)$")
_TABLE = re.compile(r"\|\s*(Sum(?:/Avg)?)\s*\|([\d.\s]+)\|([\d.\s]+)\|")

_UTT = re.compile(r"(\w+)_(\d+)-([A-Z])_(\d+)-(\d+)", re.ASCII)
# What the field takes out of hypotheses before it scores them.
_HESITATIONS = "UH UM EH MM HM AH HUH HA ER OOF HEE ACH EEE EW"
_REMOVED = re.compile(
    r"\[NOISE|LAUGHTER|VOCALIZED-NOISE\]|<UNK>|-$|\s(?:"
    + "|".join(_HESITATIONS.split())
    + r")$",
    re.IGNORECASE,
)
_RESULT = rb" WER [0-9.]+ % \(|^raw WER "  # what stands in our result.txt


@dataclass(frozen=True)
class Result:
    """One part of eval2000: segments, and of each column count and percent."""

    part: str
    segments: int
    counts: dict[str, int]
    percent: dict[str, float]

    def line(self) -> str:
        """As published: ``swbd: WER 9.0 % (1831 segments, 21395 words)``."""
        words, wer = self.counts["ref"], self.percent["err"]
        return f"{self.part}: WER {wer:.1f} % ({self.segments} segments, {words} words)"


def score_hub5(data_dir: Path, hyp: Path, output_dir: Path) -> str:
    """Score hypotheses against ``stm`` and ``glm`` in ``data_dir``.

    Writes ``<part>/score.json``, the counts of each segment in
    ``<part>/score_wer/counts.tsv``, the tables of ``hubscr.pl`` and ``result.txt``.

    Args:
        data_dir: Has ``text``, ``stm`` and ``glm``.
        hyp: ``text`` with what was recognised.
        output_dir: Gets what is written.

    Returns:
        The text of ``result.txt``.

    Raises:
        TopDownError: E_UTT_SETS when utterances are missing or too many, so that a lost
            part cannot look like a better result; E_HUB5_REF when the set has no STM or
            GLM; E_HUBSCR when the program fails or its tables disagree; E_CREATE when
            the output is somebody else's.
    """
    data_dir, out = Path(data_dir), Path(output_dir)
    check_output(out, ("wav.scp", "config.yaml", "result.txt"), ours=_RESULT)
    said, text = read_pairs(data_dir / "text"), read_pairs(hyp)
    check_same_utterances(said, text, (str(data_dir / "text"), str(hyp)))
    for name in ("stm", "glm"):
        if not (data_dir / name).is_file():
            what = f"{data_dir} has no {name}"
            do = "run --stage 1 --stop_stage 1 of the recipe"
            raise TopDownError("E_HUB5_REF", what, do, MISSING)
    tool = find_hubscr()
    if tool is None:
        return _plain(said, text, out)
    ctm = scored(ctm_lines(text))
    stm = read_lines(data_dir / "stm")
    write_lines(out / "glm", read_lines(data_dir / "glm"))
    results = []
    for part, start in PARTS.items():
        ours = [line for line in stm if line.startswith((";;", start))]
        if not any(not line.startswith(";;") and line.strip() for line in ours):
            continue
        write_lines(out / part / "ref.stm", ours)
        write_lines(out / part / "hyp.ctm", [x for x in ctm if x.startswith(start)])
        results.append(_run(Path(tool), out / part, part))
    lines = [result.line() for result in results]
    lines.append(f"by {tool} with the corpus' GLM; {len(said)} utterances decoded")
    write_lines(out / "result.txt", lines)
    return "\n".join(lines)


def find_hubscr() -> str | None:
    """Path of ``hubscr.pl``, in PATH or where Debian, Kaldi and ESPnet put it."""
    folders = [f for f in SCTK if f[1:].partition("}")[0] in os.environ or f[0] == "/"]
    places = [os.environ["PATH"], *(f.format(**os.environ) for f in folders)]
    return shutil.which("hubscr.pl", path=os.pathsep.join(places))


def ctm_lines(hypotheses: Mapping[str, str]) -> list[str]:
    """``file side start duration  WORD`` for every word, sorted by utterance.

    Words share a segment evenly; the last one takes the hundredths of a second that
    are left. An empty hypothesis has no line.

    Args:
        hypotheses: Utterance id such as ``en_4001-A_001015-001250`` -> words.

    Raises:
        TopDownError: E_HUB5_UTT for an id that does not say file, side and times.

    >>> ctm_lines({"en_4001-A_001015-001250": "he is"})
    ['en_4001 A 10.15 1.17  HE', 'en_4001 A 11.32 1.18  IS']
    """
    lines = []
    for utt in c_sorted(hypotheses):
        found = _UTT.fullmatch(utt)
        if found is None:
            what = f"utterance '{utt}' is not file-side_start-end"
            do = "score the set eval2000 that stage 1 wrote"
            raise TopDownError("E_HUB5_UTT", what, do, DATA)
        name, number, side = found.group(1, 2, 3)
        start, end = int(found.group(4)), int(found.group(5))
        words = hypotheses[utt].upper().split()
        step = (end - start) // max(len(words), 1)
        for i, word in enumerate(words):
            begin = start + i * step
            length = step if i + 1 < len(words) else end - begin
            head = f"{name}_{number} {side} {begin / 100:.2f} {length / 100:.2f}"
            lines.append(f"{head}  {word}")
    return lines


def scored(lines: Iterable[str]) -> list[str]:
    """CTM lines without noises, laughter, unknown words, hesitations and fragments.

    >>> scored(["f A 0.00 0.10  UH", "f A 0.10 0.10  UHU", "f A 0.20 0.10  W-"])
    ['f A 0.10 0.10  UHU']
    """
    return [line for line in lines if not _REMOVED.search(line)]


def _plain(said: dict[str, str], text: dict[str, str], out: Path) -> str:
    counts = total(count_set(said, text, str.split).values())
    line = f"raw WER {counts.rate:.1f} % of {counts.ref} words, not comparable with "
    line += "published numbers (no sctk, no GLM)"
    warn("W_NO_SCTK", f"no hubscr.pl: {line}. Install it: {INSTALL}")
    write_lines(out / "result.txt", [line])
    return line


def _run(tool: Path, folder: Path, part: str) -> Result:
    words = [str(tool), "-p", str(tool.parent), "-V", "-l", "english", "-h", "hub5"]
    words += ["-g", "../glm", "-r", "ref.stm", "hyp.ctm"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    (folder / "hubscr.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    filtered = folder / "hyp.ctm.filt"
    tables = [filtered.with_name(f"{filtered.name}.{end}") for end in ("sys", "raw")]
    if done.returncode != 0 or not all(path.is_file() for path in tables):
        last = " ".join((done.stdout + done.stderr).split()[-30:])
        what = f"{tool} ended with {done.returncode} in {folder}: {last[-300:]}"
        raise TopDownError("E_HUBSCR", what, f"read {folder / 'hubscr.log'}", DATA)
    segments, percent = read_table(tables[0], "Sum/Avg")
    _, counts = read_table(tables[1], "Sum")
    result = Result(
        part,
        segments,
        {name: int(value) for name, value in zip(COLUMNS, counts)},
        dict(zip(COLUMNS[1:], percent[1:])),
    )
    _compare(result, tables[0])
    write_counts(folder / "score_wer", read_segments(folder / ALIGNED))
    write_json(folder / "score.json", _record(result))
    return result


def read_table(path: Path, row: str) -> tuple[int, list[float]]:
    """Segments, and the numbers from the words on, of a ``.sys`` or ``.raw`` table.

    Raises:
        TopDownError: E_HUBSCR when the file has no such row.
    """
    for line in read_lines(path):
        found = _TABLE.match(line.strip())
        if found and found.group(1) == row:
            segments, words = (float(x) for x in found.group(2).split())
            return int(segments), [words, *map(float, found.group(3).split())]
    what = f"{path} has no row {row}"
    raise TopDownError("E_HUBSCR", what, "read hubscr.log beside it", DATA)


def read_segments(path: Path) -> dict[str, Counts]:
    """Counts of each scored segment, from the alignments (``.pra``) of ``hubscr.pl``.

    Raises:
        TopDownError: E_MISSING without the file; E_HUBSCR where a segment has no
            counts, or two segments have one name.
    """
    lines = [line.rstrip() for line in read_lines(path)]
    names = [found.group(1) for line in lines if (found := _SEGMENT.match(line))]
    rows = [found.groups() for line in lines if (found := _SCORES.match(line))]
    if not names or len(set(names)) != len(names) or len(rows) != len(names):
        what = f"{path} has {len(set(names))} names and {len(rows)} counts of segments"
        raise TopDownError("E_HUBSCR", what, "read hubscr.log beside it", DATA)
    numbers = [tuple(map(int, row)) for row in rows]
    return {u: Counts(c + s + d, c, s, d, i) for u, (c, s, d, i) in zip(names, numbers)}


def _compare(result: Result, path: Path) -> None:
    """Refuse two tables of one run that do not say the same."""
    c = result.counts
    wrong = c["sub"] + c["del"] + c["ins"]
    percent = 100.0 * wrong / max(c["ref"], 1)
    if wrong != c["err"] or abs(percent - result.percent["err"]) > 0.0501:
        what = f"{path} says {result.percent['err']} %, the counts {percent:.2f} %"
        do = "report this with both tables"
        raise TopDownError("E_HUBSCR", what, do, INTERNAL)


def _record(result: Result) -> dict[str, Any]:
    """As ``score.json`` of other scorers; ``utts`` are the scored segments."""
    names: Sequence[str] = [n for n in COLUMNS if n != "err"]
    return {
        "schema": 1,
        "set": result.part,
        "scorer": "hubscr.pl",
        "utts": result.segments,
        "wer": {name: result.counts[name] for name in names},
    }


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Score, and print the error rates."""
    parser = argparse.ArgumentParser(description="Score eval2000 as the field does.")
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, help="has text, stm and glm")
    add("--hyp", type=Path, required=True, help="recognised: lines 'utt words...'")
    add("--output_dir", type=Path, required=True, help="gets tables and result.txt")
    print(score_hub5(**vars(parser.parse_args(cmd))))


if __name__ == "__main__":
    main()
