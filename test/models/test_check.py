"""What is known of a base experiment before anything is trained."""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path

import pytest
import torch
from random_models import Set
from toys import rnn_weights, write_experiment

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.jobs import check
from espnet_topdown.jobs.plan import plan
from espnet_topdown.jobs.prepare import prepare
from espnet_topdown.jobs.run import run_by_hand
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.weights import load_weights

pytestmark = pytest.mark.espnet
TRANSDUCER = {
    "decoder": "transducer",
    "decoder_conf": {"hidden_size": 4},
    "joint_net_conf": {"joint_space_size": 4},
    "model_conf": {"ctc_weight": 0.0},
}
MODEL = Path("1epoch.pth")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Set:
    return Set(tmp_path_factory.mktemp("sounds"))


@pytest.fixture
def rnnt(monkeypatch) -> None:
    """The loss of a transducer, but for its numbers."""
    module = types.ModuleType("warprnnt_pytorch")
    module.RNNTLoss = torch.nn.Identity
    monkeypatch.setitem(sys.modules, "warprnnt_pytorch", module)


def test_the_base_is_decoded_and_scored(sounds):
    check.check_scored(Experiment(sounds.experiment("rnn"), MODEL))


def test_a_transducer_has_no_score(sounds, rnnt):
    base = Experiment(sounds.experiment("rnn", **TRANSDUCER), MODEL)
    with pytest.raises(TopDownError, match="E_NO_CTC"):
        check.check_scored(base)


def test_a_package_that_is_missing(sounds, rnnt, monkeypatch):
    base = Experiment(sounds.experiment("rnn", **TRANSDUCER), MODEL)
    monkeypatch.setitem(sys.modules, "warprnnt_pytorch", None)
    with pytest.raises(TopDownError, match="E_INSTALL.*package warprnnt_pytorch"):
        check.check_scored(base)


def test_weights_of_another_vocabulary(sounds):
    folder = sounds.experiment("rnn", sure=50.0)
    config = read_yaml(folder / "config.yaml")
    tokens = [*config["token_list"][:-1], "Z", "<sos/eos>"]
    write_yaml(folder / "config.yaml", {**config, "token_list": tokens})
    with pytest.raises(TopDownError, match="E_CKPT_SHAPE.*ctc_lo"):
        check.check_scored(Experiment(folder, MODEL))


def test_the_layers_hold_what_the_trainer_trains(sounds):
    folder = sounds.experiment("rnn", sure=40.0)
    spec = spec_by_hand(folder, "softmax", base_model=MODEL)
    job = {
        "base_exp": str(folder),
        "base_model": str(folder / MODEL),
        "task": "asr",
        "stack": spec.stack.name,
        "layers": plan(spec).sizes,
        "stack_sha256": spec.stack.digest,
    }
    (folder / "stack.yaml").write_text(spec.stack.text)
    check.check_trained(folder, job)
    less = {"softmax": job["layers"]["softmax"]}
    with pytest.raises(TopDownError, match="E_STACK: the trainer has [0-9,]+ values"):
        check.check_trained(folder, {**job, "layers": less})


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_weights_of_another_precision(toy_experiment, caplog, dtype):
    weights = {n: t.to(dtype) for n, t in rnn_weights().items()}
    folder = write_experiment(Path("exp/half"), weights)
    prepare(spec_by_hand(folder, "softmax"), Path("job"))
    tensors = load_weights(Path("job/frozen.pth"))
    assert {t.dtype for t in tensors.values()} == {torch.float32}
    assert "W_PRECISION" in caplog.text and "converted to float32" in caplog.text


def test_names_of_a_data_parallel_model(toy_experiment, caplog):
    weights = {f"module.{n}": t for n, t in rnn_weights().items()}
    folder = write_experiment(Path("exp/parallel"), weights)
    assert list(plan(spec_by_hand(folder, "softmax")).sizes) == [
        "softmax",
        "blstm1",
        "blstm0",
    ]
    assert "W_PREFIX" in caplog.text


def test_gpus_that_are_not_here(toy_experiment, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = write_experiment(Path("exp/gpu"), rnn_weights(), ngpu=1)
    with pytest.raises(TopDownError, match="E_GPU.*ngpu 1.*0 GPUs.*--ngpu 0"):
        run_by_hand(spec_by_hand(folder, "softmax"), Path("exp/job"))
    assert not Path("exp/job").exists()


def test_a_criterion_that_the_base_did_not_report(toy_experiment):
    check.check_criteria(Experiment(toy_experiment))
    wrong = [["valid", "acc_mlm", "max"]]
    folder = write_experiment(
        Path("exp/wrong"), rnn_weights(), best_model_criterion=wrong
    )
    with pytest.raises(TopDownError, match="E_CRITERION.*no valid.acc_mlm.*loss"):
        check.check_criteria(Experiment(folder))


@pytest.mark.parametrize("model, known", [("espnet", False), ("maskctc", True)])
def test_a_criterion_that_only_the_model_knows(model, known):
    from espnet_topdown.trainer.preflight import check_criteria

    args = argparse.Namespace(
        model=model,
        model_conf={},
        decoder="mlm",
        best_model_criterion=[["valid", "acc_mlm", "max"]],
        early_stopping_criterion=["valid", "loss", "min"],
        val_scheduler_criterion=["valid", "loss"],
        patience=None,
        scheduler=None,
    )
    if known:
        check_criteria(args)
        return
    with pytest.raises(TopDownError, match="E_CRITERION.*acc_mlm"):
        check_criteria(args)


def test_a_language_model_that_is_not_trained_here(toy_experiment):
    folder = write_experiment(Path("exp/lm"), rnn_weights(), lm="seq_rnn", model="lm")
    for refuse in (check.check_scored, check.check_lm_base):
        with pytest.raises(TopDownError, match="E_KIND.*'seq_rnn'"):
            refuse(Experiment(folder))
