"""Many kinds of ESPnet models: layers, their order, and every trained value in one."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from random_models import TOKENS as SPOKEN
from random_models import Set, write_model
from toys import TOKENS, rnn_weights, write_experiment, write_splits

from espnet_topdown.cli.main import main
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.jobs.check import check_works
from espnet_topdown.jobs.plan import bind, layer_table, plan
from espnet_topdown.jobs.run import run_by_hand
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import LayerStack
from espnet_topdown.models.tasks import find_task, kind_of
from espnet_topdown.models.weights import differing, load_weights
from espnet_topdown.scoring.model import load_model
from espnet_topdown.scoring.perplexity import (
    read_sentences,
    score_experiment,
    sentence_score,
)
from espnet_topdown.search.driver import run_search
from espnet_topdown.search.request import SearchRequest

FACTS = read_yaml(Path(__file__).with_name("models.yaml"))
CASES = [(kind, name) for kind in ("asr", "lm") for name in FACTS[kind]]
MODEL = Path("1epoch.pth")
OURS = ("layers", "stack", "search", "trainer", "family", "freeze")
FAMILIES = [case for case in CASES if "family" in FACTS[case[0]][case[1]]]
SENTENCES = [n for n, case in FACTS["lm"].items() if "trainer" not in case]
RETRAINED = [*(("asr", n) for n in FACTS["asr"]), *(("lm", n) for n in SENTENCES)]

pytestmark = pytest.mark.espnet


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Make an experiment of a case; returns it, and the values that are trained."""
    monkeypatch.chdir(tmp_path)
    sizes = {"sum": np.zeros(8), "sum_square": 4 * np.ones(8), "count": np.array(3.0)}
    np.savez("stats.npz", **sizes)

    class RNNTLoss(torch.nn.Module):
        """No loss, but of the right shape: the package is rarely installed."""

        def __init__(self, **options: object) -> None:
            super().__init__()

        def forward(self, joint: torch.Tensor, *others: object) -> torch.Tensor:
            return joint.square().mean()

    rnnt = types.ModuleType("warprnnt_pytorch")
    rnnt.RNNTLoss = RNNTLoss
    monkeypatch.setitem(sys.modules, "warprnnt_pytorch", rnnt)

    def make(kind: str, **changes: object) -> tuple[Path, int]:
        kind = kind_of(changes) if kind == "lm" else kind
        options: dict[str, object] = {"token_list": TOKENS, "normalize": None}
        if kind == "lm":
            options["token_list"] = ["<unk>", "a", "b", "<eos>"]
        if kind == "asr":
            options["frontend_conf"] = {"n_mels": 8, "n_fft": 64, "hop_length": 32}
        folder, task = Path("exp/base"), find_task(kind).call("task")
        try:
            model = write_model(folder, task, **{**options, **changes})
        except ModuleNotFoundError as e:
            pytest.skip(f"{e.name} is not installed")
        trained = [p for p in model.parameters() if p.requires_grad]
        return folder, sum(p.numel() for p in trained)

    return make


def conf_of(kind: str, name: str) -> dict[str, object]:
    return {k: v for k, v in FACTS[kind][name].items() if k not in OURS}


@pytest.mark.parametrize("kind, name", CASES, ids=[n for _, n in CASES])
def test_layers_of(build, kind, name):
    case = FACTS[kind][name]
    folder, trained = build(kind, **conf_of(kind, name))
    stack = case.get("stack", "auto")
    table = layer_table(folder, stack, MODEL).splitlines()
    assert [line.split()[1] for line in table[1:-1]] == case["layers"].split()
    assert table[-1].split()[1] == f"{trained:,}"

    planned = plan(spec_by_hand(folder, "softmax", stack=stack, base_model=MODEL))
    assert list(planned.layers.sizes) == case["layers"].split()
    assert all(planned.layers.sizes.values()), "no layer is empty"
    assert sum(planned.layers.sizes.values()) == trained


TRAINING = {
    "token_type": "char",
    "max_epoch": 1,
    "batch_size": 4,
    "num_workers": 0,
    "num_att_plot": 0,
    "use_matplotlib": False,
    "use_tensorboard": False,
    "best_model_criterion": [["valid", "loss", "min"]],
}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Set:
    return Set(tmp_path_factory.mktemp("sounds"))


def write_sentences(data: Path) -> None:
    words = ["ABC DE", "H", "GAB", "x A", "DEFGH CAB A"]  # x is unknown
    texts = {f"u{i:02}": words[i % 5] for i in range(43)}
    data.mkdir()
    lines = [f"{utt} {text}\n" for utt, text in texts.items()]
    (data / "text").write_text("".join(lines))
    lines = [f"{utt} {len(text)},12\n" for utt, text in texts.items()]
    (data / "text_shape").write_text("".join(lines))


