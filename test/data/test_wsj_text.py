"""Normalisation of WSJ transcripts against pairs that the usual script made."""

from __future__ import annotations

import pytest
from corpora import load

from espnet_topdown.errors import TopDownError

wsj = load("prepare_wsj")
non_linguistic, normalise = wsj.non_linguistic, wsj.normalise

GOLDEN = [  # invented input, the output of the script that all recipes use
    (
        r"Ms\. Lund said \,COMMA the plant [<door_slam] will open [breath>] on "
        r"*Monday* next [phone_ring/] week [/phone_ring] .",
        "MS. LUND SAID ,COMMA THE PLANT WILL OPEN ON *MONDAY* NEXT WEEK",
    ),
    (
        r"\"DOUBLE-QUOTE Buy it \,COMMA said J\. R\. --DASH maybe [misc_noise]",
        '"DOUBLE-QUOTE BUY IT ,COMMA SAID J. R. -DASH MAYBE <NOISE>',
    ),
    (
        r"[loud_breath] Costs rose eight \.POINT two \%PERCENT <and> then fell ~",
        "<NOISE> COSTS ROSE EIGHT POINT TWO PERCENT AND THEN FELL",
    ),
    (
        r"th[e]- fir(st)- the f:irst one <it's> B\. B\. C\.'s [<cross_talk>] "
        r"[tongue_click] word[door_slam] end",
        "<NOISE> FIR(ST)- THE F:IRST ONE IT'S B. B. C.'S [<CROSS_TALK>] <NOISE> "
        "<NOISE> END",
    ),
    (
        "[door_slam>] [unintelligible] a -DASH b :COLON c (LEFT-PAREN d )RIGHT-PAREN "
        "'SINGLE-QUOTE e",
        "<NOISE> A -DASH B :COLON C (LEFT-PAREN D )RIGHT-PAREN 'SINGLE-QUOTE E",
    ),
    (
        "* hello * [foo-bar] [foo bar] <two-words> <Mr.> <*IN*> <*MR.*> ~~",
        "* HELLO * [FOO-BAR] [FOO BAR] <TWO-WORDS> <MR.> <*IN*> <*MR.*> ~~",
    ),
]


@pytest.mark.parametrize("written, wanted", GOLDEN)
def test_golden_pairs(written, wanted):
    assert normalise(written) == wanted


@pytest.mark.parametrize(
    "written, wanted",
    [
        ("", ""),
        ("~ . [<x] [x>]", ""),
        ("a.b . c", "A.B C"),  # a dot goes only when it stands alone
        ("[x/] word[x/] wo[/x]rd", "WO[/X]RD"),
        (r"100\%PERCENT \%PERCENT", "100%PERCENT PERCENT"),
        (r"\.POINT x.POINT", "POINT X.POINT"),
        ("a\t b  c ", "A B C"),
        ("--DASH ---DASH", "-DASH ---DASH"),
        ("[é] <é>", "[É] <É>"),  # letters of other alphabets are no mark-up
    ],
)
def test_rules_one_by_one(written, wanted):
    assert normalise(written) == wanted


def test_non_linguistic_symbols_are_words_with_a_bracket():
    assert non_linguistic(["A <NOISE>", "<*IN*> B [X]", "C"]) == [
        "<*IN*>",
        "<NOISE>",
    ]


def test_read_dot(tmp_path):
    path = tmp_path / "4k0c0300.dot"
    path.write_text(
        "Costs (rose) eight (4k0c0301)\n"
        "no blank(4K0C0302)  \r\n"
        "not an id (4k0c03)\n"
        "\n"
        "(4k0c0303)\n"
        "text after (4k0c0304) more\n"
    )
    assert wsj.read_dot(path) == {
        "4k0c0301": "Costs (rose) eight",
        "4k0c0302": "no blank",
        "4k0c0303": "",
    }


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "4k0c0300.dot"
    path.write_bytes(b"one (4k0c0301)\ntw\xff (4k0c0302)\n")
    with pytest.raises(TopDownError, match=r"E_UTF8: .*dot line 2"):
        wsj.read_dot(path)
