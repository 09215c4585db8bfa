"""Stage 2: faster and slower copies with the ids that ESPnet gives them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from espnet_topdown.cli.main import main
from espnet_topdown.data.kaldi_dir import read_dir, read_pairs, write_pairs


def run(folder, *options: str) -> None:
    main(["perturb_speed", "--data_dir", str(folder), *options])


def frequency(path: str) -> float:
    samples, rate = soundfile.read(path)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def test_three_speeds(make_set, tmp_path):
    source = make_set()
    run(source, "--factors", "0.9", "1.0", "1.1")
    slow = read_dir(tmp_path / "train_sp0.9")
    assert slow["text"] == {"sp0.9-a-1": "uno", "sp0.9-a-2": "dos"}
    assert slow["utt2spk"] == {"sp0.9-a-1": "sp0.9-a", "sp0.9-a-2": "sp0.9-a"}
    uniq = read_pairs(tmp_path / "train_sp0.9" / "utt2uniq")
    assert uniq == {"sp0.9-a-1": "a-1", "sp0.9-a-2": "a-2"}
    for factor, frames in (("0.9", 8889), ("1.1", 7273)):
        wavs = read_dir(tmp_path / f"train_sp{factor}")["wav.scp"]
        for utt, path in wavs.items():
            info = soundfile.info(path)
            assert (info.samplerate, info.frames) == (8000, frames)
            original = str(source / "wav" / f"{utt.split('-', 1)[1]}.wav")
            pitch = frequency(original) * float(factor)
            assert frequency(path) == pytest.approx(pitch, abs=1.5)
    together = read_dir(tmp_path / "train_sp")
    assert len(together["wav.scp"]) == len(together["text"]) == 6
    assert set(together["utt2spk"].values()) == {"a", "sp0.9-a", "sp1.1-a"}
    uniq = read_pairs(tmp_path / "train_sp" / "utt2uniq")
    assert uniq["a-1"] == uniq["sp1.1-a-1"] == "a-1"


def test_shards_then_lists_and_nothing_done_twice(make_set, tmp_path, refuses):
    source = make_set()
    shards = ["--factors", "0.9", "--nj", "2", "--output_dir", str(tmp_path / "all")]
    for job in ("3", "1", "2"):
        refuses(lambda: run(source, *shards, "--merge", "true"), 65, "E_FORMAT_SHARDS")
        assert not (tmp_path / "train_sp0.9" / "wav.scp").exists()
        run(source, *shards, "--job", job)
    files = sorted((tmp_path / "train_sp0.9" / "wav").iterdir())
    before = [p.stat().st_mtime_ns for p in files]
    run(source, *shards, "--merge", "true")
    run(source, *shards)
    assert [p.stat().st_mtime_ns for p in files] == before
    assert len(read_dir(tmp_path / "all")["text"]) == 4

    one, two = read_pairs(source / "wav.scp").values()  # other sources of these ids
    write_pairs(source / "wav.scp", {"a-1": two, "a-2": one})
    first, second = (p.read_bytes() for p in files)
    run(source, *shards)
    assert [p.read_bytes() for p in files] == [second, first]


def test_another_channel_is_another_sound(make_set, tmp_path):
    source = make_set(texts={"a-1": "uno"})
    both = np.full((8000, 2), (1 / 8, 1 / 4))
    soundfile.write(tmp_path / "both.wav", both, 8000)
    write_pairs(source / "wav.scp", {"a-1": str(tmp_path / "both.wav")})
    for channel in (1, 2):
        run(source, "--factors", "0.9", "--channel", str(channel))
        samples, _ = soundfile.read(tmp_path / "train_sp0.9/wav/sp0.9-a-1.flac")
        assert samples.mean() == pytest.approx(channel / 8, abs=0.01)


def test_segments_are_shrunk_and_recordings_renamed(make_set, tmp_path):
    source = make_set(texts={"r-1": "x"}, seconds=2.0)
    for name in ("text", "utt2spk", "spk2utt"):
        (source / name).unlink()
    write_pairs(source / "segments", {"a": "r-1 0.9 1.8", "b": "r-1 0 -1"})
    write_pairs(source / "text", {"a": "uno", "b": "dos"})
    write_pairs(source / "utt2spk", {"a": "s", "b": "s"})
    run(source, "--factors", "0.9")
    lists = read_dir(tmp_path / "train_sp0.9")
    assert lists["segments"] == {
        "sp0.9-a": "sp0.9-r-1 1.0000 2.0000",
        "sp0.9-b": "sp0.9-r-1 0.0000 -1.0000",
    }
    assert list(lists["wav.scp"]) == ["sp0.9-r-1"]
    assert set(read_dir(tmp_path / "train_sp")["segments"]) == {
        *("a", "b", "sp0.9-a", "sp0.9-b")
    }


@pytest.mark.parametrize("factors", [["0.9", "1.0"], ["0.9 1.0"], ["1.0 0.9"]])
def test_factors_as_words_or_as_in_run_sh(make_set, tmp_path, factors):
    run(make_set(), "--factors", *factors)
    assert {p.name for p in tmp_path.iterdir()} == {"train", "train_sp", "train_sp0.9"}


@pytest.mark.parametrize("word", ["fast", "0", "3", "nan"])
def test_bad_factors(make_set, refuses, word):
    refuses(lambda: run(make_set(), "--factors", "1.0", word), 64, "E_USAGE")


def test_one_factor_twice(make_set, refuses):
    refuses(lambda: run(make_set(), "--factors", "0.9", "0.9"), 65, "E_UTT_DUP")
