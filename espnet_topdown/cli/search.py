"""Retrain from the top down"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import espnet_topdown
from espnet_topdown.cli.look import (
    BASE,
    FIX_EVAL_DROPOUT,
    REINIT,
    RETRAINING,
    SEARCH_DIR,
    STACK,
)
from espnet_topdown.cli.parser import (
    flag,
    group,
    numbers,
    option,
    path,
    place,
    verb,
    whole,
)
from espnet_topdown.search.strategies import CONTROLS

CMD = (
    option("--cmd", "Launcher and options, e.g. 'slurm.pl --mem 4G'", ""),
    option("--cmd_backend", "local, slurm or sge, if no --cmd", "local"),
)
NGPU = option("--ngpu", "GPUs of each; default: as the base experiment", type=whole)
INFEASIBLE = flag(
    "--allow_infeasible", "Train on, though CTC cannot align some utterances"
)
CONF = path("--conf", "Folder of rows.yaml", default=Path("conf"))
PAPER = (option("--paper", "A corpus of rows.yaml", required=True), CONF)
STRATEGY = (
    "greedy (Algorithm 1), full (all compositions), beam, epoch (classifiers of "
    "--epochs) or layers_x_epochs"
)
CRITERION = (
    "Validation error: cer, wer, ter (tokens), or ppl of a language model; auto: the "
    "first of these that the model has"
)


@verb(
    *group(
        "what is searched",
        *BASE,
        place("DIR", "--output_dir", "The folder of the search"),
        option("--strategy --search", STRATEGY, "greedy"),
        option("--epochs", "Of joint training: 20,40,60", (), type=numbers),
        option("--width", "Of the beam: models that go on", 2),
        option("--budget", "Retrainings at most; 0: no limit", 0, type=whole),
        option("--steps", "Freeze only so many layers: 1,4,8", (), type=numbers),
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
        NGPU,
        *CMD,
        flag("--use_wandb", "Log each training to W&B, as ESPnet does; one group"),
        option("--trainer", "Training module; auto: the stack's", "auto"),
        flag("--allow_unfinished", "Allow a base model not trained to its end"),
        flag("--allow_pipes", "Allow commands in wav.scp"),
        flag("--allow_overlap", "Allow utterances in both training and validation set"),
        INFEASIBLE,
    ),
)
def search(**options: Any) -> None:
    """Top-down training from an ESPnet experiment. The same command continues.

    Example:
        espnet-topdown search exp/asr_a exp/asr_a_topdown --controls joint,warm
    """
    with _last_words():
        done = espnet_topdown.run_search(**options)
    print(f"best: {done.best} ({done.state.reason})")
    print(f"next: espnet-topdown decode {done.folder} --data DATA_DIR")


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
    place("DIR", "--output_dir", "The job's folder"),
    *RETRAINING,
    NGPU,
    INFEASIBLE,
)
def retrain(**options: Any) -> None:
    """One retraining by hand; the same command continues.

    Any layers can be frozen, also those of another model (--frozen_from).

    Example:
        espnet-topdown retrain exp/asr_a exp/asr_a_softmax --freeze softmax
    """
    espnet_topdown.retrain(**options)


@verb(SEARCH_DIR)
def cancel(search_dir: Path) -> None:
    """End a search and its jobs, here or on the cluster. 'search' continues it.

    Example:
        espnet-topdown cancel exp/asr_train_raw_en_char_topdown
    """
    from espnet_topdown.cli._clean import cancel as end

    print("\n".join(end(search_dir)))


@verb(
    option("--step", "What", choices=("plan", "model", "table"), required=True),
    *PAPER,
    option("--row", "Rows or groups of rows, with spaces", "all"),
    path("--set_dirs", "Test sets to check", nargs="*", default=[]),
    flag("--allow_partial", "Smaller sets"),
    path("--exp", "Of --step model: print the file --row is decoded with"),
    path("--rows_dir", "Where rows are decoded", default=Path("exp/rows")),
)
def rows(step: str, paper: str, conf: Path, row: str, **options: Any) -> None:
    """Rows of the paper: what to train for them, and a table of ours beside its.

    In a recipe, ``run.sh --row NAME`` does all of it.

    Example:
        espnet-topdown rows --step plan --paper wsj --row A.B
    """
    from espnet_topdown.search.rows import check_sets, plan_rows, read_paper

    table = read_paper(paper, conf)
    if step == "plan":
        plan = plan_rows(table, row.split(), conf)
        check_sets(table, options["set_dirs"], options["allow_partial"])
        print("\n".join(plan))
    elif step == "model":
        from espnet_topdown.models.experiment import Experiment

        exp, n = Experiment(options["exp"]), table.chosen([row])[0].average
        print((exp.average(n) if n else exp.model_file()).name)
    else:
        from espnet_topdown.report.paper import write_rows

        print(write_rows(table, options["rows_dir"], options["allow_partial"]))


@verb(
    BASE[0],
    place("DIR", "--output_dir", "Gets a folder for each row"),
    option("--rows", "Rows, with commas: L.2, table4, controls", "table4"),
    CONF,
    path("--dev", "Validation text", required=True),
    path("--test", "Test text", required=True),
    option("--dev_width", "Columns that dev is read in", 10),
    option("--test_width", "Columns that test is read in", 1),
)
def lm_rows(base_exp: Path, output_dir: Path, rows: str, **options: Any) -> None:
    """Rows of Table 4 (language model): retrainings, controls, perplexities.

    Example:
        espnet-topdown lm_rows exp/lm exp/lm_rows --dev dev.txt --test test.txt
    """
    from espnet_topdown.trainer.fast.process import do_not_spin

    do_not_spin()
    from espnet_topdown.search.rows import Setting, make_rows, read_paper

    texts = {s: (options[s], options[f"{s}_width"]) for s in ("dev", "test")}
    paper = read_paper("wikitext2", options["conf"])
    names = [n for n in rows.split(",") if n]
    print(make_rows(paper, names, Setting(base_exp, output_dir, texts)))


@verb(
    *PAPER,
    option("--part", "A name in its 'parts'", required=True),
    path("--data_dir", "The whole training set", required=True),
    path("--stats_dir", "Its statistics (stage 10)", required=True),
    path("--lists", "Folder of lists of utterances", required=True),
)
def part(paper: str, conf: Path, part: str, **folders: Path) -> None:
    """Write a part of a training set and of its statistics: D_p20 and S_p20.

    Parts are nested, and `unseen` has no utterance of p80.

    Example:
        espnet-topdown part --paper wsj --part p20 --data_dir D --stats_dir S --lists L
    """
    from espnet_topdown.data.parts import make_part
    from espnet_topdown.search.rows import read_paper

    print(make_part(part, read_paper(paper, conf).parts[part], **folders))


@verb(
    place("EXP", "--exp", "An ESPnet experiment"),
    option("--seed", "Of the values", type=int, required=True),
    path("--output", "File of weights", required=True),
)
def random_model(**options: Any) -> None:
    """Write the weights that a model has before training, for 'retrain --frozen_from'.

    Example:
        espnet-topdown random_model exp/asr_a --seed 1 --output random.pth
    """
    from espnet_topdown.models.weights import save_random_weights

    print(save_random_weights(**options))


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
