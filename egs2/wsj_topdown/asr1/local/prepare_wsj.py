"""The Wall Street Journal corpus (WSJ0 and WSJ1): from the discs to data directories.

    python3 local/prepare_wsj.py --wsj0 /corpora/wsj0 --wsj1 /corpora/wsj1

Three steps: ``write_lists`` finds and checks everything without reading audio,
``convert`` makes FLAC files (in shards, resumable), ``write_sets`` writes
``data/<set>`` and ``data/nlsyms.txt``. No Kaldi, no pipes, nothing is fetched. Copies
of the discs differ in the names of their folders (``11-13.1``, ``11_13_1``, none) and
in case; files are known by their path from ``wsj0`` or ``wsj1`` on, and by their disc.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.cli.parser import SHARDS, STEP, flag, option, script
from espnet_topdown.data import audio, sphere
from espnet_topdown.data.kaldi_dir import (
    check_sets,
    read_pairs,
    refuse_or_warn,
    write_dir,
    write_lines,
    write_pairs,
)
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, warn
from espnet_topdown.files import read_json, read_text, write_json

NOISE = "<NOISE>"
_LINE = re.compile(r"(.*)\((\w{8})\)\s*", re.ASCII)
_SPELLED = {"%PERCENT": "PERCENT", ".POINT": "POINT", "--DASH": "-DASH"}
_DROPPED = re.compile(r"\[<\w+\]|\[\w+>\]|.*\[(\w+/|/\w+)\]|~|\.", re.ASCII)
_NOISE = re.compile(r"\[\w+\]", re.ASCII)
_DELETED = re.compile(r"<([\w']+)>", re.ASCII)  # taken back by the reader, yet heard


def normalise(text: str) -> str:
    r"""Words as all published results on this corpus have them.

    Noises within or beside words, ends of stretches, lone dots and tildes go; other
    noises become ``<NOISE>``, also where they are part of a word.

    >>> normalise(r"Ms\\. Lund said \\,COMMA [door_slam>] <stop> th[e]- ~")
    'MS. LUND SAID ,COMMA STOP <NOISE>'
    """
    tokens = text.upper().replace("\\", "").split()
    return " ".join(word for token in tokens for word in _word(token))


def _word(token: str) -> Iterator[str]:
    if _DROPPED.fullmatch(token):
        return
    if _NOISE.search(token):
        yield NOISE
        return
    deleted = _DELETED.fullmatch(token)
    yield deleted.group(1) if deleted else _SPELLED.get(token, token)


def read_dot(path: Path) -> dict[str, str]:
    """Utterance -> transcript as written, from lines ``words... (utterance)``.

    Other lines are left out. Utterance ids are in lower case.
    """
    found = (_LINE.fullmatch(line) for line in read_text(path).splitlines())
    return {m.group(2).lower(): m.group(1).strip() for m in found if m}


def non_linguistic(texts: Iterable[str]) -> list[str]:
    """The words with a ``<``: each is one unit for a character model.

    >>> non_linguistic(["A <NOISE> B", "<*IN*> <NOISE>"])
    ['<*IN*>', '<NOISE>']
    """
    return sorted({word for text in texts for word in text.split() if "<" in word})


_DISC = re.compile(r"(\d+)[-_.](\d+)[-_.](\d+)")
_ENTRY = re.compile(r"\s*([^:\s]+):[\s/]*(\S+)\s*")
_UTT = re.compile(r"[a-z0-9]{8}")


def disc_id(name: str) -> str:
    """The form that index files use, or ``""`` for another folder.

    >>> disc_id("13-34.1"), disc_id("13_34.1"), disc_id("wsj0")
    ('13_34_1', '13_34_1', '')
    """
    found = _DISC.fullmatch(name)
    return "_".join(found.groups()) if found else ""


@dataclass(frozen=True)
class Entry:
    """One line of an index file; ``where`` is for messages."""

    disc: str
    key: str
    where: str

    @property
    def utt(self) -> str:
        """The utterance id."""
        return self.key.rpartition("/")[2]


@dataclass
class Discs:
    """The files found below some folders.

    Attributes:
        audio: ``wsj0/si_tr_s/01i/01ic0201`` -> its copies.
        dots: Session, such as ``01ic02`` -> its transcript files in a fixed order.
        indices: ``wsj0/doc/indices/...ndx`` -> its copies.
    """

    roots: list[Path]
    audio: dict[str, list[Path]] = field(default_factory=dict)
    dots: dict[str, list[Path]] = field(default_factory=dict)
    indices: dict[str, list[Path]] = field(default_factory=dict)

    def index(self, disc: str, key: str) -> Path | None:
        """An index file, from this disc if it has it."""
        return _choose(self.indices.get(key, []), disc)

    def sound(self, entry: Entry) -> Path | None:
        """The audio of an index line; some index files name a wrong disc."""
        return _choose(self.audio.get(entry.key, []), entry.disc)

    def names(self) -> set[str]:
        """The ids of the discs that hold audio."""
        paths = [path for copies in self.audio.values() for path in copies]
        return {_disc_of(path) for path in paths} - {""}


def _choose(copies: list[Path], disc: str) -> Path | None:
    right = [path for path in copies if _disc_of(path) == disc]
    return next(iter(right or copies), None)


def _disc_of(path: Path) -> str:
    """The disc that a file is on: the folder above the last ``wsj0`` or ``wsj1``."""
    parts = [part.lower() for part in path.absolute().parts]
    at = _corpus_at(parts)
    return disc_id(parts[at - 1]) if at else ""


def _corpus_at(parts: Sequence[str]) -> int:
    places = [i for i, part in enumerate(parts) if part in ("wsj0", "wsj1")]
    return places[-1] if places else 0


def _walk(roots: Iterable[Path]) -> Iterator[Path]:
    """All files, every folder once: roots may be equal, nested or linked."""
    seen: set[tuple[int, int]] = set()
    for root in roots:
        for folder, below, names in os.walk(root, followlinks=True):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                below.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            below.sort()
            yield from (Path(folder, name) for name in sorted(names))


def scan(roots: Iterable[Path]) -> Discs:
    """Look at every file name below ``roots`` once."""
    discs = Discs(list(roots))
    dots: dict[str, list[tuple[str, Path]]] = {}
    for path in _walk(discs.roots):
        stem, _, suffix = path.name.lower().rpartition(".")
        if suffix not in ("wv1", "dot", "ndx"):
            continue
        parts = [part.lower() for part in path.absolute().parts]
        key = "/".join(parts[_corpus_at(parts) :])
        if suffix == "wv1":
            discs.audio.setdefault(key[: -len(".wv1")], []).append(path)
        elif suffix == "dot" and len(stem) == 8 and stem.endswith("00"):
            dots.setdefault(stem[:6], []).append((key, path))
        elif suffix == "ndx":
            for name in _index_names(parts):
                discs.indices.setdefault(name, []).append(path)
    discs.dots = {name: [p for _, p in sorted(files)] for name, files in dots.items()}
    if not discs.indices or not discs.audio:
        raise _unknown_layout(discs)
    return discs


def _index_names(parts: Sequence[str]) -> Iterator[str]:
    """The path from each ``wsj0`` or ``wsj1`` on; some lie in a second one."""
    for i, part in enumerate(parts):
        if part in ("wsj0", "wsj1"):
            yield "/".join(parts[i:])


def _unknown_layout(discs: Discs) -> TopDownError:
    names = [p.name for root in discs.roots for p in sorted(root.iterdir())]
    what = " and ".join(map(str, discs.roots)) + f" hold {', '.join(names[:8])}"
    what = what if names else what.replace(" hold ", " hold nothing")
    lack = ".wv1 files" if discs.indices else ".ndx files (doc/indices)"
    return TopDownError(
        "E_WSJ_LAYOUT",
        f"no {lack} in a folder wsj0 or wsj1: {what}",
        "name the folders that hold 11-1.1, 11-13.1, 13-34.1, ... or wsj0 and wsj1",
        MISSING,
    )


def read_index(path: Path) -> list[Entry]:
    """The entries of an ``.ndx`` file, in its order; E_WSJ_INDEX for a bad line."""
    entries = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(";"):
            continue
        where = f"{path} line {number}"
        found = _ENTRY.fullmatch(line)
        if found:
            key = found.group(2).lower()
            key = key[: -len(".wv1")] if key.endswith(".wv1") else key
            disc = re.sub("[-.]", "_", found.group(1))
            entries.append(Entry(disc, key, where))
        if not found or not _UTT.fullmatch(entries[-1].utt):
            what = f"{where}: '{line.strip()[:60]}'"
            do = "copy the file again; a line is '11_1_1:wsj0/si_tr_s/...'"
            raise TopDownError("E_WSJ_INDEX", what, do, DATA)
    return entries


RATE = 16000


def flac_path(output_dir: Path, utt: str) -> Path:
    """Where an utterance's audio is; a folder for each speaker."""
    return Path(output_dir) / "flac" / utt[:3] / f"{utt}.flac"


