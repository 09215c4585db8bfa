"""Where the corpora are, and what is missing on their discs."""

from __future__ import annotations

from pathlib import Path

import pytest
from swbd_prepared import PEM, STM, maker, prepare

from espnet_topdown.errors import TopDownError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the corpora, changed; see ``maker``."""
    monkeypatch.chdir(tmp_path)
    return maker(tmp_path)


@pytest.mark.parametrize(
    "name, code, part",
    [
        ("sw-ms98-dict.text", "E_SWBD_TRANSCRIPTS", "openslr.org/5"),
        (PEM, "E_SWBD_ROOT", "no hub5e_00.pem below"),
        (STM, "E_SWBD_ROOT", "copy all of LDC2002T43"),
    ],
)
def test_what_is_missing_is_named(tree, name, code, part):
    with pytest.raises(TopDownError) as e:
        prepare(tree("split", {name: None}))
    assert (e.value.code, e.value.status) == (code, 66) and part in str(e.value)


def test_no_training_audio(tree):
    with pytest.raises(TopDownError, match="E_SWBD_ROOT: no sw0NNNN.sph below"):
        prepare(tree("split", {"sw02001.sph": None, "sw02002.sph": None}))


def test_where_the_corpora_are(tree):
    root = Path(tree())
    for wrong, part in [
        ("", "not set"),
        ("none", "no folder"),
        (str(root / "LDC97S62"), "LDC2002S09"),
    ]:
        with pytest.raises(TopDownError) as e:
            prepare(wrong)
        assert e.value.code == "E_SWBD_ROOT" and part in str(e.value)


def test_two_files_of_one_name(tree, caplog):
    root = Path(tree())
    (root / "LDC97S62" / "swb1_d9").mkdir()
    (root / "LDC97S62" / "swb1_d9" / "SW02001.SPH").write_bytes(b"x")
    prepare(str(root))
    assert "W_SWBD_TWICE" in caplog.text and "swb1_d9/SW02001.SPH" in caplog.text
