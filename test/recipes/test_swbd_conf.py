"""The configurations of the Switchboard recipe: the models of its rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from papers import paper

from espnet_topdown.search.rows import plan_rows

CONF = Path(__file__).resolve().parents[2] / "egs2" / "swbd_topdown" / "asr1" / "conf"
CONFIGS = sorted(p.name for p in CONF.glob("train_*.yaml"))
SIZES = {  # millions of parameters with 2,000 subwords
    "train_asr_transformer.yaml": (28.5, 28.8),
    "train_asr_transformer_sp.yaml": (28.5, 28.8),
    "train_asr_conformer.yaml": (44.4, 44.7),
    "train_asr_e_branchformer.yaml": (36.0, 36.3),
    "train_tiny.yaml": (0.0, 0.2),
}


def read(name):
    return yaml.safe_load((CONF / name).read_text())


def test_the_row_of_the_paper():
    config = read("train_asr_transformer.yaml")
    assert config["model_conf"]["ctc_weight"] == 0.2 and config["accum_grad"] == 8
    lr, warm = config["optim_conf"]["lr"], config["scheduler_conf"]["warmup_steps"]
    assert abs(lr - 5.0 * 256**-0.5 * warm**-0.5) < 5e-6 and warm == 25000
    assert config["optim_conf"]["betas"] == [0.9, 0.98]
    assert config["best_model_criterion"] == [["valid", "acc", "max"]]
    assert config["keep_nbest_models"] == 10
    other = read("train_asr_transformer_sp.yaml")
    assert {k for k in config if config[k] != other[k]} == {"max_epoch"}


def test_every_row_can_be_planned():
    swbd = paper("swbd")
    lines = [line.split("\t") for line in plan_rows(swbd, list(swbd.rows), CONF)]
    names = [line[1] for line in lines]
    assert names == ["W", "W.td", "W.search", "X", "X.td", "E", "E.td"]
    assert swbd.groups["all"] == ["W", "W.td"] and len(swbd.groups["beyond"]) == 5
    assert all(row.average == 10 for row in swbd.rows.values())
    assert lines[2][3] == "--stack coarse_12_6" and lines[1][6] == "softmax"


def test_every_configuration_says_how_it_is_used():
    for name in CONFIGS:
        head = (CONF / name).read_text().split("\nencoder")[0]
        assert "./run.sh" in head
        keep = read(name)["keep_nbest_models"]
        assert keep == 10, name  # of one criterion: ESPnet's own average is right too


@pytest.mark.espnet
@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_build(name, tmp_path):
    """By a dry run; all layers of the coarse stack are there."""
    from espnet_topdown.models.layers import load_stack
    from espnet_topdown.trainer.task import TopDownASRTask

    pieces = [f"p{i}" for i in range(1997)]
    tokens = ["<blank>", "<unk>", *pieces, "<sos/eos>"]
    (tmp_path / "tokens.txt").write_text("\n".join(tokens) + "\n")
    words = ["--config", str(CONF / name), "--token_list"]
    words += [str(tmp_path / "tokens.txt"), "--token_type", "word", "--fold_length"]
    words += ["81900", "--fold_length", "150", "--frontend_conf", "fs=16k"]
    words += ["--output_dir", str(tmp_path / "exp"), "--ngpu", "0"]
    TopDownASRTask.main(cmd=[*words, "--dry_run", "true"])
    args = TopDownASRTask.get_parser().parse_args(words)
    model = TopDownASRTask.build_model(args)
    size = sum(p.numel() for p in model.parameters()) / 1e6
    low, high = SIZES[name]
    assert low < size < high, size
    stack = load_stack("coarse_12_6").bind(model.state_dict())
    wanted = "softmax dec_high dec_low enc_high enc_mid enc_low"
    assert list(stack.names) == wanted.split()
