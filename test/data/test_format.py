"""Stages 3 and 4: the files and names that ESPnet's recipes expect."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_topdown.cli.main import main
from espnet_topdown.data.format import filter_dir
from espnet_topdown.data.kaldi_dir import read_pairs, write_pairs
from espnet_topdown.errors import TopDownError

TEXTS = {f"a-{i}": "uno" for i in range(7)}


def run(source: Path, out: Path, *options: str) -> None:
    dirs = ["--data_dir", str(source), "--output_dir", str(out)]
    main(["format_wav", *dirs, "--fs", "8k", *options])


def listing(folder: Path) -> list[str]:
    return sorted(
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    )


def test_layout_as_upstream(make_set, tmp_path):
    out = tmp_path / "dump" / "org" / "train"
    run(make_set(texts=TEXTS, fs=16000), out, "--nj", "3")
    assert {p.name for p in out.iterdir()} == {
        *("wav.scp", "text", "utt2spk", "spk2utt", "utt2num_samples"),
        *("feats_type", "audio_format", "data"),
    }
    assert (out / "feats_type").read_text() == "raw\n"
    assert (out / "audio_format").read_text() == "flac\n"
    assert read_pairs(out / "utt2num_samples") == dict.fromkeys(TEXTS, "8000")
    wavs = read_pairs(out / "wav.scp")
    assert list(wavs) == sorted(TEXTS)
    shards = [Path(path).parent.name for path in wavs.values()]
    assert shards == ["format.1"] * 3 + ["format.2"] * 2 + ["format.3"] * 2
    for utt, path in wavs.items():
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (8000, 1, "PCM_16")
        assert Path(path).name == f"{utt}.flac"


def test_shards(make_set, tmp_path, refuses):
    """The same as all at once; the lists need all of them."""
    source = make_set(texts=TEXTS, fs=16000)
    one, two = tmp_path / "one", tmp_path / "two"
    run(source, one, "--nj", "3")
    merge = ("--merge", "true")
    for job in ("3", "1", "2"):
        refuses(lambda: run(source, two, "--nj", "3", *merge), 66, "two/data/format.")
        assert not (two / "wav.scp").exists()
        run(source, two, "--nj", "3", "--job", job)
    lacking = "E_FORMAT_SHARDS: 5 of 7 utterances"
    refuses(lambda: run(source, two, "--nj", "2", *merge), 65, lacking)
    run(source, two, "--nj", "9", "--job", "9")  # more than utterances
    run(source, two, "--nj", "3", *merge)
    assert listing(one) == listing(two)
    for name in listing(one):
        a, b = (one / name).read_bytes(), (two / name).read_bytes()
        assert a == b.replace(str(two).encode(), str(one).encode()), name


def test_files_already_right_are_used_in_place(make_set, tmp_path):
    source = make_set()
    run(source, tmp_path / "out", "--audio_format", "wav")
    wavs = read_pairs(tmp_path / "out" / "wav.scp")
    assert wavs == read_pairs(source / "wav.scp")
    assert not list((tmp_path / "out").rglob("*.wav"))


def test_running_again_keeps_finished_files_and_redoes_changed_ones(make_set, tmp_path):
    source, out = make_set(fs=16000), tmp_path / "out"
    run(source, out)
    wavs = {u: Path(p) for u, p in read_pairs(out / "wav.scp").items()}
    before = {u: p.stat().st_mtime_ns for u, p in wavs.items()}
    run(source, out)
    assert {u: p.stat().st_mtime_ns for u, p in wavs.items()} == before

    wavs["a-1"].write_bytes(b"cut off")  # a damaged result
    original = Path(read_pairs(source / "wav.scp")["a-2"])  # a newer source
    soundfile.write(original, np.zeros(3200), 16000)
    later = wavs["a-2"].stat().st_mtime + 10
    os.utime(original, (later, later))
    run(source, out)
    assert soundfile.info(str(wavs["a-1"])).frames == 8000
    assert read_pairs(out / "utt2num_samples")["a-2"] == "1600"

    one, two = read_pairs(source / "wav.scp").values()  # other sources of these ids
    write_pairs(source / "wav.scp", {"a-1": two, "a-2": one})
    first = wavs["a-1"].read_bytes()
    run(source, out)
    assert wavs["a-2"].read_bytes() == first

    write_pairs(source / "wav.scp", {"a-1": stereo(tmp_path)})  # another channel of it
    for name in ("text", "utt2spk"):
        write_pairs(source / name, {"a-1": "uno"})
    for channel in (1, 2):
        run(source, out, "--channel", str(channel))
        samples, _ = soundfile.read(wavs["a-1"])
        assert samples.mean() == pytest.approx(channel / 8, abs=0.01)


def stereo(folder: Path) -> str:
    soundfile.write(folder / "both.wav", np.full((16000, 2), (1 / 8, 1 / 4)), 16000)
    return str(folder / "both.wav")


def test_pipes_are_refused_unless_allowed(make_set, tmp_path, refuses):
    source, out = make_set(fs=8000), tmp_path / "out"
    wavs, allow = read_pairs(source / "wav.scp"), ("--allow_pipes", "true")
    write_pairs(source / "wav.scp", {**wavs, "a-2": f"cat {wavs['a-2']} |"})
    refuses(lambda: run(source, out), 65, "E_PIPE: utt a-2", "wav.scp line 2")
    write_pairs(source / "wav.scp", {**wavs, "a-2": "exit 3 |"})
    refuses(lambda: run(source, out, *allow), 65, "ended with 3")
    write_pairs(source / "wav.scp", {**wavs, "a-2": f"| cat {wavs['a-2']}"})
    run(source, out, *allow)
    for path in read_pairs(out / "wav.scp").values():
        assert soundfile.info(path).frames == 8000


LENGTHS = {"a": 800, "b": 801, "c": 8000, "d": 159999, "e": 160000}


@pytest.fixture
def lengths_dir(tmp_path):
    """An org directory whose utterances are around the limits 0.1 and 20 s."""
    folder = tmp_path / "org"
    write_pairs(folder / "utt2num_samples", {u: str(n) for u, n in LENGTHS.items()})
    write_pairs(folder / "wav.scp", {u: f"{u}.flac" for u in LENGTHS})
    write_pairs(folder / "text", {u: "" if u == "c" else "uno" for u in LENGTHS})
    write_pairs(folder / "utt2spk", dict.fromkeys(LENGTHS, "s"))
    for name, value in (("feats_type", "raw\n"), ("audio_format", "flac\n")):
        (folder / name).write_text(value)
    return folder


def test_filter_is_strict_at_both_ends(lengths_dir, tmp_path):
    out = tmp_path / "out"
    dirs = ["--data_dir", str(lengths_dir), "--output_dir", str(out)]
    main(["filter_data", *dirs, "--fs", "8k"])
    for name in ("wav.scp", "text", "utt2spk", "utt2num_samples"):
        assert list(read_pairs(out / name)) == ["b", "d"], name
    assert read_pairs(out / "spk2utt") == {"s": "b d"}
    for name in ("feats_type", "audio_format"):
        assert (out / name).read_bytes() == (lengths_dir / name).read_bytes()


def test_what_cannot_be_filtered(lengths_dir, tmp_path):
    with pytest.raises(TopDownError, match="E_SET_EMPTY"):
        filter_dir(lengths_dir, tmp_path / "out", "8k", 30.0, 40.0)
    assert not (tmp_path / "out").exists()
    write_pairs(lengths_dir / "utt2num_samples", {"a": "800", "b": "1e3"})
    with pytest.raises(TopDownError, match="E_SHAPE.*line 2.*'1e3'"):
        filter_dir(lengths_dir, tmp_path / "out", "8k")


@pytest.mark.parametrize("name", ["train_nodev", "train_dev"])
def test_filter_writes_the_same_bytes_as_a_genuine_recipe(shared, tmp_path, name):
    dump = shared / "espnet_mini_an4" / "dump" / "raw"
    filter_dir(dump / "org" / name, tmp_path / "out", "16k")
    for path in (tmp_path / "out").iterdir():
        if path.name != "audio_format":  # ESPnet forgets to copy it
            genuine = dump / name / path.name
            assert path.read_bytes() == genuine.read_bytes(), path.name
