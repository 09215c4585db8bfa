"""WSJ from made-up discs: all layouts give the same, and what is wrong is named.

What the sets hold is in test/golden (``data``), by way of local/data.sh.
"""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wsj_tree
from corpora import check_foreign, load, refused

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import MISSING, USAGE

wsj = load("prepare_wsj")
CORPUS = wsj_tree.describe(words=2)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """``tree("dash")``: WSJ0 and WSJ1, as strings; the current folder is empty."""
    monkeypatch.chdir(tmp_path)

    def make(layout: str = "dash") -> tuple[str, str]:
        roots = wsj_tree.write_tree(tmp_path / "ldc", layout, CORPUS)
        return str(roots[0]), str(roots[1])

    return make


def prepare(roots, step="all", **options) -> dict[str, bytes]:
    """All that later stages read: lists and audio."""
    options.setdefault("allow_partial", True)
    wsj.run(*roots, step=step, **options)
    files = (p for p in Path("data").rglob("*") if p.is_file())
    return {str(p): p.read_bytes() for p in files if p.parts[1] != "local"}


@pytest.fixture(scope="session")
def wanted(tmp_path_factory):
    """What each layout has to give."""
    folder = tmp_path_factory.mktemp("dash")
    roots = wsj_tree.write_tree(folder / "ldc", "dash", CORPUS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return prepare(map(str, roots))


def test_all_layouts_give_the_same(tree, wanted):
    for layout in wsj_tree.LAYOUTS[1:]:
        assert prepare(tree(layout)) == wanted, layout
        for folder in ("data", "ldc"):
            shutil.rmtree(folder)
    root = Path(tree("mixed")[0]).parent
    (root / "WSJ1" / "again").symlink_to(root)  # a circle, and one folder in the other
    assert prepare((str(root), str(root / "WSJ1"))) == wanted


def test_sets_that_are_somebody_elses(tree):
    roots = tree()
    names = ("data/train_si284/wav.scp", "data/test_eval92/text", "data/nlsyms.txt")
    check_foreign(lambda: prepare(roots), *names)


def test_shards_and_steps_give_the_same_and_go_on(tree, wanted):
    roots = tree()
    places = ["--wsj0", roots[0], "--wsj1", roots[1]]
    wsj.main([*places, "--allow-partial", "true", "--step", "lists"])
    for job in "123":
        wsj.main(["--step", "convert", "--nj", "3", "--job", job])
    assert prepare(roots, "sets") == wanted
    flacs = sorted(Path("data/flac").glob("*/*.flac"))
    flacs[0].unlink()
    flacs[1].write_bytes(b"")  # what a crash of the machine may leave
    soundfile.write(flacs[2], np.zeros(99, np.int16), 16000)
    before = flacs[3].stat().st_mtime_ns
    assert wsj.convert(Path("data/local/wsj/wav.scp"), Path("data")) == 3
    assert flacs[3].stat().st_mtime_ns == before
    assert prepare(roots, "sets") == wanted


def one(pattern: str) -> Path:
    return sorted(Path("ldc").rglob(pattern))[0]


BAD = [  # what is done to a file of the tree, what the message names
    (lambda d: d[:1500], "E_SPHERE_TRUNCATED"),
    (lambda d: d.replace(b"shorten", b"wavpack", 1), "sph2pipe"),
    (lambda d: d.replace(b"-i 16000", b"-i  8000", 1), "8000 Hz"),
]


@pytest.mark.parametrize("damage, reason", BAD)
def test_a_bad_file_stops_no_other(tree, monkeypatch, caplog, damage, reason):
    monkeypatch.setenv("PATH", "")
    roots, bad = tree(), one("4K0C0200.WV1")
    bad.write_bytes(damage(bad.read_bytes()))
    prepare(roots, "lists")
    said = "1 of 20 files", bad.name, reason
    refused(lambda: prepare(roots, "convert"), "E_WSJ_CONVERT", *said)
    assert bad.name in caplog.text and reason in caplog.text
    assert len(list(Path("data/flac").glob("*/*.flac"))) == 19
    said = "1 utterances", "4k0c0200"
    refused(lambda: prepare(roots, "sets"), "E_WSJ_CONVERT", *said)
    assert not Path("data/test_dev93").exists()


def cut(path: Path) -> None:
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def add(path: Path) -> None:
    path.write_text(path.read_text() + "11_14_1: wsj0/si_et_20/44x/44xc0201\n")


PARTIAL = [  # what is done to a file or folder, which; code; words; utterances left
    (shutil.rmtree, "13-16.1", "DISC", ["disc 13-16.1 is missing", "4 of 4"], (0, 4)),
    (Path.unlink, "440c0201.wv1", "AUDIO", ["11-14.1, no", "1.wv1", "line 5"], (4, 3)),
    (Path.unlink, "440c0200.dot", "TEXT", ["2 of 4 utt", "440c0200, 440c02"], (4, 2)),
    (cut, "440c0200.dot", "TEXT", ["for 1 of 4 utterances, e.g. 440c0201"], (4, 3)),
    (Path.unlink, "si_et_20.ndx", "DISC", ["si_et_20.ndx (disc 11-13.1)"], (4, 0)),
    (add, "si_et_20.ndx", "AUDIO", ["1 of 5", "44xc0201", "line 8"], (4, 4)),
    (Path.exists, "*", "COUNT", ["train_si284 has 12 utt", "37416"], (4, 4)),
]


@pytest.mark.parametrize("break_it, name, code, words, left", PARTIAL)
def test_what_is_missing_is_named(tree, caplog, break_it, name, code, words, left):
    roots = tree()
    break_it(one(name))
    said = "--allow_partial true", *words
    run = functools.partial(prepare, roots, "lists", allow_partial=False)
    refused(run, f"E_WSJ_{code}", *said)
    assert not Path("data").exists()
    corpus = wsj.write_lists(*roots, Path("data"), allow_partial=True)
    assert all(word in caplog.text for word in (f"W_WSJ_{code}", *words))
    sizes = tuple(len(corpus.sets.get(s, ())) for s in wsj.SETS)
    assert sizes == (6, 12, *left)


def test_the_right_counts_are_no_error(tree, monkeypatch):
    counts = {"train_si84": 6, "train_si284": 12, "test_dev93": 4, "test_eval92": 4}
    monkeypatch.setattr(wsj, "COUNTS", counts)
    prepare(tree(), "lists", allow_partial=False)


def test_wsj0_alone_can_be_prepared(tree):
    roots = tree()
    alone = roots[0], ""
    words = "E_WSJ_ROOT", "WSJ1 is not set"
    refused(lambda: prepare(alone, allow_partial=False), *words, status=MISSING)
    prepare(alone)
    assert {p.name for p in Path("data").glob("t*")} == {"train_si84", "test_eval92"}
    texts = read_pairs(Path("data/train_si84/text"))
    symbols = Path("data/nlsyms.txt").read_text().splitlines()
    assert symbols == sorted({w for t in texts.values() for w in t.split() if "<" in w})


INDEX_0 = "o/wsj0/doc/indices/train/tr_s_wv1.ndx"
NO_SOUND = {INDEX_0: "11_1_1:wsj0/si_tr_s/01i/01ic0201.wv1\n", "o/elsewhere.wv1": ""}


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    "roots, files, code, parts",
    [
        (("", ""), {}, "E_WSJ_ROOT", ()),
        (("o", "o"), {"o/speech/x": ""}, "E_WSJ_LAYOUT", ("no .ndx ", "hold speech")),
        (("o", "o"), {INDEX_0: ""}, "E_WSJ_LAYOUT", ("no .wv1 files",)),
        (("o", "o"), NO_SOUND, "E_WSJ_LAYOUT", ("no audio for 1 of 1",)),
    ],
)
def test_folders_that_are_no_discs(tree, roots, files, code, parts, partial):
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    run = functools.partial(prepare, roots, allow_partial=partial)
    refused(run, code, *parts, status=MISSING)
    refused(lambda: prepare(roots, job=1), "E_USAGE", status=USAGE)


