"""What is known of a base experiment before anything is trained."""

from __future__ import annotations

import argparse
import re
import sys
import types
from pathlib import Path

import pytest
import soundfile
from random_models import BLOCKS, Set
from toys import rnn_weights, write_experiment

from espnet_topdown.data.kaldi_dir import read_pairs
from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.jobs import check
from espnet_topdown.jobs.run import run_by_hand
from espnet_topdown.jobs.spec import spec_by_hand
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.layers import LayerStack
from espnet_topdown.models.tasks import find_task
from espnet_topdown.models.weights import save_weights
from espnet_topdown.scoring.decode import Recognizer
from espnet_topdown.search.driver import run_search
from espnet_topdown.search.request import SearchRequest

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


def base_of(folder: Path) -> Experiment:
    """Of ``Set.experiment``, which is trained on its validation set."""
    config = read_yaml(folder / "config.yaml")
    key = "data_path_and_name_and_type"
    config[f"train_{key}"] = config[f"valid_{key}"]
    shape, sounds = (
        folder / "speech_shape",
        read_pairs(Path(config[f"valid_{key}"][0][0])),
    )
    lengths = {utt: soundfile.info(path).frames for utt, path in sounds.items()}
    shape.write_text("".join(f"{utt} {n}\n" for utt, n in lengths.items()))
    config.update(batch_type="sorted", train_shape_file=[str(shape)])
    config["valid_shape_file"] = [str(shape)]
    write_yaml(folder / "config.yaml", config)
    return Experiment(folder, MODEL)


def works(base: Experiment, stack: LayerStack | None = None) -> None:
    spec = spec_by_hand(base.folder, "softmax", base_model=MODEL)
    stack = stack or spec.stack.bind(base.weights())
    check.check_works(base, stack, spec.task, spec.trainer, lambda: None)


def test_the_base_is_trained_decoded_and_scored(sounds):
    """Also one that was trained by hand: its config says where, and not to resume."""
    base = base_of(sounds.experiment("rnn", sure=1.0))
    config = read_yaml(base.folder / "config.yaml")
    (base.folder / "checkpoint.pth").touch()
    where = {"output_dir": str(base.folder), "resume": False}
    write_yaml(base.folder / "config.yaml", {**config, **where})
    works(Experiment(base.folder, MODEL))
    (base.folder / "checkpoint.pth").unlink()


def test_lists_in_splits(sounds):
    """As ``--num_splits_asr`` leaves them: folders that ESPnet reads part by part."""
    base = base_of(sounds.experiment("rnn", sure=1.0))
    config = read_yaml(base.folder / "config.yaml")
    config["multiple_iterator"] = True

    def in_splits(path: str) -> str:
        folder = base.folder / "splits2" / Path(path).name
        folder.mkdir(parents=True)
        lines = Path(path).read_text().splitlines(keepends=True)
        for i in range(2):
            (folder / f"split.{i}").write_text("".join(lines[i::2]))
        (folder / "num_splits").write_text("2")
        return str(folder)

    for entry in config["train_data_path_and_name_and_type"]:
        entry[0] = in_splits(entry[0])
    config["train_shape_file"] = [in_splits(config["train_shape_file"][0])]
    write_yaml(base.folder / "config.yaml", config)
    works(Experiment(base.folder, MODEL))


def test_a_layer_that_no_gradient_reaches(sounds, monkeypatch):
    """Its output is the same whatever it is given: the layers below learn nothing.

    It is said after several batches, which are the same in every process.
    """
    base, tried = base_of(sounds.experiment("rnn", sure=0.0)), []
    batch = Recognizer.training_batch

    def training_batch(self, files, texts):
        tried.append(list(texts))
        return batch(self, files, texts)

    monkeypatch.setattr(Recognizer, "training_batch", training_batch)
    with pytest.raises(TopDownError, match="E_STACK.*gradient.*layer blstm1, blstm0"):
        works(base)
    texts = read_pairs(base.data_path("train", "text")[0])
    names = sorted(texts, key=lambda utt: (len(texts[utt]), utt))
    pairs = [names[i : i + 2] for i in range(0, len(names), 2)]
    assert tried == (8 * pairs)[:8]


