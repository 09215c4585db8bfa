"""The Wall Street Journal corpus (WSJ0 and WSJ1): from the discs to data directories.

Three steps: ``write_lists`` finds and checks everything without reading audio,
``convert`` makes FLAC files (in shards, resumable), ``write_sets`` writes
``data/<set>``. No Kaldi, no pipes, nothing is fetched.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.data.kaldi_dir import (
    read_pairs,
    write_dir,
    write_lines,
    write_pairs,
)
from espnet_topdown.data.wsj_audio import convert, flac_path
from espnet_topdown.data.wsj_discs import Discs, Entry, read_index, scan
from espnet_topdown.data.wsj_text import non_linguistic, normalise, read_dot
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, warn
from espnet_topdown.files import read_json, write_json

SI84 = ("11_13_1", "wsj0/doc/indices/train/tr_s_wv1.ndx")
WSJ1_TRAIN = ("13_34_1", "wsj1/doc/indices/si_tr_s.ndx")
SETS = {  # the index files of each set: disc, path from wsj0 or wsj1 on
    "train_si84": (SI84,),
    "train_si284": (SI84, WSJ1_TRAIN),
    "test_dev93": (("13_34_1", "wsj1/doc/indices/h1_p0.ndx"),),
    "test_eval92": (("11_13_1", "wsj0/doc/indices/test/nvp/si_et_20.ndx"),),
}
COUNTS = {
    "train_si84": 7138,
    "train_si284": 37416,
    "test_dev93": 503,
    "test_eval92": 333,
}
LEFT_OUT = "wsj0/si_tr_s/401/"  # a speaker that no published training set has
SHOWN = 3  # examples in a message
SCRATCH = Path("local") / "wsj"


@dataclass
class Corpus:
    """What was found: ``sets`` are utterance -> transcript as written.

    ``problems`` are (code, text), in the order of the sets.
    """

    sets: dict[str, dict[str, str]] = field(default_factory=dict)
    sounds: dict[str, Path] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)


def run(
    wsj0: str = "",
    wsj1: str = "",
    output_dir: Path = Path("data"),
    allow_partial: bool = False,
    step: str = "all",
    nj: int = 1,
    job: int | None = None,
) -> None:
    """One step, one shard of the step ``convert``, or everything."""
    if job is not None and step != "convert":
        do = "give --step convert with --job"
        raise TopDownError("E_USAGE", f"--job with --step {step}", do, USAGE)
    out = Path(output_dir)
    if step in ("lists", "all"):
        write_lists(wsj0, wsj1, out, allow_partial)
    if step in ("convert", "all"):
        convert(out / SCRATCH / "wav.scp", out, nj, job)
    if step in ("sets", "all"):
        write_sets(out)


def write_lists(
    wsj0: str, wsj1: str, output_dir: Path, allow_partial: bool = False
) -> Corpus:
    """Find audio and transcripts of all sets and write them below ``local/wsj``.

    Raises:
        TopDownError: E_WSJ_ROOT, E_WSJ_LAYOUT, E_WSJ_INDEX; and E_WSJ_AUDIO,
            E_WSJ_TEXT or E_WSJ_COUNT, which are warnings with ``allow_partial``.
    """
    corpus = collect(scan(_roots(wsj0, wsj1, allow_partial)))
    corpus.problems += _wrong_counts(corpus.sets)
    if corpus.problems and not allow_partial:
        what = "; ".join(text for _, text in corpus.problems)
        do = "complete the discs, or prepare what is there with --allow_partial true"
        do += ' (of a recipe: --local_data_opts "--allow_partial true")'
        raise TopDownError(corpus.problems[0][0], what, do, DATA)
    for code, text in corpus.problems:
        warn(code.replace("E_", "W_", 1), text)
    scratch = Path(output_dir) / SCRATCH
    for name, texts in corpus.sets.items():
        write_pairs(scratch / name / "text", texts)
    wavs = {utt: path.as_posix() for utt, path in corpus.sounds.items()}
    write_pairs(scratch / "wav.scp", wavs)
    sizes = {name: len(texts) for name, texts in corpus.sets.items()}
    write_json(scratch / "sets.json", {"sets": sizes, "partial": allow_partial})
    for name, n in sizes.items():
        logging.info("%s: %d utterances", name, n)
    return corpus


def _roots(wsj0: str, wsj1: str, allow_partial: bool) -> list[Path]:
    roots = []
    for name, value in (("WSJ0", wsj0), ("WSJ1", wsj1)):
        if value and Path(value).is_dir():
            roots.append(Path(value))
        elif value or not allow_partial:
            what = f"{name} is {value}, no folder" if value else f"{name} is not set"
            do = f"write {name}=/where/the/discs/are in db.sh, or set it when you run"
            raise TopDownError("E_WSJ_ROOT", what, do, MISSING)
    if not roots:
        do = "set WSJ0 and WSJ1 in db.sh"
        raise TopDownError("E_WSJ_ROOT", "neither WSJ0 nor WSJ1 is set", do, MISSING)
    return roots


def collect(discs: Discs) -> Corpus:
    """Pair index lines with audio and transcripts."""
    corpus = Corpus()
    transcripts = _Transcripts(discs)
    for name, indices in SETS.items():
        entries = _entries(name, indices, discs, corpus)
        sounds = {e.utt: path for e in entries if (path := discs.sound(e))}
        texts = {utt: transcripts.find(utt) for utt in sounds}
        silent = [e for e in entries if e.utt not in sounds]
        _say_no_audio(name, silent, entries, discs, corpus)
        without = [u for u, text in texts.items() if text is None]
        if without:
            what = f"{name}: no transcript (.dot) for {len(without)} of {len(entries)}"
            what += f" utterances, e.g. {', '.join(without[:SHOWN])}"
            corpus.problems.append(("E_WSJ_TEXT", what))
        right = {u: normalise(t) for u, t in texts.items() if t is not None}
        if right:
            corpus.sets[name] = right
            corpus.sounds.update({utt: sounds[utt] for utt in right})
    transcripts.say_conflicts()
    if not corpus.sets:
        what = "; ".join(text for _, text in corpus.problems)
        do = "check that the folders are the ones with the discs"
        raise TopDownError("E_WSJ_LAYOUT", what, do, MISSING)
    return corpus


def _entries(
    name: str, indices: Sequence[tuple[str, str]], discs: Discs, corpus: Corpus
) -> list[Entry]:
    """The utterances of a set, once each; none if one of its indices is missing."""
    entries: dict[str, Entry] = {}
    for disc, key in indices:
        path = discs.index(disc, key)
        if path is None:
            what = f"{name}: no index {key} (disc {_shown(disc)})"
            corpus.problems.append(("E_WSJ_DISC", what))
            return []
        for entry in read_index(path):
            if not entry.key.startswith(LEFT_OUT):
                entries.setdefault(entry.utt, entry)
    return list(entries.values())


def _shown(disc: str) -> str:
    """A disc as its label has it: 13-34.1."""
    return disc.replace("_", "-", 1).replace("_", ".")


def _say_no_audio(
    name: str,
    silent: Sequence[Entry],
    entries: Sequence[Entry],
    discs: Discs,
    corpus: Corpus,
) -> None:
    """One problem for each disc that lacks audio, or that is not there at all."""
    totals = Counter(e.disc for e in entries)
    there = discs.names()
    for disc, n in Counter(e.disc for e in silent).items():
        first = next(e for e in silent if e.disc == disc)
        gone = bool(there) and disc not in there and n == totals[disc]
        what = f"{name}: disc {_shown(disc)}{' is missing' if gone else ''}, "
        what += f"no audio for {n} of {totals[disc]} utterances, e.g. {first.key}.wv1"
        what += f" ({first.where})"
        code = "E_WSJ_DISC" if gone else "E_WSJ_AUDIO"
        corpus.problems.append((code, what))


class _Transcripts:
    """Looks transcripts up; each file is read once, when it is needed."""

    def __init__(self, discs: Discs) -> None:
        self.files = discs.dots
        self.sessions: dict[str, dict[str, str]] = {}
        self.conflicts: list[str] = []

    def find(self, utt: str) -> str | None:
        """The transcript as written, or None."""
        session = utt[:6]
        if session not in self.sessions:
            texts: dict[str, str] = {}
            for path in self.files.get(session, []):
                new = read_dot(path)
                self.conflicts += [u for u in new if texts.get(u, new[u]) != new[u]]
                texts.update(new)
            self.sessions[session] = texts
        return self.sessions[session].get(utt)

    def say_conflicts(self) -> None:
        """Warn of utterances that two files transcribe differently."""
        if self.conflicts:
            what = f"{len(self.conflicts)} utterances have two transcripts, e.g. "
            warn("W_WSJ_TEXT", what + ", ".join(self.conflicts[:SHOWN]))


def _wrong_counts(sets: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    return [
        ("E_WSJ_COUNT", f"{name} has {len(sets.get(name, ()))} utterances, not {n}")
        for name, n in COUNTS.items()
        if len(sets.get(name, ())) != n
    ]


def write_sets(output_dir: Path) -> None:
    """Write ``<set>/{wav.scp,text,utt2spk,spk2utt}`` and ``nlsyms.txt``.

    The speaker is the first three characters of the utterance id.
    """
    out = Path(output_dir)
    record = read_json(out / SCRATCH / "sets.json")
    sets = {name: read_pairs(out / SCRATCH / name / "text") for name in record["sets"]}
    _all_converted(out, (utt for texts in sets.values() for utt in texts))
    for name, texts in sets.items():
        wavs = {utt: flac_path(out, utt).as_posix() for utt in texts}
        speakers = {utt: utt[:3] for utt in texts}
        write_dir(out / name, {"wav.scp": wavs, "text": texts, "utt2spk": speakers})
    train = next((sets[n] for n in ("train_si284", "train_si84") if n in sets), {})
    write_lines(out / "nlsyms.txt", non_linguistic(train.values()))


def _all_converted(output_dir: Path, utts: Iterable[str]) -> None:
    lacking = sorted({u for u in utts if not flac_path(output_dir, u).exists()})
    if lacking:
        what = f"{len(lacking)} utterances are not converted, e.g. "
        what += ", ".join(lacking[:SHOWN])
        raise TopDownError("E_WSJ_CONVERT", what, "run stage 1 again", DATA)
