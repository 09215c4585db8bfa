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
from espnet_topdown.data.tokens import train_bpe
from espnet_topdown.errors import TopDownError
from espnet_topdown.jobs.check import check_asr_data
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.text import TextReader

pytest.importorskip("espnet2.text.char_tokenizer")

CHARS = ["<blank>", "<unk>", "<space>", *"abcdefghijklmnopqrstuvwxyz", "<sos/eos>"]
WORDS = "uno dos tres uno dos uno tres dos uno"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(name: str, first: str, others: str = WORDS) -> None:
    """A data directory of four utterances, of which the first has this text."""
    folder = Path(name)
    folder.mkdir()
    texts = {f"{name}-{i}": words for i, words in enumerate([first, *[others] * 3])}
    for i, utt in enumerate(texts):
        noise = np.random.default_rng([ord(name[0]), i]).normal(0, 0.1, 16000)
        soundfile.write(folder / f"{utt}.wav", noise, 8000)
    text = "".join(f"{utt} {words}\n" for utt, words in texts.items())
    (folder / "text").write_bytes(text.encode("utf-8"))
    (folder / "wav.scp").write_text("".join(f"{u} {folder}/{u}.wav\n" for u in texts))
    (folder / "utt2spk").write_text("".join(f"{u} {u}\n" for u in texts))


def stage_10(capsys, *options: str, tokens=CHARS, train="tr") -> tuple[int, str]:
    """(status, what was said) of the check before the statistics."""
    Path("tokens.txt").write_text("".join(f"{t}\n" for t in tokens), "utf-8")
    words = [
        "--train",
        train,
        "--dev",
        "dv",
        "--fs",
        "8k",
        "--token_list",
        "tokens.txt",
    ]
    try:
        main(["validate_data", *words, *options])
        return 0, capsys.readouterr().out
    except SystemExit as e:
        return e.code, capsys.readouterr().err.splitlines()[-1]


def checked(capsys, train: str, dev: str = WORDS, more: str = "") -> tuple[int, str]:
    """``stage_10`` of sets with these texts, whose model knows ``more`` characters."""
    make("tr", train)
    make("dv", dev)
    known = [*CHARS[:-1], *sorted(set(more) - set(CHARS)), "<sos/eos>"]
    return stage_10(capsys, tokens=known)


SPACES = "\u00a0\u1680\u2000\u2003\u2009\u202f\u205f\u3000\t"
HIDDEN = "\x00\x07\x0b\x1c\x7f\x85\u00ad\u200b\u200e\u2028\u2029\u202e\u2060\ufeff"


@pytest.mark.parametrize("space", SPACES)
def test_stages_3_and_4_write_plain_spaces(space, capsys, caplog):
    make("tr", WORDS.replace(" ", space))
    make("dv", WORDS)
    main(["format_wav", "--data_dir", "tr", "--output_dir", "org", "--fs", "8k"])
    for said in ("W_TEXT_SPACE: tr/text", f"U+{ord(space):04X}"):
        assert said in caplog.text
    assert read_pairs(Path("org/text"), as_espnet=True)["tr-0"] == WORDS
    Path("org/text").write_bytes(Path("tr/text").read_bytes())  # another stage 3
    main(["filter_data", "--data_dir", "org", "--output_dir", "d", "--fs", "8k"])
    assert stage_10(capsys, train="d")[0] == 0
    espnet = pytest.importorskip("espnet2.fileio.read_text")
    assert espnet.read_2columns_text("d/text")["tr-0"] == WORDS


@pytest.mark.parametrize("char", HIDDEN)
def test_what_cannot_be_seen_is_refused(char, capsys, refuses):
    status, said = checked(capsys, f"uno d{char}os tres", more=char)
    refusal = "E_TEXT_CHAR: utt tr-0 (tr/text line 1)"
    assert status == 65
    if char not in "\x00\x0b\x1c\x85\u2028\u2029":  # these end lines of tokens.txt
        assert said.startswith(refusal) and f"U+{ord(char):04X}" in said
    words = ["format_wav", "--data_dir", "tr", "--output_dir", "org", "--fs", "8k"]
    refuses(lambda: main(words), 65, refusal)


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
def test_other_texts_for_tokens_and_the_language_model(command, refuses):
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
        refuses(lambda: main(command.split()), 65, code)


LIKE_NOTHING = "\u200c\u200d\u2800\u3164\ufffd\ue000\u00a0\u3000\ufe0f"
SPELLINGS = [
    ("caf\u00e9", "cafe\u0301"),
    ("\ud55c", "\u1112\u1161\u11ab"),  # Hangul
    ("\u00c5", "\u212b"),  # the Angstrom sign
    ("\u1ea5", "a\u0302\u0301"),
]
ODD = "W_TEXT_CHAR: tr/text holds 2 x U+"
TWO = "W_TEXT_SPELLING: {}/text: two spellings"
NAMED = [  # texts for training and validation, what else the model knows, warnings
    *[
        (f"uno{c}dos{c} tres", WORDS, "", [f"{ODD}{ord(c):04X}", "_UNK: tr/text: 2 of"])
        for c in LIKE_NOTHING
    ],
    *[(f"{a} {b} dos", WORDS, a + b, [TWO.format("tr")]) for a, b in SPELLINGS],
    *[(f"{a} dos", f"{b} dos", a + b, [TWO.format("dv")]) for a, b in SPELLINGS],
    ("cafe\u0301 dos", "cafe\u0301 dos", "\u0301", []),
    ("uno \u06dd dos", WORDS, "\u06dd", []),  # a sign around numbers is seen
]


