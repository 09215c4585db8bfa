from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from random_models import ENCODERS, RNN, Set

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.models.weights import load_weights, save_weights

pytestmark = [pytest.mark.espnet, pytest.mark.timeout(120)]
pytest.importorskip("espnet2.tasks.asr")
pytest.importorskip("soundfile")

from espnet_topdown.bin.decode import main  # noqa: E402
from espnet_topdown.scoring import ctc_greedy, decode  # noqa: E402
from espnet_topdown.scoring.sound import read_sound  # noqa: E402

AN4 = Path(__file__).parents[3] / "shared" / "data" / "espnet_mini_an4"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Set:
    return Set(tmp_path_factory.mktemp("decode"))


def load(exp: Path, device: str = "cpu") -> torch.nn.Module:
    return decode.load_model(exp / "config.yaml", exp / "1epoch.pth", device)


@torch.no_grad()
def by_hand(model: torch.nn.Module, samples: np.ndarray) -> list[int]:
    """Greedy decoding of one utterance in ESPnet's own calls."""
    speech = torch.from_numpy(samples)[None]
    enc, _ = model.encode(speech, torch.tensor([speech.size(1)]))
    ids = model.ctc.argmax(enc)[0].tolist()
    return [i for i, _ in itertools.groupby(ids) if i not in (0, model.eos)]


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_batch_gives_what_one_utterance_gives(data, kind: str) -> None:
    model = load(data.experiment(kind))
    want = {utt: by_hand(model, samples) for utt, samples in data.sounds.items()}
    assert len({tuple(ids) for ids in want.values()}) > 3, "the model says nothing"
    parts = model.frontend, model.normalize
    for seconds in (0.1, 1.0, 100.0):
        hyps = list(ctc_greedy.greedy_ctc(model, data.sounds.items(), seconds))
        assert {hyp.utt: hyp.token_ids for hyp in hyps} == want
    assert (model.frontend, model.normalize) == parts
    assert all("forward" not in vars(m) for m in model.modules())


def test_padding_would_change_a_vgg_block(data) -> None:
    """Why it runs utterance by utterance: else this is another model."""
    model = load(data.experiment("vgg_rnn"))
    batch = sorted(data.sounds.items(), key=lambda s: -len(s[1]))
    with torch.inference_mode():
        ours, frames = ctc_greedy._logits(model, batch)
        alone = ctc_greedy._logits(model, batch[-1:])[0][0]
        padded = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(x) for _, x in batch], batch_first=True
        )
        lengths = torch.tensor([len(x) for _, x in batch])
        theirs = model.ctc.ctc_lo(model.encode(padded, lengths)[0])
    n = frames[-1]
    assert torch.allclose(ours[-1, :n], alone, atol=1e-3)
    assert not torch.allclose(theirs[-1, :n], alone, atol=1e-1)


def test_text_is_that_of_asr_inference(data) -> None:
    """Where the model is sure of every frame, a beam of one finds the same path."""
    import inspect

    from espnet2.bin.asr_inference import Speech2Text

    exp = data.experiment("rnn", sure=1e5)
    margin = "ctc_window_margin" in inspect.signature(Speech2Text.__init__).parameters
    stock = Speech2Text(
        str(exp / "config.yaml"),
        str(exp / "1epoch.pth"),
        beam_size=1,
        ctc_weight=1.0,
        **({"ctc_window_margin": 0} if margin else {}),
    )
    model = decode.Recognizer(exp / "config.yaml", exp / "1epoch.pth")
    hyps = model.recognize(decode.read_wav_scp(data.wav_scp))
    texts = set()
    for utt, samples in data.sounds.items():
        text, token, token_int, _ = stock(samples)[0]
        assert hyps[utt].token_ids == token_int
        assert model.tokens(hyps[utt]) == token
        assert model.text(hyps[utt]) == text
        texts.add(text)
    assert len(texts) > 5 and any(" " in text for text in texts)


def test_validation_score(data) -> None:
    exp = data.experiment("rnn")
    config, weights = exp / "config.yaml", exp / "1epoch.pth"
    score = decode.validation_score(config, weights)
    again = decode.validation_score(config, weights, batch_seconds=0.5)
    assert {**score, "seconds": 0} == {**again, "seconds": 0}
    assert (score["set"], score["epoch"], score["utts"]) == ("dev", 1, 9)
    assert (score["decoder"], score["model_file"]) == ("ctc_greedy", "1epoch.pth")
    assert score["cer"]["ref"] == 3 * (6 + 5 + 4) and score["wer"]["ref"] == 18
    for unit in ("cer", "wer", "ter"):
        c = score[unit]
        assert c["ref"] == c["corr"] + c["sub"] + c["del"]
        assert 0 < c["err_utts"] <= 9
    assert score["infeasible"] == 0


