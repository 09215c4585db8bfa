"""python3 local/why.py --figure why.svg EXP ...: what freezing the softmax changes.

Of every epoch whose weights an experiment still has (all of them with
``--asr_args "--keep_nbest_models 30"``): the share of frames that the CTC gives to
blank, on dev, and the norm of the gradient of its softmax layer, the mean over batches
of the first training utterances. A line an epoch on the screen; the figure adds the
losses and the dev error of ``curve.jsonl``.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import torch

from espnet_topdown.data.audio import parse_rate
from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import command
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.scoring.model import load_model
from espnet_topdown.scoring.sound import read_longest_first, read_wav_scp
from espnet_topdown.search.curves import Epoch, read_curve

BATCH = 4  # as in training
PANELS = {
    "training loss": ("train", "loss"),
    "dev loss": ("valid", "loss"),
    "dev CER without spaces": ("valid", "cer_ctc"),
    "blank frames on dev, %": ("valid", "blank"),
    "gradient of the softmax layer": ("train", "gradient"),
}


def batches(exp: Experiment, data: Path, most: int) -> Iterator[list[torch.Tensor]]:
    """Samples, tokens, lengths of a data directory, those of like lengths together."""
    ids = {token: k for k, token in enumerate(exp.config["token_list"])}
    sources, texts = read_wav_scp(data / "wav.scp"), read_pairs(data / "text")
    fs = parse_rate(exp.config["frontend_conf"].get("fs", 16000))
    sounds = read_longest_first([sources[u] for u in sorted(sources)[:most]], fs)
    while group := list(itertools.islice(sounds, BATCH)):
        lines = [["<space>" if c == " " else c for c in texts[utt]] for utt, _ in group]
        tokens = [[ids[c] for c in line] for line in lines]
        sides = [torch.from_numpy(s) for _, s in group], [*map(torch.tensor, tokens)]
        yield [x for side in sides for x in pad(side)]


def pad(rows: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, longest) and the lengths."""
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return padded, torch.tensor([len(row) for row in rows])


def look(
    exp: Experiment, weights: Path, dev: Path, train: Path, most: int
) -> tuple[float, float]:
    """Blank frames in percent and the gradient's norm of one epoch's model."""
    model = load_model(exp, weights)
    blank = frames = 0
    with torch.no_grad():
        for speech, n_samples, _, _ in batches(exp, dev, 10**9):
            encoded, n_frames = model.encode(speech, n_samples)
            for row, n in zip(model.ctc.argmax(encoded), n_frames):
                blank, frames = blank + int((row[:n] == 0).sum()), frames + int(n)
    norms = []
    for speech, n_samples, tokens, n_tokens in batches(exp, train, most):
        loss = model.ctc(*model.encode(speech, n_samples), tokens, n_tokens)
        top = torch.autograd.grad(loss, list(model.ctc.ctc_lo.parameters()))
        norms.append(float(torch.cat([g.flatten() for g in top]).norm()))
    return 100 * blank / frames, sum(norms) / len(norms)


def draw(curves: dict[str, tuple[Epoch, ...]], figure: Path) -> None:
    """A panel a measure, a line an experiment."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(3 * len(PANELS), 2.8), layout="constrained")
    panels = zip(drawing.subplots(1, len(PANELS)), PANELS.items())
    for axes, (title, (side, measure)) in panels:
        for name, curve in curves.items():
            known = [e for e in curve if measure in getattr(e, side)]
            line = [
                [e.epoch for e in known],
                [getattr(e, side)[measure] for e in known],
            ]
            axes.plot(*line, marker="." if len(known) < 5 else "", label=name)
        scale = "log" if title == "training loss" else "linear"
        axes.set(title=title, xlabel="epoch", yscale=scale)
    drawing.axes[2].legend()
    drawing.savefig(figure)


@command
def main(cmd: list[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exps", nargs="+", type=Path, metavar="EXP")
    parser.add_argument("--dev", type=Path, default=Path("dump/raw/dev"))
    parser.add_argument("--train", type=Path, default=Path("dump/raw/train"))
    parser.add_argument("--utterances", type=int, default=200, help="of train")
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args(cmd)
    curves = {}
    for folder in args.exps:
        exp = Experiment(folder)
        epochs = {e.epoch: e for e in read_curve(folder)}
        for weights in folder.glob("*epoch.pth"):
            number = int(weights.name.partition("epoch")[0])
            epoch = epochs.setdefault(number, Epoch(number))
            seen = look(exp, weights, args.dev, args.train, args.utterances)
            epoch.valid["blank"], epoch.train["gradient"] = seen
            print(
                folder.name, number, *(f"{x:.4g}" for x in seen), sep="\t", flush=True
            )
        curves[folder.name] = tuple(epochs[number] for number in sorted(epochs))
    if args.figure:
        draw(curves, args.figure)


if __name__ == "__main__":
    main()
