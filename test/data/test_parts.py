"""Parts of a training set: nested, the same everywhere, never the unseen ones."""

from __future__ import annotations

import pytest
from papers import paper

from espnet_topdown.data.kaldi_dir import read_pairs, write_dir, write_pairs
from espnet_topdown.data.parts import make_part
from espnet_topdown.errors import TopDownError

PARTS = paper("wsj").parts


@pytest.fixture
def whole(tmp_path):
    """A training set of 20 utterances of 4 speakers, with its statistics."""
    data, stats = tmp_path / "dump" / "train", tmp_path / "exp" / "stats"
    utts = {f"s{i // 5}u{i:02}": str(i + 1) for i in range(20)}
    lists = {name: dict.fromkeys(utts, "x y") for name in ("wav.scp", "text")}
    write_dir(data, {**lists, "utt2spk": {utt: utt[:2] for utt in utts}})
    for name in ("speech_shape", "text_shape.char"):
        write_pairs(stats / "train" / name, utts)
        write_pairs(stats / "valid" / name, {"v": "1"})
    (stats / "train" / "feats_stats.npz").write_bytes(b"mean and variance")
    return data, stats, tmp_path / "lists"


def test_parts_are_nested_and_the_rest_is_unseen(whole):
    folders = {name: make_part(name, share, *whole) for name, share in PARTS.items()}
    utts = {name: set(read_pairs(part / "text")) for name, part in folders.items()}
    unseen = utts.pop("unseen")
    parts = sorted(utts.values(), key=len)
    assert all(a < b for a, b in zip(parts, parts[1:]))
    assert len(parts[-1] | unseen) == 20 and not parts[-1] & unseen


@pytest.mark.parametrize("name, percent", [("p20", 20), ("unseen", 20), ("p80", 80)])
def test_a_part_is_a_data_directory_with_statistics(whole, name, percent):
    data, stats, lists = whole
    folder = make_part(name, percent, *whole)
    utts = read_pairs(folder / "text")
    assert folder == data.with_name(f"train_{name}") and len(utts) == percent // 5
    assert (lists / f"{name}.txt").read_text().split() == list(utts)
    of_speakers = " ".join(read_pairs(folder / "spk2utt").values())
    assert set(of_speakers.split()) == set(utts)
    part = stats.with_name(f"stats_{name}")
    every = read_pairs(stats / "train" / "text_shape.char")
    shapes = read_pairs(part / "train" / "text_shape.char")
    assert shapes == {utt: every[utt] for utt in utts}
    assert (part / "train" / "feats_stats.npz").read_bytes() == b"mean and variance"
    assert (part / "valid" / "speech_shape").read_text() == "v 1\n"
    make_part(name, percent, *whole)  # once more changes nothing


def test_a_list_once_written_never_changes(whole):
    data = whole[0]
    make_part("p20", 20, *whole)
    for name in ("wav.scp", "text", "utt2spk"):
        lines = (data / name).read_text().splitlines(keepends=True)
        (data / name).write_text("".join(lines[10:]))
    with pytest.raises(TopDownError, match="E_PART.*p20.txt") as e:
        make_part("p20", 20, *whole)
    assert e.value.status == 65


def test_a_part_of_nothing(whole):
    with pytest.raises(TopDownError, match="E_PART: 1 % of 20 utterances is none"):
        make_part("p1", 1, *whole)


def test_a_folder_of_others_is_not_written_over(whole):
    other = whole[0].with_name("train_p20")
    other.mkdir()
    (other / "wav.scp").write_text("a x.wav\n")
    with pytest.raises(TopDownError, match="E_CREATE: .*train_p20/wav.scp is there"):
        make_part("p20", 20, *whole)
    assert list(other.iterdir()) == [other / "wav.scp"]
    (whole[1].with_name("stats_p80") / "train").mkdir(parents=True)
    with pytest.raises(TopDownError, match="E_CREATE: .*stats_p80/train is there"):
        make_part("p80", 80, *whole)
    assert not whole[0].with_name("train_p80").exists()