@pytest.mark.parametrize("lost", ["reference", "hypothesis"])
def test_only_what_was_recognised_and_said_is_scored(lost) -> None:
    found = {"u1": ctc_greedy.Hypothesis("u1", [], 9)}
    both = {"u1": "A", "u2": "B"}
    made = object.__new__(decode.Recognizer)  # it is asked before the model is
    hyps, ref = (found, both) if lost == "hypothesis" else (both, {"u1": "A"})
    with pytest.raises(TopDownError, match="E_UTT_SETS.*lacks 1 .u2"):
        made.score("dev", hyps, ref)


def test_infeasible_references_are_counted(data) -> None:
    exp = data.experiment("rnn")
    model = decode.Recognizer(exp / "config.yaml", exp / "1epoch.pth")
    hyps = {"u": ctc_greedy.Hypothesis("u", [], n_frames=4)}
    assert model.infeasible(hyps, {"u": "ABCD"}) == []
    assert model.infeasible(hyps, {"u": "ABBA"}) == ["u"]  # a blank between the Bs
    assert model.infeasible(hyps, {"u": "ABCDE"}) == ["u"]


def test_decode_set_leaves_what_asr_sh_leaves(data, tmp_path) -> None:
    exp = data.experiment("rnn")
    options = {"wav_scp": data.wav_scp, "text": data.text}
    out = tmp_path / "decode_ctc_greedy" / "dev"
    score = decode.decode_experiment(exp, "1", output_dir=out, ngpu=0, **options)
    files = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    trns = ("ref.trn", "hyp.trn", "result.txt", "counts.tsv")
    scored = {f"score_{unit}/{name}" for unit in ("cer", "wer") for name in trns}
    assert files == {"text", "token", "token_int", "score.json", *scored}
    assert json.loads((out / "score.json").read_text()) == score
    assert score == {
        **decode.validation_score(exp / "config.yaml", exp / "1epoch.pth"),
        "seconds": score["seconds"],
    }
    assert "(spk1-u1)" in (out / "score_wer" / "ref.trn").read_text()
    row = [
        x for x in (out / "score_cer/result.txt").read_text().split("\n") if "Sum" in x
    ]
    errors = sum(score["cer"][k] for k in ("sub", "del", "ins"))
    assert str(errors) in row[1].split()


def test_the_command(data, tmp_path, capsys) -> None:
    options = ["--wav_scp", str(data.wav_scp), "--output_dir", str(tmp_path / "out")]
    main(["--exp", str(data.experiment("rnn")), *options, "--model_file", "1"])
    assert len((tmp_path / "out" / "text").read_text().splitlines()) == 9
    with pytest.raises(SystemExit) as e:
        main(["--exp", str(tmp_path), *options])
    assert e.value.code == 66
    assert capsys.readouterr().err.startswith("E_EXP: ")


def test_without_references_nothing_is_scored(data, tmp_path) -> None:
    exp = data.experiment("rnn")
    args = (exp / "config.yaml", exp / "1epoch.pth", data.wav_scp, tmp_path)
    assert decode.decode_set(*args) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["text", "token", "token_int"]


def test_a_lost_utterance_is_no_score(data, tmp_path) -> None:
    exp = data.experiment("rnn")
    short = tmp_path / "wav.scp"
    short.write_text("".join(data.wav_scp.read_text().splitlines(True)[:-1]))
    args = (exp / "config.yaml", exp / "1epoch.pth", short, tmp_path / "out")
    with pytest.raises(TopDownError, match=r"E_UTT_SETS.*lacks 1 \(u8\)"):
        decode.decode_set(*args, text=data.text)
    assert not (tmp_path / "out").exists()


def test_dropout_at_test_time_is_refused(data) -> None:
    """ESPnet's RNNP drops out in eval mode between its layers."""
    exp = data.experiment("rnn", encoder_conf={**RNN, "dropout": 0.5})
    args = (exp / "config.yaml", exp / "1epoch.pth")
    with pytest.raises(TopDownError, match="E_EVAL_RANDOM.*td_rnn"):
        decode.validation_score(*args)
    scores = [decode.validation_score(*args, accept_random=True) for _ in range(2)]
    assert scores[0]["hyp_sha256"] == scores[1]["hyp_sha256"]


def test_no_ctc(data) -> None:
    exp = data.experiment("rnn", model_conf={"ctc_weight": 0.0}, decoder="rnn")
    with pytest.raises(TopDownError, match="E_NO_CTC"):
        decode.validation_score(exp / "config.yaml", exp / "1epoch.pth")