def test_two_transcripts_of_one_utterance(tree, caplog):
    roots, first = tree(), one("440c0200.dot")
    copy = Path(roots[0]) / "11-4.1/wsj0/transcrp/dots/si_et_20/440/440c0200.dot"
    copy.parent.mkdir(parents=True)
    copy.write_text(first.read_text())
    prepare(roots, "lists")
    assert "two transcripts" not in caplog.text
    copy.write_text("something else (440c0200)\n")
    prepare(roots, "lists")
    assert "W_WSJ_TEXT: 1 utterances have two transcripts" in caplog.text
    text = read_pairs(Path("data/local/wsj/test_eval92/text"))
    assert text["440c0200"] == "SOMETHING ELSE"


INDEX = [
    ("11_1_1:wsj0/si_tr_s/01i/01ic0201.wv1", "11_1_1", "wsj0/si_tr_s/01i/01ic0201"),
    ("11_14_1:  wsj0/si_et_20/440/440c0401", "11_14_1", "wsj0/si_et_20/440/440c0401"),
    ("13-16.1:/WSJ1/SI_DT/4K0/4K0C0301.WV1\r", "13_16_1", "wsj1/si_dt/4k0/4k0c0301"),
    ("wsj0/si_tr_s/01i/01ic0201.wv1", "", ""),
    ("11_1_1:", "", ""),
    ("11_1_1:wsj0/x.wv1", "", ""),
    ("a: b c", "", ""),
]


