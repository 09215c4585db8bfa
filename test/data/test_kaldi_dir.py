"""Lists are read strictly, written whole, sorted by bytes.

What users get wrong is in test/catalogue.yaml, rows 54 to 65.
"""

from __future__ import annotations

import os
import random

import pytest

from espnet_topdown.data import kaldi_dir as kd
from espnet_topdown.errors import TopDownError


def test_write_then_read_is_the_same_and_sorted_by_bytes(tmp_path):
    pairs = {"b": "dos tres", "a-1": "", "B": "uno", "a": "ñandú"}
    kd.write_pairs(tmp_path / "new folder" / "text", pairs)
    path = tmp_path / "new folder" / "text"
    assert kd.read_pairs(path) == pairs
    assert path.read_text(encoding="utf-8") == "B uno\na ñandú\na-1\nb dos tres\n"
    assert os.listdir(path.parent) == ["text"]


@pytest.mark.parametrize(
    "line, code, where",
    [
        (b"", "E_TEXT_LINE", "line 150001 is empty"),
        (b"u0000007 x", "E_UTT_DUP", "u0000007 lines 8, 150001 of"),
        (b"b caf\xe9", "E_UTF8", "line 150001 byte 6"),
        (b"b x\ry", "E_TEXT_LINE", "line 150001 holds a carriage return"),
        (b"-a y", "E_UTT_ID", "line 150001"),
        (b"a..b y", "E_UTT_ID", "'a..b'"),
        (b"a/b y", "E_UTT_ID", "'a/b'"),
        (b"c" * 201 + b" y", "E_UTT_ID", "line 150001"),
    ],
)
def test_the_number_of_a_bad_line_in_a_long_list(tmp_path, line, code, where):
    lines = [b"u%07d x" % i for i in range(200_000)]
    lines[150_000] = line
    (tmp_path / "text").write_bytes(b"\n".join(lines))
    with pytest.raises(TopDownError, match=code) as e:
        kd.read_pairs(tmp_path / "text")
    assert where in str(e.value) and e.value.status == 65


@pytest.mark.parametrize(
    "data, code",
    [
        (b"\xef\xbb\xbfa my  file.wav\nb x\n", "W_BOM"),
        (b"a my  file.wav\r\nb x\r\n", "W_CRLF"),
        (b"a\tmy  file.wav \nb x", ""),
    ],
)
def test_harmless_oddities_are_read(tmp_path, caplog, data, code):
    (tmp_path / "text").write_bytes(data)
    assert kd.read_pairs(tmp_path / "text") == {"a": "my  file.wav", "b": "x"}
    assert code in caplog.text and bool(code) == bool(caplog.text)


@pytest.mark.parametrize(
    "pairs, code", [({"a/b": "x"}, "E_UTT_ID"), ({"a": "x\ny"}, "E_TEXT_LINE")]
)
def test_nothing_unreadable_is_written(tmp_path, pairs, code):
    with pytest.raises(TopDownError, match=code):
        kd.write_pairs(tmp_path / "text", pairs)
    assert not (tmp_path / "text").exists()


def test_a_list_that_somebody_changed_is_kept(tmp_path, caplog):
    lists = {"wav.scp": {"a-1": "x.wav"}, "text": {"a-1": "x"}, "utt2spk": {"a-1": "a"}}
    kd.write_dir(tmp_path, lists)
    kd.write_dir(tmp_path, lists)  # the same again leaves nothing behind
    assert not (tmp_path / ".backup").exists()
    for n, theirs in enumerate([b"a-1 corrected\n", b"a-1 X\na-2 y\n", b""], 1):
        (tmp_path / "text").write_bytes(theirs)
        file, kept = (tmp_path / "text").stat().st_ino, tmp_path / f".backup/text.{n}"
        kd.write_dir(tmp_path, lists)
        assert (tmp_path / "text").read_bytes() == b"a-1 x\n"
        assert kept.read_bytes() == theirs
        assert kept.stat().st_ino == file, "renamed, not copied"
        assert f"kept in {tmp_path}/.backup/text.{n}" in caplog.text
    assert len(list((tmp_path / ".backup").iterdir())) == 3


def test_a_folder_that_is_no_data_directory(tmp_path):
    (tmp_path / "text").write_text("a x\n")
    with pytest.raises(TopDownError, match="E_DATA_DIR: .* has no wav.scp") as e:
        kd.read_dir(tmp_path)
    assert e.value.status == 66


def test_what_a_list_lacks_leaves_the_others():
    lists = {
        "wav.scp": {"a": "1", "b": "2", "c": "3"},
        "text": {"a": "x", "b": "y"},
        "utt2spk": {"b": "s", "c": "s"},
    }
    kd.keep_common(lists)
    assert [list(pairs) for pairs in lists.values()] == [["b"]] * 3


def test_subset_and_keep_common_follow_segments_to_recordings():
    lists = {
        "wav.scp": {"r1": "1", "r2": "2", "r4": "4"},
        "segments": {"a": "r1\t0\t1", "b": "r2 0 1", "c": "r3 0 1"},
        "text": {"a": "x", "c": "z"},
    }
    assert kd.subset(lists, ["b"])["wav.scp"] == {"r2": "2"}
    kd.keep_common(lists)
    assert set(lists["text"]) == {"a"} == set(lists["segments"])  # r3 has no audio
    assert set(lists["wav.scp"]) == {"r1"}


def test_shards_cover_everything_once_and_may_be_empty():
    shards = [kd.shard("abc", job, 5) for job in range(1, 6)]
    assert shards == [["a"], ["b"], ["c"], [], []]
    for job, nj in ((0, 2), (-1, 2), (1, 0)):
        with pytest.raises(TopDownError, match="E_USAGE"):
            kd.shard("abc", job, nj)


ALPHABET = [b"a", b"b-1", b" ", b"\t", b"\n", b"\r", b"\r\n", b"\xc3\xa9", b"\xff"]
ALPHABET += [b"\0", b"/", b"\xef\xbb\xbf", b"\x1c", b"\xc2\x85"]
ALPHABET += [c.encode() for c in "\u00a0\u3000\u2028\u200b"]


def test_any_bytes_are_read_as_espnet_reads_them_or_refused(tmp_path):
    read_text = pytest.importorskip("espnet2.fileio.read_text")
    dice, path, same = random.Random(0), tmp_path / "text", 0
    for _ in range(600):
        more = b"".join(dice.choices(ALPHABET, k=dice.randint(0, 12)))
        path.write_bytes(dice.choice([b"a ", b""]) + more)
        try:
            pairs = kd.read_pairs(path, as_espnet=True)
        except TopDownError as e:
            assert e.code in ("E_UTF8", "E_TEXT_LINE", "E_BOM", "E_UTT_ID", "E_UTT_DUP")
            continue
        assert pairs == read_text.read_2columns_text(path)
        same += bool(pairs)
        if same % 10 == 0:  # a write is synced
            kd.write_pairs(path, pairs)
            assert kd.read_pairs(path, as_espnet=True) == pairs
    assert same > 50
