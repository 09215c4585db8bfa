"""Recognise speech with an ESPnet model, greedily, and score the result.

A model with a CTC layer is decoded by it, any other one by its attention decoder.
"""

from __future__ import annotations

import argparse
import functools
import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from espnet_topdown.data.kaldi_dir import read_pairs, write_pairs
from espnet_topdown.data.tokens import frames_needed
from espnet_topdown.errors import DATA, MISSING, TopDownError, warn
from espnet_topdown.files import check_output, write_json
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.text import TextReader
from espnet_topdown.models.weights import check_keys, load_weights
from espnet_topdown.scoring.attention_greedy import greedy_attention, has_attention
from espnet_topdown.scoring.counts import Counts
from espnet_topdown.scoring.ctc_greedy import Hypothesis, greedy_ctc
from espnet_topdown.scoring.sclite import sclite_note
from espnet_topdown.scoring.score import (
    as_written,
    count_set,
    record,
    speakers,
    write_scores,
)
from espnet_topdown.scoring.sound import longest_first, read_wav_scp
from espnet_topdown.scoring.units import UNITS, check_same_utterances, read_nlsyms


def load_model(
    config: Path,
    weights: Path,
    device: str = "cpu",
    fix_eval_dropout: bool = False,
) -> torch.nn.Module:
    """Build the model that ``config`` describes and give it exactly these weights.

    Args:
        config: ``config.yaml`` of an ESPnet experiment. Relative paths inside refer
            to the current folder, as in a recipe.
        weights: A file of weights of the same experiment.
        device: ``cpu`` or ``cuda``.
        fix_eval_dropout: See ``Experiment``.

    Raises:
        TopDownError: E_CKPT_KEYS or E_CKPT_SHAPE when the weights are not those of
            this model, E_CONFIG_KEY or E_MISSING when it cannot be built.
    """
    state = load_weights(weights)
    model = _build(Experiment(Path(config).parent, None, fix_eval_dropout))
    check_keys(state, model.state_dict(), weights)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as e:
        what = f"{weights}: {str(e).splitlines()[-1].strip()}"
        do = "use the weights and the config.yaml of the same experiment"
        raise TopDownError("E_CKPT_SHAPE", what, do, DATA) from None
    return model.to(device).eval()


def _build(experiment: Experiment) -> torch.nn.Module:
    # Imported here: our task makes its encoders known to ESPnet, and loads slowly.
    from espnet_topdown.trainer.fast import cpu
    from espnet_topdown.trainer.task import TopDownASRTask

    config = experiment.folder / "config.yaml"
    args = argparse.Namespace(**{**experiment.config, "init": None})
    try:
        model = TopDownASRTask.build_model(args)
    except FileNotFoundError as e:
        what = f"{config} names '{e.filename}', which is not there"
        do = "run in the recipe folder: its paths are relative to it"
        raise TopDownError("E_MISSING", what, do, MISSING) from e
    except ModuleNotFoundError as e:
        what = f"the model of {config} needs the package {e.name}"
        do = f"run 'pip install {e.name}', or ESPnet's installer of it"
        raise TopDownError("E_INSTALL", what, do) from e
    except Exception as e:  # each part of ESPnet refuses its options in its own way
        what = f"{config} does not describe an ASR model of this ESPnet"
        do = "give the config.yaml that training wrote, of the ESPnet in use"
        raise TopDownError(
            "E_CONFIG_KEY", f"{what} ({type(e).__name__}: {e})", do
        ) from e
    cpu.install(model)
    return model


