"""Whole trainings on tones: what is refused and how, what is written, what is equal."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml
from espnet2.tasks.asr import ASRTask
from tones import RATE, tiny_config

from espnet_topdown.errors import TopDownError
from espnet_topdown.models.weights import differing, load_weights
from espnet_topdown.trainer import trainer
from espnet_topdown.trainer._processes import Stop
from espnet_topdown.trainer.task import TopDownASRTask, _draw_uniform

pytestmark = pytest.mark.espnet


def test_what_the_options_become(train, caplog):
    """``1e-3``, a string in YAML 1.1, and a single name; the command line wins."""
    options = {"optim_conf": {"lr": "1e-3"}, "freeze_param": "ctc.ctc_lo"}
    folder = train("exp", "--max_epoch", "1", **options)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["max_epoch"] == 1 and config["optim_conf"] == {"lr": 0.001}
    assert "W_SCALAR_LIST" in caplog.text and config["freeze_param"] == ["ctc.ctc_lo"]
    sizes = {n: t.numel() for n, t in load_weights(folder / "1epoch.pth").items()}
    del sizes["frontend.logmel.melmat"]
    free = sum(size for name, size in sizes.items() if not name.startswith("ctc."))
    assert f"{free} of {sum(sizes.values())} values are trained" in caplog.text


def test_frozen_stays_and_comes_from_the_file(train):
    first = train("first", max_epoch=1)
    options = dict(freeze_param=["ctc", "encoder.enc.0.birnn1"], seed=2000)
    second = train("second", init_param=[str(first / "1epoch.pth:ctc:ctc")], **options)
    a = load_weights(first / "1epoch.pth")
    b = load_weights(second / "valid.loss.best.pth")
    same = {n for n in a if torch.equal(a[n], b[n])}
    same.discard("frontend.logmel.melmat")
    assert same == {"ctc.ctc_lo.weight", "ctc.ctc_lo.bias"}


def test_the_numbers_of_the_stock_trainer(train, tones, tmp_path):
    """The same configuration in ESPnet's own trainer, three epochs; it reads ours."""
    ours, _ = train(), train("exact", fast_lstm=False)
    (tmp_path / "stock.yaml").write_text(yaml.safe_dump(tiny_config(tones)))
    files = ["--config", str(tmp_path / "stock.yaml")]
    ASRTask.main(cmd=[*files, "--output_dir", str(tmp_path / "stock")])
    folders = [tmp_path / name for name in ("exp", "stock", "exact")]
    a, b, c = (load_weights(folder / "3epoch.pth") for folder in folders)
    assert list(a) == list(b)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=1e-6)
    assert differing(b, c, b) == [], "without our LSTM nothing at all differs"
    best = ours / "valid.loss.best.pth"
    model, _ = ASRTask.build_model_from_file(str(ours / "config.yaml"), str(best))
    assert differing(model.state_dict(), load_weights(best), model.state_dict()) == []


def test_progress_files(train):
    folder = train(max_epoch=3)
    state = json.loads((folder / "progress.json").read_text())
    curve = [json.loads(x) for x in (folder / "curve.jsonl").read_text().splitlines()]
    assert state["epoch"] == state["max_epoch"] == 3 and state["eta_seconds"] == 0
    assert state["processor"] and state["threads"] >= 1 and state["time"][-1] == "Z"
    assert [p["epoch"] for p in curve] == [1, 2, 3]
    losses = [p["valid"]["loss"] for p in curve]
    assert state["best_epoch"] == 1 + losses.index(min(losses))
    assert state["valid"] == curve[-1]["valid"]
    assert "cer_ctc" in state["valid"] and "loss" in curve[0]["train"]
    train(max_epoch=4)
    assert len((folder / "curve.jsonl").read_text().splitlines()) == 4
    assert not (train("quiet", max_epoch=1, progress=False) / "progress.json").exists()


def test_stopped_by_a_signal_and_continued(train, monkeypatch):
    """By SIGTERM; SIGUSR2 is in test_processes.py."""
    whole = train("whole")
    begin, handler = trainer._check_steps, signal.getsignal(signal.SIGTERM)

    def in_epoch_two(*args):
        if (whole.parent / "parts" / "1epoch.pth").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        begin(*args)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_check_steps", in_epoch_two)
        with pytest.raises(TopDownError, match="E_PREEMPTED.*epoch 1 is saved") as e:
            train("parts")
    assert e.value.status == 75
    assert signal.getsignal(signal.SIGTERM) == handler
    a, b = (load_weights(f / "3epoch.pth") for f in (whole, train("parts")))
    assert differing(a, b, a) == []


