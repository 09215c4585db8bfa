"""The recipe on a game's voices: sources, the format of its file, sets, choices.

The game is made up (``queen_game``), but for one test with Debian's package.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import soundfile
from corpora import check_foreign, load, refused
from launching import wait_for
from packages import deb, fake_apt_get
from queen_game import dialogue, game, mp3

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import MISSING, USAGE, TopDownError

ASR1 = Path(__file__).resolve().parents[2] / "egs2" / "queen_topdown" / "asr1"
DEB = "flight-of-the-amazon-queen_2.0-1_all.deb"  # a version that nobody has seen
pytestmark = pytest.mark.recipe

FAST = "no: speech is too fast or too slow for its text"
OTHER, TWO = "no: its voice files are not its texts", "no: two texts for one voice"
LINES = [  # dialogue, Joe or other, number, text; seconds of voices; words, or why no
    ("ANN", "J", 1, "*03Hello there, my friend!*02", {2: 1.5}, "hello there my friend"),
    (
        "ANN",
        "J",
        2,
        "*XY10(1,2)*FLWhere?*00*01I saw him 'ere.",
        {3: 0.8, 5: 1.2},
        "where i saw him 'ere",
    ),
    ("ANN", "J", -1, "This is not spoken.", {}, ""),
    ("ANN", "P", 1, "It is half-past nine.*02", {1: 1.5}, "it is half past nine"),
    ("ANN", "P", 2, "It is 9 o'clock.", {1: 1.5}, "no: numeral of unknown reading"),
    ("ANN", "P", 3, "<gulp> That was good.", {1: 1.5}, "no: a sound is described"),
    ("ANN", "P", 4, "Oh.*02", {1: 1.5}, "no: too few letters"),
    ("ANN", "P", 5, "One voice has gone.*02It is the second.", {1: 1.4}, OTHER),
    ("ANN", "P", 6, "One text for this voice.", {1: 1.5}, TWO),
    ("ANN", "P", 6, "Another text for it.", {1: 1.5}, TWO),
    ("ANN", "P", 7, "Nobody says so many words so quickly.", {1: 0.9}, FAST),
    ("ANN", "P", 8, "A short one.", {1: 0.5}, "no: too short or too long"),
    ("ANN", "P", 9, "It is half-past nine!", {1: 1.5}, "it is half past nine"),
    ("ANN", "P", 10, "Has no voice at all.", {}, ""),
    ("ANN", "P", 11, "*?What is this?", {1: 1.5}, "no: unknown command"),
    ("ANN", "P", 12, "Caf\xe9 Central, please.", {1: 1.5}, "no: not an English letter"),
    ("APE", "P", 1, "Whoop, unga!", {1: 1.5}, "no: no English"),
    ("APE", "P", 2, "I am no gorilla.", {1: 1.5}, "i am no gorilla"),
    ("DOG", "J", 1, "Woof, woof, you say?", {1: 1.5}, "woof woof you say"),
    ("DOG", "P", 1, "Woof, woof!", {1: 1.5}, "no: no English"),
]
KEYS = {"ANN": 1, "APE": 3, "DOG": 14}
REMARKS = b"It is half past nine*02\r\nShe left in a hurry*24\r\n"
VOICES = {"JOE00411": 1.6, "JOE00421": 1.7, "CINTR001": 1.0}  # of a cut scene: no text
USED = {"joe-JOE0041": "it is half past nine", "joe-JOE0042": "she left in a hurry"}
LEFT_OUT: Counter[str] = Counter()
for bank, letter, number, _, voices, outcome in LINES:
    key = f"{KEYS[bank]:02d}{number:04X}{letter}"
    VOICES.update({f"{key}{part}": seconds for part, seconds in voices.items()})
    if outcome.startswith("no: "):
        LEFT_OUT[outcome[4:]] += 1
    elif outcome:
        USED[f"{'joe' if letter == 'J' else bank.lower()}-{key}"] = outcome


def spoken(name: str, levels: int = 1) -> bytes:
    """A dialogue of the game."""
    joe, other = (
        [(line[2], line[3]) for line in LINES if line[:2] == (name, letter)]
        for letter in "JP"
    )
    return dialogue(KEYS[name], joe, other, levels)


def entries() -> dict[str, bytes]:
    """What the made-up game holds."""
    return {
        "ANN1.DOG": spoken("ANN", levels=-2),
        "APE.DOG": spoken("APE"),
        "DOG.DOG": spoken("DOG"),
        "QUEEN2.JAS": REMARKS,
        "ROOM.PCX": b"a picture",
        **{f"{name}.SB": mp3(seconds) for name, seconds in VOICES.items()},
    }


GAME = game(entries())


@pytest.fixture
def queen(tmp_path, monkeypatch):
    """The recipe's program, in an empty folder, for the made-up game."""
    module = load("prepare_queen")
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(GAME).hexdigest())
    monkeypatch.setattr(module, "DEV", 1)
    monkeypatch.setattr(module, "TEST", 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nothing")  # no apt-get unless a test makes one
    (tmp_path / "downloads").mkdir()
    return module


def prepare(queen, data: bytes | None = None, **options):
    """Make the sets; ``data`` is a game whose digest is the right one."""
    if data is not None:
        queen.SHA256 = hashlib.sha256(data).hexdigest()
        Path("downloads", "queen.1c").write_bytes(data)
    usual = {"source": "local", "url": "http://127.0.0.1:9/q.deb", "train_minutes": 0}
    return queen.prepare(Path("downloads"), Path("data"), **{**usual, **options})


def texts(*names: str) -> dict[str, str]:
    """The texts of these sets."""
    found: dict[str, str] = {}
    for name in names:
        found.update(read_pairs(Path("data", name, "text")))
    return found


def test_lines_get_their_voices_and_the_rest_a_reason(queen):
    summary = prepare(queen, GAME)
    assert texts("train", "dev", "test") == USED
    assert summary["left_out"] == LEFT_OUT
    for name in ("train", "dev", "test"):
        wavs = read_pairs(Path("data", name, "wav.scp"))
        assert set(wavs) == set(texts(name))
        for utt, path in wavs.items():
            assert Path(path).parts[0] == "downloads"
            speaker = read_pairs(Path("data", name, "utt2spk"))[utt]
            assert utt.startswith(f"{speaker}-")
    files = sorted(Path("downloads/flight-of-the-amazon-queen").iterdir())
    assert len(files) == len(USED)
    info = soundfile.info(str(next(f for f in files if f.stem == "010002J")))
    assert (info.samplerate, info.channels, info.subtype) == (11025, 1, "PCM_16")
    assert 2.0 <= info.duration < 2.4  # both voices; MP3 fills up its frames


def test_sets_that_are_somebody_elses(queen):
    names = ("data/test/wav.scp", "data/dev/text")
    check_foreign(lambda: prepare(queen, GAME), *names)


def test_equal_texts_are_in_one_set_and_figures_are_of_the_sets(queen, monkeypatch):
    monkeypatch.setattr(queen, "first_minutes", lambda train, minutes: train[:1])
    figures = prepare(queen, GAME, train_minutes=30)["sets"]
    assert texts("train_30min").items() <= texts("train").items()
    assert figures.pop("train_30min")["utterances"] == len(texts("train_30min")) == 1
    sets = [set(texts(name).values()) for name in figures]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 6
    for name, has in figures.items():
        assert has["utterances"] == len(texts(name))
        assert has["characters"] == sum(map(len, texts(name).values()))
        wavs = read_pairs(Path("data", name, "wav.scp")).values()
        hours = sum(soundfile.info(path).duration for path in wavs) / 3600
        of_speakers = sum(has["hours_of_speaker"].values())
        assert hours == pytest.approx(has["hours"], abs=0.001)
        assert hours == pytest.approx(of_speakers, abs=0.002) and hours > 0


@pytest.mark.parametrize("minutes, n", [(1, 12), (2, 24)])
def test_a_longer_part_of_training_holds_the_shorter(queen, minutes, n):
    made = [
        queen.Utterance(f"a-{i}", "a", f"text {i % 39}", Path("x"), 5.0)
        for i in range(40)
    ]
    part = {u.utt for u in queen.first_minutes(made, minutes)}
    assert len(part) == n
    assert part == {u.utt for u in queen.first_minutes(made[::-1], minutes)}
    assert part < {u.utt for u in queen.first_minutes(made, 3)}


@pytest.mark.parametrize("minutes", [-1, 4, 10**9])
def test_more_minutes_than_there_are(queen, minutes):
    made = [queen.Utterance("a-1", "a", "text", Path("x"), 200.0)]
    there_are = "E_RANGE", " there are 3.3"
    refused(lambda: queen.first_minutes(made, minutes), *there_are, status=USAGE)


def put(offset: int, code: str, value: object) -> bytes:
    """The made-up game with one field changed."""
    data = bytearray(GAME)
    struct.pack_into(f">{code}", data, offset, value)
    return bytes(data)


def of(name: str, part: bytes) -> bytes:
    """The made-up game with another entry of this name."""
    return game({**entries(), name: part})


FIRST = 15 + 12  # where the first entry's number of a file is
DOG = next(i for i in range(len(GAME)) if GAME.startswith(b"AmBk", i))
LINE = DOG + 20 + 32 + 96 * 2  # Joe's first
JAS = GAME.index(REMARKS)
SB = 15 + 21 * len(entries())  # the first voice
BAD = {
    "empty": (b"", "byte 0: the file does not begin with QTBL"),
    "a page": (b"<html>not found</html>", "byte 0: "),
    "German": (game(entries(), b"CGM10\0"), "byte 4: release 'CGM10', need 'CEM10'"),
    "on floppies": (game(entries(), b"PEM10\0"), "byte 4: release 'PEM10'"),
    "voices not packed": (game(entries(), coding=0), "byte 10: voices coded as 000000"),
    "cut in an entry's line": (GAME[:30], "byte 32: the file ends inside a field"),
    "cut in the head": (GAME[:14], "byte 13: the file ends inside a field"),
    "cut in the table": (GAME[:40], "byte 32: 010001J2.SB ends at"),
    "cut in an entry": (GAME[:-1], f"the file at {len(GAME) - 1}"),
    "longer": (GAME + b"x", f"byte {len(GAME)}: 1 bytes after the last entry"),
    "a name twice": (put(36, "11s", b"010001J2.SB"), "byte 36: '010001J2.SB' is not"),
    "a path": (put(15, "12s", b"../../x.SB"), "byte 15: '../../x.SB' is not a new"),
    "file 2": (put(FIRST, "B", 2), f"byte {FIRST}: 010001J2.SB is in file 2"),
    "offset": (put(FIRST + 1, "I", 7), f"byte {FIRST + 1}: 010001J2.SB begins at 7"),
    "size": (put(FIRST + 5, "I", 2**32 - 1), f"byte {FIRST + 5}: 010001J2.SB ends"),
    "no bank": (put(DOG, "4s", b"AmIc"), f"byte {DOG}: ANN1.DOG is not a bank"),
    "bank's size": (put(DOG + 8, "I", 99), f"byte {DOG}: ANN1.DOG is not a bank"),
    "tiny bank": (of("ANN1.DOG", b"AmBk"), f"byte {DOG + 8}: the file ends inside"),
    "key": (put(DOG + 24, "h", 100), f"byte {DOG + 24}: ANN1.DOG has key 100"),
    "number": (put(DOG + 26, "h", -1), f"byte {DOG + 24}: ANN1.DOG has key 1 and -1"),
    "too few": (put(DOG + 26, "h", 2), "lines of ANN1.DOG end here, need"),
    "too many": (put(DOG + 28, "h", 99), "byte "),
    "levels": (put(DOG + 20, "h", 99), "byte "),
    "begin": (put(DOG + 42, "h", -5), "lines of ANN1.DOG end here, need"),
    "end": (put(DOG + 44, "h", 5), "lines of ANN1.DOG end here, need"),
    "no zero": (put(LINE, "h", 1), f"byte {LINE}: ANN1.DOG has no line here"),
    "length": (put(LINE + 4, "B", 9), f"byte {LINE}: ANN1.DOG has no line here"),
    "remarks": (put(JAS + len(REMARKS) - 1, "B", 65), "does not end with a line end"),
    "no voice": (of("010001J2.SB", b"noise " * 99), f"byte {SB}: 010001J2.SB cannot"),
    "rate": (of("010001J2.SB", mp3(1.5, 22050)), "need 11025 Hz and 1 channel"),
    "stereo": (of("010001J2.SB", mp3(1.5, channels=2)), "11025 Hz, 2 channels, need"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_not_the_game(queen, name):
    data, says = BAD[name]
    refused(lambda: prepare(queen, data), "E_DATA", "queen.1c byte ", says)
    assert not Path("data").exists()


def test_any_changed_byte_is_read_or_an_error_of_ours(queen):
    """Not only the fields that somebody thought of."""
    dialogue_of = DOG + len(entries()["ANN1.DOG"])
    found = 0
    for at in [*range(SB), *range(DOG, dialogue_of)]:
        changed = put(at, "B", GAME[at] ^ 0xFF)
        try:
            queen.read_script(changed, queen.read_table(changed))
        except TopDownError as e:
            assert e.code == "E_DATA"
            found += 1
    assert found > 400


MADE = deb({"./usr/share/scummvm/x/queen.1c": GAME})
URL = f"http://127.0.0.1/pool/{DEB.split('_')[0]}_3_all.deb"


@pytest.mark.parametrize("source", ["local", "auto", "apt", "http"])
def test_sources(queen, source, tmp_path, monkeypatch):
    def fetch(url, target):
        assert url == URL and target.name.endswith("_3_all.deb")
        target.write_bytes(MADE)

    monkeypatch.setattr(queen, "http_download", fetch)
    where = Path("downloads" if source in ("local", "auto") else ".")
    if source == "local":
        (where / "queen.1c").write_bytes(GAME)
    else:
        (where / DEB).write_bytes(MADE)
    if source == "apt":
        package = DEB.split("_")[0]
        fake_apt_get(tmp_path, f"[ $2 = {package} ] && cp '{tmp_path}/{DEB}' .")
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    prepare(queen, source=source, url=URL)
    assert texts("train", "dev", "test") == USED


def test_nothing_can_be_fetched(queen):
    parts = ("has neither queen.1c nor", "no apt-get", "127.0.0.1:9", "put queen")
    refused(lambda: prepare(queen, source="auto"), "E_DOWNLOAD", *parts, status=MISSING)


@pytest.mark.parametrize(
    "name, data, code",
    [
        ("queen.1c", put(SB + 9, "B", GAME[SB + 9] ^ 1), "E_DIGEST"),
        (DEB, deb({"x/queen.1c": put(JAS, "B", 66)}), "E_DIGEST"),
        (DEB, deb({"x/queen.1c": GAME})[:-60], "E_ARCHIVE"),
        (DEB, deb({"x/readme": b"x"}), "E_ARCHIVE"),
    ],
    ids=["a voice", "a text", "cut package", "no game in it"],
)
def test_changed_archives(queen, name, data, code):
    Path("downloads", name).write_bytes(data)
    refused(lambda: prepare(queen), code, f"downloads/{name}")
    assert not Path("data").exists()


TRAINS = """#!/usr/bin/env bash
trap 'echo saved >>said; exit 143' TERM
echo started >>said
sleep 30 & wait
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_experiment_and_its_training(tmp_path, number):
    asr1 = tmp_path / "egs2" / "queen_topdown" / "asr1"
    (asr1 / "dump/raw/train").mkdir(parents=True)
    shutil.copy(ASR1 / "experiment.sh", asr1)
    (asr1 / "run.sh").write_text(TRAINS)
    (asr1 / "run.sh").chmod(0o755)
    queue = subprocess.Popen([asr1 / "experiment.sh", "1"], start_new_session=True)
    try:
        wait_for(asr1 / "said")
        queue.send_signal(number)
        assert queue.wait(10) == 143
        assert (asr1 / "said").read_text() == "started\nsaved\n", "no other seed"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(queue.pid, signal.SIGKILL)  # the sleep of run.sh


@pytest.mark.espnet
def test_what_freezing_changes_is_measured(shared, monkeypatch, capsys, tmp_path):
    """On ESPnet's own experiment, which keeps its epochs and its log."""
    monkeypatch.chdir(shared / "espnet_mini_an4")
    (exp,) = Path("exp").glob("asr_train_*")
    sets = ["--dev", "dump/raw/train_dev", "--train", "dump/raw/train_nodev"]
    load("why").main([str(exp), *sets, "--figure", str(tmp_path / "why.svg")])
    (epoch,) = capsys.readouterr().out.splitlines()
    _, number, blank_percent, value, *_ = epoch.split("\t")
    assert number == "1" and 0 <= float(blank_percent) <= 100 and float(value) > 0
    assert "blank frames" in (tmp_path / "why.svg").read_text()


def test_the_contrasts_are_those_of_the_page(capsys):
    """Computed again from the errors by utterance that are kept."""
    contrasts = load("contrasts")
    contrasts.main([])
    page = (contrasts.RESULTS.parent / "queen.md").read_text()
    for line in capsys.readouterr().out.splitlines():
        assert line in page
    assert contrasts.holm([0.5, 0.01, 0.04, 0.03]) == [0.5, 0.04, 0.09, 0.09]
