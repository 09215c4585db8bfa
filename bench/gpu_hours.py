"""python bench/gpu_hours.py

An estimate, not a measurement: GPU hours of the WSJ rows of the paper. A step takes the
time of its arithmetic and the time in which a GPU waits: for one kernel after another
along the time axis of an LSTM and the output of a decoder. Both rates are assumptions
(options); replace the estimate by `seconds_per_epoch` of exp/*/progress.json as soon
as there is one: --measured train_ctc=250.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from espnet_topdown.files import read_yaml  # noqa: E402
from espnet_topdown.search.rows import Paper, Row, read_paper  # noqa: E402

CONF = ROOT / "egs2" / "wsj_topdown" / "asr1" / "conf"
UTTS, HOURS, CHARACTERS = 37_416, 81.3, 97  # of train_si284; characters of one
SPREAD = 3.0  # seconds, standard deviation of the lengths (assumed)
FOLD = (5.0, 150)  # run.sh: 800 * 100 samples, 150 characters
FRAMES, MELS, UNITS = 100, 80, 52  # a second; filters; outputs


@dataclass
class Work:
    """What one utterance costs: multiply-adds forward, steps one after another."""

    macs: float = 0.0
    steps: float = 0.0  # of LSTM layers, both directions at once
    outputs: float = 0.0  # of an attention decoder


def utterance(config: Mapping[str, Any], seconds: float) -> Work:
    """Forward work of the model of a configuration."""
    conf, work = config["encoder_conf"], Work()
    cells, size = conf["hidden_size"], conf["output_size"]
    frames, width = seconds * FRAMES, float(MELS)
    if config["encoder"] == "vgg_rnn":
        for a, b, shrink in ((1, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 2)):
            work.macs += 9 * a * b * frames * width / shrink**2
        frames, width = frames / 4, 128 * width / 4
    shrinks = conf.get("subsample") or [1] * conf["num_layers"]
    for shrink in shrinks:
        work.macs += frames * 2 * 4 * cells * (width + cells)
        work.steps += frames
        frames, width = frames / shrink, size
        work.macs += frames * 2 * cells * size
    work.macs += frames * size * UNITS
    if "decoder" in config:
        att, n = config["decoder_conf"]["att_conf"], CHARACTERS * seconds / 7.8
        inside = size + att["adim"] + 2 * att["aconv_chans"] * att["aconv_filts"]
        work.macs += n * frames * inside + n * 4 * 320 * (2 * 320 + size)
        work.outputs = n
    return work


def batches(share: float) -> list[tuple[float, float]]:
    """(utterances, seconds of the longest) of an epoch's folded batches."""
    n = round(UTTS * share)
    curve = NormalDist(HOURS * 3600 / UTTS, SPREAD)
    lengths = [max(1.0, curve.inv_cdf((i + 0.5) / n)) for i in range(n)][::-1]
    made, at = [], 0
    while at < n:
        folds = max(lengths[at] / FOLD[0], CHARACTERS * lengths[at] / 7.8 / FOLD[1])
        size = max(1, int(30 / (1 + int(folds))))
        made.append((min(size, n - at), lengths[at]))
        at += size
    return made


def epoch_seconds(config: Mapping[str, Any], share: float, rates: Any) -> float:
    """Training of one epoch; back-propagation costs twice the forward pass."""
    total = 0.0
    for utts, seconds in batches(share):
        work = utterance(config, seconds)
        total += 3 * 2 * work.macs * utts / (rates.tflops * 1e12)
        waits = 2 * work.steps * rates.lstm_us + 3 * work.outputs * rates.decoder_us
        total += 1e-6 * waits
    return total


def trainings(row: Row) -> int:
    """How many trainings a row is, beside those of the rows it needs."""
    return {"joint": 1, "retrain": 1, "search": 4}[row.how]


def cost(paper: Paper, row: Row, rates: Any, known: dict[Any, float]) -> float:
    """Hours of a row."""
    base = row
    while base.of:
        base = paper.rows[base.of]
    key = (base.config, base.data)
    if key not in known:
        share = paper.parts[base.data] / 100 if base.data else 1.0
        measured = dict(m.split("=") for m in rates.measured)
        known[key] = (
            float(measured[base.config]) * share
            if base.config in measured
            else epoch_seconds(read_yaml(CONF / f"{base.config}.yaml"), share, rates)
        )
    epochs = 25 if "--max_epoch 25" in row.args else rates.epochs
    return trainings(row) * epochs * known[key] / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--tflops", type=float, default=5.0, help="Sustained, 32 bit (assumed)")
    add("--lstm_us", type=float, default=20.0, help="An LSTM's time step (assumed)")
    add("--decoder_us", type=float, default=300.0, help="A decoder's (assumed)")
    add("--epochs", type=int, default=20, help="Until training stops (assumed)")
    add("--measured", nargs="*", default=[], help="CONFIG=SECONDS of a whole epoch")
    rates = parser.parse_args()
    paper, known = read_paper("wsj", CONF), {}
    print(f"estimate: {rates.epochs} epochs, {rates.tflops:g} TFLOP/s, ", end="")
    print(f"{rates.lstm_us:g} us and {rates.decoder_us:g} us a step")
    hours = {name: cost(paper, row, rates, known) for name, row in paper.rows.items()}
    for (config, part), seconds in known.items():
        print(f"  an epoch of {config} on {part or 'everything'}: {seconds:.0f} s")
    for name in paper.groups["all"]:
        print(f"{name:8} {hours[name]:6.1f} h  {trainings(paper.rows[name])} trainings")
    for name in ("table1", "table2", "figure1", "figure2", "transfer"):
        members = paper.groups[name]
        print(f"{name:8} {sum(hours[m] for m in members):6.1f} h  {len(members)} rows")


if __name__ == "__main__":
    main()
