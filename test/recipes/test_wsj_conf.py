"""The training configurations of the WSJ recipe: one for each baseline of the paper."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from espnet_topdown.trainer.checks import check_options
from espnet_topdown.trainer.task import TopDownASRTask

CONF = Path(__file__).resolve().parents[2] / "egs2" / "wsj_topdown" / "asr1" / "conf"
CONFIGS = sorted(p.name for p in CONF.glob("train_*.yaml"))


def test_there_is_a_configuration_for_each_row():
    texts = [(CONF / name).read_text() for name in CONFIGS]
    heads = [text.split("\nencoder")[0] for text in texts]
    for row in ("C.1", "C.2", "C.3", "D", "D.td", "A", "A.A", "A.B", "B", "B.B", "B.A"):
        assert any(f" {row} " in head or f" {row}," in head for head in heads), row
    assert all("./run.sh" in head for head in heads)


@pytest.mark.espnet
@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_build(name, tmp_path):
    """The model of each row, of the size that its architecture has."""
    tokens = ["<blank>", "<unk>", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "<space>", "<sos/eos>"]
    (tmp_path / "tokens.txt").write_text("\n".join(tokens) + "\n")
    words = ["--config", str(CONF / name), "--token_list"]
    words += [str(tmp_path / "tokens.txt"), "--token_type", "char", "--fold_length"]
    words += ["80000", "--fold_length", "150", "--frontend_conf", "fs=16k"]
    args = TopDownASRTask.get_parser().parse_args(
        [*words, "--output_dir", str(tmp_path / "exp")]
    )
    check_options(args, "asr")
    model = TopDownASRTask.build_model(args)
    assert args.scheduler == "adadelta_eps_decay" and args.init_uniform == 0.1
    assert max(float(p.detach().abs().max()) for p in model.parameters()) < 0.10001
    size = sum(p.numel() for p in model.parameters()) / 1e6
    low, high = {
        "train_ctc.yaml": (6.7, 6.9),
        "train_ctc_dropout.yaml": (6.7, 6.9),
        "train_att_a.yaml": (8.2, 8.3),
        "train_att_vgg_b.yaml": (18.5, 18.7),
        "train_tiny.yaml": (0.0, 0.1),
    }[name]
    assert low < size < high, size
    words += ["--dry_run", "true", "--output_dir", str(tmp_path / "dry")]
    TopDownASRTask.main(cmd=words)
    assert (tmp_path / "dry" / "config.yaml").is_file()


@pytest.mark.parametrize("name", CONFIGS)
def test_patience_is_counted_as_the_paper_counts(name):
    config = yaml.safe_load((CONF / name).read_text())
    if name != "train_tiny.yaml":
        assert config["patience"] == 4 and config["batch_size"] == 30
        assert config["early_stopping_criterion"] == ["valid", "loss", "min"]


def test_the_softmax_layers_of_a_and_b_fit_each_other():
    a, b = (
        yaml.safe_load((CONF / f"train_att_{name}.yaml").read_text())
        for name in ("a", "vgg_b")
    )
    assert a["encoder_conf"]["output_size"] == b["encoder_conf"]["output_size"]
    assert a["decoder_conf"] == b["decoder_conf"]
