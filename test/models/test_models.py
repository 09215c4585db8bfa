"""Many kinds of ESPnet models: layers, their order, and every trained value in one."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from random_models import TOKENS as SPOKEN
from random_models import Set

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, write_yaml

FACTS = read_yaml(Path(__file__).with_name("models.yaml"))
CASES = [(kind, name) for kind in ("asr", "lm") for name in FACTS[kind]]
TOKENS = ["<blank>", "<unk>", "a", "b", "<sos/eos>"]
OURS = ("layers", "stack", "search", "trainer", "family", "freeze")
FAMILIES = [name for name, case in FACTS["asr"].items() if "family" in case]

pytestmark = pytest.mark.espnet


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Make an experiment of a case; returns it, and the values that are trained."""
    import torch

    from espnet_topdown.models.tasks import find_task, kind_of

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

    def make(
        kind: str, tokens: list[str] = TOKENS, **changes: object
    ) -> tuple[Path, int]:
        kind = kind_of(changes) if kind == "lm" else kind
        task = find_task(kind).call("task")
        args = task.get_parser().parse_args(["--output_dir", "exp/base"])
        args.token_list, args.normalize = list(tokens), None
        if kind == "lm":
            args.token_list = ["<unk>", "a", "b", "<eos>"]
        if kind == "asr":
            args.frontend_conf = {"n_mels": 8, "n_fft": 64, "hop_length": 32}
        for key, value in changes.items():
            setattr(args, key, value)
        folder = Path("exp/base")
        folder.mkdir(parents=True)
        config = json.loads(json.dumps(vars(args)))
        try:
            model = task.build_model(args)
        except ModuleNotFoundError as e:
            pytest.skip(f"{e.name} is not installed")
        write_yaml(folder / "config.yaml", config)
        torch.save(model.state_dict(), folder / "1epoch.pth")
        trained = [p for p in model.parameters() if p.requires_grad]
        return folder, sum(p.numel() for p in trained)

    return make


@pytest.mark.parametrize("kind, name", CASES, ids=[n for _, n in CASES])
def test_layers_of(build, kind, name):
    from espnet_topdown.jobs.plan import layer_table, plan
    from espnet_topdown.jobs.spec import spec_by_hand

    case = FACTS[kind][name]
    folder, trained = build(kind, **{k: v for k, v in case.items() if k not in OURS})
    stack = case.get("stack", "auto")
    table = layer_table(folder, stack, Path("1epoch.pth")).splitlines()
    assert [line.split()[1] for line in table[1:-1]] == case["layers"].split()
    assert table[-1].split()[1] == f"{trained:,}"

    spec = spec_by_hand(folder, "softmax", stack=stack, base_model=Path("1epoch.pth"))
    planned = plan(spec)
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
    "allow_infeasible": True,
    "best_model_criterion": [["valid", "loss", "min"]],
    "specaug": None,
}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Set:
    """A set with the sizes that ESPnet makes batches by."""
    made = Set(tmp_path_factory.mktemp("sounds"))
    data = made.wav_scp.parent
    lines = [f"{utt} {len(s)}\n" for utt, s in made.sounds.items()]
    (data / "speech_shape").write_text("".join(lines))
    (data / "text_shape").write_text("".join(f"{utt} 6,12\n" for utt in made.sounds))
    return made


@pytest.fixture
def trained(build, sounds, monkeypatch):
    """Make an experiment that is trained on the sounds, as it were; returns it."""

    def make(name: str) -> Path:
        data = sounds.wav_scp.parent
        sets = [
            [str(sounds.wav_scp), "speech", "sound"],
            [str(sounds.text), "text", "text"],
        ]
        shapes = [str(data / "speech_shape"), str(data / "text_shape")]
        more: dict[str, object] = {"fold_length": [80000, 150], **TRAINING}
        for phase in ("train", "valid"):
            more[f"{phase}_data_path_and_name_and_type"] = sets
            more[f"{phase}_shape_file"] = shapes
        case = FACTS["asr"][name]
        changes = {k: v for k, v in case.items() if k not in OURS}
        folder, _ = build("asr", **more, **changes, tokens=SPOKEN)
        # what has no loss but of the right shape proves nothing
        monkeypatch.setitem(sys.modules, "warprnnt_pytorch", None)
        return folder

    return make


