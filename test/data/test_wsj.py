"""WSJ from made-up discs: all layouts give the same, and what is wrong is named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import wsj_tree  # noqa: E402
from corpora import load  # noqa: E402

from espnet_topdown.data import sphere  # noqa: E402
from espnet_topdown.data.kaldi_dir import read_pairs  # noqa: E402
from espnet_topdown.errors import TopDownError  # noqa: E402

wsj = load("prepare_wsj")
LISTS = ("wav.scp", "text", "utt2spk", "spk2utt")


@pytest.fixture(scope="session")
def description():
    """One corpus for all layouts; its audio is encoded once."""
    return wsj_tree.describe(words=2)


@pytest.fixture
def tree(tmp_path, description):
    """``tree("dash")``: WSJ0 and WSJ1, as strings."""

    def make(layout: str = "dash", name: str = "ldc") -> tuple[str, str]:
        roots = wsj_tree.write_tree(tmp_path / name, layout, description)
        return str(roots[0]), str(roots[1])

    return make


def prepare(roots, folder, step="all", **options):
    options.setdefault("allow_partial", True)
    wsj.run(*roots, output_dir=Path(folder), step=step, **options)


def everything(folder: Path) -> dict[str, bytes]:
    """All that later stages read: lists and audio."""
    names = [f"{s}/{n}" for s in wsj.SETS for n in LISTS] + ["nlsyms.txt"]
    names += [p.relative_to(folder).as_posix() for p in folder.glob("flac/*/*.flac")]
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="session")
def wanted(tmp_path_factory, description):
    """What each layout has to give."""
    folder = tmp_path_factory.mktemp("dash")
    roots = wsj_tree.write_tree(folder / "ldc", "dash", description)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare([str(r) for r in roots], "data")
    return everything(folder / "data")


@pytest.mark.parametrize("layout", wsj_tree.LAYOUTS)
def test_all_layouts_give_the_same(tree, tmp_path, monkeypatch, wanted, layout):
    roots = tree(layout)
    monkeypatch.chdir(tmp_path)
    prepare(roots, "data")
    assert everything(Path("data")) == wanted


def test_what_the_sets_hold(wanted, description):
    text = {s: wanted[f"{s}/text"].decode().splitlines() for s in wsj.SETS}
    assert [len(text[s]) for s in wsj.SETS] == [6, 12, 4, 4]
    assert text["train_si84"] == text["train_si284"][:6]
    assert not any(line.startswith("401") for line in text["train_si284"])
    assert wanted["nlsyms.txt"] == b"<*IN*>\n<*MR.*>\n<NOISE>\n"
    speakers = wanted["test_dev93/spk2utt"].decode().split("\n")
    assert speakers[0] == "4k0 4k0c0200 4k0c0201"
    wav = wanted["test_dev93/wav.scp"].decode().split("\n")
    assert wav[0] == "4k0c0200 data/flac/4k0/4k0c0200.flac"
    assert not any(b"|" in wanted[f"{s}/wav.scp"] for s in wsj.SETS)


def test_the_audio_is_what_was_spoken(wanted, description, tmp_path):
    for u in description.utterances()[:3]:
        path = tmp_path / "a.flac"
        path.write_bytes(wanted[f"flac/{u.utt[:3]}/{u.utt}.flac"])
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == 16000 and np.array_equal(samples, wsj_tree.speak(u.spoken))


def test_one_folder_nested_folders_and_links(tree, tmp_path, monkeypatch, wanted):
    root = Path(tree("mixed")[0]).parent
    (root / "WSJ1" / "again").symlink_to(root)  # a circle
    monkeypatch.chdir(tmp_path)
    prepare((str(root), str(root / "WSJ1")), "data")
    assert everything(Path("data")) == wanted


def test_shards_and_steps_give_the_same(tree, tmp_path, monkeypatch, wanted):
    roots = tree()
    monkeypatch.chdir(tmp_path)
    options = ["--wsj0", roots[0], "--wsj1", roots[1], "--allow-partial", "true"]
    wsj.main([*options, "--step", "lists"])
    for job in range(1, 4):
        wsj.main(["--step", "convert", "--nj", "3", "--job", str(job)])
    wsj.main(["--step", "sets"])
    assert everything(Path("data")) == wanted


def test_conversion_goes_on_where_it_stopped(tree, tmp_path):
    prepare(tree(), tmp_path / "data")
    scp = tmp_path / "data/local/wsj/wav.scp"
    flacs = sorted((tmp_path / "data/flac").glob("*/*.flac"))
    assert wsj.convert(scp, tmp_path / "data") == 0
    flacs[0].unlink()
    flacs[1].write_bytes(b"")  # what a crash of the machine may leave
    soundfile.write(flacs[2], np.zeros(99, np.int16), 16000)
    before = flacs[3].stat().st_mtime_ns
    assert wsj.convert(scp, tmp_path / "data") == 3
    assert flacs[3].stat().st_mtime_ns == before


def one(root: str, pattern: str) -> Path:
    return sorted(Path(root).rglob(pattern))[0]


BAD = [  # a file of the tree, what is done to it, the code, what the message names
    ("4K0C0200.WV1", lambda d: d[:1500], "E_SPHERE_TRUNCATED"),
    ("4K0C0200.WV1", lambda d: d[:2000] + b"\x5a\xa5" + d[2002:], "E_SPHERE"),
    ("4K0C0200.WV1", lambda d: b"RIFF" + d, "E_SPHERE_HEADER"),
    ("4K0C0200.WV1", lambda d: b"", "E_SPHERE_HEADER"),
    ("4K0C0200.WV1", lambda d: d.replace(b"shorten", b"wavpack", 1), "sph2pipe"),
    ("4K0C0200.WV1", lambda d: d.replace(b"-i 16000", b"-i  8000", 1), "8000 Hz"),
]


@pytest.mark.parametrize("name, damage, reason", BAD)
def test_a_bad_file_is_named_and_the_others_are_converted(
    tree, tmp_path, monkeypatch, caplog, name, damage, reason
):
    monkeypatch.setenv("PATH", "")
    roots = tree()
    bad = one(roots[1], name)
    bad.write_bytes(damage(bad.read_bytes()))
    prepare(roots, tmp_path / "data", "lists")
    with pytest.raises(TopDownError, match=r"E_WSJ_CONVERT: 1 of 20 files") as e:
        prepare(roots, tmp_path / "data", "convert")
    assert name in str(e.value) and reason in str(e.value)
    assert name in caplog.text and reason in caplog.text
    assert len(list((tmp_path / "data/flac").glob("*/*.flac"))) == 19
    with pytest.raises(TopDownError, match="E_WSJ_CONVERT: 1 utterances.*4k0c0200"):
        prepare(roots, tmp_path / "data", "sets")
    assert not (tmp_path / "data/test_dev93").exists()


def remove_folder(path: Path) -> None:
    for file in sorted(path.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    path.rmdir()


def no_disc(root: Path) -> None:
    remove_folder(root / "WSJ1" / "13-16.1")


def no_audio(root: Path) -> None:
    one(root, "440c0201.wv1").unlink()


def no_transcript(root: Path) -> None:
    one(root, "440c0200.dot").unlink()


def no_line(root: Path) -> None:
    path = one(root, "440c0200.dot")
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def no_index(root: Path) -> None:
    one(root, "si_et_20.ndx").unlink()


def stray_line(root: Path) -> None:
    with one(root, "si_et_20.ndx").open("a") as f:
        f.write("11_14_1: wsj0/si_et_20/44x/44xc0201\n")


PARTIAL = [  # what is wrong; code; words of the message; utterances left in each set
    (no_disc, "DISC", ["test_dev93: disc 13-16.1 is missing", "4 of 4"], [6, 12, 0, 4]),
    (no_audio, "AUDIO", ["disc 11-14.1, no", "440c0201.wv1", "line 5"], [6, 12, 4, 3]),
    (no_transcript, "TEXT", ["for 2 of 4 utt", "440c0200, 440c02"], [6, 12, 4, 2]),
    (no_line, "TEXT", ["for 1 of 4 utterances, e.g. 440c0201"], [6, 12, 4, 3]),
    (no_index, "DISC", ["nvp/si_et_20.ndx (disc 11-13.1)"], [6, 12, 4, 0]),
    (stray_line, "AUDIO", ["1 of 5", "44xc0201", "line 8"], [6, 12, 4, 4]),
    (lambda root: None, "COUNT", ["train_si284 has 12 utt", "37416"], [6, 12, 4, 4]),
]


@pytest.mark.parametrize("break_it, code, words, left", PARTIAL)
def test_what_is_missing_is_named(
    tree, tmp_path, caplog, monkeypatch, break_it, code, words, left
):
    roots = tree()
    break_it(tmp_path / "ldc")
    with pytest.raises(TopDownError, match=f"^E_WSJ_{code}: ") as e:
        wsj.write_lists(*roots, tmp_path / "data")
    assert "--allow_partial true" in str(e.value)
    assert not (tmp_path / "data").exists()
    corpus = wsj.write_lists(*roots, tmp_path / "data", allow_partial=True)
    for word in words:
        assert word in str(e.value) and word in caplog.text
    assert f"W_WSJ_{code}" in caplog.text
    assert [len(corpus.sets.get(s, ())) for s in wsj.SETS] == left


def test_the_right_counts_are_no_error(tree, tmp_path, monkeypatch):
    found = {"train_si84": 6, "train_si284": 12, "test_dev93": 4, "test_eval92": 4}
    monkeypatch.setattr(wsj, "COUNTS", found)
    prepare(tree(), tmp_path / "data", "lists", allow_partial=False)


def test_wsj0_alone_can_be_prepared(tree, tmp_path):
    roots = tree()
    with pytest.raises(TopDownError, match="E_WSJ_ROOT: WSJ1 is not set"):
        wsj.write_lists(roots[0], "", tmp_path)
    corpus = wsj.write_lists(roots[0], "", tmp_path / "data", allow_partial=True)
    assert list(corpus.sets) == ["train_si84", "test_eval92"]
    prepare((roots[0], ""), tmp_path / "data")
    assert not (tmp_path / "data/train_si284").exists()
    texts = read_pairs(tmp_path / "data/train_si84/text")
    symbols = (tmp_path / "data/nlsyms.txt").read_text().splitlines()
    assert symbols == sorted({w for t in texts.values() for w in t.split() if "<" in w})


def test_roots_that_are_not_there(tmp_path):
    for partial in (False, True):
        with pytest.raises(TopDownError, match="E_WSJ_ROOT"):
            wsj.write_lists("", "", tmp_path, partial)
        with pytest.raises(TopDownError, match="E_WSJ_ROOT: WSJ0 is /none/here"):
            wsj.write_lists("/none/here", str(tmp_path), tmp_path, partial)


def test_job_needs_a_step(tmp_path):
    with pytest.raises(TopDownError, match="E_USAGE"):
        wsj.run("a", "b", tmp_path, job=1)


def test_two_transcripts_of_one_utterance(tree, tmp_path, caplog):
    roots = tree()
    known = one(roots[0], "440c0200.dot")
    copy = Path(roots[0]) / "11-4.1/wsj0/transcrp/dots/si_et_20/440/440c0200.dot"
    copy.parent.mkdir(parents=True)
    copy.write_text(known.read_text())
    wsj.write_lists(*roots, tmp_path / "data", allow_partial=True)
    assert "two transcripts" not in caplog.text
    copy.write_text("something else (440c0200)\n")
    wsj.write_lists(*roots, tmp_path / "data", allow_partial=True)
    assert "W_WSJ_TEXT: 1 utterances have two transcripts" in caplog.text
    text = read_pairs(tmp_path / "data/local/wsj/test_eval92/text")
    assert text["440c0200"] == "SOMETHING ELSE"


def test_the_tree_has_all_codings(tree):
    roots = tree()
    found = {
        str(sphere.read_header(p).fields["sample_coding"])
        for p in Path(roots[0]).rglob("*.wv1")
    }
    assert found == {f"pcm,embedded-shorten-{v}" for v in ("v1.09", "v1.1", "v2.00")}


ESPEAK = """#!{python}
import sys, wave
with wave.open(sys.argv[sys.argv.index("-w") + 1], "wb") as f:
    f.setparams((1, 2, 22050, 0, "NONE", ""))
    f.writeframes(bytes(2) * 22050 * len(sys.argv[-1].split()))
"""


def test_the_tree_speaks_with_espeak_ng_where_it_is(tmp_path, capsys, monkeypatch):
    """A program of that name that says a second of silence for each word."""
    program = tmp_path / "espeak-ng"
    program.write_text(ESPEAK.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    words = ["tree", "--voice", "espeak-ng", "--utterances", "2", "--words", "3"]
    monkeypatch.setattr(sys, "argv", [*words, str(tmp_path / "ldc")])
    wsj_tree.main()
    path = one(str(tmp_path / "ldc"), "440c0200.wv1")
    samples, rate = sphere.read(path)
    assert (len(samples), rate) == (3 * 16000, 16000)
