"""Retrain from the top down"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from espnet_topdown.cli.look import (
    BASE,
    FIX_EVAL_DROPOUT,
    REINIT,
    RETRAINING,
    SEARCH_DIR,
    STACK,
    spec_of,
)
from espnet_topdown.cli.parser import flag, group, numbers, option, place, verb, whole
from espnet_topdown.search.strategies import CONTROLS

CMD = (
    option("--cmd", default="", help="Launcher and options, e.g. 'slurm.pl --mem 4G'"),
    option("--cmd_backend", default="local", help="local, slurm or sge, if no --cmd"),
)
NGPU = option(
    "--ngpu", type=whole, help="GPUs of each; default: as the base experiment"
)
INFEASIBLE = flag(
    "--allow_infeasible", "Train on, though CTC cannot align some utterances"
)
CONF = option("--conf", type=Path, default="conf", help="Folder of rows.yaml")
PAPER = (option("--paper", required=True, help="A corpus of rows.yaml"), CONF)


@verb(
    *group(
        "what is searched",
        *BASE,
        place("DIR", "--output_dir", help="The folder of the search"),
        option(
            "--strategy",
            "--search",
            default="greedy",
            help="greedy (Algorithm 1), full (all compositions), beam, epoch "
            "(classifiers of --epochs) or layers_x_epochs",
        ),
        option(
            "--epochs", type=numbers, default=(), help="Of joint training: 20,40,60"
        ),
        option("--width", type=int, default=2, help="Of the beam: models that go on"),
        option(
            "--budget", type=whole, default=0, help="Retrainings at most; 0: no limit"
        ),
        option(
            "--steps",
            type=numbers,
            default=(),
            help="Freeze only so many layers: 1,4,8",
        ),
        option(
            "--max_frozen",
            type=int,
            help="Freeze at most N layers; default: all but one",
        ),
        option(
            "--criterion",
            default="auto",
            help="Validation error: cer, wer, ter (tokens), or ppl of a language "
            "model; auto: the first of these that the model has",
        ),
        STACK,
        option("--retrain_seed", default="own", help="own (base's + 1000 k) or same"),
        option(
            "--controls",
            default="",
            help=f"none, or with commas: {', '.join(CONTROLS)}",
        ),
        option(
            "--max_epoch", type=int, help="Of each retraining; default: as the base"
        ),
    ),
    *group("not in the paper", FIX_EVAL_DROPOUT, REINIT),
    *group(
        "how it is run",
        option(
            "--max_jobs_total", type=int, default=32, help="More trainings need --yes"
        ),
        flag("--yes", "Go beyond --max_jobs_total"),
        option("--max_jobs", type=int, default=1, help="Trainings at the same time"),
        NGPU,
        *CMD,
        option("--trainer", default="auto", help="Training module; auto: the stack's"),
        flag("--allow_unfinished", "Allow a base model not trained to its end"),
        flag("--allow_pipes", "Allow commands in wav.scp"),
        flag("--allow_overlap", "Allow utterances in both training and validation set"),
        INFEASIBLE,
    ),
)
def search(args: argparse.Namespace) -> None:
    """Top-down training from an ESPnet experiment. The same command continues.

    Example:
        espnet-topdown search exp/asr_a exp/asr_a_topdown --controls joint,warm
    """
    from espnet_topdown.cli import installation

    installation.check()
    from espnet_topdown.search.driver import run_search
    from espnet_topdown.search.request import SearchRequest

    options = vars(args)
    given = options["controls"] if options["controls"] != "none" else ""
    options["controls"] = tuple(c for c in given.split(",") if c)
    result = run_search(SearchRequest(**options))
    print(f"best: {args.output_dir / result['best']} ({result['reason']})")
    print(f"next: espnet-topdown decode {args.output_dir} --data DATA_DIR")


@verb(
    *BASE,
    place("DIR", "--output_dir", help="The job's folder"),
    *RETRAINING,
    NGPU,
    INFEASIBLE,
)
def retrain(args: argparse.Namespace) -> None:
    """One retraining by hand; the same command continues.

    Any layers can be frozen, also those of another model (--frozen_from).

    Example:
        espnet-topdown retrain exp/asr_a exp/asr_a_softmax --freeze softmax
    """
    from espnet_topdown.cli import installation

    installation.check()
    from espnet_topdown.jobs.run import run_by_hand

    run_by_hand(spec_of(args), args.output_dir, args.ngpu, args.allow_infeasible)


@verb(SEARCH_DIR)
def cancel(args: argparse.Namespace) -> None:
    """End a search and its jobs, here or on the cluster. 'search' continues it.

    Example:
        espnet-topdown cancel exp/asr_train_raw_en_char_topdown
    """
    from espnet_topdown.cli.clean import cancel as end

    print("\n".join(end(args.search_dir)))


@verb(
    option("--step", choices=("plan", "model", "table"), required=True, help="What"),
    *PAPER,
    option("--row", default="all", help="Rows or groups of rows, with spaces"),
    option("--set_dirs", type=Path, nargs="*", default=[], help="Test sets to check"),
    flag("--allow_partial", "Smaller sets"),
    option(
        "--exp", type=Path, help="Of --step model: print the file --row is decoded with"
    ),
    option("--rows_dir", type=Path, default="exp/rows", help="Where rows are decoded"),
)
def rows(args: argparse.Namespace) -> None:
    """Rows of the paper: what to train for them, and a table of ours beside its.

    In a recipe, ``run.sh --row NAME`` does all of it.

    Example:
        espnet-topdown rows --step plan --paper wsj --row A.B
    """
    from espnet_topdown.search.rows import check_sets, plan_rows, read_paper

    paper = read_paper(args.paper, args.conf)
    if args.step == "plan":
        plan = plan_rows(paper, args.row.split(), args.conf)
        check_sets(paper, args.set_dirs, args.allow_partial)
        print("\n".join(plan))
    elif args.step == "model":
        from espnet_topdown.models.averaging import model_of

        (row,) = paper.chosen([args.row])
        print(model_of(args.exp, row.average).name)
    else:
        from espnet_topdown.report.paper import write_rows

        print(write_rows(paper, args.rows_dir, args.allow_partial))


@verb(
    BASE[0],
    place("DIR", "--output_dir", help="Gets a folder for each row"),
    option("--rows", default="table4", help="Rows, with commas: L.2, table4, controls"),
    CONF,
    option("--dev", type=Path, required=True, help="Validation text"),
    option("--test", type=Path, required=True, help="Test text"),
    option("--dev_width", type=int, default=10, help="Columns that dev is read in"),
    option("--test_width", type=int, default=1, help="Columns that test is read in"),
)
def lm_rows(args: argparse.Namespace) -> None:
    """Rows of Table 4 (language model): retrainings, controls, perplexities.

    Example:
        espnet-topdown lm_rows exp/lm exp/lm_rows --dev dev.txt --test test.txt
    """
    from espnet_topdown.trainer.fast.threads import do_not_spin

    do_not_spin()
    from espnet_topdown.search.rows import Setting, make_rows, read_paper

    texts = {"dev": (args.dev, args.dev_width), "test": (args.test, args.test_width)}
    names = [n for n in args.rows.split(",") if n]
    paper = read_paper("wikitext2", args.conf)
    print(make_rows(paper, names, Setting(args.base_exp, args.output_dir, texts)))


@verb(
    *PAPER,
    option("--part", required=True, help="A name in its 'parts'"),
    option("--data_dir", type=Path, required=True, help="The whole training set"),
    option("--stats_dir", type=Path, required=True, help="Its statistics (stage 10)"),
    option("--lists", type=Path, required=True, help="Folder of lists of utterances"),
)
def part(args: argparse.Namespace) -> None:
    """Write a part of a training set and of its statistics: D_p20 and S_p20.

    Parts are nested, and `unseen` has no utterance of p80.

    Example:
        espnet-topdown part --paper wsj --part p20 --data_dir D --stats_dir S --lists L
    """
    from espnet_topdown.data.parts import make_part
    from espnet_topdown.search.rows import read_paper

    percent = read_paper(args.paper, args.conf).parts[args.part]
    print(make_part(args.part, percent, args.data_dir, args.stats_dir, args.lists))


@verb(
    place("EXP", "--exp", help="An ESPnet experiment"),
    option("--seed", type=int, required=True, help="Of the values"),
    option("--output", type=Path, required=True, help="File of weights"),
)
def random_model(args: argparse.Namespace) -> None:
    """Write the weights that a model has before training, for 'retrain --frozen_from'.

    Example:
        espnet-topdown random_model exp/asr_a --seed 1 --output random.pth
    """
    from espnet_topdown.models.random_model import random_model as write_random

    print(write_random(**vars(args)))


@verb(
    *CMD,
    option("--log", type=Path, required=True, help="Where the command's output goes"),
    option("--watch", type=Path, required=True, help="The folder it trains in"),
    option("command", nargs="+", help="After '--': the command and its arguments"),
)
def launch(args: argparse.Namespace) -> None:
    """Run one training through a launcher and show its progress meanwhile.

    Exits with the launcher's status.

    Example:
        espnet-topdown launch --log train.log --watch exp/asr -- COMMAND ARGUMENT
    """
    from espnet_topdown.search.progress import run_and_show

    backend = args.cmd_backend
    sys.exit(
        run_and_show(args.command, args.log, args.watch, args.cmd, backend=backend)
    )
