"""What is refused before a training, by its code; warnings; what may be resumed.

More of it is in test/catalogue.yaml, rows 7 and 13 to 31.
"""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import pytest
import torch
import yaml

from espnet_topdown.errors import TopDownError
from espnet_topdown.models.tasks import find_task
from espnet_topdown.trainer import _checks as checks

pytestmark = pytest.mark.espnet

REFUSED = [  # changes of the configuration, code, in the message, exit status
    ({"optim_conf": {"lr": "fast"}}, "E_CONFIG_KEY", "'fast'", 78),
    ({"max_epoch": "ten"}, "E_CONFIG_KEY", ".yaml: max_epoch is 'ten'", 78),
    ({"adadelta_eps_decay": 1.5}, "E_CONFIG_KEY", "below 1", 78),
    ({"best_model_criterion": [["valid", "acc", "max"]]}, "E_CRITERION", "ctc_we", 78),
    ({"train_shape_file": ["no/file"]}, "E_MISSING", "no train data no/file", 66),
    ({"train_shape_file": ["a,b"]}, "E_PATH", "a,b", 78),
    ({"sort_in_batch": "ascending"}, "E_BATCH_ORDER", "descending", 78),
    ({"adadelta_eps_decay": 0.1, "optim": "adam"}, "E_RANGE", "adadelta", 78),
    ({"adadelta_eps_decay": 0.1, "scheduler": "steplr"}, "E_RANGE", "steplr", 78),
    ({"init_param": ["nowhere.pth"]}, "E_CKPT_MISSING", "nowhere.pth", 66),
    ({"harvest": "sofmax"}, "E_FREEZE_NOMATCH", "'sofmax'", 78),
    ("--max_epoch", "E_USAGE", "expected one argument", 64),
    ("--max_epoch x", "E_USAGE", "invalid int value", 64),
    ("--encoder rnm", "E_USAGE", "invalid choice: 'rnm'", 64),
    ("--fast_lstm yes", "E_USAGE", "must be true or false", 64),
    ("--frozen_norm yes", "E_USAGE", "invalid choice: 'yes'", 64),
]


@pytest.mark.parametrize("changes, code, part, status", REFUSED, ids=str)
def test_refused(train, changes, code, part, status, tmp_path):
    """In the configuration, or on the command line."""
    with pytest.raises(TopDownError) as e:
        if isinstance(changes, str):
            train("exp", *changes.split())
        else:
            train(**changes)
    assert e.value.code == code and e.value.status == status
    assert part in str(e.value)
    assert not list(tmp_path.glob("exp/*.pth"))


@pytest.mark.parametrize("kind", ["asr", "lm"])
def test_where_to_write_must_be_said(kind, capsys):
    with pytest.raises(SystemExit, match="2"):
        find_task(kind).call("task").main(cmd=["--token_list", "t.txt"])
    said = capsys.readouterr().err
    assert "the following arguments are required: --output_dir" in said


def test_without_packages_that_are_not_always_needed(train, monkeypatch, caplog):
    """Plots are left out; error rates are refused, or not asked for."""
    missing, real = ("matplotlib", "editdistance"), importlib.util.find_spec

    def find(name: str) -> object:
        return None if name in missing else real(name)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    conf = {"report_cer": False, "report_wer": False}
    folder = train(max_epoch=1, use_matplotlib=True, model_conf=conf)
    assert "W_INSTALL: matplotlib" in caplog.text
    assert not (folder / "images").exists()
    with pytest.raises(TopDownError, match="E_INSTALL: .*editdistance"):
        train("rates", model_conf={**conf, "report_wer": True})


@pytest.mark.parametrize(
    "encoder, conf, ctc, warned",
    [
        ("rnn", {"dropout": 0.2}, {}, True),
        ("vgg_rnn", {"dropout": 0.2}, {}, True),
        ("rnn", {"dropout": 0.2, "use_projection": False}, {}, False),
        ("rnn", {"dropout": 0.0}, {}, False),
        ("td_rnn", {"dropout": 0.2}, {}, False),
        ("conformer", {"dropout_rate": 0.2}, {}, False),
        ("td_rnn", {}, {"dropout_rate": 0.1}, True),
    ],
    ids=str,
)
def test_a_validation_that_is_random(encoder, conf, ctc, warned, caplog):
    args = SimpleNamespace(encoder=encoder, encoder_conf=conf, ctc_conf=ctc)
    checks._random_validation(args)
    assert ("W_EVAL_DROPOUT" in caplog.text) is warned


class Model(torch.nn.Module):
    """An encoder with one frame for 100 samples, rounded down."""

    def __init__(self) -> None:
        super().__init__()
        self.ctc = torch.nn.Linear(1, 1)
        self.runs = 0

    def encode(self, speech, lengths):
        assert not self.training and speech.shape[:2] == (1, int(lengths))
        assert speech.dtype == self.ctc.weight.dtype
        self.runs += 1
        return speech, lengths // 100


