"""What durable files cost, in milliseconds on this disk; see bench/reliability.py."""

from __future__ import annotations

import collections
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "egs2" / "prompts_topdown" / "asr1" / "conf" / "train_ctc.yaml"
EPOCHS = 9  # the first is not counted
Rows = list[tuple[str, str]]


def journal_line(tries: int = 15) -> Rows:
    """One event: written, and on the disk."""
    from espnet_topdown.records import Journal

    times = []
    with tempfile.TemporaryDirectory(dir=ROOT) as scratch:
        journal = Journal(Path(scratch, "journal.jsonl"))
        for _ in range(tries):
            begun = time.perf_counter()
            journal.append("scored", node="m3")
            times.append(1000 * (time.perf_counter() - begun))
    return [("durability, per journal line", f"{statistics.median(times):.1f} ms")]


def per_epoch() -> Rows:
    """What an epoch of the real trainer spends on its files, against plain writes.

    The model is that of the prompts' recipe, with its optimizer; its data are a few
    tones, since the size of the files does not depend on them.
    """
    sys.path[:0] = [str(ROOT), str(ROOT / "test" / "fixtures")]
    from tones import tiny_config, write_corpus

    from espnet_topdown.files import read_yaml, write_yaml
    from espnet_topdown.trainer.task import TopDownASRTask

    with tempfile.TemporaryDirectory(dir=ROOT) as name:
        scratch = Path(name)
        recipe = read_yaml(MODEL)
        used = ("encoder", "encoder_conf", "model_conf", "optim", "optim_conf", "init")
        conf = {key: recipe[key] for key in used}
        conf["frontend_conf"] = {**recipe["frontend_conf"], "fs": 8000}
        tones = write_corpus(scratch / "tones")
        config = tiny_config(tones, max_epoch=EPOCHS, **conf)
        write_yaml(scratch / "train.yaml", {**config, "allow_infeasible": True})
        words = ["--config", str(scratch / "train.yaml"), "--log_level", "WARNING"]
        (scratch / "plain").mkdir()
        with timed(scratch / "plain") as spent:
            TopDownASRTask.main(cmd=[*words, "--output_dir", str(scratch / "exp")])
        size = (scratch / "exp" / "checkpoint.pth").stat().st_size
        size += (scratch / "exp" / f"{EPOCHS}epoch.pth").stat().st_size
    epochs = [spent[e] for e in sorted(spent)][1:]
    safe, plain = (statistics.median(e[k] for e in epochs) for k in ("safe", "plain"))
    text = f"{1000 * safe:.0f} ms against {1000 * plain:.0f} ms plain: "
    text += f"{1000 * (safe - plain):.0f} ms more"
    what = f"durability, per epoch of the prompts' model ({size / 2**20:.0f} MiB saved)"
    return [(what, f"{text} (median of {len(epochs)} epochs)")]


@contextlib.contextmanager
def timed(plain: Path) -> Iterator[dict[int, dict[str, float]]]:
    """Seconds of each epoch: our saves, links and records; the same written plainly."""
    import torch

    from espnet_topdown.trainer import checkpoints, progress, trainer

    spent: dict = collections.defaultdict(lambda: {"safe": 0.0, "plain": 0.0})
    epoch = [0]

    def both(safe: Callable, simple: Callable) -> Callable:
        def run(*args: object, **more: object) -> None:
            for name, call in (("safe", safe), ("plain", simple)):
                begun = time.perf_counter()
                call(*args, **more)
                spent[epoch[0]][name] += time.perf_counter() - begun

        return run

    def link(target: str, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(plain / path.name)
        os.symlink(target, plain / path.name)

    def write(path: Path, data: bytes) -> None:
        (plain / path.name).write_bytes(data)

    def save(obj: object, path: Path) -> None:
        torch.save(obj, plain / Path(path).name)

    train = trainer.TopDownTrainer.train_one_epoch.__func__

    def one_epoch(cls, model, iterator, optimizers, options, **others):  # type: ignore[no-untyped-def]
        epoch[0] = others["reporter"].get_epoch()
        return train(cls, model, iterator, optimizers, options, **others)

    from espnet_topdown import files as yaml_io

    patches = [
        (checkpoints._Torch, "save", staticmethod(both(checkpoints.save, save))),
        (checkpoints, "link", both(checkpoints.link, link)),
        (progress, "write_bytes", both(yaml_io.write_bytes, write)),
        (yaml_io, "write_bytes", both(yaml_io.write_bytes, write)),
        (trainer.TopDownTrainer, "train_one_epoch", classmethod(one_epoch)),
    ]
    with contextlib.ExitStack() as stack:
        for where, name, new in patches:
            stack.enter_context(mock.patch.object(where, name, new))
        yield spent


if __name__ == "__main__":
    for row in (*per_epoch(), *journal_line()):
        print(*row, sep="\t")
