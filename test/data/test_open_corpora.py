"""LibriSpeech and VoxForge from made-up archives: fetched, verified, paired, split."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import open_corpora
import pytest
from corpora import check_foreign, load
from packages import tar

from espnet_topdown.data.kaldi_dir import read_dir
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json

libri, vox = load("prepare_librispeech"), load("prepare_voxforge")
FILES = {part: open_corpora.librispeech(part) for part in open_corpora.PARTS}
ARCHIVES = {part: tar(files) for part, files in FILES.items()}
SESSIONS = open_corpora.sessions()
TGZ = {f"{name}.tgz": tar(files) for name, files in SESSIONS.items()}
ANNA = "anna-20100401-abc"
CLOSED = "http://127.0.0.1:9"  # nothing answers there


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, in which LibriSpeech has 8 utterances a part."""
    known = {p: (8, hashlib.md5(data).hexdigest()) for p, data in ARCHIVES.items()}
    monkeypatch.setattr(libri, "PARTS", known)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put_archives(folder: str = "downloads") -> None:
    """All archives of both corpora."""
    open_corpora.write_files(
        Path(folder), {f"{part}.tar.gz": data for part, data in ARCHIVES.items()}
    )
    open_corpora.write_files(Path(folder, "it/tgz"), TGZ)


def prepare(corpus, source="local", url=CLOSED, allow_partial=False):
    corpus.prepare(Path("downloads"), Path("data"), source, url, allow_partial)


def sets() -> dict[str, dict[str, dict[str, str]]]:
    """Data directories by name."""
    return {p.parent.name: read_dir(p.parent) for p in Path("data").glob("*/wav.scp")}


def test_librispeech(here):
    put_archives()
    prepare(libri)
    found = sets()
    counts = {name: len(lists["text"]) for name, lists in found.items()}
    small = {"train_clean_100": 8, "test_clean": 8, "test_other": 8}
    assert counts == {**small, "dev": 16}
    dev = found["dev"]
    assert set(dev["utt2spk"].values()) == {
        "101-7000",
        "101-7001",
        "102-7000",
        "102-7001",
    }
    for name, lists in found.items():
        assert (
            lists["wav.scp"].keys() == lists["text"].keys() == lists["utt2spk"].keys()
        )
        for utt, path in lists["wav.scp"].items():
            assert Path(path).is_file() and Path(path).stem == utt
            assert utt.startswith(f"{lists['utt2spk'][utt]}-")
        lines = Path("data", name, "text").read_bytes().splitlines()
        assert lines == sorted(lines)
    chapter = "LibriSpeech/dev-other/102/7000/102-7000.trans.txt"
    for line in FILES["dev-other"][chapter].decode().splitlines():
        utt, _, text = line.partition(" ")
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
    put_archives()
    check_foreign(lambda: prepare(corpus), *names)


def test_librispeech_goes_on_after_a_stop(here):
    """Half of it unpacked, one file cut: mended by the archive, which may then go."""
    put_archives()
    files = dict(list(FILES["test-clean"].items())[:5])
    files["LibriSpeech/test-clean/103/7000/103-7000-0000.flac"] = b"fLaC"
    open_corpora.write_files(Path("downloads"), files)
    prepare(libri)
    before = {
        path: path.stat().st_mtime_ns for path in Path("downloads").rglob("*.flac")
    }
    assert len(before) == 40 and all(path.stat().st_size > 100 for path in before)
    for path in Path("downloads").glob("*.tar.gz"):
        path.unlink()
    prepare(libri)
    assert before == {
        p: p.stat().st_mtime_ns for p in Path("downloads").rglob("*.flac")
    }


def test_corpora_are_fetched(here, site):
    address, folder = site
    open_corpora.write_files(folder, {f"{p}.tar.gz": d for p, d in ARCHIVES.items()})
    page = "".join(f'<a href="{name}">{name}</a>\n' for name in TGZ)
    open_corpora.write_files(folder / "it", {**TGZ, "index.html": page.encode()})
    prepare(libri, "auto", address)
    first = Path("downloads/it/tgz", f"{ANNA}.tgz")
    prepare(vox, "auto", f"{address}/it")
    assert len(sets()) == 7
    first.unlink()  # a stop in the middle: the list tells what is missing
    with pytest.raises(TopDownError, match="E_DOWNLOAD: 1 archives named in"):
        prepare(vox, "local")
    prepare(vox, "auto", f"{address}/it")
    assert first.read_bytes() == TGZ[first.name]


def cut(part: str) -> None:
    path = Path("downloads", f"{part}.tar.gz")
    path.write_bytes(path.read_bytes()[:-40])


def edit(name: str, old: bytes, new: bytes) -> None:
    """Change an unpacked file of LibriSpeech, which has no archives then."""
    for part, files in FILES.items():
        Path("downloads", f"{part}.tar.gz").unlink()
        open_corpora.write_files(Path("downloads"), files)
    path = Path("downloads/LibriSpeech", name)
    path.write_bytes(path.read_bytes().replace(old, new))


