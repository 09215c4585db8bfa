"""Asterisk's telephone prompts in one language: from the archives to data directories.

    python3 local/prepare_prompts.py --lang es

The archives come from a folder, from Debian's packages or from upstream's site;
``prompts.yaml`` beside this file has the languages, file names and digests.
"""

from __future__ import annotations

import fnmatch
import functools
import gzip
import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.cli.parser import option, path, script, source
from espnet_topdown.data import archives
from espnet_topdown.data.archives import (
    apt_download,
    check_digest,
    http_download,
    members,
)
from espnet_topdown.data.kaldi_dir import check_id, check_sets, read_lines, write_dir
from espnet_topdown.errors import DATA, MISSING, USAGE, TopDownError, nearest
from espnet_topdown.files import (
    read_json,
    read_yaml,
    write_bytes,
    write_json,
)

_BRACKETS = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_PUNCTUATION = re.compile(r"[.,;:?!¿¡\"“”«»…–—\-_/]+")


class Unusable(ValueError):
    """The words spoken cannot be told from the transcript; the text says why."""


def normalise(text: str, letters: str, digits: Sequence[str]) -> str:
    """Lower case, no punctuation, lone digits spelled; spelling errors stay.

    ``[noise]`` is taken away; a transcript with words both inside and outside of
    brackets is unusable, because the recordings do not agree on whether such words
    are spoken. So are numerals of more than one digit ("1234" may be read in many
    ways) and signs such as ``#``.

    >>> normalise("Oprima 1, por favor!", "abfimnoprtuv", ["cero", "uno"])
    'oprima uno por favor'
    """
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'")
    words = _outside_brackets(text)
    if re.search(r"\d[.,]\d", words):
        raise Unusable("numeral of unknown reading")
    tokens = _PUNCTUATION.sub(" ", words).split()
    spelled = [_word(token, letters, digits) for token in tokens]
    out = " ".join(token for token in spelled if token)
    if not out:
        raise Unusable("no speech")
    return out


def _outside_brackets(text: str) -> str:
    outside = _BRACKETS.sub(" ", text)
    inside = "".join(_BRACKETS.findall(text))
    if not _has_word(outside):
        raise Unusable("no speech")
    if _has_word(inside):
        raise Unusable("words in brackets")
    return outside


