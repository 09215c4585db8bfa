"""Switchboard from made-up discs: all layouts give the same, what is wrong is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import swbd_tree  # noqa: E402
from corpora import load  # noqa: E402
from swbd_prepared import FILES, PEM, STM, maker, prepare  # noqa: E402

from espnet_topdown.data import audio, sphere  # noqa: E402
from espnet_topdown.data.kaldi_dir import read_pairs  # noqa: E402
from espnet_topdown.errors import TopDownError  # noqa: E402

swbd = load("prepare_swbd")
LISTS = ("wav.scp", "segments", "text", "utt2spk", "spk2utt")
TRANS = "sw2001A-ms98-a-trans.text"
GOLDEN = """sw2001A-ms98-a-0001 0.000000 0.977625 [silence]
sw2001A-ms98-a-0002 0.977625 11.561375 hi um [laughter-yeah] i'd w[ould]- about MTV
sw2001A-ms98-a-0003 11.561375 14.210000 [noise] them_1 {alrighty} [tranged/changed] \
<b_aside> hold on <e_aside>
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """``tree("flat", {name: bytes or None})``: a copy of the corpora, changed."""
    monkeypatch.chdir(tmp_path)
    return maker(tmp_path)


def everything(folder):
    names = [f"{s}/{n}" for s in swbd.SETS for n in LISTS]
    names += [p.relative_to(folder).as_posix() for p in folder.rglob("*.flac")]
    return {n: (folder / n).read_bytes() for n in [*names, "eval2000/stm"]}


@pytest.fixture(scope="session")
def wanted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swbd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        root = swbd_tree.write_tree(folder / "ldc", "split", FILES)
        return everything(prepare(str(root)))


@pytest.mark.parametrize("layout", [x for x in swbd_tree.LAYOUTS if x != "split"])
def test_all_layouts_give_the_same(tree, wanted, layout):
    assert everything(prepare(tree(layout))) == wanted


def test_sets(wanted):
    text = wanted["train_nodup/text"].decode().splitlines()
    dev = wanted["train_dev/text"].decode().splitlines()
    assert len(text) + len(dev) == 12 and dev[0] < text[0]
    speakers = wanted["train_nodup/utt2spk"].decode().split()
    assert all(utt.startswith(spk) for utt, spk in zip(speakers[::2], speakers[1::2]))
    evaluated = dict(
        x.split(" ", 1) for x in wanted["eval2000/text"].decode().splitlines()
    )
    assert evaluated == {
        "en_4001-A_001015-001250": "he is gonna call to- tomorrow",
        "en_4001-A_001300-001429": "th- yeah okay",
        "sw_4001-A_000100-000301": "um-hum i can't say",
    }
    cuts = dict(
        x.split(" ", 1) for x in wanted["eval2000/segments"].decode().splitlines()
    )
    assert cuts["en_4001-A_001300-001429"] == "en_4001-A 12.90 14.39"
    assert wanted["eval2000/stm"].decode().count("(TH-) YEAH  NOT YOU  OKAY") == 1


def test_utterances_and_segments_of_the_transcripts(tree):
    data = prepare(tree("split", {TRANS: GOLDEN.encode()}), step="lists")
    texts = read_pairs(data / "local/swbd/train/text")
    cuts = read_pairs(data / "local/swbd/train/segments")
    mine = {u: t for u, t in texts.items() if u.startswith("sw02001-A")}
    assert mine == {
        "sw02001-A_000098-001156": "hi um yeah i'd w- about m._t._v.",
        "sw02001-A_001156-001421": "[noise] them alrighty tranged hold on",
    }
    assert cuts["sw02001-A_000098-001156"] == "sw02001-A 0.98 11.56"
    problems = []
    path = Path("x.text")
    path.write_text("sw2001B-ms98-a-0002 0.005000 0.995000 uh-huh\n")
    (line,) = swbd.read_transcript(path, "2001B", problems)
    assert (line.start, line.end, problems) == (1, 100, [])


def test_audio_is_what_the_disc_has(tree, wanted):
    """Each side in its own file, also where the header counts both sides."""
    root = Path(tree())
    for name in ("sw02001", "sw02002"):
        samples, rate = sphere.read(next(root.rglob(f"{name}.sph")))
        for channel, side in enumerate("AB"):
            wide = audio.resample(samples[:, channel], rate, 16000)
            exact = np.clip(np.rint(wide * 32768), -32768, 32767).astype(np.int16)
            Path("x.flac").write_bytes(wanted[f"flac/sw020/{name}-{side}.flac"])
            have, have_rate = soundfile.read("x.flac", dtype="int16")
            assert have_rate == 16000 and np.array_equal(have, exact)
            assert abs(len(have) - 2 * len(samples)) <= 1


