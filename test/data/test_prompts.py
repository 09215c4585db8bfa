"""The prompts corpus: found, verified, normalised, split."""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpora import check_foreign, load, refused
from open_corpora import write_files
from packages import deb, fake_apt_get, tar

from espnet_topdown.data.kaldi_dir import read_dir, read_pairs
from espnet_topdown.errors import CONFIG, DATA, MISSING

prompts = load("prepare_prompts")
PROMPTS = [  # name, transcripts; the words, or why it is left out
    ("hello-world", ["Hola Mundo!"], "hola mundo"),
    ("digits/1", ["uno"], "uno"),
    ("letters/a", ["a"], "a"),
    ("vm-Old", ["viejos"], "viejos"),
    ("options", ["Marque 1 ahora"], "marque uno ahora"),
    ("beep", ["[tono simple]"], "no: not speech"),
    ("silence/1", [], "no: not speech"),
    ("digits/0", ["cero", "diez"], "no: two transcripts for one name"),
    ("demo", ["Marque 1234"], "no: numeral of unknown reading"),
    ("no-text", [], "no: no transcript"),
    ("no-wav", ["nada"], "no: no recording"),
    ("vm-empty", ["vacio"], "no: empty recording"),
]


def wav(frames: int) -> bytes:
    out = io.BytesIO()
    samples = np.arange(frames, dtype=np.int16)
    soundfile.write(out, samples, 8000, "PCM_16", format="WAV")
    return out.getvalue()


LINES = [f"{name}: {text}\n" for name, texts, _ in PROMPTS for text in texts]
TEXTS = "".join(["; Core Asterisk Sounds in Spanish\n", "\n", *LINES])
USED, LEFT_OUT, FILES = {}, {}, {}
for i, (name, _, outcome) in enumerate(PROMPTS, 1):
    if outcome.startswith("no: "):
        LEFT_OUT[name] = outcome[4:]
    else:
        USED[f"es-allison-{name.replace('/', '_')}"] = outcome
    if name != "no-wav":
        FILES[f"{name}.wav"] = wav(0 if name == "vm-empty" else 800 * i)
SOUNDS = {f"./usr/share/asterisk/sounds/es_MX/{k}": v for k, v in FILES.items()}
DOC = "./usr/share/doc/asterisk-core-sounds-es/core-sounds-es.txt.gz"
DEBS = {
    "asterisk-core-sounds-es-wav_1_all.deb": deb(SOUNDS),
    "asterisk-core-sounds-es_1_all.deb": deb({DOC: gzip.compress(TEXTS.encode())}),
}
TARBALL = "asterisk-core-sounds-es-wav-1.tar.gz"
UPSTREAM = tar({**FILES, "core-sounds-es.txt": TEXTS.encode(), "CREDITS": b"x"})


def contents() -> str:
    files = {f"wav/{k}": v for k, v in FILES.items()}
    files["core-sounds-es.txt"] = TEXTS.encode()
    listing = [f"{hashlib.sha256(files[k]).hexdigest()}  {k}\n" for k in sorted(files)]
    return hashlib.sha256("".join(listing).encode()).hexdigest()


