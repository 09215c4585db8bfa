"""Sound that is less, or other, than the lists say: each is refused where it is read.

Stages 2, 3 and 10, decoding and scoring call the same reader; one row a fault.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_topdown.cli.main import main
from espnet_topdown.data import audio
from espnet_topdown.data.audio import Source
from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import TopDownError

FS = 16000
NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, 2 * FS)
# file name -> how soundfile writes it; what is compressed is not exact
KINDS = {
    "u.wav": {},
    "u.flac": {},
    "u.mp3": {},
    "u.sph": {"format": "NIST"},
    "ulaw.wav": {"subtype": "ULAW"},
    "float.wav": {"subtype": "FLOAT"},
    "big.wav": {"endian": "BIG"},
}
# Of which nothing here sees whether they are whole.
REFUSED = {
    **dict.fromkeys(("u.ogg", "u.aiff", "u.au", "u.w64", "u.caf"), {}),
    "rf64.wav": {"format": "RF64"},
    "opus.ogg": {"format": "OGG", "subtype": "OPUS"},
    "u.mp2": {"format": "MP3", "subtype": "MPEG_LAYER_II"},
}
STAGES = {
    "format_wav": "--data_dir d --output_dir o --fs 16k --channel 1",
    "perturb_speed": "--data_dir d --factors 0.9 --channel 1",
    "validate_data": "--train d --fs 16k --full false",
}
ALL, FORMAT_AND_CHECK = tuple(STAGES), ("format_wav", "validate_data")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A data directory of one utterance in the current folder."""
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    Path("d/text").write_text("u1 HELLO WORLD\n")
    Path("d/utt2spk").write_text("u1 u1\n")


def write(file: str, samples=NOISE, **options) -> None:
    soundfile.write(file, samples, FS, **options)
    Path("d/wav.scp").write_text(f"u1 {file}\n")


def write_stereo(segment: str) -> None:
    """300 Hz in the first channel, 900 Hz in the second, two seconds."""
    t = np.arange(2 * FS) / FS
    both = [0.3 * np.sin(2 * np.pi * hertz * t) for hertz in (300, 900)]
    write("u.wav", np.stack(both, 1))
    if segment:
        Path("d/wav.scp").write_text("r1 u.wav\n")
        Path("d/segments").write_text(f"u1 {segment}\n", encoding="utf-8")


def sound_of(utt: str) -> tuple[int, float]:
    """Samples and pitch in Hz of what ``format_wav`` made."""
    samples, _ = soundfile.read(f"o/data/format.1/{utt}.flac")
    return len(samples), np.argmax(abs(np.fft.rfft(samples))) * FS / len(samples)


def said(capsys, verb: str, *options: str) -> str:
    """The message of a command that refuses, or "" of one that runs."""
    try:
        main([verb, *STAGES[verb].split(), *options])
    except SystemExit as e:
        assert e.code == 65
        return capsys.readouterr().err.splitlines()[-1]
    return ""


@pytest.mark.parametrize("share", [0.99, 0.5, 0.1])
@pytest.mark.parametrize("file", KINDS)
def test_a_file_that_was_cut_off(file, share, capsys):
    write(file, **KINDS[file])
    whole = Path(file).read_bytes()
    assert [said(capsys, verb) for verb in FORMAT_AND_CHECK] == ["", ""]
    Path(file).write_bytes(whole[: int(share * len(whole))])
    for verb in ALL:
        message = said(capsys, verb)
        assert message.startswith(("E_WAV_LENGTH", "E_WAV_FORMAT"))
        assert "u1 (d/wav.scp line 1)" in message and file in message


@pytest.mark.parametrize("file", REFUSED)
def test_a_container_that_is_not_looked_into(file, capsys):
    try:
        write(file, **REFUSED[file])
    except soundfile.LibsndfileError:
        pytest.skip("this libsndfile does not write it")
    for message in (said(capsys, verb) for verb in FORMAT_AND_CHECK):
        assert message.startswith("E_WAV_FORMAT: utt u1 (d/wav.scp line 1): " + file)
        assert "Do: convert it to FLAC or WAV" in message


def halved(file: str, whole: bytes) -> bytes:
    """The header says half of the samples; the file is as long as before."""
    at = 22 if "flac" in file else whole.find(b"data") + 4
    order = "big" if "flac" in file or "big" in file else "little"
    half = int.from_bytes(whole[at : at + 4], order) // 4 * 2
    return whole[:at] + half.to_bytes(4, order) + whole[at + 4 :]


