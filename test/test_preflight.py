"""What is wrong with the data that a base experiment names."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import rnn_weights, write_experiment, write_splits

from espnet_topdown.errors import TopDownError
from espnet_topdown.jobs.check import check_asr_data, check_lm_data
from espnet_topdown.models.experiment import Experiment

SPLITS = Path("splits2")
WAV, TEXT = Path("data/valid/wav.scp"), Path("data/valid/text")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("as_file", [True, False])
def test_non_linguistic_symbols_are_single_tokens(toy_experiment, as_file):
    edit(TEXT, "v2 ab", "v2 <NOISE>")
    base = Experiment(toy_experiment)
    base.config["token_list"] = ["<blank>", "<unk>", "a", "b", "<NOISE>", "<sos/eos>"]
    with pytest.raises(TopDownError, match="E_TEXT_UNK"):
        check_asr_data(base)
    Path("nlsyms.txt").write_text("<NOISE>\n")
    base.config["non_linguistic_symbols"] = "nlsyms.txt" if as_file else ["<NOISE>"]
    check_asr_data(base)


@pytest.mark.parametrize(
    "path, old, new, message",
    [
        (WAV, "v2.wav", "v3.wav", "E_WAV_MISSING.*v2.*line 2"),
        (WAV, "data/valid/v1.wav", "touch canary |", "E_PIPE.*line 1"),
        (TEXT, "v2 ab", "v2 AB", "E_TEXT_UNK"),
    ],
)
def test_bad_data_is_named(toy_experiment, path, old, new, message):
    """The lists of the config are read; what else may be wrong is in catalogue.yaml."""
    edit(path, old, new)
    with pytest.raises(TopDownError, match=message) as e:
        check_asr_data(Experiment(toy_experiment))
    assert e.value.status in (65, 66)
    assert not Path("canary").exists()


def test_overlap_may_be_allowed(toy_experiment):
    twin = Path("data/valid/v2.wav")
    twin.write_bytes(Path("data/train/t1.wav").read_bytes())
    with pytest.raises(TopDownError, match="E_OVERLAP.*1 recordings"):
        check_asr_data(Experiment(toy_experiment))
    check_asr_data(Experiment(toy_experiment), allow_overlap=True)


def test_what_is_not_sound_and_text_is_not_checked(toy_experiment, caplog):
    exp = Experiment(toy_experiment)
    exp.config["valid_data_path_and_name_and_type"][0][2] = "kaldi_ark"
    check_asr_data(exp)
    assert "W_DATA_UNCHECKED" in caplog.text


@pytest.fixture
def in_splits(toy_experiment) -> Experiment:
    """Its training set is as ``--num_splits_asr`` leaves it: folders of two parts."""
    base = Experiment(toy_experiment)
    Path("data/train/speech_shape").write_text("t1 4000\nt2 4000\n")
    for name in ("wav.scp", "text", "speech_shape"):
        write_splits(Path("data/train", name), SPLITS)
    base.config["multiple_iterator"] = True
    base.config["train_shape_file"] = [str(SPLITS / "speech_shape")]
    base.config["train_data_path_and_name_and_type"] = [
        [str(SPLITS / "wav.scp"), "speech", "sound"],
        [str(SPLITS / "text"), "text", "text"],
    ]
    check_asr_data(base)
    return base


@pytest.mark.parametrize(
    "part, old, new, message",
    [
        ("text/split.1", "ab", "AB", "E_TEXT_UNK: splits2/text: .*'A' in t2"),
        ("text/split.1", "t2 ab", "t1 ab", "E_UTT_DUP: .*split.0.*split.1"),
        ("text/split.1", "t2", "\ufefft2", "E_BOM: .*text/split.1 line 1"),
        ("wav.scp/split.0", "t1.w", "t9.w", "E_WAV_MISSING: .*wav.scp/split.0 line 1"),
        ("speech_shape/split.1", "4000", "9", "E_WAV_LENGTH: .*split.1 line 1 says 9"),
        ("speech_shape/split.1", "4000", "x", "E_SHAPE: .*shape/split.1 line 1"),
        ("text/num_splits", "2", "3", "E_MISSING: .*text/split.2"),
        ("text/num_splits", "2", "two", "E_SPLIT: .*text/num_splits holds 'two'"),
    ],
)
def test_bad_lists_in_splits_are_named(in_splits, part, old, new, message):
    edit(SPLITS / part, old, new)
    with pytest.raises(TopDownError, match=message):
        check_asr_data(in_splits)


@pytest.mark.parametrize(
    "tokens, phase, text, message",
    [
        ("a b <eos>", "train", "a b\na c\n", "E_OOV: .*train.txt:2: 'c'"),
        ("a b <eos>", "valid", "a b\na c\n", "E_OOV: .*valid.txt:2: 'c'"),
        ("a b", "train", "a b\n", "E_TOKENS"),
        ("a a b <eos>", "train", "a b\n", "E_TOKENS"),
    ],
)
def test_continuous_text(tmp_path, tokens, phase, text, message):
    config = {"lm": "awd_lstm", "model": "continuous", "token_list": tokens.split()}
    for name in ("train", "valid"):
        path = tmp_path / f"{name}.txt"
        path.write_text(text if name == phase else "a b\nb\n")
        config[f"{name}_data_path_and_name_and_type"] = [[str(path), "text", "text"]]
    write_experiment(tmp_path / "exp", rnn_weights(), **config)
    with pytest.raises(TopDownError, match=message):
        check_lm_data(Experiment(tmp_path / "exp"))
