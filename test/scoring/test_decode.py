from __future__ import annotations

import itertools
import json
import shutil
import string
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from random_models import ENCODERS, RNN, Set

from espnet_topdown.errors import TopDownError
from espnet_topdown.files import read_json, read_yaml, write_yaml
from espnet_topdown.models.text import TextReader
from espnet_topdown.models.weights import load_weights, save_weights

pytestmark = [pytest.mark.espnet, pytest.mark.timeout(120)]
pytest.importorskip("espnet2.tasks.asr")
pytest.importorskip("soundfile")

from espnet_topdown.bin.main import main  # noqa: E402
from espnet_topdown.cli import fsck  # noqa: E402
from espnet_topdown.jobs import run  # noqa: E402
from espnet_topdown.scoring import attention_greedy, ctc_greedy, decode  # noqa: E402
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
        ours, frames = ctc_greedy.encode(model, batch)
        alone = ctc_greedy.encode(model, batch[-1:])[0][0]
        padded = torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(x) for _, x in batch], batch_first=True
        )
        lengths = torch.tensor([len(x) for _, x in batch])
        theirs = model.encode(padded, lengths)[0]
    n = frames[-1]
    assert torch.allclose(ours[-1, :n], alone, atol=1e-5)
    assert not torch.allclose(theirs[-1, :n], alone, atol=1e-3)


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
    main(
        ["decode", "--exp", str(data.experiment("rnn")), *options, "--model_file", "1"]
    )
    assert len((tmp_path / "out" / "text").read_text().splitlines()) == 9
    assert "CER" not in capsys.readouterr().out
    words = [
        "--model_file",
        "1",
        "--text",
        str(data.text),
        "--fix_eval_dropout",
        "true",
    ]
    main(["decode", "--exp", str(data.experiment("rnn")), *options, *words])
    assert " of 45), WER " in capsys.readouterr().out
    with pytest.raises(SystemExit) as e:
        main(["decode", "--exp", str(tmp_path), *options])
    assert e.value.code == 66
    assert capsys.readouterr().err.startswith("E_EXP: ")


def test_without_references_nothing_is_scored(data, tmp_path) -> None:
    exp = data.experiment("rnn")
    args = (exp / "config.yaml", exp / "1epoch.pth", data.wav_scp, tmp_path)
    assert decode.decode_set(*args) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["text", "token", "token_int"]


def test_several_models_decode_a_data_directory(data, tmp_path) -> None:
    models = {
        tmp_path / kind / "dev": (data.experiment(kind), "1")
        for kind in ("rnn", "td_rnn")
    }
    scores = decode.decode_models(models, data.text.parent)
    assert list(scores) == list(models)
    for folder, score in scores.items():
        assert score == read_json(folder / "score.json") and score["utts"] == 9


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
    with pytest.raises(TopDownError, match="E_EVAL_RANDOM.*--fix_eval_dropout true"):
        decode.validation_score(*args)
    scores = [decode.validation_score(*args, accept_random=True) for _ in range(2)]
    assert scores[0]["hyp_sha256"] == scores[1]["hyp_sha256"]


@pytest.mark.parametrize("kind", ["rnn", "vgg_rnn"])
def test_trained_weights_are_taken_over_without_dropout_at_test_time(data, kind):
    """The same score as that of a model whose dropout is 0."""
    conf = {"encoder_conf": {**RNN, "dropout": 0.5}}
    random = data.experiment(kind, **conf, patience=1, seed=1)
    none = data.experiment(kind)
    assert random != none
    weights = random / "1epoch.pth"
    want = decode.validation_score(none / "config.yaml", weights)
    fixed = decode.validation_score(
        random / "config.yaml", weights, fix_eval_dropout=True
    )
    assert {**fixed, "seconds": 0} == {**want, "seconds": 0}
    joint = {"trainer": None, "base_exp": str(random), "base_model": str(weights)}
    again = run.score(Path(), {**joint, "fix_eval_dropout": True})  # as a search does
    assert {**again, "seconds": 0} == {**want, "seconds": 0}
    # where nothing is dropped the fix changes nothing, to the last bit
    models = [
        decode.load_model(none / "config.yaml", weights, "cpu", fix)
        for fix in (False, True)
    ]
    batch = list(data.sounds.items())[:3]
    with torch.inference_mode():
        one, two = (ctc_greedy.encode(model, batch)[0] for model in models)
    assert torch.equal(one, two)


DECODERS = {
    "rnn": ("rnn", {"hidden_size": 6, "att_conf": {"atype": "location"}}),
    "rnn_residual": ("rnn", {"hidden_size": 6, "context_residual": True}),
    "gru_2": ("rnn", {"hidden_size": 6, "rnn_type": "gru", "num_layers": 2}),
    "transformer": ("transformer", {"linear_units": 8, "num_blocks": 2}),
    "lightweight_conv": (
        "lightweight_conv",
        {"linear_units": 8, "num_blocks": 2, "conv_kernel_length": [5, 5]},
    ),
}