class Recognizer:
    """A model with what turns sound into its input and its output into text.

    Args:
        config: See ``load_model``.
        weights: See ``load_model``.
        device: See ``load_model``.
        batch_seconds: See ``greedy_ctc``.
        accept_random: See ``greedy_ctc``.
        fix_eval_dropout: See ``Experiment``.
    """

    def __init__(
        self,
        config: Path,
        weights: Path,
        device: str = "cpu",
        batch_seconds: float = 120.0,
        accept_random: bool = False,
        fix_eval_dropout: bool = False,
    ) -> None:
        self.experiment = Experiment(Path(config).parent, None, fix_eval_dropout)
        self.conf = self.experiment.config
        if self.conf.get("input_size") is not None:
            raise TopDownError(
                "E_INPUT_TYPE",
                f"{config}: the model takes features (input_size is set), not sound",
                "use a model trained with feats_type raw",
            )
        self.reader = TextReader.of(self.conf, config)
        self.weights = Path(weights)
        self.model = load_model(config, weights, device, fix_eval_dropout)
        by_attention = self.model.ctc is None and has_attention(self.model)
        self.decoder = "attention_greedy" if by_attention else "ctc_greedy"
        self.batch_seconds = batch_seconds
        self.accept_random = accept_random

    @cached_property
    def preprocess(self):  # type: ignore[no-untyped-def]
        """ESPnet's own function from raw speech and text to the model's input."""
        from espnet_topdown.trainer.task import TopDownASRTask

        args = argparse.Namespace(**{**self.conf, "use_preprocessor": True})
        try:
            return TopDownASRTask.build_preprocess_fn(args, False)
        except RuntimeError as e:  # a token that is there twice, or no <unk>
            what = f"{self.experiment.folder}/config.yaml: token_list: {e}"
            do = "make the token list again (stage 5)"
            raise TopDownError("E_TOKENS", what, do, DATA) from e

    def training_batch(
        self, files: Mapping[str, str], texts: Mapping[str, str]
    ) -> dict[str, torch.Tensor]:
        """What the trainer would give the model for these utterances."""
        from espnet_topdown.trainer.task import TopDownASRTask

        args = argparse.Namespace(**{**self.conf, "use_preprocessor": True})
        prepare = TopDownASRTask.build_preprocess_fn(args, True)
        join = TopDownASRTask.build_collate_fn(args, True)
        sounds = longest_first(files, self.experiment.sample_rate)
        raw = ((utt, {"speech": sound, "text": texts[utt]}) for utt, sound in sounds)
        _, batch = join([(utt, prepare(utt, data)) for utt, data in raw])
        return batch

    @property
    def of_phones(self) -> bool:
        """Whether tokens are phones, which no text can be made of again."""
        return self.conf["token_type"] == "phn"

    def tokens(self, hyp: Hypothesis) -> list[str]:
        """The symbols of a hypothesis."""
        return [self.model.token_list[i] for i in hyp.token_ids]

    def text(self, hyp: Hypothesis) -> str:
        """Text as ``asr_inference`` writes it; of phones, with a blank between."""
        join = " ".join if self.of_phones else self.reader.tokenizer.tokens2text
        return join(self.tokens(hyp))

    def texts(self, hyps: Mapping[str, Hypothesis]) -> dict[str, str]:
        """The text of each hypothesis, as a file that it is written to holds it."""
        return as_written({utt: self.text(hyp) for utt, hyp in hyps.items()})

    def recognize(self, files: Mapping[str, str]) -> dict[str, Hypothesis]:
        """Decode the audio file of each utterance."""
        fs = self.experiment.sample_rate
        sounds = (
            (utt, self.preprocess(utt, {"speech": samples})["speech"])
            for utt, samples in longest_first(files, fs)
        )
        how = (self.batch_seconds, fs, self.accept_random)
        start = time.perf_counter()
        greedy = greedy_ctc if self.decoder == "ctc_greedy" else greedy_attention
        hyps = {hyp.utt: hyp for hyp in greedy(self.model, sounds, *how)}
        seconds = time.perf_counter() - start
        logging.info("decoded %d utterances in %.1f s", len(hyps), seconds)
        return hyps

    def infeasible(
        self, hyps: Mapping[str, Hypothesis], ref: Mapping[str, str]
    ) -> list[str]:
        """Utterances whose reference needs more frames than the encoder yields."""
        found: list[str] = []
        for utt, hyp in hyps.items() if self.decoder == "ctc_greedy" else ():
            ids = self.preprocess(utt, {"text": ref[utt]})["text"].tolist()
            if frames_needed(ids) > hyp.n_frames:
                found.append(utt)
        return sorted(found)

    def units(self) -> dict[str, Callable[[str], list[str]]]:
        """What cuts text into the tokens of ``cer``, ``wer`` and ``ter``.

        Of a model of phones all three are its phones: nothing else is recognised.
        """
        if self.of_phones:
            return dict.fromkeys((*UNITS, "ter"), str.split)
        nlsyms = self.conf.get("non_linguistic_symbols")
        if not isinstance(nlsyms, list):
            nlsyms = read_nlsyms(nlsyms)
        cuts = {
            unit: functools.partial(cut, nlsyms=nlsyms) for unit, cut in UNITS.items()
        }
        return {**cuts, "ter": self.reader.tokenizer.text2tokens}

    def clean(self, ref: Mapping[str, str]) -> dict[str, str]:
        """References as training saw them: cleaned, and as phones for phones."""
        if self.of_phones:
            return {utt: " ".join(self.reader.tokens(t)) for utt, t in ref.items()}
        return {utt: self.reader.clean(text) for utt, text in ref.items()}

    def score(
        self,
        name: str,
        hyps: Mapping[str, Hypothesis],
        ref: Mapping[str, str],
        spoken: Mapping[str, str] | None = None,
        counts: Mapping[str, Mapping[str, Counts]] | None = None,
    ) -> dict[str, Any]:
        """``score.json`` of the set called ``name``, but for the seconds it took.

        Args:
            name: Of the set.
            hyps: What was recognised, by utterance id.
            ref: What was said; the same ids.
            spoken: ``texts(hyps)``, where it is known already.
            counts: By unit and utterance, where they are known already.
        """
        check_same_utterances(ref, hyps)
        too_long = self.infeasible(hyps, ref)
        if too_long:
            which = f"{len(too_long)} references ({', '.join(too_long[:3])}, ...)"
            warn("W_CTC_INFEASIBLE", f"{which} need more frames than there are")
        spoken = spoken or self.texts(hyps)
        clean, known = self.clean(ref), counts or {}
        counts = {
            unit: known.get(unit) or count_set(clean, spoken, cut)
            for unit, cut in self.units().items()
        }
        return {
            "schema": 1,
            "set": name,
            "decoder": self.decoder,
            "model_file": self.weights.name,
            "epoch": self.experiment.epoch_of(self.weights),
            **record(counts, spoken),
            "infeasible": len(too_long),
        }


