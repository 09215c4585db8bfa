"""python bench/decode.py --threads 2

Seconds of decoding a set: our batched greedy CTC decoding against ESPnet's own
``asr_inference --beam_size 1 --ctc_weight 1.0`` (its Speech2Text, called in this
process, one utterance after the other; starting up is left out on both sides).

Without ``--exp`` the model is that of the paper (4 BLSTM layers of 320 cells with
projections, 80 log-mel features) with random weights. Its CTC layer is made as sure of
itself as that of a trained model, and speaks as many tokens a second (``--rate``): the
search of ESPnet works for every token. The last line is the ratio.

Greedy decoding takes the best path, ESPnet's search with one beam the best next token
over all paths. They agree where the model is sure of every frame, as here. With a
trained model some texts differ; the number is printed, and so is every such text. All
texts must be those of the best path by ESPnet's own modules, one utterance at a time.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

TOKENS = ["<blank>", "<unk>", "<space>", *"ETAOINSHRDLUCMFPGWYBVKXJQZ'.-", "<sos/eos>"]
FS = 16000
SURE = 2000.0  # the scale of the logits
Sounds = dict[str, np.ndarray]


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--exp", type=Path, help="a trained experiment")
    parser.add_argument("--model_file", default="best")
    parser.add_argument("--wav_scp", type=Path, help="speech for --exp")
    parser.add_argument("--utterances", type=int, default=16)
    parser.add_argument("--min_sec", type=float, default=3.0)
    parser.add_argument("--max_sec", type=float, default=12.0)
    parser.add_argument("--cells", type=int, default=320, help="of a layer")
    parser.add_argument("--rate", type=float, default=14.0, help="tokens a second")
    parser.add_argument("--batch_seconds", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="timed runs of ours")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def made_up(args: argparse.Namespace) -> Sounds:
    """Noise whose spectrum and loudness change several times a second."""
    rng = np.random.default_rng(args.seed)
    sounds = {}
    for i in range(args.utterances):
        n = int(FS * rng.uniform(args.min_sec, args.max_sec))
        time_axis = np.arange(n) / FS
        pitch = np.interp(time_axis, *_steps(rng, n, 90, 400))
        sound = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / FS)
        for low, high in ((300, 900), (900, 2500), (2500, 5000)):
            formant = np.interp(time_axis, *_steps(rng, n, low, high))
            loud = np.interp(time_axis, *_steps(rng, n, 0.0, 0.3))
            sound = sound + loud * np.sin(2 * np.pi * np.cumsum(formant) / FS)
        sound = sound * np.interp(time_axis, *_steps(rng, n, 0.0, 0.3))
        sounds[f"u{i:03d}"] = (sound + 1e-3 * rng.standard_normal(n)).astype(np.float32)
    return sounds


def _steps(rng, n: int, low: float, high: float):  # type: ignore[no-untyped-def]
    at = np.arange(0.0, n / FS + 0.2, 0.1)
    return at, rng.uniform(low, high, len(at))


def paper_model(folder: Path, sounds: Sounds, args: argparse.Namespace) -> Path:
    """Write an experiment with the paper's CTC model; returns its weights."""
    import torch
    from espnet2.tasks.asr import ASRTask

    from espnet_topdown.files import write_yaml
    from espnet_topdown.models.weights import save_weights

    options = ASRTask.get_parser().parse_args(["--output_dir", str(folder)])
    options.token_list, options.token_type = TOKENS, "char"
    size = {"hidden_size": args.cells, "output_size": args.cells}
    options.encoder, options.encoder_conf = "rnn", {"num_layers": 4, **size}
    options.model_conf, options.normalize = {"ctc_weight": 1.0}, "utterance_mvn"
    write_yaml(folder / "config.yaml", vars(options))
    torch.manual_seed(args.seed)
    model = ASRTask.build_model(options).eval()
    calibrate(model, sounds, args.rate)
    save_weights(model.state_dict(), folder / "1epoch.pth")
    return folder / "1epoch.pth"


def calibrate(model, sounds: Sounds, rate: float) -> None:  # type: ignore[no-untyped-def]
    """Make the CTC layer sure of itself, and emit ``rate`` tokens a second."""
    import torch

    from espnet_topdown.scoring.ctc_greedy import greedy_ctc

    def said() -> float:
        hyps = greedy_ctc(model, some.items())
        return sum(len(hyp.token_ids) for hyp in hyps) / seconds

    some = dict(list(sounds.items())[:4])
    seconds = sum(map(len, some.values())) / FS
    layer = model.ctc.ctc_lo
    with torch.no_grad():
        for module in model.encoder.modules():
            if isinstance(module, (torch.nn.LSTM, torch.nn.Linear)):
                for p in module.parameters():
                    p.mul_(3.0)
        layer.weight.mul_(SURE)
        layer.bias.zero_()
        layer.bias[[1, -1]] = -1e6  # a trained model never says <unk> or <sos/eos>
        low, high = 0.0, 10 * SURE
        for _ in range(12):
            layer.bias[0] = (low + high) / 2
            low, high = (
                (low, (low + high) / 2) if said() < rate else ((low + high) / 2, high)
            )


