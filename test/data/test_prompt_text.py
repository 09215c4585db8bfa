"""Transcripts become words, or say why not."""

from __future__ import annotations

import pytest
from corpora import load

prompts = load("prepare_prompts")
normalise = prompts.normalise

LANGUAGES = prompts.catalogue()["languages"]


@pytest.mark.parametrize(
    "lang, text, expected",
    [
        ("es", "Hola Mundo!", "hola mundo"),
        ("es", "Marque 1, o 9 para salir.", "marque uno o nueve para salir"),
        ("es", "¿El Niño está aquí?", "el niño está aquí"),
        ("es", "p.m.", "p m"),
        ("es", "X-Ray", "x ray"),
        ("es", "Nin\u0303o", "niño"),  # composed
        ("en", "letter - at [@]", "letter at"),
        ("en", "don't 'quote' it", "don't quote it"),
        ("fr", "Appuyez sur 5.Pour l’aide…", "appuyez sur cinq pour l'aide"),
        ("it", "Così è", "così è"),
        ("ru", "Нажмите 4, чтобы «Ёж»", "нажмите четыре чтобы ёж"),
    ],
)
def test_normalise(lang, text, expected):
    spec = LANGUAGES[lang]
    assert normalise(text, spec["letters"], spec["digits"]) == expected


@pytest.mark.parametrize(
    "lang, text, reason",
    [
        ("es", "[tono simple]", "no speech"),
        ("es", "<beep ascending>", "no speech"),
        ("es", "", "no speech"),
        ("es", "...", "no speech"),
        ("es", "Sus saludos [temporales] estan", "words in brackets"),
        ("es", "extension 1234", "numeral"),
        ("es", "a 28.8 k", "numeral"),
        ("es", "8.8", "numeral"),
        ("es", "3D", "numeral"),
        ("en", "press # now", "sign or letter"),
        ("ru", "Asterisk это", "sign or letter"),
        ("es", "за", "sign or letter"),
    ],
)
def test_unusable(lang, text, reason):
    spec = LANGUAGES[lang]
    with pytest.raises(prompts.Unusable, match=reason):
        normalise(text, spec["letters"], spec["digits"])


@pytest.mark.parametrize(
    "lang, text, expected",
    [("es", "número niño über", "numero niño uber"), ("ru", "мой ёж", "мой еж")],
)
def test_fold_accents(lang, text, expected):
    spec = LANGUAGES[lang]
    letters = spec["letters"] + "ü"
    assert normalise(text, letters, spec["digits"], fold_accents=True) == expected


def test_every_language_has_ten_digits_in_its_own_letters():
    for lang, spec in LANGUAGES.items():
        assert len(spec["digits"]) == 10, lang
        assert set("".join(spec["digits"])) <= set(spec["letters"]), lang
        assert len(spec["sha256"]) == 2 and len(spec["contents"]) == 64, lang