def test_a_loss_that_is_not_a_number(sounds):
    base = base_of(sounds.experiment("rnn", sure=1.0, model_conf={"ctc_weight": 1.0}))
    huge = {n: t * 1e30 for n, t in base.weights().items()}
    with pytest.raises(TopDownError, match="E_NAN|E_OUTPUT_NONFINITE"):
        save_weights(huge, base.folder / MODEL)
        works(base)


def test_a_transducer_has_no_score(sounds):
    """Said before its loss package is asked for."""
    folder = sounds.experiment("rnn")
    config = read_yaml(folder / "config.yaml")
    write_yaml(folder / "config.yaml", {**config, **TRANSDUCER})
    with pytest.raises(TopDownError, match="E_NO_CTC.*'transducer'.*ctc_weight"):
        works(base_of(folder))


@pytest.mark.parametrize(
    "change, module, message",
    [
        (
            {**TRANSDUCER, "model_conf": {"ctc_weight": 0.3}},
            "warprnnt_pytorch",
            "package warprnnt_pytorch",
        ),
        ({"ctc_conf": {"ctc_type": "gtnctc"}}, "gtn", "Please install gtn"),
        # of k2 only the name is there, as its sources' folder gives it
        ({"ctc_conf": {"ctc_type": "brctc"}}, "_k2", "package _k2.*pip install k2"),
        (
            {"frontend": "huggingface", "frontend_conf": {"model": "x"}},
            "transformers",
            "Please install .transformers",
        ),
    ],
)
def test_a_package_that_is_missing(sounds, monkeypatch, change, module, message):
    """ESPnet says so in several ways."""
    folder = sounds.experiment("rnn")
    config = read_yaml(folder / "config.yaml")
    write_yaml(folder / "config.yaml", {**config, **change})
    monkeypatch.setitem(sys.modules, "k2", types.ModuleType("k2"))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TopDownError, match=f"E_INSTALL.*{message}"):
        works(base_of(folder))


@pytest.mark.parametrize(
    "change, message",
    [
        # of eight mel bands nothing is left after its convolutions
        (
            {
                "encoder_conf": {**BLOCKS, "input_layer": "conv2d6"},
                "frontend_conf": {"n_mels": 8, "n_fft": 256, "hop_length": 100},
            },
            "RuntimeError: .*input size",
        ),
        (
            {
                "encoder_conf": {**BLOCKS, "interctc_layer_idx": [1]},
                "model_conf": {
                    "ctc_weight": 1.0,
                    "interctc_weight": 0.5,
                    "aux_ctc": {"1": "text_spk2"},
                },
            },
            "Aux. CTC",
        ),
    ],
)
def test_a_model_that_cannot_be_run(sounds, change, message):
    """ESPnet builds it."""
    base = base_of(sounds.experiment("transformer", **change))
    with pytest.raises(
        TopDownError, match=f"E_CONFIG_KEY.*cannot be run on.*{message}"
    ):
        works(base)


def another_vocabulary(folder: Path) -> None:
    config = read_yaml(folder / "config.yaml")
    tokens = [*config["token_list"][:-1], "Z", "<sos/eos>"]
    write_yaml(folder / "config.yaml", {**config, "token_list": tokens})


def without_ctc(folder: Path) -> None:
    config = read_yaml(folder / "config.yaml")
    write_yaml(folder / "config.yaml", {**config, **TRANSDUCER})