def test_a_reference_longer_than_the_output(train, tones, tmp_path, caplog):
    lines = (tones / "train" / "text").read_text().splitlines()
    lines[3] = lines[3].split()[0] + " " + "abc" * 60
    (tmp_path / "text").write_text("\n".join(lines) + "\n")
    sound = [str(tones / "train" / "wav.scp"), "speech", "sound"]
    data = [sound, [str(tmp_path / "text"), "text", "text"]]
    with pytest.raises(TopDownError, match="E_CTC_INFEASIBLE.*train03 needs 180") as e:
        train(train_data_path_and_name_and_type=data)
    assert e.value.status == 65
    options = {"allow_infeasible": True, "max_epoch": 2}
    train("taken", train_data_path_and_name_and_type=data, **options)
    assert caplog.text.count("W_CTC_INFEASIBLE: train03") == 1


def test_broken_audio_does_not_pass(train, tones, tmp_path):
    """All samples NaN: no step is possible; ESPnet ends with status 0."""
    lines = []
    for line in (tones / "train" / "wav.scp").read_text().splitlines():
        utt, path = line.split()
        wav = np.full_like(soundfile.read(path)[0], np.nan)
        soundfile.write(tmp_path / f"{utt}.wav", wav, RATE, subtype="FLOAT")
        lines.append(f"{utt} {tmp_path / utt}.wav\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    data = [[str(tmp_path / "wav.scp"), "speech", "sound"]]
    data.append([str(tones / "train" / "text"), "text", "text"])
    with pytest.raises(TopDownError, match="E_NAN.*epoch 1") as e:
        train(train_data_path_and_name_and_type=data)
    assert e.value.status == 65
    assert not list(tmp_path.glob("exp/*.pth"))


def test_uniform_initialisation():
    """A norm layer keeps its own values; a seed repeats the draw."""
    drawn = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        norms = torch.nn.LayerNorm(8), torch.nn.BatchNorm1d(8)
        drawn.append(torch.nn.Sequential(torch.nn.Linear(8, 50), *norms))
        _draw_uniform(drawn[-1], 0.1)
    first, again, other = (model.state_dict() for model in drawn)
    assert differing(first, again, first) == []
    assert differing(first, other, first) == ["0.weight", "0.bias"]
    assert all((first[n] == 1).all() for n in ("1.weight", "2.weight"))
    assert not any(first[n].any() for n in ("1.bias", "2.bias"))
    weight, bias = (first[f"0.{name}"] for name in ("weight", "bias"))
    assert 0.095 < weight.max() <= 0.1 and -0.1 <= weight.min() < -0.095
    assert abs(weight.mean()) < 0.01 and 0.05 < bias.abs().max() <= 0.1


def test_a_criterion_that_is_never_computed(train):
    """ESPnet's loop ends as if all was well, without a best model."""
    with pytest.raises(TopDownError, match="E_NAN: valid.loss_att: NaN or absent") as e:
        train(best_model_criterion=[["valid", "loss_att", "min"]], max_epoch=1)
    assert e.value.status == 65


def test_the_best_epoch_is_gone(train):
    worst = {"best_model_criterion": [["valid", "loss", "max"]]}  # the first epoch
    folder = train(max_epoch=2, **worst)
    assert os.readlink(folder / "valid.loss.best.pth") == "1epoch.pth"
    (folder / "1epoch.pth").unlink()
    with pytest.raises(TopDownError, match="E_BEST_LOST: .*loss.best.* epoch 1") as e:
        train(max_epoch=3, **worst)
    assert e.value.status == 65


@pytest.mark.parametrize(
    "after, seen", [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (None, [1, 2, 3])]
)
def test_a_signal_is_seen_after_the_batch_in_which_it_came(after, seen):
    """After the last one too: then the validation does not begin."""
    stop, got = Stop(), []
    session = SimpleNamespace(stop=stop, progress=None, guard=SimpleNamespace())
    batches = [("u", 1), ("u", 2), ("u", 3)]

    def train() -> None:
        for _, batch in trainer._Watched(batches, session, 2, train=True):
            got.append(batch)
            if batch == after:
                stop.signal = signal.SIGTERM

    if after is None:
        train()
    else:
        with pytest.raises(TopDownError, match="E_PREEMPTED: .*SIGTERM in epoch 2"):
            train()
    assert got == seen


def test_can_be_sent_to_another_process():
    worker = pickle.loads(pickle.dumps(TopDownASRTask.main_worker))
    assert worker == TopDownASRTask.main_worker
    assert TopDownASRTask.trainer.__module__ == "espnet_topdown.trainer.trainer"


def test_log_level(train, caplog):
    root = logging.getLogger().level
    train(max_epoch=1, log_level="ERROR")
    assert "INFO" not in {r.levelname for r in caplog.records if "epoch" in r.message}
    logging.getLogger().setLevel(root)
