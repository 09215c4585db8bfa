"""The configurations of the recipes: the models of the papers' rows and of ESPnet's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from papers import paper

EGS2 = Path(__file__).resolve().parents[2] / "egs2"
WSJ, SWBD, LIBRI, VOX = (
    EGS2 / f"{name}_topdown" / "asr1" / "conf"
    for name in ("wsj", "swbd", "librispeech_100", "voxforge")
)
TOKENS = {WSJ: 30, SWBD: 2000, LIBRI: 5000, VOX: 44}
SIZES = {  # millions of parameters with so many tokens
    WSJ / "train_ctc.yaml": (6.7, 6.9),
    WSJ / "train_ctc_dropout.yaml": (6.7, 6.9),
    WSJ / "train_att_a.yaml": (8.2, 8.3),
    WSJ / "train_att_vgg_b.yaml": (18.5, 18.7),
    WSJ / "train_tiny.yaml": (0.0, 0.1),
    SWBD / "train_asr_transformer.yaml": (28.5, 28.8),
    SWBD / "train_asr_conformer.yaml": (44.4, 44.7),
    SWBD / "train_asr_e_branchformer.yaml": (36.0, 36.3),
    SWBD / "train_tiny.yaml": (0.0, 0.2),
    # to the last digit those that ESPnet publishes, or its configurations build
    LIBRI / "train_asr_conformer.yaml": (34.229, 34.230),
    LIBRI / "train_asr_transformer.yaml": (29.377, 29.378),
    LIBRI / "train_asr_ctc_e_branchformer.yaml": (26.433, 26.434),
    LIBRI / "train_tiny.yaml": (0.0, 0.2),
    VOX / "train_asr_rnn.yaml": (14.872, 14.873),
    VOX / "train_tiny.yaml": (0.0, 0.6),
}


def down(name: str, n: int) -> list[str]:
    """The names of ``n`` layers, the top one first."""
    return [f"{name}{number}" for number in range(n - 1, -1, -1)]


LAYERS = {  # from the top, where the recipe's stack is `auto`
    "train_asr_conformer": [*down("dec", 6), *down("enc", 12), "subsampling"],
    "train_asr_transformer": [*down("dec", 6), *down("enc", 18), "subsampling"],
    "train_asr_ctc_e_branchformer": [*down("enc", 12), "subsampling"],
    "train_asr_rnn": ["decoder", *down("blstm", 4), "vgg"],
}


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def test_every_configuration_is_known():
    found = [path for folder in TOKENS for path in folder.glob("train_*.yaml")]
    assert set(found) == set(SIZES)
    # of one criterion: ESPnet's own average is right too
    assert {read(p)["keep_nbest_models"] for p in SIZES if p.parent == SWBD} == {10}


@pytest.mark.espnet
@pytest.mark.parametrize(
    "path", SIZES, ids=lambda path: f"{path.parts[-4]}/{path.stem}"
)
def test_configurations_build(path, tmp_path):
    """By a dry run: the architecture's size, the initial values, the stack."""
    from espnet_topdown.models.layers import load_stack, stack_for
    from espnet_topdown.trainer.task import TopDownASRTask

    is_wsj = path.parent == WSJ
    units = [f"p{i}" for i in range(TOKENS[path.parent] - 3)]
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("\n".join(["<blank>", "<unk>", *units, "<sos/eos>"]) + "\n")
    words = ["--config", str(path), "--token_list", str(tokens), "--ngpu", "0"]
    words += ["--token_type", "word", "--fold_length", "80000"]
    words += ["--fold_length", "150", "--frontend_conf", "fs=16k"]
    words += ["--output_dir", str(tmp_path / "exp")]
    args = TopDownASRTask.get_parser().parse_args(words)
    TopDownASRTask.check_options(args)
    model = TopDownASRTask.build_model(args)
    low, high = SIZES[path]
    assert low < sum(p.numel() for p in model.parameters()) / 1e6 < high
    if is_wsj:
        assert args.scheduler == "adadelta_eps_decay" and args.init_uniform == 0.1
        assert max(float(p.detach().abs().max()) for p in model.parameters()) < 0.10001
    elif path.parent == SWBD:
        stack = load_stack("coarse_12_6").bind(model.state_dict())
        wanted = "softmax dec_high dec_low enc_high enc_mid enc_low"
        assert list(stack.names) == wanted.split()
    elif path.stem in LAYERS:
        stack = stack_for(vars(args)).bind(model.state_dict())
        assert list(stack.names) == ["softmax", *LAYERS[path.stem]]
    TopDownASRTask.main(cmd=[*words, "--dry_run", "true"])
    assert (tmp_path / "exp" / "config.yaml").is_file()


def test_what_the_papers_say():
    for path in (p for p in SIZES if p.parent == WSJ and p.stem != "train_tiny"):
        config = read(path)
        assert config["patience"] == 4 and config["batch_size"] == 30
        assert config["early_stopping_criterion"] == ["valid", "loss", "min"]
    config = read(SWBD / "train_asr_transformer.yaml")
    assert config["model_conf"]["ctc_weight"] == 0.2 and config["accum_grad"] == 8
    lr, warm = config["optim_conf"]["lr"], config["scheduler_conf"]["warmup_steps"]
    assert abs(lr - 5.0 * 256**-0.5 * warm**-0.5) < 5e-6 and warm == 25000
    assert config["optim_conf"]["betas"] == [0.9, 0.98]
    assert config["best_model_criterion"] == [["valid", "acc", "max"]]


def test_every_row_of_switchboard_can_be_planned():
    swbd = paper("swbd")
    swbd.check(list(swbd.rows))
    assert list(swbd.rows) == ["W", "W.td", "W.search", "X", "X.td", "E", "E.td"]
    assert all(row.average == 10 for row in swbd.rows.values())