def convert(
    wav_scp: Path, output_dir: Path, nj: int = 1, job: int | None = None
) -> int:
    """Convert shard ``job`` of ``nj`` (from 1), or all; see ``convert_files``."""

    def one(utt: str, source: Path) -> bool:
        return _one(source, flac_path(output_dir, utt))

    return audio.convert_files(read_pairs(wav_scp), one, "E_WSJ_CONVERT", nj, job)


def _one(source: Path, target: Path) -> bool:
    """Convert a file unless that is done; whether it was converted now."""
    import soundfile

    if target.exists():
        try:
            frames = soundfile.info(str(target)).frames
        except (soundfile.LibsndfileError, RuntimeError):
            frames = 0
        if frames and frames == sphere.read_header(source).count("sample_count"):
            return False
    samples, rate = sphere.read(source)
    if rate != RATE or samples.shape[1] != 1:
        what = f"{source}: {samples.shape[1]} channels at {rate} Hz"
        do = f"check that it is a file of this corpus (1 channel, {RATE} Hz)"
        raise TopDownError("E_WAV_RATE", what, do, DATA)
    audio.write(target, samples[:, 0], rate, "flac")
    return True


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
            E_WSJ_TEXT or E_WSJ_COUNT, which are warnings with ``allow_partial``;
            E_CREATE for sets that are not of this corpus.
    """
    corpus = collect(scan(_roots(wsj0, wsj1, allow_partial)))
    corpus.problems += _wrong_counts(corpus.sets)
    refuse_or_warn(corpus.problems, allow_partial)
    check_sets(output_dir, SCRATCH / "sets.json", corpus.sets, ["nlsyms.txt"])
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
    write_lines(out / "nlsyms.txt", non_linguistic(train.values()), backup=True)


def _all_converted(output_dir: Path, utts: Iterable[str]) -> None:
    lacking = sorted({u for u in utts if not flac_path(output_dir, u).exists()})
    if lacking:
        what = f"{len(lacking)} utterances are not converted, e.g. "
        what += ", ".join(lacking[:SHOWN])
        raise TopDownError("E_WSJ_CONVERT", what, "run stage 1 again", DATA)


main = script(
    run,
    "Prepare the Wall Street Journal corpus.",
    option("--wsj0", "folder of WSJ0's discs", ""),
    option("--wsj1", "folder of WSJ1's; may be the same", ""),
    flag("--allow_partial", "prepare what is there of an incomplete copy"),
    STEP,
    *SHARDS,
)

if __name__ == "__main__":
    main()