@pytest.mark.nightly
@pytest.mark.parametrize("name", FACTS["asr"])
def test_a_retraining_of(trained, name):
    """Planned, trained, verified and scored; or refused before anything is written."""
    from espnet_topdown.jobs.run import run_by_hand
    from espnet_topdown.jobs.spec import spec_by_hand
    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.models.weights import differing, load_weights

    case, folder = FACTS["asr"][name], trained(name)
    stack, model = case.get("stack", "auto"), Path("1epoch.pth")
    freeze = case.get("freeze", "softmax")
    spec = spec_by_hand(folder, freeze, stack=stack, base_model=model)
    if "search" in case:
        with pytest.raises(TopDownError, match=case["search"]):
            run_by_hand(spec, Path("exp/job"), allow_overlap=True)
        assert not Path("exp/job").exists()
        return
    run_by_hand(spec, Path("exp/job"), allow_overlap=True)
    assert (Path("exp/job") / ".done").is_file()
    if "enc1" in freeze:
        base, after = (
            load_weights(folder / model),
            Experiment(Path("exp/job")).weights(),
        )
        means = [n for n in differing(base, after, base) if n.endswith("running_mean")]
        assert means == ["encoder.encoders.0.conv_module.norm.running_mean"]


@pytest.mark.nightly
@pytest.mark.timeout(1200)  # three processes that import ESPnet, on a busy machine
@pytest.mark.parametrize("name", FAMILIES)
def test_a_search_of(trained, name):
    """Every job by the launcher, in a process of its own."""
    from espnet_topdown.search.driver import run_search
    from espnet_topdown.search.request import SearchRequest

    asked = {"base_model": Path("1epoch.pth"), "max_frozen": 1, "allow_overlap": True}
    result = run_search(SearchRequest(trained(name), Path("exp/search"), **asked))
    n = len(FACTS["asr"][name]["layers"].split())
    assert list(result["nodes"]) == [f"m{n}", f"m1.{n - 1}"]
    assert result["best"] in result["nodes"]


SENTENCES = [name for name, case in FACTS["lm"].items() if "trainer" not in case]


@pytest.fixture
def reads_sentences(build):
    """Make an experiment of ESPnet's own language models; returns it."""

    def make(name: str) -> Path:
        words = ["ABC DE", "H", "GAB", "x A", "DEFGH CAB A"]  # x is unknown
        lines = [f"u{i:02} {words[i % 5]}\n" for i in range(43)]
        Path("dev").mkdir()
        Path("dev/text").write_text("".join(lines))
        shapes = [f"u{i:02} {len(words[i % 5])},12\n" for i in range(43)]
        Path("dev/text_shape").write_text("".join(shapes))
        case = FACTS["lm"][name]
        if name not in SENTENCES:
            Path("dev/text").write_text("a b\n" * 43)
        more = {"fold_length": [150], **TRAINING}
        del more["allow_infeasible"]
        for phase in ("train", "valid"):
            sets = [["dev/text", "text", "text"]]
            more[f"{phase}_data_path_and_name_and_type"] = sets
            more[f"{phase}_shape_file"] = ["dev/text_shape"]
        changes = {k: v for k, v in case.items() if k not in OURS}
        return build("lm", **more, **changes, tokens=SPOKEN)[0]

    return make


@pytest.mark.parametrize("name", SENTENCES)
def test_the_likelihood_of_sentences(reads_sentences, name):
    """Equal to one sentence at a time, and every sentence ends."""
    import torch

    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.scoring.model import load_model
    from espnet_topdown.scoring.perplexity import sentence_score

    exp = Experiment(reads_sentences(name))
    weights = exp.folder / "1epoch.pth"
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


def test_sentences_in_splits(reads_sentences):
    """A training set as ``--num_splits_lm`` leaves it."""
    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.scoring.perplexity import read_sentences

    exp = Experiment(reads_sentences("LSTM"))
    folder, lines = Path("splits2/text"), Path("dev/text").read_text().splitlines()
    folder.mkdir(parents=True)
    (folder / "num_splits").write_text("2")
    for n in range(2):
        (folder / f"split.{n}").write_text("\n".join(lines[n::2]))
    exp.config["train_data_path_and_name_and_type"][0][0] = str(folder)
    names, batch = next(iter(read_sentences(exp, "train", 2)))
    assert names == ["u00", "u02"] and batch["text"].shape[0] == 2


