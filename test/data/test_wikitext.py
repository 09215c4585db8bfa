"""WikiText-2 is checked before anything is written."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from corpora import check_foreign, load, refused

from espnet_topdown.data.words import read_ids
from espnet_topdown.errors import MISSING

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
    refused(lambda: wikitext.prepare(corpus, tmp_path / "data"), "E_CORPUS", found)
    assert not (tmp_path / "data").exists()


def test_an_archive_that_is_fetched_once_and_has_a_digest(corpus, tmp_path, site):
    address, folder = site
    archive = folder / "w.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for file in corpus.iterdir():
            z.write(file, f"wikitext-2/{file.name}")
    digest, url = hashlib.sha256(archive.read_bytes()).hexdigest(), f"{address}/w.zip"
    for _ in range(2):
        made = wikitext.fetch(tmp_path / "down", url, digest)
        assert wikitext.find_text(made, "dev").read_text() == "a c\n"
        archive.unlink(missing_ok=True)
    refused(lambda: wikitext.fetch(tmp_path / "down", url), "E_DIGEST")
    other = tmp_path / "other"
    refused(lambda: wikitext.fetch(other, url), "E_DOWNLOAD", status=MISSING)


def test_no_corpus(tmp_path: Path, capsys) -> None:
    words = ["--wikitext", str(tmp_path), "--output_dir", str(tmp_path / "d")]
    with pytest.raises(SystemExit, match="66"):
        wikitext.main(words)
    assert "E_MISSING" in capsys.readouterr().err
