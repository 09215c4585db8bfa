"""WSJ from made-up discs: all layouts give the same, and what is wrong is named.

What the sets hold is in test/golden (``data``), by way of local/data.sh.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import wsj_tree
from corpora import check_foreign, load

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import TopDownError

wsj = load("prepare_wsj")
COUNTS = {"train_si84": 6, "train_si284": 12, "test_dev93": 4, "test_eval92": 4}


@pytest.fixture(scope="session")
def description():
    """One corpus for all layouts; its audio is encoded once."""
    return wsj_tree.describe(words=2)


@pytest.fixture
def tree(tmp_path, description, monkeypatch):
    """``tree("dash")``: WSJ0 and WSJ1, as strings; the current folder is empty."""
    monkeypatch.chdir(tmp_path)

    def make(layout: str = "dash") -> tuple[str, str]:
        roots = wsj_tree.write_tree(tmp_path / "ldc", layout, description)
        return str(roots[0]), str(roots[1])

    return make


def prepare(roots, step="all", **options) -> dict[str, bytes]:
    """All that later stages read: lists and audio."""
    options.setdefault("allow_partial", True)
    wsj.run(*roots, step=step, **options)
    files = (p for p in Path("data").rglob("*") if p.is_file())
    return {str(p): p.read_bytes() for p in files if p.parts[1] != "local"}


@pytest.fixture(scope="session")
def wanted(tmp_path_factory, description):
    """What each layout has to give."""
    folder = tmp_path_factory.mktemp("dash")
    roots = wsj_tree.write_tree(folder / "ldc", "dash", description)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return prepare(map(str, roots))


def test_all_layouts_give_the_same(tree, wanted, tmp_path):
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
    wsj.main(["--wsj0", roots[0], "--wsj1", roots[1], "--allow-partial", "true"]
             + ["--step", "lists"])  # fmt: skip
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
    (lambda d: d[:2000] + b"\x5a\xa5" + d[2002:], "E_SPHERE"),
    (lambda d: b"RIFF" + d, "E_SPHERE_HEADER"),
    (lambda d: b"", "E_SPHERE_HEADER"),
    (lambda d: d.replace(b"shorten", b"wavpack", 1), "sph2pipe"),
    (lambda d: d.replace(b"-i 16000", b"-i  8000", 1), "8000 Hz"),
]


@pytest.mark.parametrize("damage, reason", BAD)
def test_a_bad_file_is_named_and_the_others_are_converted(
    tree, monkeypatch, caplog, damage, reason
):
    monkeypatch.setenv("PATH", "")
    roots, bad = tree(), one("4K0C0200.WV1")
    bad.write_bytes(damage(bad.read_bytes()))
    prepare(roots, "lists")
    with pytest.raises(TopDownError, match=r"E_WSJ_CONVERT: 1 of 20 files") as e:
        prepare(roots, "convert")
    for text in (str(e.value), caplog.text):
        assert bad.name in text and reason in text
    assert len(list(Path("data/flac").glob("*/*.flac"))) == 19
    with pytest.raises(TopDownError, match="E_WSJ_CONVERT: 1 utterances.*4k0c0200"):
        prepare(roots, "sets")
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
    with pytest.raises(TopDownError, match=f"^E_WSJ_{code}: ") as e:
        prepare(roots, "lists", allow_partial=False)
    assert "--allow_partial true" in str(e.value) and not Path("data").exists()
    corpus = wsj.write_lists(*roots, Path("data"), allow_partial=True)
    assert f"W_WSJ_{code}" in caplog.text
    assert all(word in str(e.value) and word in caplog.text for word in words)
    sizes = tuple(len(corpus.sets.get(s, ())) for s in wsj.SETS)
    assert sizes == (6, 12, *left)


def test_the_right_counts_are_no_error(tree, monkeypatch):
    monkeypatch.setattr(wsj, "COUNTS", COUNTS)
    prepare(tree(), "lists", allow_partial=False)


def test_wsj0_alone_can_be_prepared(tree):
    roots = tree()
    with pytest.raises(TopDownError, match="E_WSJ_ROOT: WSJ1 is not set"):
        prepare((roots[0], ""), allow_partial=False)
    prepare((roots[0], ""))
    assert {p.name for p in Path("data").glob("t*")} == {"train_si84", "test_eval92"}
    texts = read_pairs(Path("data/train_si84/text"))
    symbols = Path("data/nlsyms.txt").read_text().splitlines()
    assert symbols == sorted({w for t in texts.values() for w in t.split() if "<" in w})


INDEX_0 = "o/wsj0/doc/indices/train/tr_s_wv1.ndx"


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    "roots, files, message",
    [
        (("", ""), {}, "E_WSJ_ROOT"),
        (("/none/here", "."), {}, "E_WSJ_ROOT: WSJ0 is /none/here"),
        (("o", "o"), {"o/speech/x": ""}, "E_WSJ_LAYOUT: no .ndx .*hold speech"),
        (("o", "o"), {INDEX_0: ""}, "E_WSJ_LAYOUT: no .wv1 files"),
        (
            ("o", "o"),
            {INDEX_0: "11_1_1:wsj0/si_tr_s/01i/01ic0201.wv1\n", "o/elsewhere.wv1": ""},
            "E_WSJ_LAYOUT: .*no audio for 1 of 1",
        ),
    ],
)
def test_folders_that_are_no_discs(tree, roots, files, message, partial):
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    with pytest.raises(TopDownError, match=message):
        prepare(roots, allow_partial=partial)
    with pytest.raises(TopDownError, match="E_USAGE"):
        prepare(roots, job=1)


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
    (
        "13-16.1:/WSJ1/SI_DT_20/4K0/4K0C0301.WV1\r",
        "13_16_1",
        "wsj1/si_dt_20/4k0/4k0c0301",
    ),
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
        with pytest.raises(TopDownError, match="E_WSJ_INDEX: .*a.ndx line 4"):
            wsj.read_index(path)


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
    (
        r"Ms\. Lund said \,COMMA the plant [<door_slam] will open [breath>] on "
        r"*Monday* next [phone_ring/] week [/phone_ring] .",
        "MS. LUND SAID ,COMMA THE PLANT WILL OPEN ON *MONDAY* NEXT WEEK",
    ),
    (
        r"\"DOUBLE-QUOTE Buy it \,COMMA said J\. R\. --DASH maybe [misc_noise]",
        '"DOUBLE-QUOTE BUY IT ,COMMA SAID J. R. -DASH MAYBE <NOISE>',
    ),
    (
        r"[loud_breath] Costs rose eight \.POINT two \%PERCENT <and> then fell ~",
        "<NOISE> COSTS ROSE EIGHT POINT TWO PERCENT AND THEN FELL",
    ),
    (
        r"th[e]- fir(st)- the f:irst one <it's> B\. B\. C\.'s [<cross_talk>] "
        r"[tongue_click] word[door_slam] end",
        "<NOISE> FIR(ST)- THE F:IRST ONE IT'S B. B. C.'S [<CROSS_TALK>] <NOISE> "
        "<NOISE> END",
    ),
    (
        "[door_slam>] [unintelligible] a -DASH b :COLON c (LEFT-PAREN d )RIGHT-PAREN "
        "'SINGLE-QUOTE e",
        "<NOISE> A -DASH B :COLON C (LEFT-PAREN D )RIGHT-PAREN 'SINGLE-QUOTE E",
    ),
    (
        "* hello * [foo-bar] [foo bar] <two-words> <Mr.> <*IN*> <*MR.*> ~~",
        "* HELLO * [FOO-BAR] [FOO BAR] <TWO-WORDS> <MR.> <*IN*> <*MR.*> ~~",
    ),
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
    with pytest.raises(TopDownError, match=r"E_UTF8: .*dot line 2"):
        wsj.read_dot(path)
