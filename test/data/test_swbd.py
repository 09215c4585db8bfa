"""Switchboard from made-up discs: all layouts give the same, what is wrong is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import swbd_tree
from corpora import check_foreign, load, refused

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import MISSING, USAGE

swbd = load("prepare_swbd")
FILES = swbd_tree.describe(conversations=2, lines=4)
STM, PEM = "hub5e00.english.000405.stm", "hub5e_00.pem"
TRANS = "sw2001A-ms98-a-trans.text"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """``tree("flat", {name: bytes or None})``: a copy of the corpora, changed."""
    monkeypatch.chdir(tmp_path)

    def make(layout="split", changes=None) -> str:
        files = {**FILES, **(changes or {})}
        files = {n: d for n, d in files.items() if d is not None}
        return str(swbd_tree.write_tree(tmp_path / "ldc", layout, files))

    return make


def prepare(root: str, step="all", **options) -> dict[str, bytes]:
    """All that later stages read: lists and audio."""
    options.setdefault("allow_partial", True)
    swbd.run(root, step=step, **options)
    files = (p for p in Path("data").rglob("*") if p.is_file())
    return {str(p)[5:]: p.read_bytes() for p in files if p.parts[1] != "local"}


@pytest.fixture
def complete(monkeypatch):
    """The made-up corpora are taken for complete."""
    monkeypatch.setattr(swbd, "CONVERSATIONS", (2, 2))
    monkeypatch.setattr(swbd, "EVAL_SEGMENTS", 4)
    monkeypatch.setattr(swbd, "EVAL_SIDES", 4)


@pytest.fixture(scope="session")
def wanted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swbd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return prepare(str(swbd_tree.write_tree(folder / "ldc", "split", FILES)))


def test_all_layouts_give_the_same(tree, wanted):
    for layout in swbd_tree.LAYOUTS:
        assert prepare(tree(layout)) == wanted, layout
        for folder in ("data", "ldc"):
            shutil.rmtree(folder)


def test_sets_that_are_somebody_elses(tree):
    root = tree()
    names = ("train_dev/wav.scp", "train_nodup/segments", "eval2000/stm")
    check_foreign(lambda: prepare(root), *(f"data/{name}" for name in names))


def test_times_are_rounded(tmp_path):
    path = tmp_path / "x.text"
    path.write_text("sw2001B-ms98-a-0002 0.005000 0.995000 uh-huh\n")
    (line,) = swbd.read_transcript(path, "2001B", [])
    assert (line.start, line.end, line.words) == (1, 100, "uh-huh")


def test_a_header_that_counts_too_few(tree, wanted):
    """The length is that of the file."""
    n = (len(FILES["sw02001.sph"]) - 1024) // 2
    short = FILES["sw02001.sph"].replace(b"count -i %d" % n, b"count -i %d" % (n // 2))
    assert prepare(tree("flat", {"sw02001.sph": short})) == wanted


def test_conversion_goes_on_where_it_stopped(tree, wanted):
    root, data = tree("flat"), Path("data")
    prepare(root)
    files = sorted(data.rglob("*.flac"))
    before = {p: p.stat().st_mtime_ns for p in files}
    files[0].unlink()
    files[3].write_bytes(files[3].read_bytes()[:50])
    sounds = data / "local/swbd/sounds"
    assert [swbd.convert(sounds, data, 2, j) for j in (1, 2)] in ([2, 0], [1, 1])
    assert sum(p.stat().st_mtime_ns != before[p] for p in files) == 4  # both sides
    assert prepare(root, "sets") == wanted


def swapped(name, old, new):
    data = FILES[name].decode()
    assert old in data
    return {name: data.replace(old, new, 1).encode()}


WRONG = [
    ({"sw2001B-ms98-a-trans.text": None}, "E_SWBD_SIDE", ["2001B", TRANS]),
    ({"sw02001.sph": None}, "E_SWBD_AUDIO", [TRANS]),
    ({TRANS: None, "sw2001B-ms98-a-trans.text": None}, "E_SWBD_TEXT", ["sw02001.sph"]),
    (swapped(TRANS, "0.000000", "x"), "E_SWBD_LINE", [TRANS, "line 1"]),
    (swapped(TRANS, "sw2001A-ms98-a-0002", "sw2002A-x"), "E_SWBD_LINE", ["line 2"]),
    (
        swapped(TRANS, "sw2001A-ms98-a-0002", "sw2002A-ms98-a-0002"),
        "E_SWBD_LINE",
        [TRANS, "line 2 belongs to 2002A, not 2001A"],
    ),
    (swapped(TRANS, " 0.977625 2", " 3.977625 2"), "E_SWBD_TIMES", [TRANS, "line 2"]),
    (swapped(TRANS, " 2.355250 3", " 1.355250 3"), "E_SWBD_TIMES", [TRANS, "line 3"]),
    (swapped(STM, "<O,en,F,en-F>", "<O,xx>"), "E_STM_LABEL", [STM, "line 14", "'xx'"]),
    (swapped(STM, "(%HESITATION) TO-", "((A)) TO-"), "E_STM_TEXT", [STM, "line 14"]),
    (swapped(STM, "10.15 12.50", "12.50"), "E_STM", [STM, "line 14"]),
    (swapped(STM, "10.15 12.50", "10.15 x"), "E_STM", [STM, "line 14", "10.15 x"]),
    (swapped(PEM, ";; made-up", "sw_4001 B x 4.00 6.57\n;;"), "E_STM_PEM", ["twice"]),
    (swapped(STM, "10.15", "10.16"), "E_STM_PEM", [PEM, "line 2"]),
    (swapped(PEM, "1.00 3.01", "1.00 3.02"), "E_STM_PEM", [PEM, "line 5"]),
    (swapped(PEM, "1.00 3.01", "3.01 1.00"), "E_PEM", [PEM, "line 5"]),
    (swapped(PEM, " 4.00", ""), "E_PEM", [PEM, "line 6"]),
    ({"en20000405_hub5.glm": b"* name\n"}, "E_GLM", ["glm line 1", "put a line ';;'"]),
]


@pytest.mark.parametrize("changes, code, parts", WRONG, ids=lambda x: str(x)[:40])
def test_what_is_wrong_is_named(tree, changes, code, parts, complete):
    """Code, file, line and remedy, where the counts are those of a complete copy."""
    root = tree("split", changes)
    refused(lambda: prepare(root, "lists", allow_partial=False), code, "Do: ", *parts)
    assert not Path("data").exists()


LONG = FILES[TRANS].decode() + "sw2001A-ms98-a-0009 99.0 99.9 yeah so\n"
SPH = FILES["sw02001.sph"]
SOUNDS = [  # what is wrong, the message, how many files are made
    ({"sw02001.sph": SPH[:2000]}, "CONVERT", "sw02001.sph", 6),
    ({"sw02001.sph": SPH.replace(b"8000", b"9000", 1)}, "CONVERT", "at 9000 Hz", 6),
    ({TRANS: LONG.encode()}, "TIMES", "sw02001-A_009900-009990", 8),
]


@pytest.mark.parametrize("changes, code, part, made", SOUNDS, ids=lambda x: str(x)[:9])
def test_sound_that_is_wrong(tree, changes, code, part, made):
    """It stops no other."""
    root = tree("flat", changes)
    refused(lambda: prepare(root), f"E_SWBD_{code}", part)
    assert len(list(Path("data").rglob("*.flac"))) == made


SW = {"sw02001.sph": None, "sw02002.sph": None}
PLACES = [  # SWBD, files that are not there, code, part of the message
    ("ldc", {"sw-ms98-dict.text": None}, "E_SWBD_TRANSCRIPTS", "openslr.org/5"),
    ("ldc", {PEM: None}, "E_SWBD_ROOT", "no hub5e_00.pem below"),
    ("ldc", {STM: None}, "E_SWBD_ROOT", "copy all of LDC2002T43"),
    ("ldc", SW, "E_SWBD_ROOT", "no sw0NNNN.sph below"),
    ("none", {}, "E_SWBD_ROOT", "no folder"),
    ("ldc/LDC97S62", {}, "E_SWBD_ROOT", "LDC2002S09"),
]


@pytest.mark.parametrize("root, changes, code, part", PLACES)
def test_what_is_not_there_is_named(tree, root, changes, code, part):
    tree("split", changes)
    refused(lambda: prepare(root), code, part, status=MISSING)


def test_steps_out_of_order_and_too_few_utterances(tree, complete):
    root = tree()
    words = "E_USAGE", "--job with --step sets"
    refused(lambda: prepare(root, "sets", job=1), *words, status=USAGE)
    prepare(root, "lists")
    refused(lambda: prepare("", "sets"), "E_SWBD_CONVERT", " not converted")
    prepare(root, "lists", allow_partial=False)
    refused(lambda: prepare("", "sets"), "E_SWBD_COUNT", " utterances in all")


def test_counts_of_the_real_corpus(tree):
    parts = "2435 or 2438", "4 sides with audio, not 80", "4 scored", "not 4459"
    root = tree()
    refused(lambda: prepare(root, allow_partial=False), "E_SWBD_COUNT", *parts)


def test_warnings_of_a_partial_copy(tree, caplog):
    root = Path(tree("split", {"en_4001.sph": None, "sw02002.sph": None}))
    twice = root / "LDC97S62" / "swb1_d9" / "SW02001.SPH"
    twice.parent.mkdir()
    twice.write_bytes(b"x")
    swbd.main(["--swbd", str(root), "--allow_partial", "true"])
    parts = ["W_SWBD_AUDIO", "no audio for 1 sides, e.g. en_4001-A", "W_SWBD_COUNT"]
    parts += ["W_EVAL2000_COUNT", "W_SWBD_TWICE", "swb1_d9/SW02001.SPH"]
    assert [part for part in parts if part not in caplog.text] == []
    assert len(read_pairs(Path("data/eval2000/text"))) == 1
    stm = Path("data/eval2000/stm").read_text()  # else what is missing would be errors
    assert "\nsw_4001 A" in stm and "\nen_4001" not in stm and ";; LABEL" in stm