def flipped(file: str, whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :]


def with_a_hole(file: str, whole: bytes) -> bytes:
    middle = len(whole) // 2
    return whole[:middle] + bytes(900) + whole[middle + 900 :]


def doubled(file: str, whole: bytes) -> bytes:
    return whole + whole


def with_a_tail(file: str, whole: bytes) -> bytes:
    return whole + bytes(range(1, 97)) * 20


def of_rate(hertz: int):
    """A WAV file with another number in its header."""
    return lambda file, whole: whole[:24] + hertz.to_bytes(4, "little") + whole[28:]


WAVES = ["u.wav", "ulaw.wav", "float.wav", "big.wav"]
DAMAGE = [(halved, file) for file in [*WAVES, "u.flac", "u24.flac"]]
DAMAGE += [(flipped, file) for file in ("u.flac", "u24.flac")]
DAMAGE += [(with_a_hole, file) for file in ("u.mp3", "u.flac")]
DAMAGE += [(of_rate(hertz), "u.wav") for hertz in (1, 999, 1 << 30)]
DAMAGE += [(doubled, file) for file in KINDS]
DAMAGE += [(with_a_tail, f) for f in [*WAVES, "u.sph"]]  # no loss in FLAC and MP3


@pytest.mark.parametrize("damage, file", DAMAGE)
def test_sound_that_the_header_does_not_count(damage, file, capsys):
    write(file, **KINDS.get(file, {"subtype": "PCM_24"}))
    Path(file).write_bytes(damage(file, Path(file).read_bytes()))
    refusals = ("E_WAV_LENGTH: utt u1 (d/wav.scp", "E_WAV_FORMAT")
    assert said(capsys, "format_wav").startswith(refusals)
    assert said(capsys, "validate_data", "--full", "true").startswith(refusals)


LIST = b"LIST" + (4).to_bytes(4, "little") + b"INFO"


@pytest.mark.parametrize(
    "samples, more", [(2, LIST), (2, b""), (1, b""), (1, b"\0"), (1, b"\0" + LIST)]
)
def test_other_chunks_and_a_pad_byte_are_no_sound(samples, more, capsys):
    write("u.wav", NOISE[:samples], subtype="PCM_U8")
    data = Path("u.wav").read_bytes()[: 44 + samples] + more
    Path("u.wav").write_bytes(data)
    assert said(capsys, "format_wav") == ""


def test_tags_after_the_last_mp3_frame_are_no_sound(capsys):
    write("u.mp3")
    with open("u.mp3", "ab") as f:
        f.write(b"TAG" + bytes(125))
    assert said(capsys, "format_wav") == ""


def test_what_a_pipe_writes_is_looked_at(capsys):
    write("u.wav")
    Path("d/wav.scp").write_text("u1 head -c 30000 u.wav |\n")
    message = said(capsys, "format_wav", "--allow_pipes", "true")
    assert message.startswith("E_WAV_LENGTH: utt u1 (d/wav.scp line 1)")


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_stream_may_leave_its_size_open(size, capsys):
    """As sox and ffmpeg write WAV into a pipe."""
    write("u.wav")
    data = bytearray(Path("u.wav").read_bytes())
    data[4:8] = size.to_bytes(4, "little")
    if size:
        data[40:44] = size.to_bytes(4, "little")
    Path("u.wav").write_bytes(data)
    assert said(capsys, "format_wav") == ""


def test_flac_that_was_written_into_a_pipe(capsys):
    """Its header has no number of samples; libsndfile fails at the last ones."""
    write("u.flac")
    data = bytearray(Path("u.flac").read_bytes())
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    Path("u.flac").write_bytes(data)
    for verb in FORMAT_AND_CHECK:
        assert "its header has no number" in said(capsys, verb)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_finite(subtype, bad, capsys):
    samples = NOISE.copy()
    samples[1000:9000] = bad
    write("u.wav", samples, subtype=subtype)
    refusal = "E_WAV_NONFINITE: utt u1"
    for message in (said(capsys, verb) for verb in ("format_wav", "perturb_speed")):
        assert message.startswith(f"{refusal} (d/wav.scp line 1): 8000 samples")
        assert "sample 1000" in message
    assert said(capsys, "validate_data", "--full", "true").startswith(refusal)


