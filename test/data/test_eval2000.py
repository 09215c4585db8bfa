"""eval2000: utterance ids, extended segments, text, and what is scored."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))
import swbd_tree  # noqa: E402
from corpora import load  # noqa: E402

swbd = load("prepare_swbd")
Segment = swbd.Segment


@pytest.fixture
def files(tmp_path):
    """PEM, STM and GLM."""
    found = []
    for name, text in zip(("pem", "stm", "glm"), ("PEM", "STM", "GLM")):
        (tmp_path / name).write_text(getattr(swbd_tree, text))
        found.append(tmp_path / name)
    return found


def test_times_are_cut_off_not_rounded():
    assert Segment("en_4001", "A", 1.15, 10.29, "").utt == "en_4001-A_000114-001029"
    assert Segment("sw_4390", "B", 0.0, 299.99, "").utt == "sw_4390-B_000000-029999"


@pytest.mark.parametrize(
    "text, wanted",
    [
        (
            "HE IS GONNA CALL (%HESITATION) TO- TOMORROW",
            "he is gonna call to- tomorrow",
        ),
        ("((TH-) YEAH <B_ASIDE> NOT YOU <E_ASIDE> OKAY", "th- yeah okay"),
        ("UM-HUM (%UH) I CAN'T (%UM) SAY", "um-hum i can't say"),
        ("(%HESITATION)", ""),
    ],
)
def test_text(text, wanted):
    assert swbd.clean_reference(text) == wanted


def test_what_is_scored():
    assert swbd.mended("((TH-) YEAH <B_ASIDE> NOT <E_ASIDE>") == "(TH-) YEAH  NOT "
    assert swbd.mended("(A) ((B)") == "(A) (B)"


@pytest.mark.parametrize(
    "segments, wanted",
    [
        ([(1.0, 2.0)], [(0.9, 2.1)]),
        ([(0.05, 2.0)], [(0.0, 2.1)]),
        ([(1.0, 2.0), (2.5, 3.0)], [(0.9, 2.1), (2.4, 3.1)]),
        ([(1.0, 2.0), (2.1, 3.0)], [(0.9, 2.05), (2.05, 3.1)]),
        ([(1.0, 2.0), (2.0, 3.0)], [(0.9, 2.0), (2.0, 3.1)]),
        ([(1.0, 2.0), (1.9, 3.0)], [(0.9, 2.0), (1.9, 3.1)]),
    ],
)
def test_extended_segments(segments, wanted):
    sides = [Segment("f", side, a, b, "") for side in "AB" for a, b in segments]
    found = swbd.extend(sides)
    assert [x[1:] for x in found.values()] == wanted * 2
    assert [x[0] for x in found.values()] == ["f-A"] * len(wanted) + ["f-B"] * len(
        wanted
    )


def test_reference(files):
    found = swbd.read_reference(*files)
    assert found.scored == 4 and list(found.text) == list(found.segments)
    assert "sw_4001-B_000400-000657" not in found.text
    assert found.stm[0].startswith(";;") and len(found.glm) > 8
    text = "; ".join(text for _, text in found.problems(4))
    assert "4 sides with audio, not 80" in text and "not 4459" in text


def test_segments_that_overlap_are_a_warning(files, caplog):
    files[0].write_text("f A x 1.0 3.0\nf A x 2.0 4.0\nf A x 0.1 0.2\n")
    assert [s.start for s in swbd.read_pem(files[0])] == [0.1, 1.0, 2.0]
    assert "W_SEGMENTS" in caplog.text and "line 2" in caplog.text