@pytest.mark.parametrize("train, dev, known, warnings", NAMED)
def test_what_is_named(train, dev, known, warnings, capsys, caplog):
    """What looks like nothing, with its count, and two spellings of a letter."""
    assert checked(capsys, train, dev, known)[0] == 0
    assert all(warning in caplog.text for warning in warnings)
    assert ("W_TEXT" in caplog.text) == bool(warnings)


UPPER = ["<blank>", "<unk>", "<space>", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "<sos/eos>"]
PHONES = ["<blank>", "<unk>", "uno", "dos", "tres", "<space>", "<sos/eos>"]
NOISES = [*CHARS[:-1], "<NOISE>", "<sos/eos>"]
UNKNOWN = "E_TEXT_UNK: tr/text: "
UNSPOKEN = "E_TEXT_TOKENS: utt tr-0 (tr/text line 1): "  # a number without words


@pytest.mark.parametrize(
    "text, tokens, options, refusal",
    [
        (WORDS, CHARS, "", ""),
        (WORDS, UPPER, "", UNKNOWN),
        (WORDS, UPPER, "--cleaner tacotron", ""),
        (WORDS + " " + "9" * 40, UPPER, "--cleaner tacotron", UNSPOKEN),
        (WORDS.upper(), UPPER, "--cleaner none --g2p none", ""),
        (WORDS, PHONES, "--token_type phn", ""),
        (WORDS, PHONES, "--token_type phn --g2p none", ""),
        (WORDS.replace(" ", "   "), PHONES, "--token_type phn", UNKNOWN),
        (WORDS, PHONES, "--token_type word", ""),
        (WORDS.replace(" ", "  "), PHONES, "--token_type word", ""),
        (WORDS.upper(), PHONES, "--token_type word", UNKNOWN),
        (WORDS + " <NOISE>", NOISES, "", UNKNOWN),
        (WORDS + " <NOISE>", NOISES, "--non_linguistic_symbols nlsyms", ""),
    ],
)
def test_text_is_cut_as_training_cuts_it(
    text, tokens, options, refusal, capsys, caplog
):
    Path("nlsyms").write_text("<NOISE>\n")
    make("tr", text, text)
    make("dv", text, text)
    status, said = stage_10(capsys, *options.split(), tokens=tokens)
    if said.startswith("E_INSTALL"):
        pytest.skip(said)
    assert status == (65 if refusal else 0) and said.startswith(refusal)
    assert refusal or "W_TEXT_UNK" not in caplog.text


def test_subwords_by_the_model_itself(capsys, caplog):
    make("tr", WORDS)
    make("dv", WORDS.replace(" ", "\u3000"))  # sentencepiece makes spaces of them
    tokens = train_bpe([Path("tr/text")], Path("bpe"), vocab_size=12)
    options = ["--token_type", "bpe", "--bpemodel", "bpe/bpe.model"]
    assert stage_10(capsys, *options, tokens=tokens)[0] == 0
    assert "W_TEXT_UNK" not in caplog.text
    Path("dv/text").write_text("dv-0 QQQ\ndv-1 uno\ndv-2 uno\ndv-3 uno\n")
    status, said = stage_10(capsys, *options, tokens=tokens)
    assert status == 65 and said.startswith("E_TEXT_UNK: dv/text")
    status, said = stage_10(capsys, "--token_type", "bpe", "--bpemodel", "no.model")
    assert status == 66 and said.startswith("E_MISSING")


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


TEXTS = [
    "Hello  World",
    " a",
    "caf\u00e9, no. 3!",
    "\u3000x\u00a0y",
    "<NOISE> a<NOISE>",
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
    for text in TEXTS:
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
    edit("data/train/text", old, new)
    with pytest.raises(TopDownError, match=f"{code}: .*data/train/text"):
        check_asr_data(Experiment(toy_experiment))


def test_a_search_names_what_the_model_knows(toy_experiment, caplog):
    """A model was trained on it: that is no reason to refuse."""
    edit("data/train/text", "t1 ab", "t1 a\u200bb")
    base = Experiment(toy_experiment)
    base.config["token_list"] = ["<blank>", "<unk>", "a", "b", "\u200b", "<sos/eos>"]
    check_asr_data(base)
    assert "W_TEXT_CHAR: data/train/text holds 1 x U+200B" in caplog.text