TRANS = "dev-clean/101/7000/101-7000.trans.txt"
BAD = {
    "cut": (libri, lambda: cut("dev-clean"), "E_DIGEST", "md5 .* expected"),
    "other": (
        libri,
        lambda: Path("downloads/dev-clean.tar.gz").write_bytes(ARCHIVES["dev-other"]),
        "E_DIGEST",
        "dev-clean.tar.gz .* md5",
    ),
    "none": (
        libri,
        lambda: Path("downloads/dev-clean.tar.gz").unlink(),
        "E_DOWNLOAD",
        "neither all of LibriSpeech/dev-clean nor .*Do: put dev-clean.tar.gz",
    ),
    "a chapter is missing": (
        libri,
        lambda: edit(TRANS, b"101-7000-0003", b"101-7000-4"),
        "E_DOWNLOAD",
        "neither all of LibriSpeech/dev-clean",
    ),
    "another chapter's line": (
        libri,
        lambda: edit(TRANS, b"101-7000-0003", b"101-7001-0003"),
        "E_CORPUS",
        "101-7000.trans.txt line 4: not '101-7000-NUMBER",
    ),
    "lower case": (
        libri,
        lambda: edit(TRANS, b"THE ", b"the "),
        "E_CORPUS",
        r"101-7000.trans.txt line \d: not",
    ),
    "VoxForge, cut": (
        vox,
        lambda: Path("downloads/it/tgz", f"{ANNA}.tgz").write_bytes(
            TGZ[f"{ANNA}.tgz"][:-99]
        ),
        "E_ARCHIVE",
        f"{ANNA}.tgz .*Do: delete the file and fetch it again",
    ),
    "VoxForge, a path": (
        vox,
        lambda: open_corpora.write_files(
            Path("downloads/it/tgz"), {"b.tgz": tar({"../x": b"x"})}
        ),
        "E_ARCHIVE_PATH",
        "holds '../x'",
    ),
    "VoxForge, a page without archives": (
        vox,
        lambda: Path("downloads/it/tgz/index.html").write_text("moved"),
        "E_DOWNLOAD",
        "names no .tgz",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(here, name):
    corpus, spoil, code, says = BAD[name]
    put_archives()
    spoil()
    with pytest.raises(TopDownError, match=f"(?s){says}") as e:
        prepare(corpus)
    assert e.value.code == code and e.value.status in (65, 66)
    assert "dev" not in sets()


def test_part_of_librispeech(here, caplog):
    for part in FILES:
        open_corpora.write_files(Path("downloads"), open_corpora.librispeech(part, 1))
    prepare(libri, allow_partial=True)
    assert len(sets()["dev"]["text"]) == 8
    assert "W_CORPUS: downloads/LibriSpeech/dev-other has 4 utterances" in caplog.text


def test_voxforge(here):
    put_archives()
    prepare(vox)
    found = sets()
    counts = {name: len(lists["text"]) for name, lists in found.items()}
    assert counts == {"tr_it": 20, "dt_it": 2, "et_it": 2}
    every = {
        f: {u: v for s in found.values() for u, v in s[f].items()}
        for f in found["dt_it"]
    }
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
    put_archives()
    name = "bob-20110101-aaa"
    texts = ["uno", "due", "tre: quattro", "sei", "sette", "otto", "nove"]
    files = open_corpora.session(name, texts)
    files[f"{name}/etc/PROMPTS"] += (
        "x/mfc/it-0001 altro\nx/mfc/it-0099 l’ora-x\nx/mfc/it-0007\tNOVE\n".encode()
    )
    files[f"{name}/wav/it-0002.wav"] = b""
    files[f"{name}/wav/it-0004.wav"] = files[f"{name}/wav/it-0004.wav"][:-99]
    del files[f"{name}/wav/it-0005.wav"]
    files[f"{name}/wav/un file.wav"] = files[f"{name}/wav/it-0006.wav"]
    others = {
        name: files,
        "c-1-x": {"c-1-x/wav/a.wav": b"x"},
        "d-1-x": {"d-1-x/etc/PROMPTS": b"a UNO\n"},
        "(f)-1-x": open_corpora.session("(f)-1-x", ["uno"]),
    }
    made = {f"{n}.tgz": tar(f) for n, f in others.items()}
    open_corpora.write_files(Path("downloads/it/tgz"), {**made, "e-1-x.tgz": b"x"})
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
    kept = {u: s for s in sets().values() for u in s["text"] if u.startswith("bob")}
    assert set(kept) == {f"{name}-it-0006", f"{name}-it-0007"}


def test_texts_of_voxforge_are_in_one_set():
    texts = [f"T{i % 40}" for i in range(100)]
    parts = vox.split(texts)
    assert {name: len(part) for name, part in parts.items()} == {
        "tr_it": 32,
        "dt_it": 4,
        "et_it": 4,
    }
    assert set.union(*parts.values()) == set(texts)


def test_too_little_of_voxforge(here):
    open_corpora.write_files(Path("downloads/it/extracted"), SESSIONS[ANNA])
    with pytest.raises(TopDownError, match="E_CORPUS: .* has 6 utterances"):
        prepare(vox)
    assert not Path("data").exists()