def _has_word(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _word(token: str, letters: str, digits: Sequence[str]) -> str:
    if token in list("0123456789")[: len(digits)]:
        return digits[int(token)]
    if any(char.isdigit() for char in token):
        raise Unusable("numeral of unknown reading")
    token = token.strip("'")
    for char in token:
        if char not in letters:
            raise Unusable("sign or letter of unknown reading")
    return token


def catalogue() -> dict[str, Any]:
    """The contents of ``prompts.yaml``."""
    return read_yaml(Path(__file__).with_name("prompts.yaml"))


def language(lang: str) -> dict[str, Any]:
    """One language of the catalogue, or E_LANG."""
    known = catalogue()["languages"]
    if lang not in known:
        what = f"no prompts in '{lang}' ({nearest(lang, known)})"
        raise TopDownError("E_LANG", what, "choose a --lang that is there", USAGE)
    return known[lang]


def obtain(lang: str, downloads: Path, source: str, url: str) -> Path:
    """The folder with a language's recordings, fetched and unpacked if need be.

    ``source``: ``local`` (archives already in ``downloads``), ``apt``, ``http``, or
    ``auto``, which tries these in turn.
    """
    version = catalogue()["version"]
    folder = downloads / f"asterisk-core-sounds-{lang}-{version}"
    if (folder / ".done").exists():
        return folder
    downloads.mkdir(parents=True, exist_ok=True)
    ways = {
        how: functools.partial(_archives, how, lang, version, downloads, url)
        for how in ("local", "apt", "http")
    }
    do = f"put {_tarball(lang, version)} or {' and '.join(language(lang)['sha256'])}"
    files = archives.obtain(source, ways, f"{do} into {downloads}")
    return unpack(files, folder, lang, language(lang))


def _tarball(lang: str, version: str) -> str:
    return f"asterisk-core-sounds-{lang}-wav-{version}.tar.gz"


def _archives(
    how: str, lang: str, version: str, downloads: Path, url: str
) -> list[Path]:
    debs = [downloads / name for name in language(lang)["sha256"]]
    tarball = downloads / _tarball(lang, version)
    if how == "apt":
        apt_download([deb.name.split("_")[0] for deb in debs], downloads)
    elif how == "http":
        http_download(f"{url.rstrip('/')}/{tarball.name}", tarball)
        return [tarball]
    if all(deb.exists() for deb in debs):
        return debs
    if tarball.exists() and how == "local":
        return [tarball]
    found = sorted(p.name for p in downloads.glob(f"asterisk-core-sounds-{lang}*_*"))
    what = f"{downloads} has no archive of version {version}"
    what += f" (it has {', '.join(found)})" if found else ""
    raise TopDownError("E_DOWNLOAD", what, "fetch it", MISSING)


def unpack(
    files: Sequence[Path], folder: Path, lang: str, spec: Mapping[str, Any]
) -> Path:
    """Write the recordings and the transcript of verified archives to ``folder``."""
    hashes: dict[str, str] = {}
    for archive in files:
        if archive.name in spec["sha256"]:
            check_digest(archive, spec["sha256"][archive.name])
        for name, data in members(archive):
            target = _target(name.parts, lang)
            if target is None:
                continue
            if name.suffix == ".gz":
                data = gzip.decompress(data)
            check_id(target.replace("/", "_"), str(archive))
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            (folder / target).write_bytes(data)
            hashes[target] = hashlib.sha256(data).hexdigest()
    listing = "".join(f"{hashes[k]}  {k}\n" for k in sorted(hashes))
    digest = hashlib.sha256(listing.encode()).hexdigest()
    if digest != spec["contents"]:
        raise TopDownError(
            "E_DIGEST",
            f"the {len(hashes)} files of {files[0]} have sha256 {digest[:12]}..."
            f" expected {spec['contents'][:12]}...",
            f"delete {', '.join(str(a) for a in files)} and fetch them again",
            DATA,
        )
    write_bytes(folder / ".done", listing.encode())
    return folder


def _target(parts: tuple[str, ...], lang: str) -> str | None:
    """Where a member goes: recordings keep the path below the voice's folder."""
    transcript = f"core-sounds-{lang}.txt"
    if parts[-1] in (transcript, transcript + ".gz"):
        return transcript
    if not parts[-1].endswith(".wav"):
        return None
    if "sounds" in parts:
        parts = parts[parts.index("sounds") + 2 :]
    return "/".join(("wav", *parts))


SETS = ("train", "dev", "test")
AMBIGUOUS = "two transcripts for one name"


@dataclass(frozen=True)
class Prompt:
    """One usable recording."""

    utt: str
    text: str
    wav: Path
    seconds: float


@dataclass
class Corpus:
    """What is used, and what is not: prompt name -> reason."""

    prompts: list[Prompt] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)


def prepare(
    lang: str = "es",
    downloads: Path = Path("downloads"),
    output_dir: Path = Path("data"),
    source: str = "auto",
    url: str | None = None,
) -> dict[str, Any]:
    """Write ``output_dir/{train,dev,test}``; returns what ``prompts.json`` holds.

    The paths in ``wav.scp`` start with ``downloads`` as given, so a relative one
    keeps the data directory movable together with it.
    """
    known = catalogue()
    spec = language(lang)
    request = {"lang": lang, "version": known["version"]}
    _refuse_other_request(Path(output_dir) / "prompts.json", request)
    folder = obtain(lang, Path(downloads), source, url or known["url"])
    corpus = collect(folder, lang, spec, known["not_speech"])
    sets = split(corpus.prompts)
    utts = {name: [p.utt for p in prompts] for name, prompts in sets.items()}
    check_sets(output_dir, "prompts.json", utts)
    summary = {
        **request,
        "license": spec["license"],
        "sets": {name: _figures(name, prompts) for name, prompts in sets.items()},
        "left_out": dict(sorted(corpus.dropped.items())),
    }
    for reason, n in sorted(Counter(corpus.dropped.values()).items()):
        logging.info("left out: %d prompts, %s", n, reason)
    Path(output_dir).mkdir(parents=True, exist_ok=True)
    write_json(Path(output_dir) / "prompts.json", summary)
    for name, prompts in sets.items():
        write_dir(Path(output_dir) / name, _lists(prompts, spec["speaker"]))
    return summary


