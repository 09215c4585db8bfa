"""VoxForge's Italian: from the archives of its speakers to data/{tr,dt,et}_it.

    python3 local/prepare_voxforge.py --voxforge downloads --output_dir data

``NAME-DATE-CODE.tgz`` is one person's session: ``etc/PROMPTS`` with lines
``NAME-DATE-CODE/mfc/RECORDING TEXT``, ``wav/RECORDING.wav`` or ``flac/RECORDING.flac``,
and the licence. As in ESPnet's recipe, archives are in ``it/tgz`` and what was in them
in ``it/extracted``.
"""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from espnet_topdown.cli.parser import flag, option, path, script, source
from espnet_topdown.data import archives, audio
from espnet_topdown.data.kaldi_dir import check_id, subset, write_sets
from espnet_topdown.errors import DATA, MISSING, TopDownError

URL = "https://repository.voxforge1.org/downloads/it/Trunk/Audio/Main/16kHz_16bit"
INDEX = "index.html"  # the site's list of archives

Lists = dict[str, dict[str, str]]  # file name -> utterance -> value
LeftOut = dict[str, str]  # session or utterance -> reason


class Unusable(Exception):
    """Why a session or an utterance is left out."""


def normalise(text: str) -> str:
    """Upper case words of letters and digits, as in ESPnet's recipe.

    >>> normalise("Perché l’auto-strada")
    "PERCHÉ L'AUTO STRADA"

    Raises:
        Unusable: With the reason.
    """
    text = unicodedata.normalize("NFC", text).upper().replace("’", "'")
    words = text.replace("-", " ").split()
    if not words or not re.fullmatch(r"[^\W_]+", re.sub("'", "", "".join(words))):
        raise Unusable("text of other signs than letters, digits and '")
    return " ".join(words)


def prompts(session: Path) -> dict[str, set[str]]:
    """Recording -> its texts; UTF-8, or else Windows' superset of latin-1.

    Raises:
        Unusable: If there is none.
    """
    path = session / "etc" / "PROMPTS"
    if not path.is_file():
        raise Unusable("session without etc/PROMPTS")
    data = path.read_bytes()
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = data.decode("cp1252", "replace").splitlines()
    texts: dict[str, set[str]] = {}
    for line in lines:
        name, text = [*line.split(maxsplit=1), "", ""][:2]
        if name:
            texts.setdefault(name.rpartition("/")[2], set()).add(text)
    return texts


def recordings(session: Path) -> dict[str, Path]:
    """Name -> file.

    Raises:
        Unusable: If there is none.
    """
    for kind in ("wav", "flac"):
        found = {p.stem: p for p in sorted((session / kind).glob(f"*.{kind}"))}
        if found:
            return found
    raise Unusable("session without recordings in wav or flac")


def collect(folder: Path) -> tuple[Lists, LeftOut]:
    """Pair recordings with texts; what is left out gets a reason."""
    lists: Lists = {"wav.scp": {}, "text": {}, "utt2spk": {}}
    left_out: LeftOut = {}
    for session in sorted(p for p in folder.glob("[!.]*") if p.is_dir()):
        speaker = session.name.partition("-")[0]
        if speaker.lower() == "anonymous":  # many people
            speaker = session.name
        try:
            texts, wavs = prompts(session), recordings(session)
        except Unusable as e:
            left_out[session.name] = str(e)
            continue
        for name in sorted(texts.keys() | wavs.keys()):
            utt = f"{session.name}-{name}"
            try:
                text = _one(texts.get(name, set()))
                _check_sound(utt, wavs.get(name))
            except Unusable as e:
                left_out[utt] = str(e)
                continue
            lists["wav.scp"][utt] = wavs[name].as_posix()
            lists["text"][utt], lists["utt2spk"][utt] = text, speaker
    return lists, left_out


def _one(texts: set[str]) -> str:
    if len(texts) != 1:
        raise Unusable("two texts for one recording" if texts else "no text")
    return normalise(*texts)


def _check_sound(utt: str, path: Path | None) -> None:
    if path is None:
        raise Unusable("no recording")
    try:
        check_id(utt, str(path))
        audio.header(audio.Source(utt, str(path), str(path)))
    except TopDownError as e:
        raise Unusable(f"broken recording or name ({e.code})") from None


