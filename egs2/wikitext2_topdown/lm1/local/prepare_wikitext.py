"""WikiText-2 as texts and a list of words.

python3 local/prepare_wikitext.py --output_dir data
"""

from __future__ import annotations

import argparse
import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.cli.parser import Parser
from espnet_topdown.data.archives import check_digest, http_download
from espnet_topdown.data.words import END, UNKNOWN, read_words, vocabulary, word_counts
from espnet_topdown.errors import DATA, MISSING, TopDownError, command
from espnet_topdown.files import check_output, str2bool, write_bytes

log = logging.getLogger(__name__)

URL = "https://s3.amazonaws.com/research.metamind.io/wikitext/wikitext-2-v1.zip"
SHA256 = "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c"
TOKENS = {"train": 2_088_628, "dev": 217_646, "test": 245_569}  # with <eos>
WORDS = 33_278  # with <eos>
NAMES = {
    "train": ("wiki.train.tokens", "train.txt"),
    "dev": ("wiki.valid.tokens", "valid.txt"),
    "test": ("wiki.test.tokens", "test.txt"),
}


@dataclass(frozen=True)
class Part:
    """Lines of one of the texts: from ``begin`` to ``end``, as parts of the whole."""

    of: str
    begin: float
    end: float


# Without the training text: one half of test to train on, a quarter of valid each for
# dev and test. Words that are seen less often than MIN_COUNT in training are <unk>.
SMALL = {
    "train": Part("test", 0.0, 0.5),
    "dev": Part("dev", 0.0, 0.25),
    "test": Part("dev", 0.5, 0.75),
}
MIN_COUNT = 10


def find_text(folder: Path, name: str) -> Path:
    """A text by either of its names, in the folder or one ``wikitext-2`` in it.

    Raises:
        TopDownError: E_MISSING (66).
    """
    for place in (Path(folder), Path(folder) / "wikitext-2"):
        for file in NAMES[name]:
            if (place / file).is_file():
                return place / file
    raise TopDownError(
        "E_MISSING",
        f"neither {' nor '.join(NAMES[name])} in {folder}",
        "give the folder of WikiText-2 with --wikitext, or let it be downloaded",
        MISSING,
    )


def fetch(downloads: Path, url: str = URL, sha256: str = SHA256) -> Path:
    """Download and unpack the corpus, unless that was done before.

    Returns:
        The folder with the texts.

    Raises:
        TopDownError: E_DOWNLOAD (66) or E_DIGEST (65).
    """
    archive = Path(downloads) / "wikitext-2-v1.zip"
    if not archive.is_file():
        archive.parent.mkdir(parents=True, exist_ok=True)
        http_download(url, archive)
    check_digest(archive, sha256)
    with zipfile.ZipFile(archive) as z:
        for name, (file, _) in NAMES.items():
            write_bytes(archive.parent / file, z.read(f"wikitext-2/{file}"))
            log.info("unpacked %s", name)
    return archive.parent


def prepare(folder: Path, output: Path) -> dict[str, int]:
    """Write train, dev and test as ``.txt`` and all words as ``tokens.txt``.

    Returns:
        Tokens of each text and the number of words.

    Raises:
        TopDownError: E_CORPUS (65) for another number of tokens or words.
    """
    paths = {name: find_text(folder, name) for name in NAMES}
    counts = {name: word_counts([path]) for name, path in paths.items()}
    for name, want in TOKENS.items():
        _must_be(f"{paths[name]}: tokens", sum(counts[name].values()), want)
    words = vocabulary(sum(counts.values(), type(counts["train"])()))
    _must_be(f"{folder}: words", len(words), WORDS)
    texts = {name: [*read_words(path)] for name, path in paths.items()}
    return _write(output, texts, words)


def prepare_small(
    folder: Path,
    output: Path,
    parts: Mapping[str, Part] = SMALL,
    min_count: int = MIN_COUNT,
) -> dict[str, int]:
    """The same from parts of the test and the validation text; not comparable."""
    whole = {of: [*read_words(find_text(folder, of))] for of in ("dev", "test")}
    texts = {}
    for name, part in parts.items():
        lines = whole[part.of]
        texts[name] = lines[int(part.begin * len(lines)) : int(part.end * len(lines))]
    counts = word_counts([])
    for words in texts["train"]:
        counts.update([*words, END])
    kept = set(vocabulary(counts, min_count)) | {UNKNOWN}
    texts = {
        name: [[w if w in kept else UNKNOWN for w in words] for words in lines]
        for name, lines in texts.items()
    }
    return _write(output, texts, [*sorted(kept - {END}), END])


def _must_be(what: str, have: int, want: int) -> None:
    if have != want:
        raise TopDownError(
            "E_CORPUS",
            f"{what} {have:,}, WikiText-2 has {want:,}",
            "take the word-level corpus wikitext-2-v1, or give --small true",
            DATA,
        )


def _write(
    output: Path, texts: Mapping[str, Sequence[Sequence[str]]], words: Sequence[str]
) -> dict[str, int]:
    made = {name: [" ".join(line) for line in lines] for name, lines in texts.items()}
    made["tokens"] = list(words)
    data = {f"{name}.txt": "\n".join([*made[name], ""]).encode() for name in made}
    check_output(output, (name for name in data if not _is(output / name, data[name])))
    output.mkdir(parents=True, exist_ok=True)
    for name, content in data.items():
        write_bytes(output / name, content)
    found = {n: sum(len(line) + 1 for line in lines) for n, lines in texts.items()}
    return {**found, "words": len(words)}


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--wikitext", type=Path, help="Folder of the texts; default: download them")
    add("--downloads", type=Path, default=Path("downloads"), help="For the archive")
    add("--output_dir", type=Path, required=True, help="Gets the texts and the words")
    add(
        "--small",
        type=str2bool,
        default=False,
        help="Parts of valid and test only; figures are not comparable with others",
    )
    return parser


@command
def main(cmd: Sequence[str] | None = None) -> None:
    """Write the texts."""
    args = get_parser().parse_args(cmd)
    folder = args.wikitext or fetch(args.downloads)
    write = prepare_small if args.small else prepare
    for name, n in write(folder, args.output_dir).items():
        print(f"{name}: {n:,}")


if __name__ == "__main__":
    main()
