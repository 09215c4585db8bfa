"""LibriSpeech and VoxForge from made-up archives: fetched, verified, paired, split."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import open_corpora
import pytest
from corpora import check_foreign, load, refused
from open_corpora import write_files
from packages import tar

from espnet_topdown.data.kaldi_dir import read_dir
from espnet_topdown.errors import DATA, MISSING
from espnet_topdown.files import read_json

libri, vox = load("prepare_librispeech"), load("prepare_voxforge")
PARTS = {part: open_corpora.librispeech(part) for part in open_corpora.PARTS}
UNPACKED = {name: data for files in PARTS.values() for name, data in files.items()}
ARCHIVES = {f"{part}.tar.gz": tar(files) for part, files in PARTS.items()}
SESSIONS = open_corpora.sessions()
TGZ = {f"it/tgz/{name}.tgz": tar(files) for name, files in SESSIONS.items()}
ANNA = "anna-20100401-abc"
CLOSED = "http://127.0.0.1:9"  # nothing answers there


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, in which LibriSpeech has 8 utterances a part."""
    known = {
        part: (8, hashlib.md5(ARCHIVES[f"{part}.tar.gz"]).hexdigest()) for part in PARTS
    }
    monkeypatch.setattr(libri, "PARTS", known)
    monkeypatch.chdir(tmp_path)


def put(changes=None) -> None:
    """All archives of both corpora, and more or, where it is None, fewer files."""
    files = {**ARCHIVES, **TGZ, **(changes or {})}
    there = {name: data for name, data in files.items() if data is not None}
    write_files(Path("downloads"), there)


def prepare(corpus, source="local", url=CLOSED, allow_partial=False):
    corpus.prepare(Path("downloads"), Path("data"), source, url, allow_partial)


def sets() -> dict[str, dict[str, dict[str, str]]]:
    """Data directories by name."""
    return {p.parent.name: read_dir(p.parent) for p in Path("data").glob("*/wav.scp")}


def sizes() -> dict[str, int]:
    return {name: len(lists["text"]) for name, lists in sets().items()}


def test_librispeech(here):
    put()
    prepare(libri)
    small = dict.fromkeys(("train_clean_100", "test_clean", "test_other"), 8)
    assert sizes() == {**small, "dev": 16}
    for lists in sets().values():
        utts = lists["text"].keys()
        assert lists["wav.scp"].keys() == lists["utt2spk"].keys() == utts
        for utt, path in lists["wav.scp"].items():
            assert Path(path).is_file() and Path(path).stem == utt
            assert utt.startswith(f"{lists['utt2spk'][utt]}-")
    dev = sets()["dev"]
    chapters = {f"{reader}-{c}" for reader in ("101", "102") for c in ("7000", "7001")}
    assert set(dev["utt2spk"].values()) == chapters
    lines = UNPACKED["LibriSpeech/dev-other/102/7000/102-7000.trans.txt"].decode()
    for utt, text in (line.split(maxsplit=1) for line in lines.splitlines()):
        assert dev["text"][utt] == text


@pytest.mark.parametrize(
    "corpus, names",
    [
        (libri, ("data/test_other/wav.scp", "data/train_clean_100/text")),
        (vox, ("data/et_it/wav.scp", "data/tr_it/text")),
    ],
    ids=("librispeech", "voxforge"),
)
def test_sets_that_are_somebody_elses(here, corpus, names):
    put()
    check_foreign(lambda: prepare(corpus), *names)


def test_librispeech_goes_on_after_a_stop(here):
    """Half of it unpacked, one file cut: mended by the archive, which may then go."""

    def times() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in Path("downloads").rglob("*.flac")}

    begun = dict(list(PARTS["test-clean"].items())[:5])
    begun["LibriSpeech/test-clean/103/7000/103-7000-0000.flac"] = b"fLaC"
    put(begun)
    prepare(libri)
    before = times()
    assert len(before) == 40 and all(path.stat().st_size > 100 for path in before)
    for name in ARCHIVES:
        Path("downloads", name).unlink()
    prepare(libri)
    assert before == times()