def test_a_continuous_text_is_not_for_a_model_of_sentences(reads_sentences):
    from espnet_topdown.scoring.perplexity import score_experiment

    exp = reads_sentences("LSTM")
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
    reads_sentences, monkeypatch, name, spoil, message
):
    """ESPnet's own trainer asks for no package before it has begun."""
    import torch

    from espnet_topdown.jobs.check import check_works
    from espnet_topdown.jobs.plan import bind
    from espnet_topdown.jobs.spec import spec_by_hand
    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.models.layers import LayerStack

    base = Experiment(reads_sentences(name), Path("1epoch.pth"))
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


@pytest.mark.nightly
@pytest.mark.parametrize("name", SENTENCES)
def test_a_retraining_of_a_language_model(reads_sentences, name):
    from espnet_topdown.jobs.run import run_by_hand
    from espnet_topdown.jobs.spec import spec_by_hand

    base, model = reads_sentences(name), Path("1epoch.pth")
    run_by_hand(spec_by_hand(base, "softmax", base_model=model), Path("exp/job"))
    assert (Path("exp/job") / ".done").is_file()


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_search_of_a_language_model(reads_sentences):
    """Every job by the launcher and ESPnet's own trainer; what is frozen stays."""
    import torch

    from espnet_topdown.models.experiment import Experiment
    from espnet_topdown.models.weights import load_weights
    from espnet_topdown.search.driver import run_search
    from espnet_topdown.search.request import SearchRequest

    base = reads_sentences("LSTM")
    asked = {"base_model": Path("1epoch.pth"), "max_frozen": 1}
    result = run_search(SearchRequest(base, Path("exp/search"), **asked))
    assert list(result["nodes"]) == ["m4", "m1.3"]
    weights = Experiment(Path("exp/search/m1.3")).weights()
    for name, value in load_weights(base / "1epoch.pth").items():
        assert torch.equal(value, weights[name]) == name.startswith("lm.decoder."), name


def test_an_output_layer_of_another_name_is_asked_about(toy_experiment):
    import torch
    from toys import rnn_weights, write_experiment

    from espnet_topdown.jobs.plan import layer_table

    more = {
        "decoder.embed.weight": torch.zeros(5, 2),
        "decoder.head.weight": torch.zeros(5, 2),
    }
    folder = write_experiment(Path("exp/head"), {**rnn_weights(), **more})
    with pytest.raises(TopDownError, match="E_STACK.*decoder.head.weight.*5 tokens"):
        layer_table(folder)
    stack = {
        "ctc": "ctc\\.",
        "head": "decoder\\.head\\.",
        "rest": "decoder\\.embed|enc",
    }
    lines = [f"- {{name: {name}, params: ['{stack[name]}']}}" for name in stack]
    Path("mine.yaml").write_text("\n".join(["layers:", *lines]))
    table = layer_table(folder, "mine.yaml")
    assert re.search("1 +ctc.*\n.* 2 +head.*\n.* 3 +rest", table)


@pytest.mark.parametrize("verb", ["layers", "plan"])
def test_weights_of_another_vocabulary(toy_experiment, capsys, verb):
    """Known from names and shapes, before a model is built."""
    from toys import TOKENS, rnn_weights, write_experiment

    from espnet_topdown.cli.main import main

    write_experiment(Path("exp/other"), rnn_weights(), token_list=[*TOKENS, "c"])
    words = {"layers": [], "plan": ["--freeze", "softmax"]}[verb]
    with pytest.raises(SystemExit) as e:
        main([verb, "exp/other", *words])
    assert e.value.code == 65
    message = "E_CKPT_SHAPE: .*ctc.ctc_lo.weight has 5 rows.*token_list .* 6 tokens"
    assert re.search(message, capsys.readouterr().err)


def test_the_generic_stack_is_offered_and_never_taken(toy_experiment):
    from toys import rnn_weights, write_experiment

    from espnet_topdown.jobs.plan import layer_table

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