def validation_score(
    config: Path,
    weights: Path,
    batch_seconds: float = 120.0,
    device: str = "cpu",
    accept_random: bool = False,
    fix_eval_dropout: bool = False,
) -> dict[str, Any]:
    """The error counts on the whole validation set that ``config`` names.

    Returns:
        What ``score.json`` holds.

    Raises:
        TopDownError: E_EVAL_RANDOM when a second evaluation would give another
            result, E_UTT_SETS when speech and text differ in utterances, and those of
            ``load_model`` and ``greedy_ctc``.
    """
    start = time.perf_counter()
    experiment = Experiment(Path(config).parent)
    wav_scp, kind = experiment.data_path("valid", "speech")
    if kind != "sound":
        what = f"{config}: the validation speech is of type '{kind}'"
        do = "only 'sound' is supported; train with feats_type raw"
        raise TopDownError("E_INPUT_TYPE", what, do)
    files, ref = _read_set(wav_scp, experiment.data_path("valid", "text")[0])
    how = (device, batch_seconds, accept_random, fix_eval_dropout)
    model = Recognizer(config, weights, *how)
    hyps = model.recognize(files)
    if not accept_random and model.recognize(files) != hyps:
        what = f"{weights}: two evaluations on the whole set differ"
        do = "add --fix_eval_dropout true; if that was done already, --ngpu 0"
        raise TopDownError("E_EVAL_RANDOM", what, do)
    score = model.score(wav_scp.parent.name, hyps, ref)
    return {**score, "seconds": round(time.perf_counter() - start, 3)}


