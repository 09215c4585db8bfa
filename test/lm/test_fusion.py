"""A language model in the order of a recogniser's tokens, and in its beam search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from espnet_topdown.errors import TopDownError
from espnet_topdown.lm import fusion

AN4 = Path(__file__).parents[3] / "shared" / "data" / "espnet_mini_an4"
ASR = "exp/asr_train_asr_tiny_raw_en_char"
MODEL = "valid.loss.best.pth"
SIZES = {"emb_size": 6, "hidden_size": 10, "num_layers": 2}


def write_lm(folder: Path, tokens: list[str], kind: str = "awd_lstm") -> Path:
    """An experiment with random weights, which make some words much likelier."""
    from espnet_topdown.trainer.awd_lstm import AWDLSTM

    torch.manual_seed(4)
    folder.mkdir(parents=True)
    model = AWDLSTM(len(tokens), **SIZES, init_range=1.0)
    torch.nn.init.normal_(model.out.bias)
    state = {f"lm.{k}": v for k, v in model.state_dict().items()}
    torch.save(state, folder / MODEL)
    config = {"lm": kind, "lm_conf": SIZES, "model": "continuous", "model_conf": {}}
    config.update(token_list=tokens, init=None)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def write_asr(folder: Path, tokens: list[str]) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump({"token_list": tokens}))
    return folder


@pytest.mark.parametrize(
    "asr, says",
    [
        (["<blank>", "x", "<sos/eos>"], "3 tokens the language model knows none"),
        (["<blank>", "a", "b"], "'<sos/eos>' is not among"),
    ],
)
def test_lists_that_do_not_fit(asr, says) -> None:
    with pytest.raises(TopDownError, match=says) as e:
        fusion.places(asr, ["a", "b", "<eos>"])
    assert (e.value.code, e.value.status) == ("E_TOKENS", 65)


def test_unknown_tokens_are_said(caplog) -> None:
    found = fusion.places(["<blank>", "a", "x", "<sos/eos>"], ["a", "<eos>"])
    assert found == [-1, 0, -1, 1]
    assert "1 of the recogniser's 4 tokens" in caplog.text and "x" in caplog.text


@pytest.mark.espnet
@pytest.mark.parametrize("kind, place", [("seq_rnn", "out"), ("awd_lstm", "lm")])
def test_refused(tmp_path, kind, place) -> None:
    lm = write_lm(tmp_path / "lm", ["a", "<eos>"], kind)
    asr = write_asr(tmp_path / "asr", ["<blank>", "a", "<sos/eos>"])
    before = (lm / MODEL).read_bytes()
    with pytest.raises(TopDownError) as e:
        fusion.for_asr(lm, asr, tmp_path / place, MODEL)
    assert e.value.code == ("E_CKPT_KEYS" if kind == "seq_rnn" else "E_CREATE")
    assert (lm / MODEL).read_bytes() == before and not (tmp_path / "out").exists()


@pytest.mark.espnet
@pytest.mark.skipif(not AN4.is_dir(), reason="no ../shared/data/espnet_mini_an4")
@pytest.mark.parametrize("batched", [False, True])
def test_beam_search_adds_its_probabilities(tmp_path, monkeypatch, batched) -> None:
    """The LM's part of a hypothesis is what the model itself gives its words.

    ESPnet batches hypotheses unless a scorer cannot: here the RNN decoder.
    """
    import soundfile

    from espnet_topdown.bin import asr_inference, lm_for_asr
    from espnet_topdown.trainer.awd_lstm import AWDLSTM

    monkeypatch.chdir(AN4)
    tokens = yaml.safe_load(Path(ASR, "config.yaml").read_text())["token_list"]
    words = [*reversed(tokens[1:-1]), "<eos>"]
    lm = write_lm(tmp_path / "lm", words)
    cmd = ["--exp", str(lm), "--asr_exp", ASR, "--model_file", MODEL]
    lm_for_asr.main([*cmd, "--output_dir", str(tmp_path / "out")])

    from espnet2.bin import asr_inference as stock

    monkeypatch.setattr(stock, "main", lambda cmd: None)
    asr_inference.main([])  # makes the model known to ESPnet
    decode = stock.Speech2Text(
        f"{ASR}/config.yaml",
        f"{ASR}/1epoch.pth",
        lm_train_config=str(tmp_path / "out" / "config.yaml"),
        lm_file=str(tmp_path / "out" / MODEL),
        beam_size=3,
        ctc_weight=1.0 if batched else 0.3,
        maxlenratio=-6,
    )
    sound = Path("dump/raw/test/wav.scp").read_text().split()[1]
    samples = soundfile.read(sound, dtype="float32")[0]
    hyp = decode(np.asarray(samples))[0][3]
    said = [tokens[i] for i in hyp.yseq.tolist()]
    assert said[0] == said[-1] == "<sos/eos>" and len(set(said)) > 2
    assert type(decode.beam_search).__name__.startswith("Batch") == batched

    model = AWDLSTM(len(words), **SIZES).eval()
    state = torch.load(lm / MODEL, weights_only=True)
    model.load_state_dict({k[len("lm.") :]: v for k, v in state.items()})
    ids = [words.index("<eos>" if t == "<sos/eos>" else t) for t in said]
    with torch.no_grad():
        logp = model(torch.tensor([ids[:-1]]))[0][0].log_softmax(-1)
    # At the greatest length the end is put there, not chosen: it has no score.
    chosen = ids[1:-1] if len(ids) == 6 + 2 else ids[1:]
    own = sum(float(logp[k, i]) for k, i in enumerate(chosen))
    assert float(hyp.scores["lm"]) == pytest.approx(own, abs=1e-4)