@pytest.mark.parametrize("kind", DECODERS)
def test_the_attention_decoder_as_espnet_scores_it(data, kind: str) -> None:
    """Batches give what ESPnet's own functions give to one utterance at a time."""
    decoder, conf = DECODERS[kind]
    encoder = {**RNN, "output_size": 8}
    exp = data.experiment(
        "rnn",
        decoder=decoder,
        decoder_conf={**conf, "attention_heads": 2} if "linear_units" in conf else conf,
        encoder_conf=encoder,
        model_conf={"ctc_weight": 0.0},
    )
    model = load(exp)
    with torch.no_grad():  # tokens differ, and the end comes before the frames are over
        for name, value in model.decoder.named_parameters():
            value *= 8.0 if "embed" in name else 3.0
    found = list(attention_greedy.greedy_attention(model, data.sounds.items(), 100.0))
    ours = {hyp.utt: hyp.token_ids for hyp in found}
    alone = attention_greedy.greedy_attention(model, data.sounds.items(), 0.01)
    assert {hyp.utt: hyp.token_ids for hyp in alone} == ours
    assert ours == {
        utt: stepwise(model, samples) for utt, samples in data.sounds.items()
    }
    assert len({tuple(ids) for ids in ours.values()}) > 3, "it says nothing"


@torch.no_grad()
def stepwise(model: torch.nn.Module, samples: np.ndarray) -> list[int]:
    """One utterance, token by token, through the decoder as it is trained."""
    speech = torch.from_numpy(samples)[None]
    enc, lengths = model.encode(speech, torch.tensor([speech.size(1)]))
    ids = [model.sos]
    for _ in range(int(lengths)):
        size = torch.tensor([len(ids)])
        scores, _ = model.decoder(enc, lengths, torch.tensor([ids]), size)
        best = int(scores[0, -1].argmax())
        if best == model.eos:
            break
        ids.append(best)
    return ids[1:]


def test_without_ctc_the_attention_decoder_scores(data) -> None:
    model_conf = {"ctc_weight": 0.0}
    exp = data.experiment("rnn", model_conf=model_conf, decoder="rnn", patience=1)
    score = decode.validation_score(exp / "config.yaml", exp / "1epoch.pth")
    assert (score["decoder"], score["utts"]) == ("attention_greedy", 9)
    assert score["cer"]["ref"] == 45 and score["infeasible"] == 0


PHONES = ["<blank>", "<unk>", "AH", "T", "N", "S", "IH", "<sos/eos>"]
WORDS = ["<blank>", "<unk>", "AN", "TEST", "A", "<sos/eos>"]


@pytest.mark.parametrize(
    "change, text",
    [
        ({"token_type": "char"}, "ABC  DE <NOISE>"),
        ({"token_type": "phn", "g2p": None, "token_list": PHONES}, "S IH T AH N"),
        ({"token_type": "word", "token_list": WORDS}, "A TEST AN"),
        ({"token_type": "char", "cleaner": "tacotron"}, "abc, de"),
    ],
    ids=["char", "phn", "word", "cleaner"],
)
def test_a_perfect_hypothesis_has_no_error(data, change, text) -> None:
    if "cleaner" in change:
        pytest.importorskip("tacotron_cleaner", reason="espnet 202611 leaves it out")
    config = read_yaml(data.experiment("rnn") / "config.yaml")
    made = object.__new__(decode.Recognizer)
    letters = [*string.ascii_letters, *"<>,.\"'-:;?!()"]
    tokens = change.get("token_list") or [
        "<blank>",
        "<unk>",
        "<space>",
        *letters,
        "<e>",
    ]
    made.conf = {**config, "token_list": tokens, **change}
    made.reader = TextReader.of(made.conf, "config.yaml")
    made.decoder, made.weights = "ctc_greedy", Path("1epoch.pth")
    made.model = types.SimpleNamespace(token_list=tokens)
    made.experiment = types.SimpleNamespace(epoch_of=lambda weights: 1)
    ids = made.preprocess("u", {"text": text})["text"].tolist()
    assert 1 not in ids, "an unknown token"
    score = made.score("dev", {"u": ctc_greedy.Hypothesis("u", ids, 99)}, {"u": text})
    for unit in ("cer", "wer", "ter"):
        assert score[unit]["corr"] == score[unit]["ref"] > 0, unit
        assert score[unit]["ins"] == 0, unit
    if change["token_type"] == "phn":
        assert score["cer"] == score["wer"] == score["ter"] and score["cer"]["ref"] == 5


def test_odd_hypotheses_are_what_was_counted(data, tmp_path, monkeypatch) -> None:
    odd = ["", " ", "  A ", "A\tB", "\u00a0", "\u3000A", "A\u2028B", "\u200bA", "( @"]
    texts = iter(odd * 2)
    monkeypatch.setattr(decode.Recognizer, "text", lambda self, hyp: next(texts))
    exp, out = data.experiment("rnn"), tmp_path / "decode_x" / "dev"
    options = {"wav_scp": data.wav_scp, "text": data.text}
    decode.decode_experiment(exp, "1", output_dir=out, **options)
    assert fsck.decoded(out)


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
        ({"token_list": ["<blank>", "<unk>", *"abcdefgha", "<sos/eos>"]}, "E_TOKENS"),
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