@pytest.fixture
def small(monkeypatch):
    """A catalogue whose Spanish is the small archives above."""
    known = prompts.catalogue()
    known["version"] = 1
    known["languages"]["es"]["contents"] = contents()
    known["languages"]["es"]["sha256"] = {
        name: hashlib.sha256(data).hexdigest() for name, data in DEBS.items()
    }
    monkeypatch.setattr(prompts, "catalogue", lambda: known)
    monkeypatch.setenv("PATH", "/nothing")  # no apt-get unless a test makes one
    return known


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with ``downloads`` in it."""
    (tmp_path / "downloads").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_prepared() -> None:
    texts, wavs = {}, {}
    for folder in (Path("data", name) for name in ("train", "dev", "test")):
        lists = read_dir(folder)
        assert set(lists["text"]) == set(lists["wav.scp"]) == set(lists["utt2spk"])
        assert set(lists["utt2spk"].values()) == {"es-allison"}
        assert list(read_pairs(folder / "spk2utt")) == ["es-allison"]
        texts.update(lists["text"])
        wavs.update(lists["wav.scp"])
    assert texts == USED
    for utt, path in wavs.items():
        assert Path(path).read_bytes() == FILES[path.split("/wav/")[1]], utt


SOURCES = [("local", DEBS), ("local", {TARBALL: UPSTREAM}), ("auto", DEBS)]
SOURCES += [("apt", DEBS), ("http", {TARBALL: UPSTREAM})]


@pytest.mark.parametrize("source, archives", SOURCES, ids=range(5))
def test_sources(small, here, site, monkeypatch, source, archives):
    address, folder = site
    where = {"apt": here, "http": folder}.get(source, here / "downloads")
    write_files(where, archives)
    fake_apt_get(folder, f'cp "{here}"/*.deb .')
    if source == "apt":
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    summary = prompts.prepare(source=source, url=address)
    check_prepared()
    assert summary["left_out"] == LEFT_OUT
    for counted, n in (("utterances", 5), ("single_letters", 1)):
        assert sum(has[counted] for has in summary["sets"].values()) == n
    for name in archives:
        (where / name).unlink()
    assert prompts.prepare(source=source, url=address) == summary  # nothing is fetched


def test_nothing_can_be_fetched(small, here):
    url = "http://127.0.0.1:9/releases"
    parts = ("no archive", "no apt-get", url, TARBALL, *DEBS)
    refused(lambda: prompts.prepare(url=url), "E_DOWNLOAD", *parts, status=MISSING)


OTHER = tar({**FILES, "core-sounds-es.txt": TEXTS.replace("H", "B").encode()})
NAMES = sorted(DEBS)
REFUSED = [  # archives that are there, code, part of the message
    ({"asterisk-core-sounds-es-wav_9_all.deb": b"x"}, "E_DOWNLOAD", "it has asterisk"),
    *[({**DEBS, n: DEBS[n] + b"!"}, "E_DIGEST", n) for n in NAMES],
    ({TARBALL: OTHER}, "E_DIGEST", TARBALL),
]


@pytest.mark.parametrize("archives, code, part", REFUSED, ids=["9", *NAMES, "tar"])
def test_other_archives_are_refused(small, here, archives, code, part):
    write_files(here / "downloads", archives)
    status = MISSING if code == "E_DOWNLOAD" else DATA
    refused(lambda: prompts.prepare(source="local"), code, part, status=status)
    assert not (here / "data").exists()
    for name in archives:
        (here / "downloads" / name).unlink()
    write_files(here / "downloads", {TARBALL: UPSTREAM})  # as the message says
    prompts.prepare()
    check_prepared()


def test_another_language_does_not_reuse_the_folder(small, here):
    write_files(here / "downloads", DEBS)
    prompts.prepare()
    parts = ("E_CONFIG_CHANGED", "lang es, asked fr")
    refused(lambda: prompts.prepare(lang="fr"), *parts, status=CONFIG)


def test_sets_that_are_somebody_elses(small, here):
    write_files(here / "downloads", DEBS)
    check_foreign(prompts.prepare, "data/train/wav.scp", "data/dev/text")


def test_split_is_80_10_10_without_shared_transcripts():
    """It does not depend on the order, but on the seed."""
    made = [
        prompts.Prompt(f"es-{i:03d}", f"texto {i % 200}", Path("x"), 0.1 * i)
        for i in range(220)
    ]
    sets = prompts.split(made)
    assert sorted(p.utt for s in sets.values() for p in s) == [p.utt for p in made]
    texts = {name: {p.text for p in part} for name, part in sets.items()}
    counts = {name: len(part) for name, part in texts.items()}
    assert counts == {"train": 160, "dev": 20, "test": 20}
    assert len(set().union(*texts.values())) == 200
    mean = {k: np.mean([p.seconds for p in v]) for k, v in sets.items()}
    assert abs(mean["dev"] - mean["train"]) < 0.15 * mean["train"]
    test, again, other = (
        {p.utt for p in of["test"]}
        for of in (sets, prompts.split(made[::-1]), prompts.split(made, seed=1))
    )
    assert test == again != other


def test_an_archive_with_a_name_that_is_none(tmp_path):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar({"hello world.wav": wav(9)}))
    words = [archive], tmp_path / "out", "es", {"sha256": {}, "contents": ""}
    refused(lambda: prompts.unpack(*words), "E_UTT_ID", "'wav_hello world.wav'")
    assert not (tmp_path / "out").exists()


LANGUAGES = prompts.catalogue()["languages"]


@pytest.mark.parametrize(
    "lang, text, expected",
    [
        ("es", "Hola Mundo!", "hola mundo"),
        ("es", "Marque 1, o 9 para salir.", "marque uno o nueve para salir"),
        ("es", "¿El Niño está aquí?", "el niño está aquí"),
        ("es", "p.m.", "p m"),
        ("es", "X-Ray", "x ray"),
        ("es", "Nin\u0303o", "niño"),  # composed
        ("en", "letter - at [@]", "letter at"),
        ("en", "don't 'quote' it", "don't quote it"),
        ("fr", "Appuyez sur 5.Pour l’aide…", "appuyez sur cinq pour l'aide"),
        ("it", "Così è", "così è"),
        ("ru", "Нажмите 4, чтобы «Ёж»", "нажмите четыре чтобы ёж"),
        ("es", "[tono simple]", "Unusable: no speech"),
        ("es", "<beep ascending>", "Unusable: no speech"),
        ("es", "", "Unusable: no speech"),
        ("es", "...", "Unusable: no speech"),
        ("es", "Sus saludos [temporales] estan", "Unusable: words in brackets"),
        ("es", "extension 1234", "Unusable: numeral of unknown reading"),
        ("es", "8.8", "Unusable: numeral of unknown reading"),
        ("es", "3D", "Unusable: numeral of unknown reading"),
        ("en", "press # now", "Unusable: sign or letter of unknown reading"),
        ("ru", "Asterisk это", "Unusable: sign or letter of unknown reading"),
        ("es", "за", "Unusable: sign or letter of unknown reading"),
    ],
)
def test_normalise(lang, text, expected):
    spec = LANGUAGES[lang]
    try:
        found = prompts.normalise(text, spec["letters"], spec["digits"])
    except prompts.Unusable as e:
        found = f"Unusable: {e}"
    assert found == expected


def test_every_language_has_ten_digits_in_its_own_letters():
    for lang, spec in LANGUAGES.items():
        assert len(spec["digits"]) == 10, lang
        assert set("".join(spec["digits"])) <= set(spec["letters"]), lang
        assert len(spec["sha256"]) == 2 and len(spec["contents"]) == 64, lang
