"""LibriSpeech with 100 hours of training speech: from OpenSLR's archives to data/.

    python3 local/prepare_librispeech.py --librispeech downloads --output_dir data

``PART.tar.gz`` holds ``LibriSpeech/PART/READER/CHAPTER/READER-CHAPTER-NUMBER.flac`` and
the texts of a chapter in ``READER-CHAPTER.trans.txt`` beside them.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from espnet_topdown.cli.parser import flag, option, path, script, source
from espnet_topdown.data import archives
from espnet_topdown.data.kaldi_dir import locate, read_pairs, write_sets
from espnet_topdown.errors import DATA, MISSING, TopDownError, warn

URL = "https://www.openslr.org/resources/12"
PARTS = {  # utterances, and the published MD5 of PART.tar.gz
    "train-clean-100": (28539, "2a93770f6d5c6c964bc36631d331a522"),
    "dev-clean": (2703, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": (2864, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": (2620, "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": (2939, "fb5a50374b501bb3bac4815ee91d3135"),
}
SETS = {
    "train_clean_100": ("train-clean-100",),
    "dev": ("dev-clean", "dev-other"),
    "test_clean": ("test-clean",),
    "test_other": ("test-other",),
}
MAX_BYTES = 16 << 30  # of an unpacked part

Lists = dict[str, dict[str, str]]  # file name -> utterance -> value


def collect(folder: Path) -> Lists:
    """The utterances of a part that have both text and recording.

    Raises:
        TopDownError: E_CORPUS (65) for a line that is not LibriSpeech's.
    """
    lists: Lists = {"wav.scp": {}, "text": {}, "utt2spk": {}}
    for texts in sorted(folder.glob("*/*/*.trans.txt")):
        speaker = texts.name.removesuffix(".trans.txt")  # and chapter, as in Kaldi
        for utt, text in read_pairs(texts).items():
            of_chapter = utt.startswith(f"{speaker}-")
            if not (of_chapter and re.fullmatch("[A-Z' ]+", text)):
                what = (
                    f"{locate(texts, utt)}: not '{speaker}-NUMBER WORDS' in A-Z and '"
                )
                do = "move that folder away and run the same command again"
                raise TopDownError("E_CORPUS", what, do, DATA)
            wav = texts.with_name(f"{utt}.flac")
            if wav.is_file():
                lists["wav.scp"][utt] = wav.as_posix()
                lists["text"][utt], lists["utt2spk"][utt] = text, speaker
    return lists


def obtain(part: str, folder: Path, source: str, url: str) -> Path:
    """The archive of a part, fetched if need be.

    Raises:
        TopDownError: E_DOWNLOAD (66).
    """
    archive = folder / f"{part}.tar.gz"

    def local() -> Path:
        if archive.is_file():
            return archive
        what = f"{folder} has neither all of LibriSpeech/{part} nor {archive.name}"
        raise TopDownError("E_DOWNLOAD", what, "fetch it", MISSING)

    def http() -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        archives.http_download(f"{url.rstrip('/')}/{archive.name}", archive)
        return archive

    do = f"put {archive.name} of openslr.org/12 into {folder}"
    return archives.obtain(source, {"local": local, "http": http}, do)


def prepare_part(
    part: str, folder: Path, source: str, url: str, allow_partial: bool
) -> Lists:
    """The lists of a part, which is unpacked if it is not there with all utterances.

    Raises:
        TopDownError: E_CORPUS (65) for another number of utterances, E_DIGEST or
            E_ARCHIVE (65) for an archive that is not the published one.
    """
    want, digest = PARTS[part]
    unpacked = folder / "LibriSpeech" / part
    lists = collect(unpacked)
    if len(lists["text"]) != want and not allow_partial:
        archive = obtain(part, folder, source, url)
        logging.info("unpacking %s", archive)
        archives.check_digest(archive, digest)
        archives.unpack(archive, folder, MAX_BYTES)
        lists = collect(unpacked)
    have = len(lists["text"])
    if have != want:
        what = f"{unpacked} has {have} utterances with text and recording, need {want}"
        if not (allow_partial and have):
            do = "move that folder away and run the same command again"
            raise TopDownError("E_CORPUS", what, do, DATA)
        warn("W_CORPUS", what)
    return lists


def prepare(
    librispeech: Path, output_dir: Path, source: str, url: str, allow_partial: bool
) -> None:
    """Write the four data directories; paths start with ``librispeech`` as given."""
    sets: dict[str, Lists] = {}
    for name, parts in SETS.items():
        lists = sets[name] = {"wav.scp": {}, "text": {}, "utt2spk": {}}
        for part in parts:
            found = prepare_part(part, librispeech, source, url, allow_partial)
            for file, pairs in found.items():
                lists[file].update(pairs)
    sizes = {name: len(lists["text"]) for name, lists in sets.items()}
    write_sets(output_dir, "librispeech.json", sets, {"sets": sizes})


main = script(
    prepare,
    "Prepare LibriSpeech with 100 hours for training.",
    path("--librispeech", "archives or LibriSpeech/", default=Path("downloads")),
    source("local", "http"),
    option("--url", "folder of the archives, for --source http", URL),
    flag("--allow_partial", "take what is there of an incomplete copy, unpacked"),
)

if __name__ == "__main__":
    main()