def decode_set(
    config: Path,
    weights: Path,
    wav_scp: Path,
    out_dir: Path,
    text: Path | None = None,
    utt2spk: Path | None = None,
    **options: Any,
) -> dict[str, Any] | None:
    """Decode a set into a folder, in the files that asr.sh's stages 12 and 13 leave.

    Args:
        config: See ``load_model``.
        weights: See ``load_model``.
        wav_scp: The audio files.
        out_dir: Gets ``text``, ``token`` and ``token_int``; its name is the set's.
        text: References; with them ``score_*`` and ``score.json`` are written too.
        utt2spk: Speakers for the tables; by default the file beside ``text``.
        **options: More for ``Recognizer``.

    Returns:
        What ``score.json`` holds; None without references.
    """
    start = time.perf_counter()
    check_output(out_dir, ("wav.scp", "config.yaml"))
    files, ref = _read_set(wav_scp, text)
    out_dir, model = Path(out_dir), Recognizer(config, weights, **options)
    hyps = model.recognize(files)
    spoken = model.texts(hyps)
    ids = {utt: " ".join(map(str, hyp.token_ids)) for utt, hyp in hyps.items()}
    tokens = {utt: " ".join(model.tokens(hyp)) for utt, hyp in hyps.items()}
    for name, pairs in {"token_int": ids, "token": tokens, "text": spoken}.items():
        write_pairs(out_dir / name, pairs)
    if text is None:
        return None
    clean, speaker = model.clean(ref), speakers(utt2spk, beside=text)
    counts = {
        unit: write_scores(out_dir / f"score_{unit}", clean, spoken, cut, speaker)
        for unit, cut in model.units().items()
        if unit != "ter" or model.conf["token_type"] == "bpe"
    }
    score = model.score(out_dir.name, hyps, ref, spoken, counts)
    score["seconds"] = round(time.perf_counter() - start, 3)
    for unit in counts:
        if note := sclite_note((ref, spoken), unit):
            warn(*note)
    write_json(out_dir / "score.json", score)
    return score


def _read_set(
    wav_scp: Path, text: Path | None
) -> tuple[dict[str, str], dict[str, str]]:
    files = read_wav_scp(wav_scp)
    ref = read_pairs(text) if text else {}
    if text:
        check_same_utterances(ref, files, (str(text), str(wav_scp)))
    return files, ref


def decode_experiment(
    exp: Path, model_file: str, wav_scp: Path, output_dir: Path, **options: Any
) -> dict[str, Any] | None:
    """``decode_set`` with a model of an experiment folder, as ``bin/decode`` does it.

    Args:
        exp: The experiment.
        model_file: ``best``, an epoch, a file name in the experiment, or a path.
        wav_scp: See ``decode_set``.
        output_dir: See ``decode_set``.
        **options: ``ngpu``, and more for ``decode_set``.
    """
    known = Path(model_file)
    inside = not known.is_file() or (Path(exp) / known).is_file()
    weights = Experiment(exp).model_file(model_file) if inside else known
    options["device"] = "cuda" if options.pop("ngpu", 0) else "cpu"
    config = Path(exp) / "config.yaml"
    return decode_set(config, weights, wav_scp, output_dir, **options)


def decode_models(
    models: Mapping[Path, tuple[Path, str]], data: Path, **options: Any
) -> dict[Path, dict[str, Any] | None]:
    """Decode a data directory with several models, for example joint and best.

    Args:
        models: Folder that gets the set's files, for example
            ``exp/asr_topdown/m1.4/decode_ctc_greedy/test`` -> experiment and model
            file, as ``decode_experiment`` takes them.
        data: Has ``wav.scp``; with ``text`` there the sets are scored too.
        options: More for ``decode_experiment``.

    Returns:
        What each ``score.json`` holds, by folder; None without references.
    """
    text = Path(data) / "text"
    options["text"] = text if text.exists() else None
    wav_scp = Path(data) / "wav.scp"
    return {
        folder: decode_experiment(exp, model, wav_scp, folder, **options)
        for folder, (exp, model) in models.items()
    }
