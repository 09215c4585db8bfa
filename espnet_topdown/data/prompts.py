"""Asterisk's telephone prompts as a speech corpus: real recordings, free to use.

One speaker a language, 8 kHz, about 20 minutes. The transcripts are the ones that
come with the recordings; their spelling errors stay (the Spanish ones mostly lack
accents and tildes). See ``prompts.yaml`` for the languages.
"""

from __future__ import annotations

import fnmatch
import hashlib
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import read_lines, write_dir
from espnet_topdown.data.prompt_files import catalogue, language, obtain
from espnet_topdown.data.prompt_text import Unusable, normalise
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, write_json

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
    fold_accents: bool = False,
) -> dict[str, Any]:
    """Write ``output_dir/{train,dev,test}``; returns what ``prompts.json`` holds.

    The paths in ``wav.scp`` start with ``downloads`` as given, so a relative one
    keeps the data directory movable together with it.
    """
    known = catalogue()
    spec = language(lang)
    request = {"lang": lang, "version": known["version"], "fold_accents": fold_accents}
    _refuse_other_request(Path(output_dir) / "prompts.json", request)
    folder = obtain(lang, Path(downloads), source, url or known["url"])
    corpus = collect(folder, lang, spec, known["not_speech"], fold_accents)
    sets = split(corpus.prompts)
    for name, prompts in sets.items():
        write_dir(Path(output_dir) / name, _lists(prompts, spec["speaker"]))
    summary = {
        **request,
        "license": spec["license"],
        "sets": {name: _figures(name, prompts) for name, prompts in sets.items()},
        "left_out": dict(sorted(corpus.dropped.items())),
    }
    for reason, n in sorted(Counter(corpus.dropped.values()).items()):
        logging.info("left out: %d prompts, %s", n, reason)
    write_json(Path(output_dir) / "prompts.json", summary)
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
            "use another --output_dir, or move that folder away",
        )


def collect(
    folder: Path,
    lang: str,
    spec: Mapping[str, Any],
    not_speech: Sequence[str],
    fold_accents: bool = False,
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
            text = normalise(text, spec["letters"], spec["digits"], fold_accents)
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