def _figures(name: str, prompts: Sequence[Prompt]) -> dict[str, Any]:
    seconds = sum(p.seconds for p in prompts)
    logging.info("%s: %d prompts, %.1f s", name, len(prompts), seconds)
    return {
        "utterances": len(prompts),
        "seconds": round(seconds, 1),
        "from_20_seconds": sum(p.seconds >= 20 for p in prompts),
        "single_letters": sum(len(p.text) == 1 for p in prompts),
    }


def _refuse_other_request(path: Path, request: Mapping[str, Any]) -> None:
    if not path.exists():
        return
    before = read_json(path)
    changed = [k for k, v in request.items() if before.get(k) != v]
    if changed:
        key = changed[0]
        raise TopDownError(
            "E_CONFIG_CHANGED",
            f"{path.parent} holds {key} {before.get(key)}, asked {request[key]}",
            "move that folder away",
        )


def collect(
    folder: Path,
    lang: str,
    spec: Mapping[str, Any],
    not_speech: Sequence[str],
) -> Corpus:
    """Pair recordings with transcripts; every one left out gets a reason."""
    import soundfile

    corpus = Corpus()
    texts = _transcripts(folder / f"core-sounds-{lang}.txt")
    for wav in sorted((folder / "wav").rglob("*.wav")):
        name = wav.relative_to(folder / "wav").with_suffix("").as_posix()
        try:
            if any(fnmatch.fnmatchcase(name, p) for p in not_speech):
                raise Unusable("not speech")
            text = _only(texts.pop(name if name in texts else name.lower(), []))
            text = normalise(text, spec["letters"], spec["digits"])
            info = soundfile.info(str(wav))
            if info.frames == 0:
                raise Unusable("empty recording")
        except Unusable as e:
            corpus.dropped[name] = str(e)
            continue
        utt = f"{spec['speaker']}-{name.replace('/', '_')}"
        corpus.prompts.append(Prompt(utt, text, wav, info.frames / info.samplerate))
    for name in texts:
        corpus.dropped.setdefault(name, "no recording")
    return corpus


def _only(texts: Sequence[str]) -> str:
    if len(texts) > 1:
        raise Unusable(AMBIGUOUS)
    if not texts or not texts[0]:
        raise Unusable("no transcript")
    return texts[0]


def _transcripts(path: Path) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for line in read_lines(path):
        name, colon, text = line.partition(":")
        if colon and not line.startswith(";"):
            texts.setdefault(name.strip(), []).append(text.strip())
    return texts


def split(prompts: Sequence[Prompt], seed: int = 0) -> dict[str, list[Prompt]]:
    """80/10/10 of the different transcripts; equal transcripts stay together.

    Transcripts are taken in blocks of ten of about the same length, and each block
    gives one to dev and one to test, so the sets do not differ in length. Which one
    is decided by a hash of the text: no random generator, the same everywhere.
    """
    groups: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        groups.setdefault(prompt.text, []).append(prompt)

    def rank(text: str) -> bytes:
        return hashlib.sha256(f"{seed} {text}".encode()).digest()

    by_length = sorted(groups, key=lambda t: (-max(p.seconds for p in groups[t]), t))
    sets: dict[str, list[Prompt]] = {name: [] for name in SETS}
    for start in range(0, len(by_length), 10):
        block = sorted(by_length[start : start + 10], key=rank)
        for place, text in enumerate(block):
            sets[{0: "dev", 1: "test"}.get(place, "train")].extend(groups[text])
    return sets


def _lists(prompts: Sequence[Prompt], speaker: str) -> dict[str, dict[str, str]]:
    return {
        "wav.scp": {p.utt: p.wav.as_posix() for p in prompts},
        "text": {p.utt: p.text for p in prompts},
        "utt2spk": {p.utt: speaker for p in prompts},
    }


main = script(
    prepare,
    "Prepare the telephone prompts of one language.",
    option("--lang", "en, es, fr, it or ru", "es"),
    path("--downloads", "folder for the archives", default=Path("downloads")),
    source("local", "apt", "http"),
    option("--url", "folder of the upstream archives"),
)

if __name__ == "__main__":
    main()