OPTIONS = [
    ({"optim": "adedelta"}, "E_CONFIG_KEY.*optim is 'adedelta' .nearest: adadelta"),
    ({"scheduler": "noam_lr"}, "E_CONFIG_KEY.*scheduler is 'noam_lr' .nearest: noamlr"),
    ({"optim_conf": {"lrr": 1}}, "E_CONFIG_KEY.*optim adadelta, optim_conf.*'lrr'"),
    (
        {"scheduler": "warmuplr", "scheduler_conf": {"steps": 1}},
        "E_CONFIG_KEY.*scheduler warmuplr, scheduler_conf.*'steps'",
    ),
    ({"train_shape_file": []}, "E_CONFIG_KEY.*train_shape_file.*batch_type"),
    ({"valid_shape_file": ["gone"]}, "E_MISSING.*gone"),
    ({"batch_type": "numbers"}, "E_CONFIG_KEY.*batch_type is 'numbers'"),
    ({"batch_type": "folded", "fold_length": []}, "E_CONFIG_KEY.*batch_type folded"),
    ({"iterator_type": "sequences"}, "E_CONFIG_KEY.*iterator_type is 'sequences'"),
    ({"log_level": "LOUD"}, "E_CONFIG_KEY.*log_level is 'LOUD'"),
    ({"noise_scp": "gone.scp", "noise_apply_prob": 1.0}, "E_MISSING.*gone.scp"),
    ({"use_wandb": True}, "E_INSTALL.*wandb"),
    ({"max_cache_fd": "few"}, "E_CONFIG_KEY.*max_cache_fd is 'few'"),
    ({"batch_type": "unsorted"}, "E_BATCH_ORDER.*config.yaml: encoder rnn.*unsorted"),
    ({"iterator_type": "category", "batch_type": "catbel"}, "E_BATCH_ORDER.*catbel"),
    (
        {"preprocessor_conf": {"data_aug_effects": []}, "max_cache_size": 1.0}
        | {"rir_scp": "dump/dev/wav.scp"},
        "E_CACHE_AUG.*max_cache_size 1",
    ),
    ({"iterator_type": "chunk"}, "E_CONFIG_KEY.*iterator_type chunk.*same length"),
    ({"use_deepspeed": True}, "E_CONFIG_KEY.*use_deepspeed.*use_deepspeed: false"),
    ({"cleaner": "whisper_en"}, "E_INSTALL.*whisper.*pip install openai-whisper"),
]


@pytest.mark.parametrize("change, message", OPTIONS)
def test_options_that_the_trainer_refuses(sounds, monkeypatch, change, message):
    """Before anything is written, though the model is built without them."""
    for package in ("wandb", "whisper"):
        monkeypatch.setitem(sys.modules, package, None)
    folder = sounds.experiment("rnn", sure=50.0)
    base_of(folder)
    config = read_yaml(folder / "config.yaml")
    write_yaml(folder / "config.yaml", {**config, **change})
    out = sounds.folder / "out"
    with pytest.raises(TopDownError, match=message):
        spec = spec_by_hand(folder, "softmax", base_model=MODEL)
        run_by_hand(spec, out, allow_overlap=True)
    assert not out.exists()


@pytest.mark.parametrize("max_jobs", [1, 2])
@pytest.mark.parametrize(
    "spoil, message",
    [
        (another_vocabulary, "E_CKPT_SHAPE.*ctc_lo"),
        (without_ctc, "E_NO_CTC"),
    ],
)
def test_a_base_that_does_not_work_leaves_nothing(sounds, spoil, message, max_jobs):
    """Neither a search nor a retraining writes anything, or starts a job."""
    folder = sounds.experiment("rnn", sure=50.0)
    base_of(folder), spoil(folder)
    out = sounds.folder / "out"
    more = {"base_model": MODEL, "allow_overlap": True, "max_jobs": max_jobs}
    with pytest.raises(TopDownError, match=message):
        run_search(SearchRequest(folder, out, **more))
    with pytest.raises(TopDownError, match=message):
        run_by_hand(spec_by_hand(folder, "softmax", base_model=MODEL), out)
    assert not out.exists()


def test_the_data_of_a_base_that_works_are_read(sounds):
    """By a search and by a retraining, before anything is written."""
    folder = sounds.experiment("rnn", sure=50.0)
    base_of(folder)
    shape = folder / "speech_shape"  # of other sounds
    shape.write_text(re.sub(r" \d+", " 16000", shape.read_text()))
    out = sounds.folder / "out"
    refused(Experiment(folder), out, "E_WAV_LENGTH: utt u0")
    more = {"base_model": MODEL, "trainer": "my.own"}  # whose model is not known
    with pytest.raises(TopDownError, match="E_WAV_LENGTH: utt u0"):
        run_search(SearchRequest(folder, out, allow_overlap=True, **more))
    assert not out.exists()


def test_the_layers_hold_what_the_trainer_trains(sounds):
    base = base_of(sounds.experiment("rnn", sure=40.0))
    spec = spec_by_hand(base.folder, "softmax", base_model=MODEL)
    less = LayerStack(spec.stack.bind(base.weights()).groups[:1])
    with pytest.raises(
        TopDownError, match="E_STACK: the trainer of .* has [0-9,]+ val"
    ):
        works(base, less)


