"""Recognise speech with an ESPnet model, greedily, and score the result.

A model with a CTC layer is decoded by it, any other one by its attention decoder.
"""

from __future__ import annotations

import argparse
import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from espnet_topdown.data.audio import Source
from espnet_topdown.data.kaldi_dir import read_pairs, write_pairs
from espnet_topdown.data.tokens import frames_needed
from espnet_topdown.errors import DATA, TopDownError, warn
from espnet_topdown.files import check_output, write_json
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.tasks import find_task, kind_of
from espnet_topdown.models.text import TextReader
from espnet_topdown.scoring.greedy import Hypothesis, greedy, greedy_decoder
from espnet_topdown.scoring.model import load_model
from espnet_topdown.scoring.score import (
    check_score_dir,
    check_score_file,
    count_record,
    count_set,
    read_speakers,
    score_record,
    warn_sclite_syntax,
    write_scores,
)
from espnet_topdown.scoring.sound import read_longest_first, read_wav_scp
from espnet_topdown.scoring.units import UNITS, check_same_utterances, read_nlsyms

# What ESPnet's decoding leaves beside files of the same names as ours.
_NOT_OURS = ("wav.scp", "config.yaml", "1best_recog", "logdir", "score")


class Recognizer:
    """A model with what turns sound into its input and its output into text.

    Args:
        experiment: Of the model.
        weights: A file of weights of the same experiment.
        device: ``cpu`` or ``cuda``.
        **options: More for ``greedy``: ``batch_seconds``, ``accept_random``.

    Raises:
        TopDownError: E_INPUT_TYPE or E_KIND (78) for a model that takes no sound,
            E_NO_CTC (78), and those of ``load_model`` and ``TextReader``.
    """

    def __init__(
        self,
        experiment: Experiment,
        weights: Path,
        device: str = "cpu",
        **options: Any,
    ) -> None:
        self.experiment, self.conf = experiment, experiment.config
        config = experiment.folder / "config.yaml"
        if (kind := kind_of(self.conf)) != "asr":
            what = f"{config} is of kind '{kind}', which recognises no speech"
            do = "give a speech recogniser; 'espnet-topdown perplexity' scores texts"
            raise TopDownError("E_KIND", what, do)
        if self.conf.get("input_size") is not None:
            what = f"{config}: the model takes features (input_size is set), not sound"
            do = "use a model trained with feats_type raw"
            raise TopDownError("E_INPUT_TYPE", what, do)
        from espnet_topdown.trainer.fast import cpu  # after ESPnet's task

        self.reader = TextReader.of(self.conf, config)
        self.weights = Path(weights)
        self.model: Any = load_model(experiment, weights, device)
        cpu.install(self.model)
        self.decoder = greedy_decoder(self.model)
        self.options = {**options, "fs": experiment.sample_rate}

    def _task(self, part: str, train: bool) -> Any:
        """Return what ESPnet's task has between raw speech and text and the model."""
        args = argparse.Namespace(**{**self.conf, "use_preprocessor": True})
        return getattr(find_task("asr").call("task"), part)(args, train)

    @cached_property
    def preprocess(self) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
        """ESPnet's function that prepares one utterance.

        Raises:
            TopDownError: E_TOKENS (65).
        """
        try:
            return self._task("build_preprocess_fn", False)
        except RuntimeError as e:  # a token that is there twice, or no <unk>
            what = f"{self.experiment.folder}/config.yaml: token_list: {e}"
            do = "make the token list again (stage 5)"
            raise TopDownError("E_TOKENS", what, do, DATA) from e

    def training_batch(
        self, sources: Mapping[str, Source], texts: Mapping[str, str]
    ) -> dict[str, torch.Tensor]:
        """What the trainer would give the model for these utterances.

        Args:
            sources: Utterance id -> its audio, see ``read_wav_scp``.
            texts: Utterance id -> transcript; the same ids.

        Returns:
            Padded tensors by name: speech (B, samples), text (B, L) and their lengths.
        """
        prepare = self._task("build_preprocess_fn", True)
        join = self._task("build_collate_fn", True)
        sounds = read_longest_first(sources.values(), self.experiment.sample_rate)
        raw = ((utt, {"speech": sound, "text": texts[utt]}) for utt, sound in sounds)
        _, batch = join([(utt, prepare(utt, data)) for utt, data in raw])
        return batch

    @property
    def _of_phones(self) -> bool:
        """Whether tokens are phones, which no text can be made of again."""
        return self.conf["token_type"] == "phn"

    def tokens(self, hyp: Hypothesis) -> list[str]:
        """Return the symbols of a hypothesis, such as characters or pieces of BPE."""
        return [self.model.token_list[i] for i in hyp.token_ids]

    def text(self, hyp: Hypothesis) -> str:
        """Return text as ``asr_inference`` writes it; phones with a blank between."""
        join = " ".join if self._of_phones else self.reader.tokenizer.tokens2text
        return join(self.tokens(hyp))

    def recognize(self, sources: Mapping[str, Source]) -> dict[str, Hypothesis]:
        """Decode the audio of each utterance.

        Args:
            sources: Utterance id -> its audio, see ``read_wav_scp``.

        Returns:
            A hypothesis by utterance id.
        """
        prepare, rate = self.preprocess, self.experiment.sample_rate
        sounds = (
            (utt, prepare(utt, {"speech": samples})["speech"])
            for utt, samples in read_longest_first(sources.values(), rate)
        )
        start = time.perf_counter()
        hyps = {hyp.utt: hyp for hyp in greedy(self.model, sounds, **self.options)}
        seconds = time.perf_counter() - start
        logging.info("decoded %d utterances in %.1f s", len(hyps), seconds)
        return hyps

    def _infeasible(
        self, hyps: Mapping[str, Hypothesis], ref: Mapping[str, str]
    ) -> list[str]:
        """Find references that CTC cannot align: they need more frames than there are.

        Args:
            hyps: By utterance id.
            ref: What was said; the same ids.

        Returns:
            Their utterance ids, sorted; none for an attention decoder.
        """
        found = []
        for utt, hyp in hyps.items() if self.decoder == "ctc_greedy" else ():
            ids = self.preprocess(utt, {"text": ref[utt]})["text"].tolist()
            if frames_needed(ids) > hyp.n_frames:
                found.append(utt)
        return sorted(found)

    def units(self) -> dict[str, Callable[[str], Sequence[str]]]:
        """Return what cuts text into the tokens of ``cer``, ``wer`` and ``ter``.

        Of a model of phones all three are its phones: nothing else is recognised.
        """
        if self._of_phones:
            return dict.fromkeys((*UNITS, "ter"), str.split)
        nlsyms = self.conf.get("non_linguistic_symbols")
        if not isinstance(nlsyms, list):
            nlsyms = read_nlsyms(nlsyms)
        cuts = {u: functools.partial(cut, nlsyms=nlsyms) for u, cut in UNITS.items()}
        return {**cuts, "ter": self.reader.tokenizer.text2tokens}

    def clean(self, ref: Mapping[str, str]) -> dict[str, str]:
        """Return references as training saw them: cleaned, or as phones.

        Args:
            ref: Utterance id -> text that was said.
        """
        if self._of_phones:
            return {utt: " ".join(self.reader.tokens(t)) for utt, t in ref.items()}
        return {utt: self.reader.clean(text) for utt, text in ref.items()}

    def score(
        self,
        name: str,
        hyps: Mapping[str, Hypothesis],
        ref: Mapping[str, str],
        folder: Path | None = None,
        utt2spk: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Count errors.

        Args:
            name: Of the set.
            hyps: What was recognised, by utterance id.
            ref: What was said; the same ids.
            folder: Gets sclite's files in ``score_cer``, ``score_wer`` and, of a model
                of BPE, ``score_ter``.
            utt2spk: Speakers for these.

        Returns:
            ``score.json`` of the set, but for the seconds it took.
        """
        if too_long := self._infeasible(hyps, ref):
            which = f"{len(too_long)} references ({', '.join(too_long[:3])}, ...)"
            warn("W_CTC_INFEASIBLE", f"{which} need more frames than there are")
        # as a file that they are written to holds them: nothing at the ends
        spoken = {utt: self.text(hyp).strip() for utt, hyp in hyps.items()}
        said, counts = self.clean(ref), {}
        for unit, cut in self.units().items():
            if folder and (unit != "ter" or self.conf["token_type"] == "bpe"):
                part = folder / f"score_{unit}"
                counts[unit] = write_scores(part, said, spoken, cut, utt2spk or {})
                warn_sclite_syntax(unit, said, spoken)
            else:
                counts[unit] = count_set(said, spoken, cut)
        epoch = self.experiment.epoch_of(self.weights)
        numbers = {**count_record(counts, spoken), "infeasible": len(too_long)}
        return score_record(name, self.decoder, self.weights, epoch, **numbers)


def validation_score(
    experiment: Experiment, weights: Path, **options: Any
) -> dict[str, Any]:
    """The error counts on the whole validation set of an experiment.

    Args:
        experiment: Its config names the set.
        weights: A file of weights of the same experiment.
        **options: More for ``Recognizer``.

    Returns:
        What ``score.json`` holds.

    Raises:
        TopDownError: E_EVAL_RANDOM (78) when a second evaluation would give another
            result, E_UTT_SETS (65) when speech and text differ in utterances, and
            those of ``Recognizer``.
    """
    start = time.perf_counter()
    wav_scp, kind = experiment.data_path("valid", "speech")
    if kind != "sound":
        what = f"{experiment.folder}/config.yaml: the validation speech is of type "
        do = "only 'sound' is supported; train with feats_type raw"
        raise TopDownError("E_INPUT_TYPE", f"{what}'{kind}'", do)
    files, ref = _read_set(wav_scp, experiment.data_path("valid", "text")[0])
    model = Recognizer(experiment, weights, **options)
    hyps = model.recognize(files)
    if not options.get("accept_random") and model.recognize(files) != hyps:
        what = f"{weights}: two evaluations on the whole set differ"
        do = "add --fix_eval_dropout true; if that was done already, --ngpu 0"
        raise TopDownError("E_EVAL_RANDOM", what, do)
    score = model.score(wav_scp.parent.name, hyps, ref)
    return {**score, "seconds": round(time.perf_counter() - start, 3)}


def decode_set(
    exp: Path,
    model_file: str,
    wav_scp: Path,
    out_dir: Path,
    text: Path | None = None,
    utt2spk: Path | None = None,
    ngpu: int = 0,
    fix_eval_dropout: bool = False,
    **options: Any,
) -> dict[str, Any] | None:
    """Decode a set into a folder, in the files that asr.sh's stages 12 and 13 leave.

    Args:
        exp: An experiment.
        model_file: ``best``, an epoch, a file name in the experiment, or a path.
        wav_scp: The audio files.
        out_dir: Gets ``text``, ``token`` and ``token_int``; its name is the set's.
        text: References; with them ``score_*`` and ``score.json`` are written too.
        utt2spk: Speakers for the tables; by default the file beside ``text``.
        ngpu: 1 on the GPU.
        fix_eval_dropout: See ``Experiment``.
        **options: More for ``Recognizer``.

    Returns:
        What ``score.json`` holds; None without references.

    Raises:
        TopDownError: E_CREATE (73) for a folder that ESPnet or the user wrote,
            E_UTT_SETS (65), and those of ``Recognizer``.
    """
    start, out_dir = time.perf_counter(), Path(out_dir)
    _check_out_dir(out_dir)
    experiment = Experiment(exp, fix_eval_dropout=fix_eval_dropout)
    weights = Path(model_file)
    if not weights.is_file() or (experiment.folder / weights).is_file():
        weights = experiment.model_file(model_file)
    files, ref = _read_set(wav_scp, text)
    device = "cuda" if ngpu else "cpu"
    model = Recognizer(experiment, weights, device, **options)
    hyps = model.recognize(files)
    (out_dir / "score.json").unlink(missing_ok=True)  # of the hypotheses before
    for name, line in {
        "token_int": lambda hyp: " ".join(map(str, hyp.token_ids)),
        "token": lambda hyp: " ".join(model.tokens(hyp)),
        "text": model.text,
    }.items():
        write_pairs(out_dir / name, {utt: line(hyp) for utt, hyp in hyps.items()})
    if text is None:
        return None
    speaker = read_speakers(utt2spk, beside=text)
    score = model.score(out_dir.name, hyps, ref, out_dir, speaker)
    score["seconds"] = round(time.perf_counter() - start, 3)
    write_json(out_dir / "score.json", score)
    return score


def _check_out_dir(folder: Path) -> None:
    written = (folder / "token_int").exists()
    check_output(folder, _NOT_OURS if written else (*_NOT_OURS, "text", "token"))
    check_score_file(folder)
    if not (folder / "score.json").exists():
        for part in sorted(folder.glob("score_*")):
            check_score_dir(part)


def _read_set(
    wav_scp: Path, text: Path | None
) -> tuple[dict[str, Source], dict[str, str]]:
    files = read_wav_scp(wav_scp)
    ref = read_pairs(text) if text else {}
    if text:
        check_same_utterances(ref, files, (str(text), str(wav_scp)))
    return files, ref
