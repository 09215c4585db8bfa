"""Report, and care for what is there"""

from __future__ import annotations

import sys
from pathlib import Path

import espnet_topdown
from espnet_topdown.cli._look import SEARCH_DIR
from espnet_topdown.cli.parser import flag, option, path, positional, verb
from espnet_topdown.errors import MISSING
from espnet_topdown.files import Lock

FORMAT = "md: write the report; csv or json: print a row a model, write nothing"


@verb(
    SEARCH_DIR,
    path("--output_dir", "Where to write; default: DIR itself"),
    option("--format", FORMAT, "md", choices=("md", "csv", "json")),
)
def report(search_dir: Path, output_dir: Path | None, format: str) -> None:
    """Write RESULTS.md, report.html and figures/ of a search, and print the tables.

    Example:
        espnet-topdown report exp/asr_train_raw_en_char_topdown --format csv
    """
    search = espnet_topdown.load_search(search_dir)
    if format == "md":
        print(search.report(output_dir))
    else:
        print(getattr(search.table, f"to_{format}")(), end="")


@verb(
    positional("DIR...", "--search_dirs", "Folders of searches, one a seed", nargs="+"),
    path("--output_dir", "Where to write", required=True),
)
def seeds(search_dirs: list[Path], output_dir: Path) -> None:
    """Compare searches that differ in the seed of their joint training.

    Means, spreads, intervals. Writes RESULTS.md and report.html.

    Example:
        espnet-topdown seeds exp/a_topdown exp/b_topdown --output_dir exp/seeds
    """
    from espnet_topdown.report.write import write_report

    print(write_report(search_dirs, output_dir))


@verb(
    SEARCH_DIR,
    path("--output", "The archive, FILE.zip; default: in DIR"),
    option("--license", "Of the model, for its card, such as cc-by-4.0", ""),
    option("--hf_repo", "USER/NAME on the Hugging Face Hub: show what goes there", ""),
    flag("--yes", "Upload it; a new repository is private until you open it"),
)
def pack(
    search_dir: Path, output: Path | None, license: str, hf_repo: str, yes: bool
) -> None:
    """Pack the best model with a model card, as espnet_model_zoo reads it.

    With --hf_repo it shows what would be uploaded, and uploads it with --yes.

    Example:
        espnet-topdown pack exp/asr_train_raw_en_char_topdown --hf_repo USER/NAME
    """
    from espnet_topdown.report.pack import pack as write

    for line in write(search_dir, output, license, hf_repo, yes):
        print(line, flush=True)


@verb(
    SEARCH_DIR,
    option("--keep", "best: the best model and those of its path", "best"),
    flag("--yes", "Delete without asking"),
)
def clean(search_dir: Path, keep: str, yes: bool) -> None:
    """Delete checkpoints and models of all but the best path of a finished search.

    It shows them and asks first; scores, configurations, logs and the report stay.

    Example:
        espnet-topdown clean exp/asr_train_raw_en_char_topdown --keep best
    """
    from espnet_topdown.cli._clean import removable

    files = removable(search_dir, keep)
    sizes = [file.stat().st_size for file in files]
    for file, size in zip(files, sizes):
        print(f"{_megabytes(size)}  {file}")
    total = f"{len(files)} files, {_megabytes(sum(sizes)).strip()}"
    if not files:
        print("nothing to delete")
    elif yes or _agreed(f"delete these {total}? [y/N] "):
        with Lock(search_dir / "lock", doing="clean"):  # a search may run by now
            for file in files:
                file.unlink()
        print(f"deleted {total}")
    else:
        print("nothing was deleted")


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _megabytes(size: int) -> str:
    return f"{size / 1e6:9.1f} MB"


@verb(SEARCH_DIR)
def du(search_dir: Path) -> None:
    """How much room each model of a search takes; links count nothing.

    Example:
        espnet-topdown du exp/asr_train_raw_en_char_topdown
    """
    from espnet_topdown.search.state import check_search

    sizes = {}
    for folder in check_search(search_dir).iterdir():
        if folder.is_dir() and not folder.is_symlink():
            files = (p for p in folder.rglob("*") if not p.is_symlink())
            sizes[folder.name] = sum(p.stat().st_size for p in files if p.is_file())
    for name, size in sorted(sizes.items(), key=lambda pair: -pair[1]):
        print(f"{_megabytes(size)}  {name}")
    print(f"{_megabytes(sum(sizes.values()))}  all")


@verb(
    SEARCH_DIR,
    flag("--repair", "Set right what can be: links, stray files, a torn journal"),
    flag("--decode", "Decode every model again and compare its errors (minutes)"),
)
def fsck(search_dir: Path, repair: bool, decode: bool) -> None:
    """Check a search folder: journal, digests, frozen tensors, scores, links.

    Never deletes.

    Example:
        espnet-topdown fsck exp/asr_train_raw_en_char_topdown
    """
    from espnet_topdown.cli._fsck import fsck as check

    check(search_dir, repair, decode).show()


@verb(option("--recipe", "One recipe: what it needs counts, too", "all"))
def doctor(recipe: str) -> None:
    """What is missing on this machine, and the one command that mends each.

    For everything or for one recipe. Exit status 0 if nothing needed is missing, else
    66.

    Example:
        espnet-topdown doctor --recipe prompts
    """
    from espnet_topdown.cli._doctor import examine

    machine = examine(recipe)
    print(machine.text())
    sys.exit(0 if machine.ready else MISSING)
