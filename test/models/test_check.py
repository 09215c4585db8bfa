"""What is known of a base experiment before anything is trained."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from random_models import BLOCKS, TOKENS, Set
from toys import rnn_weights, write_experiment, write_splits

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
from espnet_topdown.scoring import decode
from espnet_topdown.search.driver import run_search
from espnet_topdown.search.request import SearchRequest

pytestmark = pytest.mark.espnet
MODEL = Path("1epoch.pth")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Set:
    return Set(tmp_path_factory.mktemp("sounds"))


def base_of(folder: Path, **changes: object) -> Experiment:
    """Of ``Set.experiment``, with changes that its model has not."""
    config = read_yaml(folder / "config.yaml")
    write_yaml(folder / "config.yaml", {**config, **changes})
    return Experiment(folder, MODEL)


def works(base: Experiment, stack: LayerStack | None = None) -> None:
    spec = spec_by_hand(base.folder, "softmax", base_model=MODEL)
    stack = stack or spec.stack.bind(base.weights())
    check.check_works(base, stack, spec.task, spec.trainer, lambda: None)


def refused(base: Experiment, out: Path, message: str) -> None:
    """By a search and by a retraining, before anything is written."""
    more = {"base_model": MODEL, "allow_overlap": True}
    had = sorted(out.glob("**/*"))
    with pytest.raises(TopDownError, match=message):
        run_search(SearchRequest(base.folder, out, **more))
    with pytest.raises(TopDownError, match=message):
        spec = spec_by_hand(base.folder, "softmax", base_model=MODEL)
        run_by_hand(spec, out, allow_overlap=True)
    assert sorted(out.glob("**/*")) == had


def test_the_base_is_trained_decoded_and_scored(sounds):
    """Also one that was trained by hand: its config says where, and not to resume."""
    folder = sounds.experiment("rnn", sure=1.0)
    base = base_of(folder, output_dir=str(folder), resume=False)
    (folder / "checkpoint.pth").touch()
    works(base)
    (folder / "checkpoint.pth").unlink()


def test_lists_in_splits(sounds):
    """As ``--num_splits_asr`` leaves them: folders that ESPnet reads part by part."""
    folder = sounds.experiment("rnn", sure=1.0)
    base = base_of(folder, multiple_iterator=True)
    shape = base.config["train_shape_file"]
    for entry in (shape, *base.config["train_data_path_and_name_and_type"]):
        entry[0] = write_splits(Path(entry[0]), folder / "splits2")
    write_yaml(folder / "config.yaml", base.config)
    works(Experiment(folder, MODEL))


def test_a_layer_that_no_gradient_reaches(sounds, monkeypatch):
    """Its output is the same whatever it is given: the layers below learn nothing.

    It is said after several batches, which are the same in every process.
    """
    base, tried = base_of(sounds.experiment("rnn", sure=0.0)), []
    batch = decode.Recognizer.training_batch

    def training_batch(self, files, texts):
        tried.append(list(texts))
        return batch(self, files, texts)

    monkeypatch.setattr(decode.Recognizer, "training_batch", training_batch)
    with pytest.raises(TopDownError, match="E_STACK.*gradient.*layer blstm1, blstm0"):
        works(base)
    texts = read_pairs(base.data_path("train", "text")[0])
    names = sorted(texts, key=lambda utt: (len(texts[utt]), utt))
    pairs = [names[i : i + 2] for i in range(0, len(names), 2)]
    assert tried == (8 * pairs)[:8]


def test_a_loss_that_is_not_a_number(sounds):
    base = base_of(sounds.experiment("rnn", sure=1.0, model_conf={"ctc_weight": 1.0}))
    huge = {n: t * 1e30 for n, t in base.weights().items()}
    save_weights(huge, base.folder / MODEL)
    with pytest.raises(TopDownError, match="E_NAN|E_OUTPUT_NONFINITE"):
        works(base)


AUX = {"ctc_weight": 1.0, "interctc_weight": 0.5, "aux_ctc": {"1": "text_spk2"}}
BANDS = {"n_mels": 8, "n_fft": 256, "hop_length": 100}  # nothing is left of them


@pytest.mark.parametrize(
    "encoder_conf, more, message",
    [
        ({"input_layer": "conv2d6"}, {"frontend_conf": BANDS}, "RuntimeError: .*size"),
        ({"interctc_layer_idx": [1]}, {"model_conf": AUX}, "Aux. CTC"),
    ],
)
def test_a_model_that_cannot_be_run(sounds, encoder_conf, more, message):
    """ESPnet builds it."""
    conf = {**BLOCKS, **encoder_conf}
    base = base_of(sounds.experiment("transformer", encoder_conf=conf, **more))
    message = f"E_CONFIG_KEY.*cannot be run on.*{message}"
    with pytest.raises(TopDownError, match=message):
        works(base)


TRANSDUCER = {
    "decoder": "transducer",
    "decoder_conf": {"hidden_size": 4},
    "joint_net_conf": {"joint_space_size": 4},
    "model_conf": {"ctc_weight": 0.0},
}
WITH_CTC = {**TRANSDUCER, "model_conf": {"ctc_weight": 0.3}}
MISSING = ["wandb", "whisper", "warprnnt_pytorch", "gtn", "_k2", "transformers"]
EFFECTS = {"preprocessor_conf": {"data_aug_effects": []}, "max_cache_size": 1.0}
EPS = {"scheduler": "adadelta_eps_decay"}
REFUSED = [
    ({"token_list": [*TOKENS[:-1], "Z", "<sos/eos>"]}, "E_CKPT_SHAPE.*ctc_lo"),
    (TRANSDUCER, "E_NO_CTC.*'transducer'.*ctc_weight"),  # before its package is missed
    # ESPnet says in several ways that a package is missing
    (WITH_CTC, "E_INSTALL.*package warprnnt_pytorch"),
    ({"ctc_conf": {"ctc_type": "gtnctc"}}, "E_INSTALL.*Please install gtn"),
    ({"ctc_conf": {"ctc_type": "brctc"}}, "E_INSTALL.*package _k2.*pip install k2"),
    ({"frontend": "huggingface", "frontend_conf": {"model": "x"}}, "install .transf"),
    ({"use_wandb": True}, "E_INSTALL.*wandb"),
    ({"cleaner": "whisper_en"}, "E_INSTALL.*whisper.*pip install openai-whisper"),
    ({"optim": "adedelta"}, "E_CONFIG_KEY.*optim is 'adedelta' .nearest: adadelta"),
    ({"scheduler": "noam_lr"}, "E_CONFIG_KEY.*scheduler is 'noam_lr' .nearest: noamlr"),
    ({"optim_conf": {"lrr": 1}}, "E_CONFIG_KEY.*optim adadelta, optim_conf.*'lrr'"),
    (
        {"scheduler": "warmuplr", "scheduler_conf": {"steps": 1}},
        "E_CONFIG_KEY.*scheduler warmuplr, scheduler_conf.*'steps'",
    ),
    ({**EPS, "optim": "sgd"}, "E_RANGE.*SGD has no eps"),
    ({**EPS, "scheduler_conf": {"factor": 2}}, "E_RANGE.*eps factor"),
    ({**EPS, "scheduler_conf": {"factor": 0.0}}, "E_RANGE.*eps factor"),
    ({**EPS, "scheduler_conf": {"mode": "best"}}, "E_RANGE.*best"),
    ({"best_model_criterion": [["valid", "acc_mlm", "max"]]}, "E_CRITERION.*acc_mlm"),
    ({"train_shape_file": []}, "E_CONFIG_KEY.*train_shape_file.*batch_type"),
    ({"valid_shape_file": ["gone"]}, "E_MISSING.*gone"),
    ({"batch_type": "numbers"}, "E_CONFIG_KEY.*batch_type is 'numbers'"),
    ({"batch_type": "folded", "fold_length": []}, "E_CONFIG_KEY.*batch_type folded"),
    ({"iterator_type": "sequences"}, "E_CONFIG_KEY.*iterator_type is 'sequences'"),
    ({"log_level": "LOUD"}, "E_CONFIG_KEY.*log_level is 'LOUD'"),
    ({"noise_scp": "gone.scp", "noise_apply_prob": 1.0}, "E_MISSING.*gone.scp"),
    ({"max_cache_fd": "few"}, "E_CONFIG_KEY.*max_cache_fd is 'few'"),
    ({"batch_type": "unsorted"}, "E_BATCH_ORDER.*config.yaml: encoder rnn.*unsorted"),
    ({"iterator_type": "category", "batch_type": "catbel"}, "E_BATCH_ORDER.*catbel"),
    ({"rir_scp": "dump/dev/wav.scp", **EFFECTS}, "E_CACHE_AUG.*max_cache_size 1"),
    ({"iterator_type": "chunk"}, "E_CONFIG_KEY.*iterator_type chunk.*same length"),
    ({"use_deepspeed": True}, "E_CONFIG_KEY.*use_deepspeed.*use_deepspeed: false"),
]


@pytest.mark.parametrize("change, message", REFUSED)
def test_what_cannot_be_trained(sounds, monkeypatch, change, message):
    # of k2 only the name is there, as its sources' folder gives it
    monkeypatch.setitem(sys.modules, "k2", types.ModuleType("k2"))
    for package in MISSING:
        monkeypatch.setitem(sys.modules, package, None)
    base = base_of(sounds.experiment("rnn", sure=50.0), **change)
    refused(base, sounds.folder / "out", message)


def test_the_data_of_a_base_that_works_are_read(sounds):
    shape = sounds.folder / "speech_shape"  # of other sounds
    lines = (sounds.data / "speech_shape").read_text()
    shape.write_text(re.sub(r" \d+", " 16000", lines))
    folder = sounds.experiment("rnn", sure=50.0)
    base = base_of(folder, train_shape_file=[str(shape)])
    out = sounds.folder / "out"
    refused(base, out, "E_WAV_LENGTH: utt u0")
    more = {"base_model": MODEL, "trainer": "my.own"}  # whose model is not known
    with pytest.raises(TopDownError, match="E_WAV_LENGTH: utt u0"):
        run_search(SearchRequest(base.folder, out, allow_overlap=True, **more))
    assert not out.exists()


def test_what_costs_nothing_is_refused_first(sounds, monkeypatch):
    """A wrong folder before the base is built; what cannot be built before the data."""
    base = base_of(sounds.experiment("rnn", sure=30.0))
    wrong = sounds.folder / "asr_stats" / "logdir"
    wrong.mkdir(parents=True)
    monkeypatch.setattr(decode, "Recognizer", None)
    refused(base, wrong.parent, "E_CREATE")
    monkeypatch.undo()
    base = base_of(base.folder, **TRANSDUCER)
    monkeypatch.setattr(check, "validate_set", None)
    refused(base, sounds.folder / "out", "E_NO_CTC")


def test_the_layers_hold_what_the_trainer_trains(sounds):
    base = base_of(sounds.experiment("rnn", sure=40.0))
    spec = spec_by_hand(base.folder, "softmax", base_model=MODEL)
    less = LayerStack(spec.stack.bind(base.weights()).groups[:1])
    message = "E_STACK: the trainer of .* has [0-9,]+ val"
    with pytest.raises(TopDownError, match=message):
        works(base, less)


def test_gpus_that_are_not_here(toy_experiment, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = write_experiment(Path("exp/gpu"), rnn_weights(), ngpu=1)
    with pytest.raises(TopDownError, match="E_GPU: 1 GPUs are.*shows 0.*--ngpu 0"):
        run_by_hand(spec_by_hand(folder, "softmax"), Path("exp/job"))
    assert not Path("exp/job").exists()


@pytest.mark.parametrize(
    "criteria, message",
    [
        ([["valid", "loss", "min"]], ""),
        ([["valid", "loss", "min"], ["valid", "acc", "max"]], ""),  # ESPnet's own
        ([["valid", "acc_mlm", "max"]], "E_CRITERION.*no valid.acc_mlm.*loss"),
    ],
)
def test_a_criterion_that_the_base_did_not_report(tmp_path, criteria, message):
    more = {"best_model_criterion": criteria}
    base = Experiment(write_experiment(tmp_path / "exp", rnn_weights(), **more))
    if not message:
        check.check_trained(base, True)
        return
    with pytest.raises(TopDownError, match=message):
        check.check_trained(base, True)


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
