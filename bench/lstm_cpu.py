"""python bench/lstm_cpu.py --threads 2 --model ctc

Seconds of training steps (forward and backward) on a CPU: ESPnet's own modules against
ours, same weights, same batches, one after the other in one process. The model is that
of the paper: 4 BLSTM layers of 320 cells, each with a projection of 320, 80 log-mel
features, 8 utterances of 4 to 9 seconds at 16 kHz. Our loss and gradients must be those
of stock within --tolerance, or else those of double precision: stock adds up a long
utterance step by step and is the less exact one. The last line is the ratio of all
batches together.

Several batches, because the ratio depends on their lengths: where the gates of a whole
batch take more than 32 MiB (4 * cells * 4 bytes a frame), the C library asks the system
for that memory anew at every step of PyTorch's backward pass. So a batch of 8 short
utterances may take stock ESPnet 10 seconds, and one of 8 long ones 70.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time

from espnet_topdown.trainer.fast.process import do_not_spin

do_not_spin()  # the same for both

import torch  # noqa: E402

SAMPLE_RATE = 16000
VOCABULARY = ["<blank>", "<unk>"] + [f"u{i}" for i in range(48)] + ["<sos/eos>"]
Step = tuple[float, float, float, dict[str, torch.Tensor]]


def get_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("ctc", "ctc_att"), default="ctc")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--min_sec", type=float, default=4.0)
    parser.add_argument("--max_sec", type=float, default=9.0)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3, help="timed steps of ours")
    parser.add_argument("--repeat_stock", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of weights and batches")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="relative")
    return parser


def build(kind: str) -> torch.nn.Module:
    """The paper's model as ESPnet's own task builds it."""
    from espnet2.tasks.asr import ASRTask

    args = ASRTask.get_parser().parse_args(["--output_dir", "unused"])
    args.token_list = VOCABULARY
    args.encoder = "rnn"
    args.encoder_conf = {"num_layers": 4, "hidden_size": 320, "output_size": 320}
    args.decoder = "rnn"
    args.decoder_conf = {"num_layers": 1, "hidden_size": 320}
    args.decoder_conf["att_conf"] = {
        "atype": "location",
        "adim": 320,
        "aconv_chans": 10,
        "aconv_filts": 100,
    }
    args.model_conf = {"ctc_weight": 1.0 if kind == "ctc" else 0.2}
    args.model_conf.update(report_cer=False, report_wer=False)
    return ASRTask.build_model(args)


def random_batch(n: int, min_sec: float, max_sec: float) -> dict[str, torch.Tensor]:
    """Noise of the wanted lengths, longest first, and 12 random units a second."""
    seconds = torch.empty(n).uniform_(min_sec, max_sec).sort(descending=True)[0]
    samples = (seconds * SAMPLE_RATE).long()
    units = (seconds * 12).long()
    speech = torch.randn(n, int(samples[0])) * 0.1
    text = torch.randint(2, len(VOCABULARY) - 1, (n, int(units.max())))
    for i in range(n):
        speech[i, samples[i] :] = 0.0
        text[i, units[i] :] = -1
    return dict(speech=speech, speech_lengths=samples, text=text, text_lengths=units)


def one_step(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Step:
    """Seconds, loss, CPU seconds of all threads and gradients of one step."""
    model.train()
    model.zero_grad(set_to_none=True)
    start, cpu = time.perf_counter(), time.process_time()
    loss = model(**{k: v.clone() for k, v in batch.items()})[0]
    loss.backward()
    cpu = time.process_time() - cpu
    seconds = time.perf_counter() - start
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return seconds, float(loss.detach()), cpu, {n: g.clone() for n, g in grads.items()}


def relative_difference(a: Step, b: Step) -> float:
    """The largest difference of loss or of a gradient, over the size of that tensor.

    Where the exact gradient is zero (the bias before the attention's softmax) there is
    rounding only; so the size counts as at least 1e-4 of the largest gradient.
    """
    least = 1e-4 * max(float(g.abs().max()) for g in a[3].values())
    worst = abs(a[1] - b[1]) / abs(a[1])
    if a[3].keys() != b[3].keys():
        raise SystemExit("not the same tensors have a gradient")
    for name, grad in a[3].items():
        size = max(float(grad.abs().max()), least)
        worst = max(worst, float((grad - b[3][name]).abs().max() / size))
    return worst


def main(cmd: list[str] | None = None) -> None:
    """Measure, compare, print."""
    from espnet_topdown.trainer.fast import cpu
    from espnet_topdown.trainer.fast.process import keep_memory

    args = get_parser().parse_args(cmd)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    stock = build(args.model)
    ours = copy.deepcopy(stock)
    changed = cpu.install(ours)
    exact = copy.deepcopy(ours).double()
    n_params = sum(p.numel() for p in stock.parameters())
    print(f"torch {torch.__version__}, {args.threads} threads, model {args.model}")
    print(f"{n_params / 1e6:.2f} M parameters, {changed} modules changed")
    lengths = (args.utterances, args.min_sec, args.max_sec)
    batches = [random_batch(*lengths) for _ in range(args.batches)]
    short = random_batch(2, 0.5, 1.0)
    one_step(stock, short)
    # all of stock's first: ours keeps freed memory, which would help stock too
    slow = []
    for batch in batches:
        slow.append([one_step(stock, batch) for _ in range(args.repeat_stock)])
        print(
            f"stock, batch {len(slow)} of {args.batches}: {slow[-1][0][0]:.1f} s",
            flush=True,
        )
    keep_memory()  # as our trainer does; from here on
    one_step(ours, short)
    fast = [[one_step(ours, b) for _ in range(args.repeat)] for b in batches]
    print("samples | seconds, stock | ours | ratio | largest relative difference of")
    print("the two, of stock from double precision, of ours from double precision")
    medians = []
    for batch, old, new in zip(batches, slow, fast):
        true = one_step(exact, {**batch, "speech": batch["speech"].double()})
        pairs = (old[0], new[0]), (true, old[0]), (true, new[0])
        differences = [relative_difference(*pair) for pair in pairs]
        times = [
            [statistics.median(s[i] for s in x) for x in (old, new)] for i in (0, 2)
        ]
        medians.append(times)
        print(
            f"{' '.join(str(int(n)) for n in batch['speech_lengths'])}"
            f" | {' '.join(f'{s[0]:.2f}' for s in old)}"
            f" | {' '.join(f'{s[0]:.2f}' for s in new)}"
            f" | {times[0][0] / times[0][1]:.1f} | "
            + ", ".join(f"{difference:.1e}" for difference in differences)
        )
        if min(differences[0], differences[2]) > args.tolerance:
            raise SystemExit(f"not equal within {args.tolerance:.1e}")
    for i, name in ((1, "seconds of CPU"), (0, "seconds")):
        old, new = (sum(times[i][k] for times in medians) for k in (0, 1))
        print(f"{name}: stock {old:.2f}, ours {new:.2f}")
        print(f"{old / new:.1f}x" if i == 0 else f"ratio: {old / new:.1f}")


if __name__ == "__main__":
    main()
