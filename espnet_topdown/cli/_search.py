"""Retrain from the top down"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import espnet_topdown
from espnet_topdown.cli._look import (
    BASE,
    FIX_EVAL_DROPOUT,
    REINIT,
    RETRAINING,
    SEARCH_DIR,
    STACK,
)
from espnet_topdown.cli.parser import (
    INFEASIBLE,
    NGPU,
    flag,
    group,
    int_list,
    non_negative_int,
    option,
    path,
    positional,
    verb,
)
from espnet_topdown.files import read_json
from espnet_topdown.search.state import LIKELIHOOD
from espnet_topdown.search.strategies import CONTROLS, STRATEGIES

CMD = (
    option("--cmd", "Launcher and options, e.g. 'slurm.pl --mem 4G'", ""),
    option("--cmd_backend", "local, slurm or sge, if no --cmd", "local"),
)
ALLOWED = (
    flag("--allow_pipes", "Allow commands in wav.scp"),
    flag("--allow_overlap", "Allow utterances in both training and validation set"),
    INFEASIBLE,
)
STRATEGY = f"{', '.join(STRATEGIES)}; greedy is Algorithm 1, full all compositions"
CRITERION = (
    "Validation error: cer, wer, ter (tokens), or ppl of a language model; auto: the "
    "first of these that the model has"
)
SHARING = (
    "So many of them on one GPU, where its memory suffices; needs --cmd_backend local, "
    "but no MPS"
)


@verb(
    *group(
        "what is searched",
        *BASE,
        positional("DIR", "--output_dir", "The folder of the search"),
        option("--strategy --search", STRATEGY, "greedy"),
        option("--epochs", "Of joint training: 20,40,60", (), type=int_list),
        option("--width", "Of the beam: models that go on", 2),
        option(
            "--budget", "Retrainings at most; 0: no limit", 0, type=non_negative_int
        ),
        option("--steps", "Freeze only so many layers: 1,4,8", (), type=int_list),
        option("--max_frozen", "Freeze N layers at most; default: all but 1", type=int),
        option("--criterion", CRITERION, "auto"),
        STACK,
        option("--retrain_seed", "own (base's + 1000 k) or same", "own"),
        option("--controls", f"none, or with commas: {', '.join(CONTROLS)}", ""),
        option("--max_epoch", "Of each retraining; default: as the base", type=int),
    ),
    *group("not in the paper", FIX_EVAL_DROPOUT, REINIT),
    *group(
        "how it is run",
        option("--max_jobs_total", "More trainings need --yes", 32),
        flag("--yes", "Go beyond --max_jobs_total"),
        option("--max_jobs", "Trainings at the same time", 1),
        option("--jobs_per_gpu", SHARING, 1),
        NGPU,
        *CMD,
        flag("--use_wandb", "Log each training to W&B, as ESPnet does; one group"),
        option("--trainer", "Training module; auto: the stack's", "auto"),
        flag("--allow_unfinished", "Allow a base model not trained to its end"),
        *ALLOWED,
    ),
)
def search(**options: Any) -> None:
    """Top-down training from an ESPnet experiment. The same command continues.

    Example:
        espnet-topdown search exp/asr_a exp/asr_a_topdown --controls joint,warm
    """
    from espnet_topdown.report.write import list_warnings

    with _last_words():
        done = espnet_topdown.run_search(**options)
    print(f"best: {done.best} ({done.state.reason})")
    for sentence in list_warnings(done.folder):
        print(f"warning: {sentence}")
    then = f"decode {done.folder} --data DATA_DIR"
    if done.state.criterion == LIKELIHOOD:  # no sound to decode
        then = f"report {done.folder}"
    print(f"next: espnet-topdown {then}")


@contextlib.contextmanager
def _last_words() -> Iterator[None]:
    """Say that TERM or HUP has ended the search, as after INT."""
    old = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    except SystemExit as e:
        names = {128 + n: n.name[3:] for n in (signal.SIGTERM, signal.SIGHUP)}
        if e.code in names:
            what = f"interrupted by {names[e.code]}; the same command continues"
            print(what, file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGTERM, old)


@verb(
    *BASE,
    positional("DIR", "--output_dir", "The model's folder"),
    *RETRAINING,
    NGPU,
    *ALLOWED,
)
def retrain(**options: Any) -> None:
    """One retraining by hand; the same command continues.

    Any layers can be frozen, also those of another model (--frozen_from).

    Example:
        espnet-topdown retrain exp/asr_a exp/asr_a_softmax --freeze softmax
    """
    folder = espnet_topdown.retrain(**options)
    if LIKELIHOOD not in read_json(folder / "score.json"):  # there is sound to decode
        print(f"next: espnet-topdown decode {folder} --data DATA_DIR")


@verb(SEARCH_DIR)
def cancel(search_dir: Path) -> None:
    """End a search and its trainings, here or on the cluster. 'search' continues it.

    Example:
        espnet-topdown cancel exp/asr_train_raw_en_char_topdown
    """
    from espnet_topdown.cli._clean import cancel as end

    print("\n".join(end(search_dir)))


@verb(
    option("--paper", "A corpus of rows.yaml; default: the only one", ""),
    path("--conf", "Folder of rows.yaml", default=Path("conf")),
    path("--rows_dir", "Has a folder for each row", default=Path("exp/rows")),
    flag("--allow_partial", "Sets may be smaller than the paper's"),
    *group(
        "how rows are made, from a recipe's script",
        option("--row", "Rows or groups of rows, with spaces", "all"),
        option("--exp", "Of joint training; CONFIG and ARGS are a row's", ""),
        option("--args", "More options of joint training", ""),
        option("--inference_config", "Of the beam search", ""),
        option("--inference_args", "More options of the beam search", ""),
        path("--train_dir", "Training set; the sets to check are beside it"),
        path("--stats_dir", "Its statistics", default=Path()),
        option("--cmd", "Launcher of retrainings", ""),
        option("stages", "After '--': the script and its options", nargs="*"),
    ),
)
def rows(
    paper: str,
    conf: Path,
    rows_dir: Path,
    allow_partial: bool,
    row: str,
    train_dir: Path | None,
    **options: Any,
) -> None:
    """Rows of the paper: a table of ours beside its; first made, if stages are given.

    In a recipe, ``run.sh --row NAME`` does all of it.

    Example:
        espnet-topdown rows --paper wsj
    """
    from espnet_topdown.report.paper import write_rows
    from espnet_topdown.search.rows import RowMaker, check_sets, read_paper

    wanted = read_paper(paper, conf)
    if options["stages"]:
        maker = RowMaker(wanted, rows_dir, train_dir=train_dir, **options)
        if train_dir:
            check_sets(wanted, train_dir.parent, allow_partial)
        maker.make_rows(row.split())
    print(write_rows(wanted, rows_dir, allow_partial))


@verb(
    *CMD,
    path("--log", "Where the command's output goes", required=True),
    path("--watch", "The folder it trains in", required=True),
    option("command", "After '--': the command and its arguments", nargs="+"),
)
def launch(
    command: list[str], log: Path, watch: Path, cmd: str, cmd_backend: str
) -> None:
    """Run one training through a launcher and show its progress meanwhile.

    Exits with the launcher's status.

    Example:
        espnet-topdown launch --log train.log --watch exp/asr -- COMMAND ARGUMENT
    """
    from espnet_topdown.search.progress import run_and_show

    sys.exit(run_and_show(command, log, watch, cmd, cmd_backend))
