"""Pack a search's best model with a model card, as ESPnet's model zoo reads it."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from espnet_topdown.errors import CREATE, IO, MISSING, USAGE, TopDownError, disk_error
from espnet_topdown.files import check_output, write_bytes, write_yaml
from espnet_topdown.models.experiment import Experiment, model_options
from espnet_topdown.models.tasks import Task, find_task, kind_of
from espnet_topdown.models.type_checks import import_quietly
from espnet_topdown.report import _text as text
from espnet_topdown.report._study import differences, read_study
from espnet_topdown.report.write import CURVES, Section, render, sections
from espnet_topdown.search.state import SearchState, check_finished, model_of

CARD = "README.md"
_OPEN = "LICENCE: to be chosen by who publishes this model"
_INSIDE = "topdown"  # with a "/", by which espnet_model_zoo knows a path in a config
_FILES = ("bpemodel", "non_linguistic_symbols", "stats_file")  # what must be there
_OURS = {  # a name in the config -> what makes it known to ESPnet
    "td_rnn": "espnet_topdown.trainer.dropout",
    "td_vgg_rnn": "espnet_topdown.trainer.dropout",
    "awd_lstm": "espnet_topdown.trainer.lm_task",
}


def pack(
    folder: Path,
    archive: Path | None = None,
    licence: str = "",
    hf_repo: str = "",
    upload: bool = False,
) -> Iterator[str]:
    """Write an archive of the best model: weights, config, what it names, a card.

    The config keeps what describes the model and its text. Nothing else of the
    experiment goes into the archive, and no path of this machine.

    Args:
        folder: A finished search.
        archive: A zip file; None is one in the search's folder.
        licence: For the card, such as "cc-by-4.0"; "" leaves it open there.
        hf_repo: USER/NAME on the Hugging Face Hub: what would be uploaded is listed.
        upload: Do it; a repository that is made for it is private.

    Yields:
        Lines that say what was done.

    Raises:
        TopDownError: E_UNFINISHED (78); E_MISSING (66) for a file that the config
            names; E_CREATE (73); E_HF_REPO (64), E_LICENCE, E_HF_TOKEN, E_INSTALL (78)
            before anything is written; E_HUB (74) where the Hub refuses.
    """
    search = check_finished(folder)
    _check_words(licence, hf_repo, upload)
    hub = _hub() if upload else None
    experiment, weights, task = _best(search)
    name = f"{folder.resolve().name}_{search.best_name}"
    archive = archive or folder / f"{name}.zip"
    if archive.suffix != ".zip":
        what, do = f"{archive} is no .zip", "give --output FILE.zip"
        raise TopDownError("E_CREATE", what, do, CREATE)
    check_output(archive.parent, [archive.name], ours=rb"(?s)\APK.{28}meta\.yaml")
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=archive.parent, prefix=".pack-")
    except OSError as e:
        raise disk_error(archive, 0, e) from e
    with made:
        place = Path(made.name)
        inside = _copy(experiment, weights, task, place)
        card = _card(search, experiment, task, hf_repo or name, licence)
        write_bytes(place / CARD, card.encode())
        os.replace(_zip(inside, place), archive)
        yield f"packed: {archive} ({_size(archive)}), card in {CARD} of it"
        if hf_repo:
            files = sorted(p for p in place.rglob("*") if p.is_file())
            yield f"{'uploading' if upload else 'would be uploaded'} to {hf_repo}:"
            yield from (f"  {p.relative_to(place)}  {_size(p)}" for p in files)
            if hub is None:
                yield "nothing was uploaded; --yes does it"
            else:
                yield f"uploaded: {_upload(hub, place, hf_repo)}"


def for_espnet(folder: Path) -> dict[str, str]:
    """The best model as arguments of ESPnet's inference, such as ``Speech2Text``.

    Args:
        folder: A finished search.

    Returns:
        ESPnet's names of config and weights -> the files. An encoder or a language
        model of ours is made known to ESPnet.

    Raises:
        TopDownError: E_UNFINISHED (78); E_MODEL (66).
    """
    experiment, weights, task = _best(check_finished(folder))
    for module in _ours(experiment.config):
        import_quietly(module)
    files = (experiment.folder / "config.yaml", weights)
    return dict(zip(task.packed, map(str, files)))


def _best(search: SearchState) -> tuple[Experiment, Path, Task]:
    exp, file = model_of(search, str(search.best_name))
    fixed = bool(search.request.get("fix_eval_dropout"))
    experiment = Experiment(exp, fix_eval_dropout=fixed)
    task = find_task(kind_of(experiment.config))
    try:
        return experiment, experiment.model_file(file), task
    except TopDownError as e:
        raise TopDownError(e.code, e.what, "bring that file back", e.status) from e


def _ours(config: dict[str, Any]) -> list[str]:
    words = (str(config.get("encoder")), str(config.get("lm")))
    return [_OURS[word] for word in words if word in _OURS]


def _check_words(licence: str, hf_repo: str, upload: bool) -> None:
    if licence and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        do = "write it as the Hub does: --license cc-by-4.0"
        raise TopDownError("E_LICENCE", f"licence '{licence}'", do, USAGE)
    part = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?"
    bad = hf_repo and not re.fullmatch(f"{part}/{part}", hf_repo)
    if bad or "--" in hf_repo or ".." in hf_repo or (upload and not hf_repo):
        what = f"'{hf_repo}' is no repository of the Hugging Face Hub"
        do = "give --hf_repo USER/NAME of letters, digits, '-', '_' and '.'"
        raise TopDownError("E_HF_REPO", what, do, USAGE)
    if upload and not licence:
        what = "the model has no licence yet, which only you can choose"
        do = "give --license NAME, such as cc-by-4.0; look at that of the data first"
        raise TopDownError("E_LICENCE", what, do)


def _copy(
    experiment: Experiment, weights: Path, task: Task, place: Path
) -> dict[str, str]:
    """Copy what the model needs, with a config that names the copies.

    Returns:
        ESPnet's names of config and weights -> where they are in the archive.
    """
    (place / _INSIDE).mkdir()
    copies: dict[Path, str] = {}

    def inside(path: Path) -> str:
        if path not in copies:
            name = path.name
            if (place / _INSIDE / name).exists():
                name = f"{len(copies)}_{name}"
            copies[path] = f"{_INSIDE}/{name}"
            shutil.copyfile(path, place / copies[path])
        return copies[path]

    def renamed(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: renamed(str(k), v) for k, v in value.items()}
        if isinstance(value, list) and key != "token_list":
            return [renamed(key, v) for v in value]
        if not isinstance(value, str) or not ("/" in value or key in _FILES):
            return value
        if Path(value).is_file():
            return inside(Path(value))
        if key not in _FILES and not Path(value).is_absolute():
            return value  # a name, such as that of a model on the Hub
        where = experiment.folder / "config.yaml"
        what = f"{where} names {key} '{value}', which is not there"
        do = "run in the recipe folder: its paths are relative to it"
        raise TopDownError("E_MISSING", what, do, MISSING)

    keys = model_options(task.options_of)
    config = {k: v for k, v in experiment.config.items() if k in keys}
    config["token_list"] = experiment.token_list
    train_config, model_file = task.packed
    names = {model_file: inside(weights), train_config: f"{_INSIDE}/config.yaml"}
    write_yaml(place / names[train_config], renamed("", config))
    return names


# As ESPnet's pack writes it, but without starting torch: meta.yaml, then the others.
def _zip(inside: dict[str, str], place: Path) -> Path:
    configs = {k: v for k, v in inside.items() if k.endswith("_config")}
    meta = {
        "yaml_files": configs,
        "files": {k: v for k, v in inside.items() if k not in configs},
        "timestamp": time.time(),
        "python": sys.version,
        **{name: metadata.version(name) for name in ("torch", "espnet")},
    }
    files = sorted(p for p in place.rglob("*") if p.is_file())
    write_yaml(place / "meta.yaml", meta)
    with zipfile.ZipFile(place / ".zip", "w") as packed:
        for path in (place / "meta.yaml", *files):
            packed.write(path, path.relative_to(place))
    return place / ".zip"


# The report's tables as a model card, without the names of folders of this machine.
def _card(
    search: SearchState, experiment: Experiment, task: Task, name: str, licence: str
) -> str:
    candidates = [dataclasses.replace(c, why="") for c in search.candidates]
    base = Path(search.base_exp).name
    search = dataclasses.replace(search, base_exp=base, candidates=tuple(candidates))
    study = dataclasses.replace(read_study([search.folder]), searches={None: search})
    compared = differences(study)
    train = Path(experiment.data_path("train", "text")[0])
    pairs = [("training set", train.parent.name)]
    if search.train_hours:
        pairs.append(("speech for training", f"{search.train_hours:.3g} h"))
    pairs += [("validation set", study.valid)]
    pairs += [("test sets", ", ".join(study.tests.values()) or text.NOT_RUN)]
    pairs += [("licence", licence or _OPEN)]
    parts: list[Section] = [
        ("Use", [("python", _use(experiment, task, name))]),
        ("Data", [("pairs", pairs)]),
    ]
    parts += [s for s in sections(study, compared, [], Path()) if s[0] != CURVES]
    values = {
        "ours": "",
        "name": name,
        "headline": text.headline(study, compared),
        "evidence": text.evidence(study, compared),
        "warnings": text.warnings(study),
        "sections": parts,
        "figures": [],
        "links": [],
    }
    hears = "asr" in task.packed[0]
    kind = "automatic-speech-recognition" if hears else "language-model"
    head = ["library_name: espnet", f"tags: [espnet, audio, {kind}, top-down-training]"]
    head += [f"license: {licence}"] if licence else [f"# {_OPEN}"]
    return "\n".join(["---", *head, "---", render("results.md.j2", values).lstrip()])


# What to type to recognise with the model, or to use it beside a recogniser.
def _use(experiment: Experiment, task: Task, name: str) -> list[str]:
    ours = _ours(experiment.config)
    lines = [f"import {module}  # of espnet_topdown" for module in ours]
    lines += ["import soundfile"] if "asr" in task.packed[0] else []
    lines += ["from espnet2.bin.asr_inference import Speech2Text"]
    if "asr" not in task.packed[0]:
        lines += ["from espnet_model_zoo.downloader import ModelDownloader", ""]
        lines += [f'lm = ModelDownloader().download_and_unpack("{name}")']
        return [*lines, 'speech2text = Speech2Text.from_pretrained("A/MODEL", **lm)']
    lines += ["", "# this needs the package espnet_model_zoo"]
    lines += [f'speech2text = Speech2Text.from_pretrained("{name}")']
    rate = experiment.sample_rate
    lines += [f'speech, rate = soundfile.read("speech.wav")  # {rate} Hz']
    return [*lines, "text, *_ = speech2text(speech)[0]"]


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


# The Hub's interface, with a token.
def _hub() -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as e:
        what = "huggingface_hub is not installed"
        do = "run pip install 'espnet_topdown[hub]'"
        raise TopDownError("E_INSTALL", what, do) from e
    token = huggingface_hub.get_token()
    if not token:
        what = "no token for the Hugging Face Hub"
        do = "run 'hf auth login', or set HF_TOKEN to a token that may write"
        raise TopDownError("E_HF_TOKEN", what, do)
    return huggingface_hub.HfApi(token=token)


# The repository is made unless it is there; returns where it is.
def _upload(hub: Any, place: Path, repo: str) -> str:
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    message = "Model of a top-down search"
    # the error of its HTTP client, which it has changed
    of_its_client = cast(type[Exception], HfHubHTTPError.__mro__[1])
    try:
        url = hub.create_repo(repo, private=True, exist_ok=True)
        hub.upload_folder(repo_id=repo, folder_path=place, commit_message=message)
    except (of_its_client, OSError, ValueError) as e:
        message = next(iter(str(e).strip().splitlines()), type(e).__name__)
        what = f"{hub.endpoint} did not take {repo}: {message}"
        do = "mend what it says and run the same command again; the archive is written"
        raise TopDownError("E_HUB", what, do, IO) from e
    return str(url)
