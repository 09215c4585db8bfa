"""The corpus is checked before anything is written; the small part is real text."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from corpora import check_foreign, load

from espnet_topdown.data.words import read_ids
from espnet_topdown.errors import TopDownError

wikitext = load("prepare_wikitext")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "wiki.train.tokens").write_text("a b\nc <unk>\n")
    (folder / "wiki.valid.tokens").write_text("a c\n")
    (folder / "wiki.test.tokens").write_text("b\n")
    monkeypatch.setattr(wikitext, "TOKENS", {"train": 6, "dev": 3, "test": 2})
    monkeypatch.setattr(wikitext, "WORDS", 5)
    return folder


def zipped(corpus: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as z:
        for file in corpus.iterdir():
            z.write(file, f"wikitext-2/{file.name}")
    return path


def test_whole_corpus(corpus: Path, tmp_path: Path) -> None:
    found = wikitext.prepare(corpus, tmp_path / "data")
    assert found == {"train": 6, "dev": 3, "test": 2, "words": 5}
    tokens = (tmp_path / "data/tokens.txt").read_text().split()
    assert sorted(tokens[:-1]) == ["<unk>", "a", "b", "c"] and tokens[-1] == "<eos>"
    assert len(read_ids(tmp_path / "data/train.txt", tokens)) == 6


def test_texts_that_are_somebody_elses(corpus: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("data/tokens.txt", "data/train.txt", "data/dev.txt")
    check_foreign(lambda: wikitext.prepare(corpus, Path("data")), *names)


@pytest.mark.parametrize(
    "file, text, found",
    [
        ("wiki.train.tokens", "a b\n", "tokens 3, WikiText-2 has 6"),
        ("wiki.valid.tokens", "a d\n", "words 6, WikiText-2 has 5"),
    ],
)
def test_another_corpus(corpus: Path, tmp_path: Path, file, text, found) -> None:
    (corpus / file).write_text(text)
    with pytest.raises(TopDownError, match="E_CORPUS") as e:
        wikitext.prepare(corpus, tmp_path / "data")
    assert found in str(e.value)
    assert not (tmp_path / "data").exists()


def test_an_archive_that_is_fetched_once_and_has_a_digest(corpus, tmp_path, site):
    address, folder = site
    archive = zipped(corpus, folder / "pool/w.zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    for _ in range(2):
        made = wikitext.fetch(tmp_path / "down", f"{address}/pool/w.zip", digest)
        assert wikitext.find_text(made, "dev").read_text() == "a c\n"
        archive.unlink(missing_ok=True)
    with pytest.raises(TopDownError, match="E_DIGEST"):
        wikitext.fetch(tmp_path / "down")
    with pytest.raises(TopDownError, match="E_DOWNLOAD"):
        wikitext.fetch(tmp_path / "other", f"{address}/pool/w.zip")


def test_no_corpus(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as e:
        words = ["--wikitext", str(tmp_path), "--output_dir", str(tmp_path / "d")]
        wikitext.main(words)
    assert e.value.code == 66 and "E_MISSING" in capsys.readouterr().err


def test_small_part_of_the_real_text(shared: Path, tmp_path: Path) -> None:
    source = shared / "wikitext2_small"
    found = wikitext.prepare_small(source, tmp_path)
    assert found == {"train": 120297, "dev": 45381, "test": 58352, "words": 1450}
    tokens = (tmp_path / "tokens.txt").read_text().splitlines()
    for name in ("train", "dev", "test"):
        assert len(read_ids(tmp_path / f"{name}.txt", tokens)) == found[name]