def timed(decode) -> tuple[float, float, dict[str, str]]:  # type: ignore[no-untyped-def]
    """Seconds on the clock, seconds of CPU, and what ``decode`` returned."""
    clock, cpu = time.perf_counter(), time.process_time()
    text = decode()
    return time.perf_counter() - clock, time.process_time() - cpu, text


def stock(config: Path, weights: Path, sounds: Sounds):  # type: ignore[no-untyped-def]
    """ESPnet's times and texts of its search, and its texts of the best path."""
    from espnet2.bin.asr_inference import Speech2Text

    options = {"beam_size": 1, "ctc_weight": 1.0}
    if "ctc_window_margin" in inspect.signature(Speech2Text.__init__).parameters:
        options["ctc_window_margin"] = 0  # look at all frames, as older releases do
    recognise = Speech2Text(str(config), str(weights), **options)
    times = timed(lambda: {utt: recognise(s)[0][0] for utt, s in sounds.items()})
    return times, {utt: best_path(recognise, s) for utt, s in sounds.items()}


def best_path(recognise, sound: np.ndarray) -> str:  # type: ignore[no-untyped-def]
    """The text of the best unit of every frame, without repetitions and blanks."""
    import torch

    model = recognise.asr_model
    with torch.no_grad():
        speech = torch.from_numpy(sound).float()[None]
        enc, _ = model.encode(speech, torch.tensor([len(sound)]))
        ids = model.ctc.argmax(enc)[0].unique_consecutive().tolist()
    units = recognise.converter.ids2tokens([i for i in ids if i != model.blank_id])
    return recognise.tokenizer.tokens2text(units)


def ours(config: Path, weights: Path, sounds: Sounds, args):  # type: ignore
    """The least of our times, and our texts."""
    from espnet_topdown.scoring.ctc_greedy import greedy_ctc
    from espnet_topdown.scoring.decode import Recognizer

    model = Recognizer(config, weights)

    def decode() -> dict[str, str]:
        fs = model.experiment.sample_rate
        hyps = greedy_ctc(model.model, sounds.items(), args.batch_seconds, fs)
        return {hyp.utt: model.text(hyp) for hyp in hyps}

    return min((timed(decode) for _ in range(args.repeat)), key=lambda run: run[:2])


def main() -> None:
    """Print the figures."""
    args = get_parser().parse_args()
    logging.disable(logging.WARNING)
    import torch

    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.scoring.sound import longest_first, read_wav_scp

    torch.set_num_threads(args.threads)
    fs, sounds = FS, made_up(args)
    if args.exp and args.wav_scp:
        fs = Experiment(args.exp).sample_rate
        sounds = dict(longest_first(read_wav_scp(args.wav_scp), fs))
    with tempfile.TemporaryDirectory() as tmp:
        folder = args.exp or Path(tmp)
        if args.exp:
            weights = Experiment(args.exp).model_file(args.model_file)
        else:
            weights = paper_model(folder, sounds, args)
        fast, fast_cpu, text = ours(folder / "config.yaml", weights, sounds, args)
        found, best = stock(folder / "config.yaml", weights, sounds)
    slow, slow_cpu, theirs = found
    speech = sum(map(len, sounds.values())) / fs
    print(f"{len(sounds)} utterances, {speech:.1f} s of speech, {args.threads} threads")
    print(f"{sum(map(len, text.values())) / speech:.1f} characters a second")
    print(f"clock: stock {slow:.2f} s, ours {fast:.3f} s")
    print(f"CPU:   stock {slow_cpu:.2f} s, ours {fast_cpu:.3f} s")
    different = [utt for utt in sounds if text[utt] != theirs[utt]]
    for utt in different:
        print(f"{utt}\n  ours  {text[utt]}\n  stock {theirs[utt]}")
    print(f"{len(sounds) - len(different)} of {len(sounds)} texts are equal")
    same = sum(text[utt] == best[utt] for utt in sounds)
    print(f"{same} of {len(sounds)} are ESPnet's best path")
    print(f"{slow / fast:.0f}x ({slow_cpu / fast_cpu:.0f}x in seconds of CPU)")
    sys.exit(same < len(sounds))


if __name__ == "__main__":
    main()
