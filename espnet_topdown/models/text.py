"""Text as ESPnet reads it: a cleaner, then a tokenizer, both ESPnet's own.

What a check finds here is what training sees: no rule of ours is in between.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from espnet_topdown.data.kaldi_dir import read_lines
from espnet_topdown.errors import DATA, MISSING, TopDownError, warn
from espnet_topdown.files import read_yaml
from espnet_topdown.models import type_checks
from espnet_topdown.models.experiment import as_names
from espnet_topdown.models.tasks import FILE, how_to_install

# ESPnet's own classes by token_type, imported one by one: all of them take 10 s.
_TOKENIZERS = {
    "char": "espnet2.text.char_tokenizer:CharTokenizer",
    "word": "espnet2.text.word_tokenizer:WordTokenizer",
    "bpe": "espnet2.text.sentencepiece_tokenizer:SentencepiecesTokenizer",
    "phn": "espnet2.text.phoneme_tokenizer:PhonemeTokenizer",
}
OPTIONS = ("token_type", "bpemodel", "cleaner", "g2p", "non_linguistic_symbols")


@dataclass(frozen=True)
class TextReader:
    """What turns the value of a line of ``text`` into tokens.

    Attributes:
        where: The config or the options that say so, for messages.
        tokenizer: ESPnet's tokenizer: ``text2tokens``, ``tokens2text``.
        cleaner: ESPnet's cleaner; None leaves the text as it is.
        token_list: The tokens of the model; None where they are those of a
            pretrained tokenizer, which knows every text.
    """

    where: str
    tokenizer: Any
    cleaner: Any = None
    token_list: tuple[str, ...] | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str | Path) -> TextReader:
        """The reader that a config, or options of the same names, describe.

        Args:
            options: ``token_type``, ``token_list``, ``bpemodel``, ``cleaner``,
                ``g2p``, ``non_linguistic_symbols``; with ``preprocessor`` or
                ``preprocessor_conf`` ESPnet's preprocessor is built.
            where: The file or the command they are from.

        Returns:
            The reader.

        Raises:
            TopDownError: E_CONFIG_KEY (78) for a value that ESPnet does not know,
                E_MISSING (66) for a file that is not there, E_NLSYMS (65), E_INSTALL
                (78) for a package that is not installed.
        """
        options = {key: _none(value) for key, value in options.items()}
        kind = options.get("token_type") or "char"
        _check_files(options, where)
        what = f"{where}: token_type '{kind}'"
        for key in ("cleaner", "g2p", "bpemodel"):
            if options.get(key):
                what += f", {key} '{options[key]}'"
        try:
            tokenizer, cleaner = _built(kind, options)
            text = cleaner("a") if cleaner else "a"
            tokenizer.text2tokens(text)
        except Exception as e:  # each tokenizer and cleaner has errors of its own
            _check_needs(options, what, e)
            lacks = isinstance(e, (ImportError, LookupError)) or "install" in str(e)
            code = "E_INSTALL" if lacks else "E_CONFIG_KEY"
            do = "install what it names" if lacks else "correct that key"
            raise TopDownError(code, f"{what}: {_first_line(e)}", do) from e
        tokens = options.get("token_list")
        if kind not in _TOKENIZERS:
            tokens = None
        return cls(str(where), tokenizer, cleaner, tokens and tuple(tokens))

    def clean(self, text: str) -> str:
        """The text as the cleaner leaves it.

        Args:
            text: Of a line.

        Returns:
            The cleaned text.
        """
        return self.cleaner(text) if self.cleaner else text

    def tokens(self, text: str) -> list[str]:
        """The tokens that training makes of a text, in the token list or not.

        Args:
            text: Of a line, as it stands in the file.

        Returns:
            The tokens.

        Raises:
            ValueError: The cleaner or the grapheme-to-phoneme tool fails on it.
        """
        try:
            return list(self.tokenizer.text2tokens(self.clean(text)))
        except Exception as e:  # each tool has errors of its own
            raise ValueError(f"{self.where}: {_first_line(e)}") from e


# ``none`` is how ESPnet's options write that there is no value.
def _none(value: Any) -> Any:
    return None if isinstance(value, str) and value.lower() in ("none", "") else value


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" *\t")]
    return (lines or [type(error).__name__])[0][:200]


def _check_files(options: Mapping[str, Any], where: str | Path) -> None:
    """What ESPnet would leave out, wait for, or report as a traceback."""
    for key in ("bpemodel", "non_linguistic_symbols"):
        path = options.get(key)
        if not isinstance(path, (str, Path)):
            continue
        pretrained = key == "bpemodel" and options.get("token_type") != "bpe"
        if not pretrained and not Path(path).is_file():
            do = "correct the path; relative paths refer to the recipe's folder"
            what = f"{where}: {key}: no file {path}"
            raise TopDownError("E_MISSING", what, do, MISSING)
        if key == "non_linguistic_symbols":
            for number, line in enumerate(read_lines(Path(path), as_espnet=True), 1):
                if not line.strip():
                    what = f"{path} line {number} is empty; ESPnet would never end"
                    raise TopDownError("E_NLSYMS", what, "delete the line", DATA)
                seen = line.strip().replace("\u200c", "").replace("\u200d", "")
                if line[0].isspace() or not seen.isprintable():
                    what = f"{path} line {number}: {line!a} begins with a space or"
                    what += " holds what cannot be seen: hardly a text's symbol"
                    warn("W_NLSYMS", what)


def _check_needs(options: Mapping[str, Any], what: str, error: Exception) -> None:
    """Name the package without which ESPnet does not know a value.

    Raises:
        TopDownError: E_INSTALL (78).
    """
    values = {str(value) for key in OPTIONS for value in as_names(options.get(key))}
    for value, module in read_yaml(FILE)["needs"].items():
        if value in values and find_spec(module) is None:
            what += f": '{value}' needs the package {module}"
            raise TopDownError("E_INSTALL", what, how_to_install(module)) from error


def _built(kind: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
    load = type_checks.import_quietly
    is_default = options.get("preprocessor") in (None, "default")
    if not is_default or options.get("preprocessor_conf"):
        args = argparse.Namespace(**{**options, "use_preprocessor": True})
        made = load("espnet2.tasks.asr").ASRTask.build_preprocess_fn(args, False)
        return made.tokenizer, made.text_cleaner
    symbols = options.get("non_linguistic_symbols")
    more = {
        "char": {"non_linguistic_symbols": symbols},
        "word": {},
        "bpe": {"model": options.get("bpemodel")},
        "phn": {"g2p_type": options.get("g2p"), "non_linguistic_symbols": symbols},
    }
    if kind in more:
        module, _, name = _TOKENIZERS[kind].partition(":")
        tokenizer = getattr(load(module), name)(**more[kind])
    else:
        tokenizer = load("espnet2.text.build_tokenizer").build_tokenizer(
            token_type=kind,
            bpemodel=options.get("bpemodel"),
            non_linguistic_symbols=symbols,
            g2p_type=options.get("g2p"),
        )
    if not options.get("cleaner"):
        return tokenizer, None
    cleaners = load("espnet2.text.cleaner")
    return tokenizer, cleaners.TextCleaner(options["cleaner"])