@pytest.mark.parametrize("first, factor", [(0, 32768), (2 * FS - 1, 1e30)])
def test_samples_beyond_full_scale(first, factor, capsys):
    """Floats of the size of 16-bit numbers, or a damaged one, would be cut off."""
    samples = NOISE.copy()
    samples[first:] *= factor
    write("u.wav", samples, subtype="FLOAT")
    assert "E_WAV_CLIPPED: utt u1" in said(capsys, "format_wav")
    assert "E_WAV_CLIPPED: utt u1" in said(capsys, "validate_data", "--full", "true")


TIMES = "0.5 60; 1.5 2.6; 2 2.4; 7 -1; 0.5 inf; -inf 1; nan 1; 0 nan; 0 1e400; 0 1e99"
TIMES += "; 0 1_0; \uff10 1; 1 1; 1.0 0.5; x 1; 0; -1 1; ; 0 1 left; 0 1 0 0; 0 1 -2"
SEGMENTS = {
    **dict.fromkeys([f"r1 {times}" for times in TIMES.split("; ")], "E_SEGMENT"),
    "": "E_SEGMENT",
    "r1 0 1 2": "E_WAV_CHANNELS",
    "r1 1 1.00001": "E_WAV_EMPTY",
    "r2 0 1": "E_UTT_SETS",
}


@pytest.mark.parametrize("segment, code", SEGMENTS.items())
def test_segments_that_no_recording_has(segment, code, capsys):
    write_stereo("r1 0 1")
    Path("d/segments").write_text(f"u1 {segment}\n", encoding="utf-8")
    message = said(capsys, "format_wav")
    assert message.startswith(f"{code}: utt u1 (d/segments line 1)")
    assert (code == "E_WAV_CHANNELS") == ("correct the fifth column" in message)


@pytest.mark.parametrize(
    "segment, samples, hertz",
    [
        ("r1 0.5 1.5", 16000, 300),
        ("r1 0.5 1.5 0", 16000, 300),
        ("r1 0.5 1.5 1", 16000, 900),
        ("r1 0.5 1.5 -1", 16000, 300),
        ("r1 1 -1 1", 16000, 900),
        ("r1 1 -1.0", 16000, 300),
        ("r1 1.5 2.5", 8000, 300),  # half a second late, as in Kaldi
        ("r1 5e-1 1.5", 16000, 300),
    ],
)
def test_segments_that_are_cut(segment, samples, hertz, capsys, caplog):
    """The fifth column is the channel from 0, stronger than ``--channel``."""
    write_stereo(segment)
    assert said(capsys, "format_wav") == ""
    assert sound_of("u1") == (samples, hertz)
    assert ("W_SEGMENT: utt u1" in caplog.text) == (segment == "r1 1.5 2.5")
    assert read_pairs(Path("o/utt2num_samples")) == {"u1": str(samples)}
    assert not Path("o/segments").exists()


@pytest.mark.parametrize("channel, hertz", [(1, 300), (2, 900), (0, None), (3, None)])
def test_the_channel_that_is_asked_for(channel, hertz, capsys):
    write_stereo("")
    message = said(capsys, "format_wav", "--channel", str(channel))
    if hertz:
        assert sound_of("u1") == (2 * FS, hertz)
    else:
        assert message.startswith("E_WAV_CHANNELS: utt u1") and "2 channels" in message


def test_a_channel_column_survives_the_change_of_speed():
    write_stereo("r1 0.5 1.5 1")
    main(["perturb_speed", "--data_dir", "d", "--factors", "0.5"])
    assert Path("d_sp0.5/segments").read_text() == "sp0.5-u1 sp0.5-r1 1.0000 3.0000 1\n"
    main(["format_wav", "--data_dir", "d_sp0.5", "--output_dir", "o", "--fs", "16k"])
    assert sound_of("sp0.5-u1") == (2 * FS, 450)


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_no_cut_of_an_mp3_is_taken_for_a_whole(rate, channels):
    """Wherever it breaks off; with LAME's tag and without it."""
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, (rate // 2, channels))
    soundfile.write("u.mp3", noise, rate)
    whole = Path("u.mp3").read_bytes()
    source = Source("u1", "u.mp3", "utt u1")
    audio.read(source, channel=1)
    for cut in [*range(len(whole) - 60, len(whole)), *range(300, len(whole), 97)]:
        Path("u.mp3").write_bytes(whole[:cut])
        with pytest.raises(TopDownError, match="E_WAV_(LENGTH|FORMAT|CHANNELS)") as e:
            audio.header(source)
        assert channels == 2 or e.value.code != "E_WAV_CHANNELS"