def test_a_header_that_counts_too_few(tree):
    """The length is that of the file."""
    n = (len(FILES["sw02001.sph"]) - 1024) // 2
    old, new = (f"sample_count -i {x}\n".encode() for x in (n, n // 2))
    head, _, rest = FILES["sw02001.sph"].partition(old)
    short = (head + new + rest[:900]).partition(b"end_head\n")
    data = (short[0] + short[1]).ljust(1024) + FILES["sw02001.sph"][1024:]
    folder = prepare(tree("flat", {"sw02001.sph": data}))
    have, _ = soundfile.read(folder / "flac/sw020/sw02001-B.flac", dtype="int16")
    assert abs(len(have) - 2 * n) <= 1
    Path("good.sph").write_bytes(FILES["sw02001.sph"])
    good, _ = sphere.read(Path("good.sph"))
    exact = audio.resample(good[:, 1], 8000, 16000)
    exact = np.clip(np.rint(exact * 32768), -32768, 32767).astype(np.int16)
    assert np.array_equal(have, exact)


def test_conversion_goes_on_where_it_stopped(tree):
    root = tree("flat")
    data = prepare(root)
    files = sorted(data.rglob("*.flac"))
    before = {p: p.stat().st_mtime_ns for p in files}
    files[0].unlink()
    files[3].write_bytes(files[3].read_bytes()[:50])
    sounds = data / "local/swbd/sounds"
    assert [swbd.convert(sounds, data, 2, j) for j in (1, 2)] in ([2, 0], [1, 1])
    after = {p for p in files if p.stat().st_mtime_ns == before[p]}
    assert len(files) - len(after) == 4  # both sides of a conversation


def test_a_bad_sound_stops_no_other(tree):
    bad = FILES["sw02001.sph"][:2000]
    with pytest.raises(TopDownError) as e:
        prepare(tree("flat", {"sw02001.sph": bad}))
    assert e.value.code == "E_SWBD_CONVERT" and "sw02001.sph" in str(e.value)
    assert len(list(Path("data").rglob("*.flac"))) == 6


def swapped(name, old, new):
    data = FILES[name].decode()
    assert old in data
    return {name: data.replace(old, new, 1).encode()}


WRONG = [
    ({"sw2001B-ms98-a-trans.text": None}, "E_SWBD_SIDE", ["2001B", TRANS]),
    ({"sw02001.sph": None}, "E_SWBD_AUDIO", [TRANS]),
    ({TRANS: None, "sw2001B-ms98-a-trans.text": None}, "E_SWBD_TEXT", ["sw02001.sph"]),
    ({"en_4001.sph": None}, "E_EVAL2000_COUNT", ["2 sides with audio, not 80"]),
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
def test_what_is_wrong_is_named(tree, changes, code, parts, monkeypatch):
    """Code, file, line and remedy, where the counts are those of a complete copy."""
    monkeypatch.setattr(swbd, "CONVERSATIONS", (2, 2))
    monkeypatch.setattr(swbd, "EVAL_SIDES", 4 if code != "E_EVAL2000_COUNT" else 80)
    monkeypatch.setattr(swbd, "EVAL_SEGMENTS", 4)
    with pytest.raises(TopDownError) as e:
        prepare(tree("split", changes), step="lists", allow_partial=False)
    text = str(e.value)
    assert (e.value.code, e.value.status) == (code, 65) and "Do: " in text, text
    assert all(part in text for part in parts), text
    assert not Path("data").exists()


def test_audio_of_another_rate(tree):
    data = FILES["sw02001.sph"].replace(b"sample_rate -i 8000", b"sample_rate -i 9000")
    with pytest.raises(TopDownError, match="2 channels at 9000 Hz"):
        prepare(tree("split", {"sw02001.sph": data}))


def test_steps_out_of_order(tree):
    with pytest.raises(TopDownError, match="E_USAGE: --job with --step sets"):
        prepare(tree(), step="sets", job=1)
    prepare(tree(), step="lists")
    with pytest.raises(TopDownError, match="E_SWBD_CONVERT: .* not converted"):
        prepare("", step="sets")


def test_too_few_utterances_for_a_validation_set(tree, monkeypatch):
    monkeypatch.setattr(swbd, "CONVERSATIONS", (2, 2))
    monkeypatch.setattr(swbd, "EVAL_SIDES", 4)
    monkeypatch.setattr(swbd, "EVAL_SEGMENTS", 4)
    prepare(tree(), step="lists", allow_partial=False)
    with pytest.raises(TopDownError, match="E_SWBD_COUNT: [0-9]+ utterances in all"):
        prepare("", step="sets")


def test_counts_of_the_real_corpus(tree):
    with pytest.raises(TopDownError) as e:
        prepare(tree(), allow_partial=False)
    text = str(e.value)
    for part in (
        "2435 or 2438",
        "4 sides with audio, not 80",
        "4 scored segments, not 4459",
    ):
        assert part in text, text


def test_warnings_of_a_partial_copy(tree, caplog):
    prepare(tree("split", {"en_4001.sph": None, "sw02002.sph": None}))
    for code in ("W_SWBD_AUDIO", "W_SWBD_COUNT", "W_EVAL2000_COUNT"):
        assert code in caplog.text
    assert "no audio for 1 sides, e.g. en_4001-A" in caplog.text
    assert len(read_pairs(Path("data/eval2000/text"))) == 1
    stm = Path("data/eval2000/stm").read_text()  # else what is missing would be errors
    assert "\nsw_4001 A" in stm and "\nen_4001" not in stm and ";; LABEL" in stm


def test_segments_behind_the_audio(tree):
    long = FILES[TRANS].decode() + "sw2001A-ms98-a-0009 99.0 99.9 yeah so\n"
    with pytest.raises(TopDownError) as e:
        prepare(tree("split", {TRANS: long.encode()}))
    assert e.value.code == "E_SWBD_TIMES" and "sw02001-A_009900-009990" in str(e.value)


def test_command(tree):
    assert swbd.main(["--swbd", tree(), "--allow_partial", "true"]) in (None, 0)
    assert len(read_pairs(Path("data/train_dev/text"))) == 1