@pytest.mark.parametrize(
    "n_short, dtype", [(0, "float32"), (1, "float32"), (0, "float64")]
)
def test_few_references_are_tried_before_the_first_batch(tmp_path, n_short, dtype):
    units = {f"u{i}": 11 if n_short and i == 7 else 5 for i in range(500)}
    samples = {utt: 1000 + i for i, utt in enumerate(units)}
    units["text"], samples["sound"] = 99, 1  # in one of the lists only
    files = [tmp_path / "speech", tmp_path / "text"]
    for file, shapes in zip(files, (samples, units)):
        file.write_text("".join(f"{utt} {n}\n" for utt, n in shapes.items()))
    args = SimpleNamespace(model_conf={}, allow_infeasible=False)
    args.train_shape_file, args.valid_shape_file = [], files
    model = Model().to(getattr(torch, dtype))
    if n_short:
        with pytest.raises(TopDownError, match="E_CTC_INF.*u7 needs 11 frames, has 10"):
            checks.check_references(args, model)
    else:
        checks.check_references(args, model)
    assert model.training and model.runs == 16


@pytest.mark.parametrize("samples", [640, 50])  # of 50 not even one frame is made
@pytest.mark.parametrize("option, name", [("train", "train"), ("valid", "dev")])
def test_a_reference_that_is_too_long_for_its_samples(
    train, tones, tmp_path, option, name, samples
):
    texts = (tones / name / "text").read_text().splitlines()
    lines = [f"{x.split()[0]} {len(x.split(' ', 1)[1])},7\n" for x in texts]
    lines[1] = f"{texts[1].split()[0]} 999,7\n"
    (tmp_path / "text_shape").write_text("".join(lines))
    speech = (tones / name / "speech_shape").read_text().splitlines(True)
    speech[1] = f"{texts[1].split()[0]} {samples}\n"
    (tmp_path / "speech_shape").write_text("".join(speech))
    files = [str(tmp_path / "speech_shape"), str(tmp_path / "text_shape")]
    with pytest.raises(TopDownError, match=f"E_CTC_INFEASIBLE.*{name}01 needs 999"):
        train(**{f"{option}_shape_file": files})
    assert not (tmp_path / "exp" / "config.yaml").exists()


TOKENS = ["<blank>", "a", "b", " ", "<sos/eos>"]
CONFIG = dict(seed=1, optim="adam", optim_conf={"lr": 0.1}, freeze_param=["ctc"])
CONFIG.update(token_list=TOKENS, batch_size=4, max_epoch=5, best_model_criterion=[])
CONFIG.update(iterator_type="sequence", speech_volume_normalize=None)


@pytest.fixture
def folder(tmp_path):
    """With the checkpoint of a training."""
    (tmp_path / "checkpoint.pth").touch()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def resume(folder, **changes):
    options = {"output_dir": str(folder), "resume": True, **CONFIG, **changes}
    checks._same_training(SimpleNamespace(**options))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({}, ""),
        ({"max_epoch": 50}, ""),
        ({"freeze_param": ("ctc",)}, ""),
        ({"num_workers": 3}, ""),
        ({"optim_conf": {"lr": 1.0}}, r"optim_conf \{'lr': 0.1\} -> \{'lr': 1.0\}"),
        ({"optim": "adamw"}, "optim adam -> adamw"),
        ({"iterator_type": "chunk"}, "iterator_type sequence -> chunk"),
        ({"speech_volume_normalize": 0.5}, "normalize None -> 0.5"),
        ({"freeze_param": []}, "freeze_param"),
        ({"batch_size": 8, "seed": 3}, "E_CONFIG_.*seed 1 -> 3; batch_size 4 -> 8"),
        ({"resume": False}, "E_DIR_USED"),
        ({"token_list": ["<blank>", "b", "a", " ", "<sos/eos>"]}, "line 2"),
        ({"token_list": TOKENS[:-1]}, "E_TOKENS_CHANGED: .*line 5"),
        ({"token_list": [*TOKENS, "x"]}, "line 6"),
    ],
    ids=str,
)
@pytest.mark.parametrize("tokens_in", ["config", "file"])
def test_another_training_is_not(folder, changes, message, tokens_in):
    """Resumed; one that is only longer is the same."""
    if tokens_in == "file":
        (folder / "tokens.txt").write_text("\n".join(changes.get("token_list", TOKENS)))
        changes = {**changes, "token_list": str(folder / "tokens.txt")}
    if not message:
        resume(folder, **changes)
        return
    with pytest.raises(TopDownError, match=message):
        resume(folder, **changes)


def test_a_training_of_another_release_or_without_its_config(folder, caplog):
    (folder / "config.yaml").write_text("version: 199901")
    with pytest.raises(TopDownError, match="E_CKPT_VERSION.*199901"):
        resume(folder)
    (folder / "config.yaml").write_text("seed: [1")
    resume(folder, seed=7)
    assert "W_CONFIG_LOST" in caplog.text
    (folder / "checkpoint.pth").unlink()
    (folder / "config.yaml").write_text("seed: 1")
    resume(folder, seed=7)  # nothing is trained yet