def test_corpora_are_fetched(here, site):
    address, folder = site
    names = [Path(name).name for name in TGZ]
    page = "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode()
    on_site = {f"it/{name}": data for name, data in zip(names, TGZ.values())}
    write_files(folder, {**ARCHIVES, **on_site, "it/index.html": page})
    prepare(libri, "auto", address)
    prepare(vox, "auto", f"{address}/it")
    assert len(sets()) == 7
    first = Path("downloads/it/tgz", f"{ANNA}.tgz")
    first.unlink()  # a stop in the middle: the list tells what is missing
    said = "1 archives named in"
    refused(lambda: prepare(vox), "E_DOWNLOAD", said, status=MISSING)
    prepare(vox, "auto", f"{address}/it")
    assert first.read_bytes() == TGZ[f"it/tgz/{ANNA}.tgz"]


CLEAN, FIRST = "dev-clean.tar.gz", f"it/tgz/{ANNA}.tgz"
TRANS = "LibriSpeech/dev-clean/101/7000/101-7000.trans.txt"


def edited(old: bytes, new: bytes) -> dict[str, bytes | None]:
    """LibriSpeech unpacked, without archives, and with other lines in a chapter."""
    lines = UNPACKED[TRANS].replace(old, new)
    return {**UNPACKED, **dict.fromkeys(ARCHIVES), TRANS: lines}


PARTLY = edited(b"7000-0003", b"7000-4")  # an utterance without sound
ANOTHER = edited(b"7000-0003", b"7001-0003")
NOT_ANNA = {FIRST: TGZ[FIRST][:-99]}
ESCAPES = {"it/tgz/b.tgz": tar({"../x": b"x"})}
LINE = "101-7000.trans.txt line "
BAD = [  # what is put into the folder of downloads; what the message says
    (libri, {CLEAN: ARCHIVES[CLEAN][:-40]}, "E_DIGEST", (f"{CLEAN} (", "md5")),
    (libri, {CLEAN: None}, "E_DOWNLOAD", ("LibriSpeech/dev-clean", f"put {CLEAN}")),
    (libri, PARTLY, "E_DOWNLOAD", ("neither all of LibriSpeech/dev-clean nor",)),
    (libri, ANOTHER, "E_CORPUS", (f"{LINE}4: not '101-7000-NUMBER",)),
    (libri, edited(b"THE ", b"the "), "E_CORPUS", (LINE, ": not")),
    (vox, NOT_ANNA, "E_ARCHIVE", (f"{ANNA}.tgz ", "Do: delete the file and fetch")),
    (vox, ESCAPES, "E_ARCHIVE_PATH", ("holds '../x'",)),
    (vox, {"it/tgz/index.html": b"moved"}, "E_DOWNLOAD", ("names no .tgz",)),
]


@pytest.mark.parametrize("corpus, changes, code, parts", BAD, ids=range(len(BAD)))
def test_what_is_refused(here, corpus, changes, code, parts):
    put(changes)
    status = MISSING if code == "E_DOWNLOAD" else DATA
    refused(lambda: prepare(corpus), code, *parts, status=status)
    assert not Path("data").exists()


def test_part_of_librispeech(here, caplog):
    for part in PARTS:
        write_files(Path("downloads"), open_corpora.librispeech(part, chapters=1))
    prepare(libri, allow_partial=True)
    assert sizes()["dev"] == 8
    assert "W_CORPUS: downloads/LibriSpeech/dev-other has 4 utterances" in caplog.text