def test_gpus_that_are_not_here(toy_experiment, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = write_experiment(Path("exp/gpu"), rnn_weights(), ngpu=1)
    with pytest.raises(TopDownError, match="E_GPU: 1 GPUs are.*shows 0.*--ngpu 0"):
        run_by_hand(spec_by_hand(folder, "softmax"), Path("exp/job"))
    assert not Path("exp/job").exists()


def test_a_criterion_that_the_base_did_not_report(toy_experiment):
    check.check_trained(Experiment(toy_experiment), True)
    wrong = [["valid", "acc_mlm", "max"]]
    folder = write_experiment(
        Path("exp/wrong"), rnn_weights(), best_model_criterion=wrong
    )
    with pytest.raises(TopDownError, match="E_CRITERION.*no valid.acc_mlm.*loss"):
        check.check_trained(Experiment(folder), True)
    usual = [["valid", "loss", "min"], ["valid", "acc", "max"]]  # ESPnet's own default
    folder = write_experiment(
        Path("exp/usual"), rnn_weights(), best_model_criterion=usual
    )
    check.check_trained(Experiment(folder), True)


@pytest.mark.parametrize("model, known", [("espnet", False), ("maskctc", True)])
def test_a_criterion_that_only_the_model_knows(model, known):
    from espnet_topdown.trainer._checks import _criteria

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
        _criteria(args)
        return
    with pytest.raises(TopDownError, match="E_CRITERION.*acc_mlm"):
        _criteria(args)


@pytest.mark.parametrize(
    "model, task, kind",
    [("lm", "lm", "sentence_lm"), ("continuous", "sentence_lm", "lm")],
)
def test_a_stack_of_the_other_kind_of_language_model(toy_experiment, model, task, kind):
    folder = write_experiment(Path("exp/lm"), rnn_weights(), lm="seq_rnn", model=model)
    message = f"E_KIND.*is of kind '{kind}'.*'{task}'.*'task: {kind}'"
    with pytest.raises(TopDownError, match=message):
        base, stack = Experiment(folder), LayerStack(())
        check.check_works(base, stack, find_task(task), "mine", lambda: None)


def refused(base: Experiment, out: Path, message: str) -> None:
    """By a search and by a retraining, before anything is built or read."""
    more = {"base_model": MODEL, "allow_overlap": True}
    with pytest.raises(TopDownError, match=message):
        run_search(SearchRequest(base.folder, out, **more))
    with pytest.raises(TopDownError, match=message):
        spec = spec_by_hand(base.folder, "softmax", base_model=MODEL)
        run_by_hand(spec, out, allow_overlap=True)


def test_what_costs_nothing_is_refused_first(sounds, monkeypatch):
    """A wrong folder before the base is built; what cannot be built before the data."""
    from espnet_topdown.scoring import decode

    base = base_of(sounds.experiment("rnn", sure=30.0))
    wrong = sounds.folder / "asr_stats" / "logdir"
    wrong.mkdir(parents=True)
    monkeypatch.setattr(decode, "Recognizer", None)
    refused(base, wrong.parent, "E_CREATE")
    monkeypatch.undo()
    without_ctc(base.folder)
    monkeypatch.setattr(check, "validate_set", None)
    refused(base, sounds.folder / "out", "E_NO_CTC")


@pytest.mark.espnet
@pytest.mark.parametrize(
    "text, code",
    [
        ("", "E_EMPTY"),
        ("\ufeffu a b\n", "E_BOM"),
        ("u A B\n", "E_TEXT_UNK"),
        ("u a\nv\n", "E_TEXT_EMPTY"),
    ],
)
def test_sentences_that_cannot_be_trained_on(toy_experiment, text, code):
    """As a language model of ESPnet's own reads them."""
    sets = [["lm.txt", "text", "text"]]
    more = {f"{p}_data_path_and_name_and_type": sets for p in ("train", "valid")}
    Path("lm.txt").write_text(text, "utf-8")
    folder = write_experiment(Path("exp/lm"), rnn_weights(), lm="seq_rnn", **more)
    with pytest.raises(TopDownError, match=f"{code}: .*lm.txt"):
        check.check_sentence_data(Experiment(folder))
