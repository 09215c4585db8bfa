from __future__ import annotations

import argparse

import pytest
import yaml

from espnet_topdown.errors import TopDownError
from espnet_topdown.trainer import resume

TOKENS = ["<blank>", "a", "b", " ", "<sos/eos>"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "checkpoint.pth").touch()
    write(tmp_path)
    return tmp_path


def config(**changes):
    base = dict(seed=1, optim="adam", optim_conf={"lr": 0.1}, freeze_param=["ctc"])
    base.update(token_list=TOKENS, batch_size=4, max_epoch=5, best_model_criterion=[])
    return {**base, **changes}


def write(folder, **changes):
    (folder / "config.yaml").write_text(yaml.safe_dump(config(**changes)))


def check(folder, **changes):
    options = {"resume": True, **config(**changes)}
    resume.check_same(argparse.Namespace(output_dir=str(folder), **options))


@pytest.mark.parametrize(
    "changes",
    [{}, {"max_epoch": 50}, {"freeze_param": ("ctc",)}, {"num_workers": 3}],
    ids=str,
)
def test_the_same_training(folder, changes):
    check(folder, **changes)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"optim_conf": {"lr": 1.0}}, r"optim_conf \{'lr': 0.1\} -> \{'lr': 1.0\}"),
        ({"optim": "adamw"}, "optim adam -> adamw"),
        ({"seed": 2}, "seed 1 -> 2"),
        ({"freeze_param": []}, "freeze_param"),
        ({"batch_size": 8, "seed": 3}, "seed 1 -> 3; batch_size 4 -> 8"),
    ],
    ids=str,
)
def test_another_training(folder, changes, named):
    with pytest.raises(TopDownError, match=f"E_CONFIG_CHANGED.*{named}"):
        check(folder, **changes)


@pytest.mark.parametrize(
    "tokens, line",
    [
        (["<blank>", "b", "a", " ", "<sos/eos>"], 2),
        (TOKENS[:-1], 5),
        ([*TOKENS, "x"], 6),
    ],
    ids=str,
)
@pytest.mark.parametrize("as_file", [True, False])
def test_tokens(folder, tokens, line, as_file):
    def given(tokens):
        if not as_file:
            return tokens
        path = folder / "tokens.txt"
        path.write_text("".join(t + "\n" for t in tokens))
        return str(path)

    check(folder, token_list=given(TOKENS))
    with pytest.raises(TopDownError, match=f"E_TOKENS_CHANGED.*line {line}") as e:
        check(folder, token_list=given(tokens))
    assert e.value.status == 65


def test_other_release(folder):
    write(folder, version="199901")
    with pytest.raises(TopDownError, match="E_CKPT_VERSION.*199901"):
        check(folder)


def test_not_resumed(folder):
    with pytest.raises(TopDownError, match="E_DIR_USED"):
        check(folder, resume=False)


def test_output_is_a_file(folder):
    args = argparse.Namespace(output_dir=str(folder / "config.yaml"))
    with pytest.raises(TopDownError, match="E_CREATE.*is a file"):
        resume.check_folder(args)


def test_nothing_trained_yet(folder):
    (folder / "checkpoint.pth").unlink()
    check(folder, seed=7)


def test_config_was_cut_off(folder, caplog):
    (folder / "config.yaml").write_text("seed: [1")
    check(folder, seed=7)
    assert "W_CONFIG_LOST" in caplog.text