@pytest.mark.parametrize("line, disc, key", INDEX)
def test_index_lines(tmp_path, line, disc, key):
    path = tmp_path / "a.ndx"
    path.write_text(f";; a comment: with a colon\n;\n\n{line}\n")
    if disc:
        (entry,) = wsj.read_index(path)
        assert (entry.disc, entry.key, entry.utt) == (disc, key, key[-8:])
        assert entry.where.endswith("a.ndx line 4")
    else:
        refused(lambda: wsj.read_index(path), "E_WSJ_INDEX", "a.ndx line 4")


def test_the_named_disc_comes_first_and_a_wrong_one_is_forgiven(tmp_path):
    key = "wsj1/si_et_h1/4oa/4oac0201.wv1"
    index = "13-34.1/wsj1/doc/indices/x.ndx"
    for name in (f"13-32.1/{key}", f"13-33.1/{key}", index):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"13_33_1:{key}\n13_99_1:{key}\n")
    discs = wsj.scan([tmp_path])
    right, wrong = wsj.read_index(tmp_path / index)
    assert "13-33.1" in discs.sound(right).parts and discs.sound(wrong) is not None
    assert discs.names() == {"13_32_1", "13_33_1"}


WORDS = [  # invented input, the output of the script that all recipes use
    (r"Ms\. Lund said \,COMMA the plant .", "MS. LUND SAID ,COMMA THE PLANT"),
    ("[<door_slam] will open [breath>] on *Monday*", "WILL OPEN ON *MONDAY*"),
    ("next [phone_ring/] week [/phone_ring]", "NEXT WEEK"),
    (r"\"DOUBLE-QUOTE Buy J\. R\. --DASH maybe", '"DOUBLE-QUOTE BUY J. R. -DASH MAYBE'),
    ("[loud_breath] Costs [misc_noise]", "<NOISE> COSTS <NOISE>"),
    (r"eight \.POINT two \%PERCENT <and> fell ~", "EIGHT POINT TWO PERCENT AND FELL"),
    ("th[e]- fir(st)- the f:irst one <it's>", "<NOISE> FIR(ST)- THE F:IRST ONE IT'S"),
    (
        r"B\. C\.'s [<cross_talk>] word[door_slam] end",
        "B. C.'S [<CROSS_TALK>] <NOISE> END",
    ),
    ("[door_slam>] [unintelligible] a -DASH b", "<NOISE> A -DASH B"),
    (":COLON (LEFT-PAREN )RIGHT-PAREN", ":COLON (LEFT-PAREN )RIGHT-PAREN"),
    ("* a * [foo-bar] [foo bar] <two-words>", "* A * [FOO-BAR] [FOO BAR] <TWO-WORDS>"),
    ("<Mr.> <*IN*> <*MR.*> ~~", "<MR.> <*IN*> <*MR.*> ~~"),
    ("", ""),
    ("~ . [<x] [x>]", ""),
    ("a.b . c", "A.B C"),  # a dot goes only when it stands alone
    ("[x/] word[x/] wo[/x]rd", "WO[/X]RD"),
    (r"100\%PERCENT \%PERCENT", "100%PERCENT PERCENT"),
    (r"\.POINT x.POINT", "POINT X.POINT"),
    ("a\t b  c ", "A B C"),
    ("--DASH ---DASH", "-DASH ---DASH"),
    ("[é] <é>", "[É] <É>"),  # letters of other alphabets are no mark-up
]


@pytest.mark.parametrize("written, words", WORDS)
def test_words(written, words):
    assert wsj.normalise(written) == words


def test_transcript_files(tmp_path):
    path = tmp_path / "4k0c0300.dot"
    path.write_text(
        "Costs (rose) eight (4k0c0301)\nno blank(4K0C0302)  \r\nnot an id (4k0c03)\n"
        "\n(4k0c0303)\ntext after (4k0c0304) more\n"
    )
    assert wsj.read_dot(path) == {
        "4k0c0301": "Costs (rose) eight",
        "4k0c0302": "no blank",
        "4k0c0303": "",
    }
    path.write_bytes(b"one (4k0c0301)\ntw\xff (4k0c0302)\n")
    refused(lambda: wsj.read_dot(path), "E_UTF8", "dot line 2")
