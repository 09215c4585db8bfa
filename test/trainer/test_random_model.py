from __future__ import annotations

from pathlib import Path

import pytest
import torch

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import write_yaml
from espnet_topdown.models.random_model import random_model
from espnet_topdown.models.weights import load_weights

pytestmark = pytest.mark.espnet
CONF = Path(__file__).parents[2] / "egs2" / "wsj_topdown" / "asr1" / "conf"


def test_weights_follow_from_config_and_seed(tmp_path):
    from espnet_topdown.trainer.task import TopDownASRTask

    tokens = ["<blank>", "<unk>", "A", "<sos/eos>"]
    config = str(CONF / "train_tiny.yaml")
    words = ["--config", config, "--token_type", "char", "--frontend_conf", "fs=8k"]
    (tmp_path / "tokens.txt").write_text("\n".join(tokens) + "\n")
    words += ["--token_list", str(tmp_path / "tokens.txt")]
    args = TopDownASRTask.get_parser().parse_args([*words, "--output_dir", "x"])
    write_yaml(tmp_path / "config.yaml", vars(args))
    files = [tmp_path / f"{i}.pth" for i in range(3)]
    digests = [random_model(tmp_path, s, f) for s, f in zip((1, 1, 2), files)]
    with pytest.raises(TopDownError, match="E_CREATE.*0.pth is there"):
        random_model(tmp_path, 3, files[0])
    assert digests[0] == digests[1] != digests[2]
    first, other = load_weights(files[0]), load_weights(files[2])
    name = "ctc.ctc_lo.weight"
    assert first[name].abs().max() <= 0.1, "init_uniform is kept"
    assert not torch.equal(first[name], other[name])