@pytest.fixture
def trained(build, sounds, monkeypatch):
    """Make an experiment that is trained on this data, as it were; returns it."""

    def make(kind: str, name: str) -> Path:
        more = {**TRAINING, **conf_of(kind, name)}
        if kind == "asr":
            data, more["fold_length"] = sounds.data, [80000, 150]
            more.update(allow_infeasible=True, specaug=None, token_list=SPOKEN)
            files = [("wav.scp", "speech", "sound"), ("text", "text", "text")]
        else:
            data, more["fold_length"] = Path("dev"), [150]
            files = [("text", "text", "text")]
            write_sentences(data)
            if name in SENTENCES:
                more["token_list"] = SPOKEN
            else:
                (data / "text").write_text("a b\n" * 43)
        for phase in ("train", "valid"):
            sets = [[str(data / file), *kinds] for file, *kinds in files]
            more[f"{phase}_data_path_and_name_and_type"] = sets
            shapes = [str(data / f"{which}_shape") for _, which, _ in files]
            more[f"{phase}_shape_file"] = shapes
        folder, _ = build(kind, **more)
        # what has no loss but of the right shape proves nothing
        monkeypatch.setitem(sys.modules, "warprnnt_pytorch", None)
        return folder

    return make


@pytest.mark.nightly
@pytest.mark.parametrize("kind, name", RETRAINED, ids=[n for _, n in RETRAINED])
def test_a_retraining_of(trained, kind, name):
    """Planned, trained, verified and scored; or refused before anything is written."""
    case, folder, job = FACTS[kind][name], trained(kind, name), Path("exp/job")
    stack, freeze = case.get("stack", "auto"), case.get("freeze", "softmax")
    spec = spec_by_hand(folder, freeze, stack=stack, base_model=MODEL)
    if "search" in case:
        with pytest.raises(TopDownError, match=case["search"]):
            run_by_hand(spec, job, allow_overlap=True)
        assert not job.exists()
        return
    run_by_hand(spec, job, allow_overlap=True)
    assert (job / ".done").is_file()


@pytest.mark.nightly
@pytest.mark.timeout(1200)  # three processes that import ESPnet, on a busy machine
@pytest.mark.parametrize("kind, name", FAMILIES, ids=[n for _, n in FAMILIES])
def test_a_search_of(trained, kind, name):
    """Every job by the launcher, in a process of its own; what is frozen stays."""
    base, n = trained(kind, name), len(FACTS[kind][name]["layers"].split())
    asked = {"base_model": MODEL, "max_frozen": 1, "allow_overlap": True}
    result = run_search(SearchRequest(base, Path("exp/search"), **asked))
    assert list(result["nodes"]) == [f"m{n}", f"m1.{n - 1}"]
    assert result["best"] in result["nodes"]
    before = load_weights(base / MODEL)
    after = Experiment(Path(f"exp/search/m1.{n - 1}")).weights()
    frozen = plan(spec_by_hand(base, "softmax", base_model=MODEL)).frozen_params
    assert differing(before, after, frozen) == []
    assert differing(before, after, before) != []


@pytest.mark.parametrize("name", SENTENCES)
def test_the_likelihood_of_sentences(trained, name):
    """Equal to one sentence at a time, and every sentence ends."""
    exp = Experiment(trained("lm", name))
    weights = exp.folder / MODEL
    score, model = sentence_score(exp, weights), load_model(exp, weights)
    assert (score["set"], score["utts"], score["epoch"]) == ("dev", 43, 1)
    index, end, ref, nats = {t: i for i, t in enumerate(SPOKEN)}, len(SPOKEN) - 1, 0, 0
    for line in Path("dev/text").read_text().splitlines():
        ids = [index.get("<space>" if c == " " else c, 1) for c in line[4:]]
        with torch.no_grad():
            scores, _ = model.lm(torch.tensor([[end, *ids]]), None)
        likely = scores[0].double().log_softmax(-1)
        nats -= float(sum(likely[i, t] for i, t in enumerate([*ids, end])))
        ref += len(ids) + 1
    assert score["ppl"] == {"ref": ref, "nll": pytest.approx(nats, abs=1e-3)}


