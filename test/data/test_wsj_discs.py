"""What discs hold: their names and indices, and which layouts are known."""

from __future__ import annotations

import pytest
from corpora import load

from espnet_topdown.errors import TopDownError

wsj = load("prepare_wsj")


def test_an_unknown_layout(tmp_path):
    folder = tmp_path / "other"
    (folder / "speech" / "train").mkdir(parents=True)
    with pytest.raises(TopDownError, match="E_WSJ_LAYOUT: no .ndx .*hold speech"):
        wsj.write_lists(str(folder), str(folder), tmp_path)
    index = folder / "wsj0/doc/indices/train/tr_s_wv1.ndx"
    index.parent.mkdir(parents=True)
    index.write_text("11_1_1:wsj0/si_tr_s/01i/01ic0201.wv1\n")
    with pytest.raises(TopDownError, match="E_WSJ_LAYOUT: no .wv1 files"):
        wsj.write_lists(str(folder), str(folder), tmp_path)
    (folder / "elsewhere.wv1").touch()
    with pytest.raises(TopDownError, match="E_WSJ_LAYOUT: .*no audio for 1 of 1"):
        wsj.write_lists(str(folder), str(folder), tmp_path, allow_partial=True)


INDEX = [
    ("11_1_1:wsj0/si_tr_s/01i/01ic0201.wv1", "11_1_1", "wsj0/si_tr_s/01i/01ic0201"),
    ("11_14_1:  wsj0/si_et_20/440/440c0401", "11_14_1", "wsj0/si_et_20/440/440c0401"),
    ("13-16.1:/WSJ1/SI_DT_20/4K0/4K0C0301.WV1\r", "13_16_1", "wsj1/si_dt_20/4k0/"),
]


@pytest.mark.parametrize("line, disc, key", INDEX)
def test_index_lines(tmp_path, line, disc, key):
    path = tmp_path / "a.ndx"
    path.write_text(f";; a comment: with a colon\n;\n\n{line}\n")
    (entry,) = wsj.read_index(path)
    assert entry.disc == disc and entry.key.startswith(key)
    assert entry.where.endswith("a.ndx line 4") and len(entry.utt) == 8


@pytest.mark.parametrize(
    "line", ["wsj0/si_tr_s/01i/01ic0201.wv1", "11_1_1:", "11_1_1:wsj0/x.wv1", "a: b c"]
)
def test_bad_index_lines(tmp_path, line):
    path = tmp_path / "a.ndx"
    path.write_text(f"11_1_1:wsj0/si_tr_s/01i/01ic0201.wv1\n{line}\n")
    with pytest.raises(TopDownError, match="E_WSJ_INDEX: .*a.ndx line 2"):
        wsj.read_index(path)


def test_the_named_disc_comes_first_and_a_wrong_one_is_forgiven(tmp_path):
    for disc in ("13-32.1", "13-33.1"):
        path = tmp_path / disc / "wsj1/si_et_h1/4oa/4oac0201.wv1"
        path.parent.mkdir(parents=True)
        path.touch()
    index = tmp_path / "13-34.1/wsj1/doc/indices/x.ndx"
    index.parent.mkdir(parents=True)
    key = "wsj1/si_et_h1/4oa/4oac0201.wv1"
    index.write_text(f"13_33_1:{key}\n13_99_1:{key}\n")
    discs = wsj.scan([tmp_path])
    right, wrong = wsj.read_index(index)
    assert "13-33.1" in discs.sound(right).parts
    assert discs.sound(wrong) is not None
    assert discs.names() == {"13_32_1", "13_33_1"}


@pytest.mark.parametrize(
    "name, wanted",
    [("11-13.1", "11_13_1"), ("13_34.1", "13_34_1"), ("11_2_1", "11_2_1")]
    + [("wsj0", ""), ("11-13", ""), ("x11-13.1", ""), ("11-13.1.tar", "")],
)
def test_names_of_discs(name, wanted):
    assert wsj.disc_id(name) == wanted
