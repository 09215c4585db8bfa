"""What is checked is what is trained on: texts as people have them.

Stages 3 and 4 write a text that ESPnet reads as it looks; stage 10 and the check before
a search read the very file through ESPnet's own cleaner and tokenizer.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_topdown.cli.main import main
from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import TopDownError
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.text import TextReader

pytest.importorskip("espnet2.text.char_tokenizer")

CHARS = ["<blank>", "<unk>", "<space>", *"abcdefghijklmnopqrstuvwxyz", "<sos/eos>"]
WORDS = "uno dos tres uno dos uno tres dos uno"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(name: str, first: str, others: str = WORDS, n: int = 4) -> Path:
    """A data directory; the first utterance has this text."""
    folder = Path(name)
    folder.mkdir()
    ids = [f"{name}-{i}" for i in range(n)]
    for i, utt in enumerate(ids):
        noise = np.random.default_rng([ord(name[0]), i]).normal(0, 0.1, 16000)
        soundfile.write(folder / f"{utt}.wav", noise, 8000)
    texts = [first, *[others] * (n - 1)]
    pairs = zip(ids, texts)
    text = "".join(f"{utt} {words}\n" for utt, words in pairs)
    (folder / "text").write_bytes(text.encode("utf-8"))
    (folder / "wav.scp").write_text("".join(f"{u} {folder}/{u}.wav\n" for u in ids))
    (folder / "utt2spk").write_text("".join(f"{u} {u}\n" for u in ids))
    return folder


def stage_10(capsys, *options: str, tokens=CHARS, sets=("tr", "dv")) -> tuple[int, str]:
    """(status, what was said) of the check before the statistics."""
    Path("tokens.txt").write_text("".join(f"{t}\n" for t in tokens), "utf-8")
    roles = [w for role, s in zip(("--train", "--dev"), sets) for w in (role, s)]
    try:
        main(
            [
                "validate_data",
                *[*roles, "--fs", "8k", "--token_list", "tokens.txt", *options],
            ]
        )
        return 0, capsys.readouterr().out
    except SystemExit as e:
        return e.code, capsys.readouterr().err.splitlines()[-1]


SPACES = "\u00a0\u1680\u2000\u2003\u2009\u202f\u205f\u3000\t"
HIDDEN = "\x00\x07\x0b\x1c\x7f\x85\u00ad\u200b\u200e\u2028\u2029\u202e\u2060\ufeff"


@pytest.mark.parametrize("space", SPACES)
def test_stages_3_and_4_write_plain_spaces(space, capsys, caplog):
    make("tr", WORDS.replace(" ", space))
    main(["format_wav", "--data_dir", "tr", "--output_dir", "org", "--fs", "8k"])
    assert (
        f"U+{ord(space):04X}" in caplog.text and "W_TEXT_SPACE: tr/text" in caplog.text
    )
    assert read_pairs(Path("org/text"), as_espnet=True)["tr-0"] == WORDS
    Path("org/text").write_bytes(Path("tr/text").read_bytes())  # another stage 3
    main(["filter_data", "--data_dir", "org", "--output_dir", "d", "--fs", "8k"])
    make("dv", WORDS)
    assert stage_10(capsys, sets=("d", "dv"))[0] == 0
    espnet = pytest.importorskip("espnet2.fileio.read_text")
    assert espnet.read_2columns_text("d/text")["tr-0"] == WORDS


@pytest.mark.parametrize("char", HIDDEN)
def test_what_cannot_be_seen_is_refused(char, capsys):
    make("tr", f"uno d{char}os tres")
    make("dv", WORDS)
    code = f"U+{ord(char):04X}"
    status, said = stage_10(capsys, tokens=[*CHARS[:-1], char, "<sos/eos>"])
    assert status == 65
    if char not in "\x00\x0b\x1c\x85\u2028\u2029":  # these end lines of tokens.txt
        assert (
            said.startswith("E_TEXT_CHAR: utt tr-0 (tr/text line 1)") and code in said
        )
    with pytest.raises(SystemExit, match="65"):
        main(["format_wav", "--data_dir", "tr", "--output_dir", "org", "--fs", "8k"])
    assert "E_TEXT_CHAR: utt tr-0 (tr/text line 1)" in capsys.readouterr().err


def test_a_sign_around_numbers_is_seen(capsys):
    make("tr", "uno \u06dd dos")
    make("dv", WORDS)
    assert stage_10(capsys, tokens=[*CHARS[:-1], "\u06dd", "<sos/eos>"])[0] == 0


CODINGS = ("UTF-16", "UTF-16-LE", "UTF-16-BE", "UTF-32", "UTF-32-LE", "UTF-32-BE")
CHINESE = "\u4f60\u597d" * 30
ADVICE = [  # a text, what is done to the bytes of the list, the message
    (WORDS, lambda text: text.replace(b"no", b"n\xe2\x80\x8bo", 1), "E_TEXT_CHAR: utt"),
    (WORDS, lambda text: text.replace(b"o d", b"o\rd", 1), "E_TEXT_LINE: "),
    (WORDS, lambda text: b"\xef\xbb\xbf" + text, "E_BOM: "),
    ("caf\u00e9", lambda text: text.decode().encode("latin1"), "E_UTF8: "),
    *[
        (words, lambda text, c=coding: text.decode().encode(c), "E_UTF8: ")
        for words in (WORDS, "caf\u00e9", CHINESE)
        for coding in CODINGS
    ],
]


@pytest.mark.parametrize("words, change, message", ADVICE)
def test_the_advice_works(words, change, message, capsys):
    make("tr", words, words)
    make("dv", words, words)
    text = Path("tr/text")
    right = text.read_bytes()
    text.write_bytes(change(right))
    status, said = stage_10(capsys)
    assert status == 65 and said.startswith(message) and "tr/text line 1" in said
    command = said.rpartition("run: ")[2].rstrip(".")
    assert subprocess.run(["bash", "-c", command]).returncode == 0
    assert text.read_bytes() == right


TEXT_READERS = ["filter_text --input mine --output lm_train.txt"]
TEXT_READERS += ["token_list --input mine --output_dir bpe --vocab_size 12"]


@pytest.mark.parametrize("command", TEXT_READERS)
def test_other_texts_for_tokens_and_the_language_model(command, capsys):
    """``--lm_train_text`` and ``--bpe_train_text`` are read and mended as the sets."""
    other = "" if "bpe" in command else "b-2\u00a0\n"  # no text
    Path("mine").write_text(f"b-1 {WORDS}\u3000uno\n{other}a-1 dos\n", "utf-8")
    main(command.split())
    made = Path("lm_train.txt" if "filter" in command else "bpe/train.txt").read_text()
    assert f"{WORDS} uno\n" in made and made.count("\n") == 2
    for text, code in (
        ("a uno\u200b\n", "E_TEXT_CHAR: utt a (mine line 1)"),
        ("a un\0o", "E_TEXT_CHAR: utt a (mine line 1)"),
        ("a uno\na dos\n", "E_UTT_DUP: a lines 1, 2 of mine"),
    ):
        Path("mine").write_text(text, "utf-8")
        with pytest.raises(SystemExit, match="65"):
            main(command.split())
        assert code in capsys.readouterr().err


@pytest.mark.parametrize(
    "char", "\u200c\u200d\u2800\u3164\ufffd\ue000\u00a0\u3000\ufe0f"
)
def test_what_looks_like_nothing_is_named_with_its_count(char, capsys, caplog):
    make("tr", f"uno{char}dos{char} tres")
    make("dv", WORDS)
    assert stage_10(capsys)[0] == 0
    assert f"W_TEXT_CHAR: tr/text holds 2 x U+{ord(char):04X}" in caplog.text
    assert "W_TEXT_UNK: tr/text: 2 of" in caplog.text


@pytest.mark.parametrize(
    "one, other",
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\ud55c", "\u1112\u1161\u11ab"),  # Hangul
        ("\u00c5", "\u212b"),  # the Angstrom sign
        ("\u1ea5", "a\u0302\u0301"),
    ],
)
@pytest.mark.parametrize("where", ["one set", "two sets"])
def test_two_spellings_of_a_letter_are_named(one, other, where, capsys, caplog):
    both = where == "one set"
    make("tr", f"{WORDS} {one} {other}" if both else f"{WORDS} {one}")
    make("dv", WORDS if both else f"{WORDS} {other}")
    tokens = [*CHARS[:-1], *sorted(set(one + other) - set(CHARS)), "<sos/eos>"]
    assert stage_10(capsys, tokens=tokens)[0] == 0
    path = "tr/text" if both else "dv/text"
    assert f"W_TEXT_SPELLING: {path}: two spellings" in caplog.text
    assert f"U+{ord(one[-1]):04X}" in caplog.text


def test_one_spelling_is_right_whichever(capsys, caplog):
    make("tr", WORDS + " cafe\u0301")
    make("dv", WORDS + " cafe\u0301")
    assert stage_10(capsys, tokens=[*CHARS[:-1], "\u0301", "<sos/eos>"])[0] == 0
    assert "W_TEXT" not in caplog.text


UPPER = ["<blank>", "<unk>", "<space>", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "<sos/eos>"]
PHONES = ["<blank>", "<unk>", "uno", "dos", "tres", "<space>", "<sos/eos>"]
UNKNOWN = "E_TEXT_UNK: tr/text: "
UNSPOKEN = "E_TEXT_TOKENS: utt tr-0 (tr/text line 1): "  # a number without words


@pytest.mark.parametrize(
    "text, tokens, options, refusal",
    [
        (WORDS, CHARS, [], ""),
        (WORDS, UPPER, [], UNKNOWN),
        (WORDS, UPPER, ["--cleaner", "tacotron"], ""),
        (WORDS + " " + "9" * 40, UPPER, ["--cleaner", "tacotron"], UNSPOKEN),
        (WORDS.upper(), UPPER, ["--cleaner", "none", "--g2p", "none"], ""),
        (WORDS, PHONES, ["--token_type", "phn"], ""),
        (WORDS, PHONES, ["--token_type", "phn", "--g2p", "none"], ""),
        (WORDS.replace(" ", "   "), PHONES, ["--token_type", "phn"], UNKNOWN),
        (WORDS, PHONES, ["--token_type", "word"], ""),
        (WORDS.replace(" ", "  "), PHONES, ["--token_type", "word"], ""),
        (WORDS.upper(), PHONES, ["--token_type", "word"], UNKNOWN),
        (WORDS + " <NOISE>", [*CHARS[:-1], "<NOISE>", "<sos/eos>"], [], UNKNOWN),
        (
            WORDS + " <NOISE>",
            [*CHARS[:-1], "<NOISE>", "<sos/eos>"],
            ["--non_linguistic_symbols", "nlsyms"],
            "",
        ),
    ],
)
def test_text_is_cut_as_training_cuts_it(
    text, tokens, options, refusal, capsys, caplog
):
    Path("nlsyms").write_text("<NOISE>\n")
    make("tr", text, text)
    make("dv", text, text)
    status, said = stage_10(capsys, *options, tokens=tokens)
    if said.startswith("E_INSTALL"):
        pytest.skip(said)
    if refusal:
        assert status == 65 and said.startswith(refusal)
    else:
        assert status == 0 and "W_TEXT_UNK" not in caplog.text


def test_subwords_by_the_model_itself(capsys, caplog):
    from espnet_topdown.data.tokens import train_bpe

    make("tr", WORDS)
    make("dv", WORDS.replace(" ", "\u3000"))  # sentencepiece makes spaces of them
    tokens = train_bpe([Path("tr/text")], Path("bpe"), vocab_size=12)
    options = ["--token_type", "bpe", "--bpemodel", "bpe/bpe.model"]
    assert stage_10(capsys, *options, tokens=tokens)[0] == 0
    assert "W_TEXT_UNK" not in caplog.text
    (Path("dv") / "text").write_text("dv-0 QQQ\ndv-1 uno\ndv-2 uno\ndv-3 uno\n")
    status, said = stage_10(capsys, *options, tokens=tokens)
    assert status == 65 and said.startswith("E_TEXT_UNK: dv/text")
    status, said = stage_10(capsys, "--token_type", "bpe", "--bpemodel", "no.model")
    assert (status, said[:9]) == (66, "E_MISSING")


@pytest.mark.parametrize(
    "options, code",
    [
        ({"token_type": "syllable"}, "E_CONFIG_KEY"),
        ({"token_type": "phn", "g2p": "no_such"}, "E_CONFIG_KEY"),
        ({"cleaner": "no_such"}, "E_(CONFIG_KEY|INSTALL)"),
        ({"token_type": "bpe"}, "E_CONFIG_KEY"),
        ({"token_type": "bpe", "bpemodel": "text"}, "E_CONFIG_KEY"),
        ({"non_linguistic_symbols": "gone"}, "E_MISSING"),
        ({"non_linguistic_symbols": "empty"}, "E_NLSYMS"),
    ],
)
def test_readers_that_cannot_be(options, code):
    Path("text").write_text("no model\n")
    Path("empty").write_text("<A>\n\n<B>\n")
    with pytest.raises(TopDownError, match=f"{code}: "):
        TextReader.of(options, "config.yaml")


@pytest.mark.parametrize(
    "symbol, is_named",
    [
        *[(f"{odd}<NOISE>", True) for odd in " \u200b\u2060\x07"],
        *[(f"<NOI{odd}SE>", True) for odd in "\u00a0\x0c\u2028\u00ad"],
        *[(symbol, False) for symbol in ("<NOISE> ", "<A B>", "<\u06a9\u200c\u06cc>")],
    ],
)
def test_symbols_that_no_text_has_are_named(symbol, is_named, caplog):
    """The tokenizer would cut what the text has into letters."""
    Path("symbols").write_text(f"<A>\n{symbol}\n", "utf-8")
    TextReader.of({"non_linguistic_symbols": "symbols"}, "config.yaml")
    assert ("W_NLSYMS: symbols line 2" in caplog.text) == is_named


ODD = [
    "Hello  World",
    " a",
    "caf\u00e9, no. 3!",
    "\u3000x\u00a0y",
    "<NOISE> a<NOISE>",
    "",
]


@pytest.mark.parametrize(
    "options",
    [
        {"token_type": "char"},
        {"token_type": "char", "non_linguistic_symbols": ["<NOISE>"]},
        {"token_type": "char", "cleaner": "tacotron"},
        {"token_type": "char", "cleaner": "jaconv"},
        {"token_type": "char", "cleaner": ["jaconv", "korean_cleaner"]},
        {"token_type": "word", "cleaner": "tacotron"},
        {"token_type": "phn"},
        {"token_type": "phn", "g2p": "korean_jaso"},
        {"token_type": "phn", "g2p": "pypinyin_g2p"},
    ],
)
def test_the_reader_is_espnets_preprocessor(options):
    preprocessor = pytest.importorskip("espnet2.train.preprocessor")
    try:
        reader = TextReader.of(options, "test")
    except TopDownError as e:
        if e.code != "E_INSTALL":
            raise
        pytest.skip(str(e))
    theirs = preprocessor.CommonPreprocessor(
        train=False,
        token_type=options["token_type"],
        token_list=CHARS,
        text_cleaner=options.get("cleaner"),
        g2p_type=options.get("g2p"),
        non_linguistic_symbols=options.get("non_linguistic_symbols"),
    )
    for text in ODD:
        ids = theirs.token_id_converter.tokens2ids(reader.tokens(text))
        assert ids == theirs("u", {"text": text})["text"].tolist()


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text(encoding="utf-8")
    assert old in text
    Path(path).write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    "old, new, code",
    [
        ("t1 ab", "\ufefft1 ab", "E_BOM"),
        ("t1 ab", "t1 a\u00a0b", "E_TEXT_UNK"),
        ("t1 ab", "t1 a\rt9 b", "E_TEXT_LINE"),
        ("t1 ab", "t1 \u200b", "E_TEXT_UNK"),
    ],
)
def test_a_search_reads_the_text_that_was_trained_on(toy_experiment, old, new, code):
    from espnet_topdown.jobs.check import check_asr_data

    edit("data/train/text", old, new)
    with pytest.raises(TopDownError, match=f"{code}: .*data/train/text"):
        check_asr_data(Experiment(toy_experiment))


def test_a_search_names_what_the_model_knows(toy_experiment, caplog):
    """A model was trained on it: that is no reason to refuse."""
    from espnet_topdown.jobs.check import check_asr_data

    edit("data/train/text", "t1 ab", "t1 a\u200bb")
    base = Experiment(toy_experiment)
    base.config["token_list"] = ["<blank>", "<unk>", "a", "b", "\u200b", "<sos/eos>"]
    check_asr_data(base)
    assert "W_TEXT_CHAR: data/train/text holds 1 x U+200B" in caplog.text