def split(texts: Iterable[str]) -> dict[str, set[str]]:
    """A tenth of the different texts for dt, one for et; a hash decides which."""
    mixed = sorted(set(texts), key=lambda t: hashlib.sha256(t.encode()).digest())
    n = len(mixed) // 10
    return {
        "tr_it": set(mixed[2 * n :]),
        "dt_it": set(mixed[:n]),
        "et_it": set(mixed[n : 2 * n]),
    }


def obtain(folder: Path, source: str, url: str) -> None:
    """Have archives in ``tgz`` or sessions in ``extracted``, fetched if need be.

    Raises:
        TopDownError: E_DOWNLOAD (66).
    """
    tgz, url = folder / "tgz", url.rstrip("/")

    def missing() -> list[str]:
        html = (tgz / INDEX).read_text(encoding="utf-8", errors="replace")
        names = sorted(set(re.findall(r'href="([\w.=+@-]+\.tgz)"', html)))
        if not names:
            what = f"{tgz / INDEX}, of {url}, names no .tgz"
            do = 'give another --url (of a recipe: --local_data_opts "--url URL")'
            raise TopDownError("E_DOWNLOAD", what, do, MISSING)
        return [name for name in names if not (tgz / name).is_file()]

    def local() -> None:
        if (tgz / INDEX).is_file() and (names := missing()):
            what = f"{len(names)} archives named in {tgz / INDEX} are not there"
        elif any(tgz.glob("*.tgz")) or any(folder.glob("extracted/[!.]*")):
            return
        else:
            what = f"{folder} has neither tgz/*.tgz nor extracted/*"
        raise TopDownError("E_DOWNLOAD", what, "fetch them", MISSING)

    def http() -> None:
        tgz.mkdir(parents=True, exist_ok=True)
        archives.http_download(f"{url}/", tgz / INDEX)
        for name in missing():
            archives.http_download(f"{url}/{name}", tgz / name)

    do = f"put VoxForge's Italian archives into {tgz}"
    archives.obtain(source, {"local": local, "http": http}, do)


def unpack(archive: Path, folder: Path) -> None:
    """Make the folder of an archive, whole, unless it is there."""
    session, part = folder / archive.stem, folder / f".{archive.stem}"
    if not session.is_dir():
        part.mkdir(parents=True, exist_ok=True)
        archives.unpack(archive, part)
        inner = list(part.iterdir())
        (inner[0] if len(inner) == 1 and inner[0].is_dir() else part).rename(session)
    if part.is_dir() and not any(part.iterdir()):
        part.rmdir()


def prepare(
    voxforge: Path, output_dir: Path, source: str, url: str, allow_partial: bool
) -> None:
    """Write the three data directories, and all that was left out in voxforge.json.

    Raises:
        TopDownError: E_CORPUS (65) if too little is there, and those of ``obtain``
            and ``archives.unpack``.
    """
    folder = voxforge / "it"
    obtain(folder, source, url)
    broken: LeftOut = {}
    for archive in sorted((folder / "tgz").glob("*.tgz")):
        try:
            unpack(archive, folder / "extracted")
        except TopDownError as e:
            if not (allow_partial and e.code.startswith("E_ARCHIVE")):
                raise
            broken[archive.name] = f"broken archive ({e.code})"
    lists, left_out = collect(folder / "extracted")
    left_out = {**broken, **left_out}
    counts = Counter(left_out.values())
    for reason, n in sorted(counts.items()):
        first = next(name for name, why in left_out.items() if why == reason)
        logging.info("left out: %d, %s, e.g. %s", n, reason, first)
    chosen = split(lists["text"].values())
    if not chosen["et_it"]:
        what = f"{folder} has {len(lists['text'])} utterances that can be used"
        raise TopDownError("E_CORPUS", what, "see the reasons above", DATA)
    sets = {
        name: subset(lists, (u for u, t in lists["text"].items() if t in texts))
        for name, texts in chosen.items()
    }
    write_sets(output_dir, "voxforge.json", sets, {"left_out": left_out})


main = script(
    prepare,
    "Prepare VoxForge's Italian.",
    path("--voxforge", "holds it/tgz, it/extracted", default=Path("downloads")),
    source("local", "http"),
    option("--url", "page that names the archives, for --source http", URL),
    flag("--allow_partial", "leave archives out that cannot be read"),
)

if __name__ == "__main__":
    main()
