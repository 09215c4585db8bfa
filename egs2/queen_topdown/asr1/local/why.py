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
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import soundfile
import torch

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import command
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.scoring.model import load_model

BATCH = 4  # as in training
PANELS = {
    "training loss": ("train", "loss"),
    "dev loss": ("valid", "loss"),
    "dev CER without spaces": ("valid", "cer_ctc"),
    "blank frames on dev, %": "blank",
    "gradient of the softmax layer": "gradient",
}


def batches(data: Path, ids: dict[str, int], most: int) -> Iterator[list]:
    """Samples and token numbers of a data directory, some utterances at a time."""
    sounds, texts = read_pairs(data / "wav.scp"), read_pairs(data / "text")
    utts = iter(sorted(sounds)[:most])
    while group := list(itertools.islice(utts, BATCH)):
        pairs = []
        for utt in group:
            tokens = [ids[c if c != " " else "<space>"] for c in texts[utt]]
            samples, _ = soundfile.read(sounds[utt], dtype="float32")
            pairs.append((torch.from_numpy(samples), torch.tensor(tokens)))
        pairs.sort(key=lambda pair: -len(pair[0]))
        yield [x for side in zip(*pairs) for x in pad(side)]


def pad(rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, longest) and the lengths."""
    padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return padded, torch.tensor([len(row) for row in rows])


def look(exp: Experiment, weights: Path, dev: Path, train: Path, most: int) -> dict:
    """Blank frames in percent and the gradient's norm of one epoch's model."""
    model = load_model(exp, weights)
    ids = {token: k for k, token in enumerate(exp.config["token_list"])}
    blank = frames = 0
    with torch.no_grad():
        for speech, n_samples, _, _ in batches(dev, ids, 10**9):
            encoded, n_frames = model.encode(speech, n_samples)
            for row, n in zip(model.ctc.argmax(encoded), n_frames):
                blank, frames = blank + int((row[:n] == 0).sum()), frames + int(n)
    norms = []
    for speech, n_samples, tokens, n_tokens in batches(train, ids, most):
        loss = model.ctc(*model.encode(speech, n_samples), tokens, n_tokens)
        top = torch.autograd.grad(loss, list(model.ctc.ctc_lo.parameters()))
        norms.append(float(torch.cat([g.flatten() for g in top]).norm()))
    return {"blank": 100 * blank / frames, "gradient": sum(norms) / len(norms)}


def value(epoch: dict, key: str | tuple[str, str]) -> float | None:
    """Of an epoch, where it is known."""
    return epoch.get(key) if isinstance(key, str) else epoch[key[0]][key[1]]


def draw(curves: dict[str, list[dict]], figure: Path) -> None:
    """A panel a measure, a line an experiment."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(3 * len(PANELS), 2.8), layout="constrained")
    for axes, (title, key) in zip(drawing.subplots(1, len(PANELS)), PANELS.items()):
        for name, curve in curves.items():
            line = [(e["epoch"], value(e, key)) for e in curve]
            line = [(x, y) for x, y in line if y is not None]
            axes.plot(*zip(*line), marker="." if len(line) < 5 else "", label=name)
        scale = "log" if title == "training loss" else "linear"
        axes.set(title=title, xlabel="epoch", yscale=scale)
    axes.legend()
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
        lines = (folder / "curve.jsonl").read_text().splitlines()
        curve = curves[folder.name] = [json.loads(line) for line in lines]
        exp = Experiment(folder)
        for epoch in curve:
            weights = folder / f"{epoch['epoch']}epoch.pth"
            if weights.is_file():
                epoch.update(look(exp, weights, args.dev, args.train, args.utterances))
                cells = (f"{epoch[key]:.4g}" for key in ("blank", "gradient"))
                print(folder.name, epoch["epoch"], *cells, sep="\t", flush=True)
    if args.figure:
        draw(curves, args.figure)


if __name__ == "__main__":
    main()