def spoil(state: dict, how: str) -> None:
    name = "encoder.enc.0.bt0.weight"
    if how == "missing":
        del state[name]
    elif how == "extra":
        state["encoder.more"] = torch.zeros(1)
    elif how == "shape":
        state[name] = state[name][:, :-1].clone()
    else:
        state[name][0, 0] = float("nan")


@pytest.mark.parametrize(
    "how, code",
    [
        ("missing", "E_CKPT_KEYS.*1 missing .encoder.enc.0.bt0.weight"),
        ("extra", "E_CKPT_KEYS.*1 unexpected .encoder.more"),
        ("shape", "E_CKPT_SHAPE.*bt0.weight"),
        ("nan", "E_CKPT_NONFINITE.*bt0.weight"),
    ],
)
def test_weights_must_be_those_of_the_model(data, tmp_path, how, code) -> None:
    exp = data.experiment("rnn")
    state = load_weights(exp / "1epoch.pth")
    spoil(state, how)
    save_weights(state, tmp_path / "bad.pth")
    with pytest.raises(TopDownError, match=code) as e:
        decode.load_model(exp / "config.yaml", tmp_path / "bad.pth")
    assert e.value.status == 65


def test_overflowing_output_is_refused(data) -> None:
    model = load(data.experiment("rnn"))
    with torch.no_grad():
        model.ctc.ctc_lo.weight.fill_(float("inf"))
    with pytest.raises(TopDownError, match="E_OUTPUT_NONFINITE: utt u"):
        list(ctc_greedy.greedy_ctc(model, data.sounds.items()))


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
def test_too_short_sound_is_named(data, kind: str) -> None:
    model = load(data.experiment(kind))
    sounds = {"tiny": np.zeros(100, dtype=np.float32)}
    with pytest.raises(TopDownError, match="E_WAV_SHORT: utt tiny: 100 samples"):
        list(ctc_greedy.greedy_ctc(model, sounds.items()))


@pytest.mark.parametrize(
    "change, code",
    [
        ({"input_size": 12}, "E_INPUT_TYPE"),
        ({"valid_data_path_and_name_and_type": [["a", "speech", "kaldi_ark"]]}, "ark"),
        ({"valid_data_path_and_name_and_type": [["a", "x", "sound"]]}, "E_DATA_NAME"),
        ({"encoder": "no_such"}, "E_CONFIG_KEY"),
        ({"normalize_conf": {"stats_file": "gone"}, "normalize": "global_mvn"}, "gone"),
    ],
)
def test_configs_that_cannot_be_decoded(data, tmp_path, change, code) -> None:
    exp = data.experiment("rnn")
    write_yaml(tmp_path / "config.yaml", {**read_yaml(exp / "config.yaml"), **change})
    shutil.copy(exp / "1epoch.pth", tmp_path)
    with pytest.raises(TopDownError, match=code):
        decode.validation_score(tmp_path / "config.yaml", tmp_path / "1epoch.pth")


def test_a_second_evaluation_that_differs_is_refused(data, monkeypatch) -> None:
    exp = data.experiment("rnn")
    real, found = decode.Recognizer.recognize, []

    def recognize(self, files):  # type: ignore[no-untyped-def]
        found.append(real(self, files))
        return found[-1] if len(found) == 1 else {u: [7] for u in found[-1]}

    monkeypatch.setattr(decode.Recognizer, "recognize", recognize)
    with pytest.raises(TopDownError, match="E_EVAL_RANDOM: .*two evaluations"):
        decode.validation_score(exp / "config.yaml", exp / "1epoch.pth")
    assert len(found) == 2


@pytest.mark.skipif(not AN4.is_dir(), reason="no ../shared/data/espnet_mini_an4")
def test_an_experiment_that_upstreams_asr_sh_made(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(AN4)
    exp = Path("exp/asr_train_asr_tiny_raw_en_char")
    score = decode.validation_score(exp / "config.yaml", exp / "1epoch.pth")
    assert (score["set"], score["utts"], score["cer"]["ref"]) == ("train_dev", 1, 3)
    test = Path("dump/raw/test")
    sets = {"wav_scp": test / "wav.scp", "text": test / "text"}
    out = tmp_path / "test"
    score = decode.decode_experiment(exp, "best", output_dir=out, **sets)
    (stock,) = exp.glob("decode_*/test/score_cer/ref.trn")
    assert (out / "score_cer" / "ref.trn").read_bytes() == stock.read_bytes()
    model = load(exp)
    for line in (test / "wav.scp").read_text().splitlines():
        utt, file = line.split()
        ids = " ".join(map(str, by_hand(model, read_sound(utt, file, 16000))))
        assert f"{utt} {ids}" in (out / "token_int").read_text().splitlines()
    assert score["cer"]["ref"] == 67 and score["wer"]["ref"] == 10
