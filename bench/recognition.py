"""Decoding, scoring and searching: ESPnet's, sclite's and the full way beside ours."""

from __future__ import annotations

import inspect
import logging
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from harness import NotRun, Pair

FS = 16000
TOKENS = ["<blank>", "<unk>", "<space>", *"ETAOINSHRDLUCMFPGWYBVKXJQZ'.-", "<sos/eos>"]


def _sounds(n: int, seconds: tuple[float, float]) -> dict[str, np.ndarray]:
    """Tones whose pitch and loudness change several times a second, longest first."""
    rng, sounds = np.random.default_rng(0), {}
    for i, length in enumerate(sorted(rng.uniform(*seconds, n))[::-1]):
        at, time = np.arange(0.0, length + 0.2, 0.1), np.arange(int(FS * length)) / FS
        sound = 1e-3 * rng.standard_normal(len(time))
        for low, high in ((90, 400), (300, 900), (900, 2500), (2500, 5000)):
            pitch = np.interp(time, at, rng.uniform(low, high, len(at)))
            loud = np.interp(time, at, rng.uniform(0, 0.1, len(at)))
            sound += loud * np.sin(2 * np.pi * np.cumsum(pitch) / FS)
        sounds[f"u{i:03d}"] = sound.astype(np.float32)
    return sounds


def _paper_model(folder: Path, sounds: dict[str, np.ndarray], cells: int) -> Path:
    """The paper's CTC model with random weights that speaks like a trained one.

    Its CTC layer is sure of itself, and not blank in half of the frames: the search
    of ESPnet works for every token.
    """
    from espnet2.tasks.asr import ASRTask

    from espnet_topdown.files import write_yaml
    from espnet_topdown.models.weights import save_weights

    args = ASRTask.get_parser().parse_args(["--output_dir", str(folder)])
    args.token_list, args.token_type = TOKENS, "char"
    size = {"hidden_size": cells, "output_size": cells}
    args.encoder, args.encoder_conf = "rnn", {"num_layers": 4, **size}
    args.model_conf, args.normalize = {"ctc_weight": 1.0}, "utterance_mvn"
    write_yaml(folder / "config.yaml", vars(args))
    model = ASRTask.build_model(args).eval()
    layer = model.ctc.ctc_lo
    with torch.no_grad():
        for module in model.encoder.modules():
            if isinstance(module, (torch.nn.LSTM, torch.nn.Linear)):
                for p in module.parameters():
                    p.mul_(3.0)
        layer.weight.mul_(2000.0)
        layer.bias.zero_()
        layer.bias[[1, -1]] = -1e6  # a trained model never says <unk> or <sos/eos>
        speech = torch.from_numpy(list(sounds.values())[-1])[None]
        encoded, _ = model.encode(speech, torch.tensor([speech.size(1)]))
        logits = layer(encoded)[0]  # (T, V)
        margin = logits[:, 1:].max(-1)[0] - logits[:, 0]
        layer.bias[0] = margin.quantile(0.5)
    save_weights(model.state_dict(), folder / "1epoch.pth")
    return folder / "1epoch.pth"


def decode(n: int, seconds: tuple[float, float], cells: int) -> Iterator[Pair]:
    """``asr_inference --beam_size 1 --ctc_weight 1.0``, its start left out."""
    from espnet2.bin.asr_inference import Speech2Text

    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.scoring.decode import Recognizer
    from espnet_topdown.scoring.greedy import greedy

    logging.disable(logging.WARNING)
    sounds = _sounds(n, seconds)
    options = {"beam_size": 1, "ctc_weight": 1.0}
    if "ctc_window_margin" in inspect.signature(Speech2Text.__init__).parameters:
        options["ctc_window_margin"] = 0  # look at all frames, as older releases do
    with tempfile.TemporaryDirectory() as tmp:
        weights = _paper_model(Path(tmp), sounds, cells)
        stock = Speech2Text(f"{tmp}/config.yaml", str(weights), **options)
        ours = Recognizer(Experiment(Path(tmp)), weights)

    def texts() -> dict[str, str]:
        hyps = greedy(ours.model, sounds.items(), fs=FS)
        return {hyp.utt: ours.text(hyp) for hyp in hyps}

    yield Pair(lambda: {u: stock(s)[0][0] for u, s in sounds.items()}, texts, _equal)


def _equal(old: object, new: object) -> None:
    if old != new:
        raise SystemExit(f"the results differ:\n{old}\n{new}")


def score(utterances: int, letters: int, wrong: float) -> Iterator[Pair]:
    """CER and WER beside sclite; by default a set of the size of WSJ's eval92."""
    from espnet_topdown.scoring.counts import total
    from espnet_topdown.scoring.score import count_set, write_scores
    from espnet_topdown.scoring.units import UNITS

    tool = shutil.which("sclite") or shutil.which("sclite", path="/usr/lib/sctk/bin")
    if tool is None:
        raise NotRun("sclite is not installed (Debian: sctk)")
    rng, ref, hyp = random.Random(0), {}, {}
    for i in range(utterances):
        text = "".join(rng.choices("ETAOINSHRDLU     ", k=letters // utterances))
        ref[f"u{i:04d}"] = text
        hyp[f"u{i:04d}"] = "".join(c for c in text if rng.random() > wrong)

    def stock() -> list[list[int]]:
        found = []
        for unit in UNITS:
            trns = [f"{tmp.name}/{unit}/{s}.trn" for s in ("ref", "hyp")]
            call = [tool, "-r", trns[0], "trn", "-h", trns[1], "trn", "-i", "rm"]
            call += ["-o", "all", "stdout"]
            out = subprocess.run(call, capture_output=True, text=True, check=True)
            (row,) = re.findall(r"\| Sum +\|(.*)\|", out.stdout)
            found.append([int(x) for x in row.replace("|", " ").split()][1:6])
        return found

    def ours() -> list[list[int]]:
        return [list(total(count_set(ref, hyp, f).values())) for f in UNITS.values()]

    tmp = tempfile.TemporaryDirectory()
    for unit, cut in UNITS.items():
        write_scores(Path(tmp.name, unit), ref, hyp, cut, {})
    yield Pair(stock, ours, _equal)


def search_replay(folder: str) -> Iterator[Pair]:
    """Epochs of a recorded ``--search full``, and of the greedy search of Algorithm 1.

    Nothing is trained: with the same seeds a training repeats itself, and a strategy
    only decides by the recorded errors which trainings run.
    """
    from espnet_topdown.files import read_json, read_yaml
    from espnet_topdown.scoring.counts import unit_score
    from espnet_topdown.search.composition import Composition
    from espnet_topdown.search.curves import read_curve
    from espnet_topdown.search.strategies import STRATEGIES, Space

    if not folder:
        raise NotRun("give --folder, a search with --search full")
    asked = read_yaml(Path(folder) / "search.yaml")
    space = Space(len(asked["layers"]), int(asked["max_frozen"]))

    def epochs(strategy: str) -> int:
        errors: dict[Composition, float] = {}
        while batch := STRATEGIES[strategy](space, errors):
            for name in batch:
                if not (job := Path(folder) / str(name) / "score.json").is_file():
                    raise NotRun(f"{folder} has no {name}: give one of --search full")
                errors[name] = unit_score(read_json(job)[asked["criterion"]]).errors
        retrained = [name for name in errors if name.parent]
        return sum(len(read_curve(Path(folder) / str(name))) for name in retrained)

    yield Pair(lambda: epochs("full"), lambda: epochs("greedy"), None, counted=True)
