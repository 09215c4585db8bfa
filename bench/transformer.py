"""python bench/transformer.py --threads 1

Seconds of one training step (forward and backward) of the Transformer of row W:
ESPnet's own attention against torch's fused kernel (--sdpa true), same weights, same
batch, in turns in the same process. Losses must agree. With --frozen the softmax layers
are frozen in both, as in row W.td. The last line is the ratio; below 1 ours is faster.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
CONF = ROOT / "egs2" / "swbd_topdown" / "asr1" / "conf"
RATE = 16000


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config", type=Path, default=CONF / "train_asr_transformer.yaml")
    add("--device", default="cpu", help="cpu or cuda")
    add("--threads", type=int, default=1)
    add("--utterances", type=int, default=4)
    add("--seconds", type=float, default=5.4, help="the longest; others are shorter")
    add("--tokens", type=int, default=24, help="of the longest")
    add("--repeat", type=int, default=5, help="timed steps of each")
    add("--frozen", action="store_true", help="freeze the softmax layers")
    add("--tolerance", type=float, default=1e-4, help="of the losses, relative")
    return parser


def build(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The model without SpecAugment and dropout, whose draws would differ."""
    from espnet_topdown.trainer.task import TopDownASRTask

    words = ["--config", str(options.config), "--output_dir", "unused"]
    words += ["--token_type", "word", "--frontend_conf", f"fs={RATE}"]
    args = TopDownASRTask.get_parser().parse_args(words)
    args.token_list = ["<blank>", "<unk>", *map(str, range(1997)), "<sos/eos>"]
    args.specaug, args.sdpa = None, False
    for conf in (args.encoder_conf, args.decoder_conf):
        conf.update({k: 0.0 for k in conf if k.endswith("dropout_rate")})
    args.decoder_conf.update(dropout_rate=0.0, positional_dropout_rate=0.0)
    model = TopDownASRTask.build_model(args).to(options.device).train()
    for name, p in model.named_parameters():
        if options.frozen and name.startswith(("ctc.ctc_lo", "decoder.output_layer")):
            p.requires_grad = False
    return model


def make_batch(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Noise and random tokens of falling lengths."""
    import torch

    torch.manual_seed(0)
    share = torch.linspace(1.0, 0.5, options.utterances)
    lengths = (share * options.seconds * RATE).long()
    counts = (share * options.tokens).long().clamp(min=1)
    batch = {
        "speech": 0.1 * torch.randn(options.utterances, int(lengths.max())),
        "speech_lengths": lengths,
        "text": torch.randint(2, 1999, (options.utterances, int(counts.max()))),
        "text_lengths": counts,
    }
    for row, n in zip(batch["text"], counts):
        row[n:] = -1
    return {k: v.to(options.device) for k, v in batch.items()}


def step(model, batch, device: str) -> tuple[float, float]:  # type: ignore[no-untyped-def]
    """Seconds and loss of one step."""
    import torch

    model.zero_grad(set_to_none=True)
    start = time.perf_counter()
    loss = model(**batch)[0]
    loss.backward()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, float(loss.detach())


def main() -> None:
    """Measure and print."""
    options = get_parser().parse_args()
    import torch

    from espnet_topdown.trainer.fast import sdpa

    torch.set_num_threads(options.threads)
    stock = build(options)
    fused = copy.deepcopy(stock)
    n = sdpa.install(fused)
    batch = make_batch(options)
    times: dict[str, list[float]] = {"stock": [], "fused": []}
    losses = {}
    for i in range(options.repeat + 1):
        for name, model in (("stock", stock), ("fused", fused)):
            seconds, losses[name] = step(model, batch, options.device)
            if i > 0:  # the first warms up
                times[name].append(seconds)
    for name, values in times.items():
        print(f"{name}: {statistics.median(values):.3f} s, loss {losses[name]:.5f}")
    off = abs(losses["fused"] / losses["stock"] - 1)
    if off > options.tolerance:
        raise SystemExit(f"the losses differ by {off:.2g}")
    ratios = [f / s for f, s in zip(times["fused"], times["stock"])]
    print(
        f"torch {torch.__version__}, {options.device}, {options.threads} threads, "
        f"{options.utterances} utterances up to {options.seconds} s, {n} modules: "
        f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