def test_sentences_in_splits(trained):
    """A training set as ``--num_splits_lm`` leaves it."""
    exp = Experiment(trained("lm", "LSTM"))
    (entry,) = exp.config["train_data_path_and_name_and_type"]
    entry[0] = write_splits(Path("dev/text"), Path("splits2"))
    names, batch = next(iter(read_sentences(exp, "train", 2)))
    assert names == ["u00", "u02"] and batch["text"].shape[0] == 2


def test_a_continuous_text_is_not_for_a_model_of_sentences(trained):
    exp = trained("lm", "LSTM")
    with pytest.raises(TopDownError, match="E_KIND.*'sentence_lm'.*calc_perplexity"):
        score_experiment(exp, "best", Path("dev/text"), 1, 0, Path("decode"))


@pytest.mark.parametrize("name", FACTS["lm"])
@pytest.mark.parametrize(
    "spoil, message",
    [
        ("layers", "E_STACK: the trainer of .* has "),
        ("data", "E_OVERLAP: of the data"),
        ("weights", "E_NAN: .*the loss of "),
        ("package", "E_INSTALL: .*wandb"),
    ],
)
def test_a_language_model_that_cannot_be_retrained(
    trained, monkeypatch, name, spoil, message
):
    """ESPnet's own trainer asks for no package before it has begun."""
    base = Experiment(trained("lm", name), MODEL)
    spec = spec_by_hand(base.folder, "softmax", base_model=base.model)
    stack = bind(base, spec.stack).stack
    if spoil == "layers":
        stack = LayerStack(stack.groups[:1])
    if spoil == "weights":
        huge = base.weights()
        for value in huge.values():
            value.fill_(3e38)
        torch.save(huge, base.model_file())  # tied ones stay so
    monkeypatch.setitem(sys.modules, "wandb", None)
    base.config["use_wandb"] = spoil == "package"

    def check_data() -> None:
        if spoil == "data":
            raise TopDownError("E_OVERLAP", "of the data", "")

    with pytest.raises(TopDownError, match=message):
        check_works(base, stack, spec.task, spec.trainer, check_data)


def test_an_output_layer_of_another_name_is_asked_about(toy_experiment):
    decoder = {f"decoder.{n}.weight": torch.zeros(5, 2) for n in ("embed", "head")}
    folder = write_experiment(Path("exp/head"), {**rnn_weights(), **decoder})
    with pytest.raises(TopDownError, match="E_STACK.*decoder.head.weight.*5 tokens"):
        layer_table(folder)
    stack = {"ctc": r"ctc\.", "head": r"decoder\.head\.", "rest": r"decoder\.embed|enc"}
    layers = [{"name": name, "params": [pattern]} for name, pattern in stack.items()]
    write_yaml(Path("mine.yaml"), {"layers": layers})
    table = layer_table(folder, "mine.yaml")
    assert re.search("1 +ctc.*\n.* 2 +head.*\n.* 3 +rest", table)


@pytest.mark.parametrize("words", ["layers", "plan --freeze softmax"])
def test_weights_of_another_vocabulary(toy_experiment, capsys, words):
    """Known from names and shapes, before a model is built."""
    write_experiment(Path("exp/other"), rnn_weights(), token_list=[*TOKENS, "c"])
    with pytest.raises(SystemExit, match="65"):
        main([*words.split(), "exp/other"])
    message = "E_CKPT_SHAPE: .*ctc.ctc_lo.weight has 5 rows.*token_list .* 6 tokens"
    assert re.search(message, capsys.readouterr().err)


def test_the_generic_stack_is_offered_and_never_taken(toy_experiment):
    names = {n.replace("enc.0.birnn", "body."): t for n, t in rnn_weights().items()}
    names = {n: t for n, t in names.items() if ".bt" not in n}
    folder = write_experiment(Path("exp/new"), names, encoder="mamba")
    with pytest.raises(TopDownError, match="E_STACK.*--stack generic.*softmax, enc1"):
        layer_table(folder)
    table = layer_table(folder, "generic")
    assert "enc1" in table and "stack generic" in table


def works() -> str:
    """The table "what works" of README.md."""
    lines = [
        "| model | layers, from the top | retraining and search |",
        "|---|---|---|",
    ]
    for kind in ("asr", "lm"):
        for name, case in FACTS[kind].items():
            refused = case.get("search")
            verdict = f"layers and plan only: {refused}" if refused else "yes"
            title = name if kind == "asr" else f"language model: {name}"
            lines.append(f"| {title} | {case['layers']} | {verdict} |")
    return "\n".join(lines) + "\n"


def test_readme_says_what_works():
    """Made by ``works()``: a test that fails prints what has to stand there."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert works() in text, works()