def test_voxforge(here):
    put()
    prepare(vox)
    assert sizes() == {"tr_it": 20, "dt_it": 2, "et_it": 2}
    every: dict[str, dict[str, str]] = {"text": {}, "utt2spk": {}, "wav.scp": {}}
    for lists in sets().values():
        for name, pairs in every.items():
            pairs.update(lists[name])
    speakers = {"anna", "anonymous-20080425-dpl", "anonymous-20080426-qrs"}
    assert set(every["utt2spk"].values()) == speakers
    want = {}
    for name, files in SESSIONS.items():
        coding = "utf-8" if name in (ANNA, "anonymous-20080426-qrs") else "latin-1"
        for line in files[f"{name}/etc/PROMPTS"].decode(coding).splitlines():
            recording, _, text = line.partition(" ")
            want[f"{name}-{Path(recording).name}"] = text
    assert every["text"] == want and any("PIÙ" in text for text in want.values())
    assert all(Path(path).is_file() for path in every["wav.scp"].values())
    assert Path(f"downloads/it/extracted/{ANNA}/LICENSE").is_file()
    assert not list(Path("downloads/it/extracted").glob(".*"))
    assert read_json(Path("data/voxforge.json")) == {"left_out": {}}


def test_what_is_left_out_of_voxforge(here, caplog):
    """By name and reason, with counts; archives that cannot be read if one says so."""
    caplog.set_level(logging.INFO)
    name = "bob-20110101-aaa"
    texts = ["uno", "due", "tre: quattro", "sei", "sette", "otto", "nove"]
    files = open_corpora.session(name, texts)
    more = "x/mfc/it-0001 altro\nx/mfc/it-0099 l’ora-x\nx/mfc/it-0007\tNOVE\n"
    files[f"{name}/etc/PROMPTS"] += more.encode()
    files[f"{name}/wav/it-0002.wav"] = b""
    files[f"{name}/wav/it-0004.wav"] = files[f"{name}/wav/it-0004.wav"][:-99]
    files[f"{name}/wav/un file.wav"] = files[f"{name}/wav/it-0006.wav"]
    del files[f"{name}/wav/it-0005.wav"]
    others = {
        name: files,
        "c-1-x": {"c-1-x/wav/a.wav": b"x"},
        "d-1-x": {"d-1-x/etc/PROMPTS": b"a UNO\n"},
        "(f)-1-x": open_corpora.session("(f)-1-x", ["uno"]),
    }
    made = {f"it/tgz/{n}.tgz": tar(f) for n, f in others.items()}
    put({**made, "it/tgz/e-1-x.tgz": b"x"})
    prepare(vox, allow_partial=True)
    broken = "broken recording or name"
    assert read_json(Path("data/voxforge.json"))["left_out"] == {
        "e-1-x.tgz": "broken archive (E_ARCHIVE)",
        f"{name}-it-0001": "two texts for one recording",
        f"{name}-it-0002": f"{broken} (E_WAV_FORMAT)",
        f"{name}-it-0003": "text of other signs than letters, digits and '",
        f"{name}-it-0004": f"{broken} (E_WAV_LENGTH)",
        f"{name}-it-0005": "no recording",
        f"{name}-it-0099": "no recording",
        f"{name}-un file": "no text",
        "(f)-1-x-it-0001": f"{broken} (E_UTT_ID)",
        "c-1-x": "session without etc/PROMPTS",
        "d-1-x": "session without recordings in wav or flac",
    }
    assert f"left out: 2, no recording, e.g. {name}-it-0005" in caplog.text
    kept = {u for lists in sets().values() for u in lists["text"] if u[:3] == "bob"}
    assert kept == {f"{name}-it-0006", f"{name}-it-0007"}


def test_texts_of_voxforge_are_in_one_set():
    texts = [f"T{i % 40}" for i in range(100)]
    parts = vox.split(texts)
    counts = {name: len(part) for name, part in parts.items()}
    assert counts == {"tr_it": 32, "dt_it": 4, "et_it": 4}
    assert set.union(*parts.values()) == set(texts)


def test_too_little_of_voxforge(here):
    write_files(Path("downloads/it/extracted"), SESSIONS[ANNA])
    refused(lambda: prepare(vox), "E_CORPUS", " has 6 utterances")
    assert not Path("data").exists()
