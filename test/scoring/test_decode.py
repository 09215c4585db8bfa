from __future__ import annotations

import inspect
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
from espnet_topdown.files import read_yaml, write_yaml
from espnet_topdown.models.experiment import Experiment
from espnet_topdown.models.text import TextReader
from espnet_topdown.models.weights import load_weights, save_weights

pytestmark = [pytest.mark.espnet, pytest.mark.timeout(120)]
pytest.importorskip("espnet2.tasks.asr")
pytest.importorskip("soundfile")

from espnet_topdown.cli import _fsck as fsck  # noqa: E402
from espnet_topdown.cli.main import main  # noqa: E402
from espnet_topdown.jobs import run  # noqa: E402
from espnet_topdown.scoring import decode  # noqa: E402
from espnet_topdown.scoring._encode import encode  # noqa: E402
from espnet_topdown.scoring.greedy import Hypothesis, greedy  # noqa: E402
from espnet_topdown.scoring.model import load_model  # noqa: E402
from espnet_topdown.scoring.sound import read_longest_first, read_wav_scp  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Set:
    return Set(tmp_path_factory.mktemp("decode"))


def load(exp: Path) -> torch.nn.Module:
    return load_model(Experiment(exp), exp / "1epoch.pth")


def scored(exp: Path, fix: bool = False, **options: object) -> dict:
    experiment = Experiment(exp, fix_eval_dropout=fix)
    return decode.validation_score(experiment, exp / "1epoch.pth", **options)


def ids_of(model: torch.nn.Module, sounds, **options) -> dict[str, list[int]]:
    return {hyp.utt: hyp.token_ids for hyp in greedy(model, sounds.items(), **options)}


@torch.no_grad()
def by_hand(model: torch.nn.Module, samples: np.ndarray) -> list[int]:
    """Greedy decoding of one utterance in ESPnet's own calls."""
    speech = torch.from_numpy(samples)[None]
    enc, lengths = model.encode(speech, torch.tensor([speech.size(1)]))
    if model.ctc is not None:
        ids = model.ctc.argmax(enc)[0].tolist()
        return [i for i, _ in itertools.groupby(ids) if i not in (0, model.eos)]
    found = [model.sos]  # token by token, through the decoder as it is trained
    for _ in range(int(lengths)):
        size = torch.tensor([len(found)])
        scores, _ = model.decoder(enc, lengths, torch.tensor([found]), size)
        if (best := int(scores[0, -1].argmax())) == model.eos:
            break
        found.append(best)
    return found[1:]


BLOCKS = {"linear_units": 8, "num_blocks": 2, "attention_heads": 2}
DECODERS = {
    "rnn": ("rnn", {"hidden_size": 6, "att_conf": {"atype": "location"}}),
    "rnn_residual": ("rnn", {"hidden_size": 6, "context_residual": True}),
    "gru_2": ("rnn", {"hidden_size": 6, "rnn_type": "gru", "num_layers": 2}),
    "transformer": ("transformer", BLOCKS),
    "lightweight_conv": ("lightweight_conv", {**BLOCKS, "conv_kernel_length": [5, 5]}),
}


@pytest.mark.parametrize(
    "kind, decoder",
    [(kind, None) for kind in ENCODERS] + [("rnn", name) for name in DECODERS],
)
def test_a_batch_gives_what_one_utterance_gives(data, kind, decoder) -> None:
    """By CTC with each encoder, and by each attention decoder without CTC."""
    changes = {}
    if decoder:
        changes = dict(zip(("decoder", "decoder_conf"), DECODERS[decoder]))
        changes["encoder_conf"] = {**RNN, "output_size": 8}
        changes["model_conf"] = {"ctc_weight": 0.0}
    model = load(data.experiment(kind, **changes))
    with torch.no_grad():  # tokens differ, and the end comes before the frames are over
        for name, value in model.decoder.named_parameters() if decoder else ():
            value *= 8.0 if "embed" in name else 3.0
    want = {utt: by_hand(model, samples) for utt, samples in data.sounds.items()}
    assert len({tuple(ids) for ids in want.values()}) > 3, "the model says nothing"
    parts = model.frontend, model.normalize
    for seconds in (0.1, 1.0, 100.0):
        assert ids_of(model, data.sounds, batch_seconds=seconds) == want
    assert (model.frontend, model.normalize) == parts
    assert all("forward" not in vars(m) for m in model.modules())


def test_text_is_that_of_asr_inference(data) -> None:
    """Where the model is sure of every frame, a beam of one finds the same path."""
    from espnet2.bin.asr_inference import Speech2Text

    exp = data.experiment("rnn", sure=1e5)
    margin = "ctc_window_margin" in inspect.signature(Speech2Text.__init__).parameters
    files = str(exp / "config.yaml"), str(exp / "1epoch.pth")
    more = {"ctc_window_margin": 0} if margin else {}
    stock = Speech2Text(*files, beam_size=1, ctc_weight=1.0, **more)
    model = decode.Recognizer(Experiment(exp), exp / "1epoch.pth")
    hyps = model.recognize(read_wav_scp(data.wav_scp))
    for utt, samples in data.sounds.items():
        text, token, token_int, _ = stock(samples)[0]
        assert hyps[utt].token_ids == token_int
        assert (model.tokens(hyps[utt]), model.text(hyps[utt])) == (token, text)
    texts = {model.text(hyp) for hyp in hyps.values()}
    assert len(texts) > 5 and any(" " in text for text in texts)


@pytest.mark.parametrize("decoder", ["ctc_greedy", "attention_greedy"])
def test_the_validation_set(data, decoder) -> None:
    weight = {"model_conf": {"ctc_weight": 0.0}, "decoder": "rnn", "patience": 1}
    exp = data.experiment("rnn", **weight if decoder == "attention_greedy" else {})
    score = scored(exp)
    again = scored(exp, batch_seconds=0.5)
    assert {**score, "seconds": 0} == {**again, "seconds": 0}
    assert (score["set"], score["epoch"], score["utts"]) == ("dev", 1, 9)
    assert (score["decoder"], score["model_file"]) == (decoder, "1epoch.pth")
    assert score["cer"]["ref"] == 3 * (6 + 5 + 4) and score["wer"]["ref"] == 18
    for unit in ("cer", "wer", "ter"):
        c = score[unit]
        assert c["ref"] == c["corr"] + c["sub"] + c["del"]
        assert 0 < c["err_utts"] <= 9
    assert score["infeasible"] == 0


def made_up(conf: dict) -> decode.Recognizer:
    """What scores the hypotheses of a model that is not there."""
    made = object.__new__(decode.Recognizer)
    made.conf, made.reader = conf, TextReader.of(conf, "config.yaml")
    made.decoder, made.weights = "ctc_greedy", Path("1epoch.pth")
    made.model = types.SimpleNamespace(token_list=conf["token_list"])
    made.experiment = types.SimpleNamespace(epoch_of=lambda weights: 1)
    return made


@pytest.mark.parametrize("ref, n", [("ABCD", 0), ("ABBA", 1), ("ABCDE", 1)])
def test_infeasible_references_are_counted(data, ref, n) -> None:
    """Between two equal tokens there is a blank."""
    model = made_up(read_yaml(data.experiment("rnn") / "config.yaml"))
    score = model.score("dev", {"u": Hypothesis("u", [], n_frames=4)}, {"u": ref})
    assert score["infeasible"] == n


PHONES = ["<blank>", "<unk>", "AH", "T", "N", "S", "IH", "<sos/eos>"]
WORDS = ["<blank>", "<unk>", "AN", "TEST", "A", "<sos/eos>"]
LETTERS = ["<blank>", "<unk>", "<space>", *string.ascii_letters, *"<>,.\"'-:;?!()"]


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
    made = made_up({**config, "token_list": [*LETTERS, "<e>"], **change})
    ids = made.preprocess("u", {"text": text})["text"].tolist()
    assert 1 not in ids, "an unknown token"
    score = made.score("dev", {"u": Hypothesis("u", ids, 99)}, {"u": text})
    for unit in ("cer", "wer", "ter"):
        assert score[unit]["corr"] == score[unit]["ref"] > 0, unit
        assert score[unit]["ins"] == 0, unit
    if change["token_type"] == "phn":
        assert score["cer"] == score["wer"] == score["ter"] and score["cer"]["ref"] == 5


def test_the_command_leaves_what_asr_sh_leaves(data, tmp_path, capsys) -> None:
    exp, out = data.experiment("rnn"), tmp_path / "decode_ctc_greedy" / "dev"
    words = ["decode", str(exp), "--wav_scp", str(data.wav_scp), "--model_file", "1"]
    words += ["--output_dir", str(out)]
    main(words)  # without references nothing is scored
    assert sorted(p.name for p in out.iterdir()) == ["text", "token", "token_int"]
    assert len((out / "text").read_text().splitlines()) == 9
    assert "CER" not in capsys.readouterr().out
    for _ in range(2):  # what is ours is replaced
        main([*words, "--text", str(data.text)])
    assert " of 45), WER " in capsys.readouterr().out
    files = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    trns = ("ref.trn", "hyp.trn", "result.txt", "counts.tsv")
    parts = {f"score_{unit}/{name}" for unit in ("cer", "wer") for name in trns}
    assert files == {"text", "token", "token_int", "score.json", *parts}
    score = json.loads((out / "score.json").read_text())
    assert score == {**scored(exp), "seconds": score["seconds"]}
    main(words)  # other hypotheses, which that score would not be of
    assert not (out / "score.json").exists()


@pytest.mark.parametrize("lost", ["wav_scp", "text"])
def test_a_lost_utterance_is_no_score(data, tmp_path, lost) -> None:
    files = {"wav_scp": data.wav_scp, "text": data.text}
    lines = files[lost].read_text().splitlines(True)
    files[lost] = tmp_path / lost
    files[lost].write_text("".join(lines[:-1]))
    exp, out = data.experiment("rnn"), tmp_path / "out"
    with pytest.raises(TopDownError, match=r"E_UTT_SETS.*lacks 1 \(u8\)"):
        decode.decode_set(exp, "1", files["wav_scp"], out, text=files["text"])
    assert not out.exists()


def test_odd_hypotheses_are_what_was_counted(data, tmp_path, monkeypatch) -> None:
    odd = ["", " ", "  A ", "A\tB", "\u00a0", "\u3000A", "A\u2028B", "\u200bA", "( @"]
    monkeypatch.setattr(
        decode.Recognizer, "text", lambda self, hyp: odd[int(hyp.utt[1:])]
    )
    exp, out = data.experiment("rnn"), tmp_path / "decode_x" / "dev"
    decode.decode_set(exp, "1", data.wav_scp, out, data.text)
    assert fsck.decoded(out)


def test_dropout_at_test_time_is_refused(data) -> None:
    """ESPnet's RNNP drops out in eval mode between its layers."""
    exp = data.experiment("rnn", encoder_conf={**RNN, "dropout": 0.5})
    with pytest.raises(TopDownError, match="E_EVAL_RANDOM.*--fix_eval_dropout true"):
        scored(exp)
    scores = [scored(exp, accept_random=True) for _ in range(2)]
    assert scores[0]["hyp_sha256"] == scores[1]["hyp_sha256"]


def test_a_second_evaluation_that_differs_is_refused(data, monkeypatch) -> None:
    real, found = decode.Recognizer.recognize, []

    def recognize(self, files):  # type: ignore[no-untyped-def]
        found.append(real(self, files))
        return found[-1] if len(found) == 1 else {u: [7] for u in found[-1]}

    monkeypatch.setattr(decode.Recognizer, "recognize", recognize)
    with pytest.raises(TopDownError, match="E_EVAL_RANDOM: .*two evaluations"):
        scored(data.experiment("rnn"))
    assert len(found) == 2


@pytest.mark.parametrize("kind", ["rnn", "vgg_rnn"])
def test_trained_weights_are_taken_over_without_dropout_at_test_time(data, kind):
    """The same score as that of a model whose dropout is 0."""
    conf = {"encoder_conf": {**RNN, "dropout": 0.5}}
    random = data.experiment(kind, **conf, patience=1, seed=1)
    none = data.experiment(kind)
    shutil.copy(random / "1epoch.pth", none / "2epoch.pth")
    score = decode.validation_score(Experiment(none), none / "2epoch.pth")
    want = {key: score[key] for key in ("cer", "wer", "ter", "hyp_sha256")}
    joint = {"trainer": None, "base_exp": str(random), "fix_eval_dropout": True}
    joint["base_model"] = str(random / "1epoch.pth")
    for found in (scored(random, fix=True), run.score(Path(), joint)):  # as in a search
        assert {key: found[key] for key in want} == want
    # where nothing is dropped the fix changes nothing, to the last bit
    models = [
        load_model(Experiment(none, fix_eval_dropout=fix), none / "2epoch.pth")
        for fix in (False, True)
    ]
    batch = list(data.sounds.items())[:3]
    one, two = (encode(model, batch)[0] for model in models)
    assert torch.equal(one, two)


NAME = "encoder.enc.0.bt0.weight"


@pytest.mark.parametrize(
    "spoil, code",
    [
        (lambda s: s.pop(NAME), f"E_CKPT_KEYS.*1 missing .{NAME}"),
        (lambda s: s.update({NAME: s[NAME][:, :-1].clone()}), f"E_CKPT_SHAPE.*{NAME}"),
    ],
    ids=["missing", "shape"],
)
def test_weights_must_be_those_of_the_model(data, tmp_path, spoil, code) -> None:
    exp = data.experiment("rnn")
    state = load_weights(exp / "1epoch.pth")
    spoil(state)
    save_weights(state, tmp_path / "bad.pth")
    with pytest.raises(TopDownError, match=code):
        load_model(Experiment(exp), tmp_path / "bad.pth")


@pytest.mark.parametrize(
    "kind, sound, code",
    [
        ("rnn", 100, "E_WAV_SHORT: utt tiny: 100 samples"),
        ("transformer", 100, "E_WAV_SHORT: utt tiny: 100 samples"),
        ("transformer", 300, "E_WAV_SHORT: utt tiny: 300 samples"),
        ("rnn", 9000, "E_OUTPUT_NONFINITE: utt tiny"),
        ("attention", 9000, "E_OUTPUT_NONFINITE: utt tiny"),
    ],
)
def test_what_gives_no_output(data, kind, sound, code) -> None:
    by_attention = {"model_conf": {"ctc_weight": 0.0}, "decoder": "rnn", "patience": 1}
    changes = by_attention if kind == "attention" else {}
    model = load(data.experiment("rnn" if changes else kind, **changes))
    with torch.no_grad():
        last = model.decoder.output if changes else model.ctc.ctc_lo
        last.weight.fill_(float("inf"))
    with pytest.raises(TopDownError, match=code):
        ids_of(model, {"tiny": np.zeros(sound, dtype=np.float32)})


def test_another_error_of_an_encoder_stays_what_it_is(data, monkeypatch) -> None:
    model = load(data.experiment("rnn"))
    monkeypatch.setattr(model.encoder, "forward", lambda *args, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ids_of(model, data.sounds)


@pytest.mark.parametrize(
    "change, code",
    [
        ({"input_size": 12}, "E_INPUT_TYPE"),
        ({"valid_data_path_and_name_and_type": [["a", "speech", "kaldi_ark"]]}, "ark"),
        ({"valid_data_path_and_name_and_type": [["a", "x", "sound"]]}, "E_DATA_NAME"),
        ({"encoder": "no_such"}, "E_CONFIG_KEY"),
        ({"token_list": ["<blank>", "<unk>", *"abcdefgha", "<sos/eos>"]}, "E_TOKENS"),
        ({"normalize_conf": {"stats_file": "gone"}, "normalize": "global_mvn"}, "gone"),
        (
            {"lm": "seq_rnn", "model": "lm"},
            "E_KIND.*'sentence_lm', which recognises no speech",
        ),
        ({"tts": "vits"}, "E_KIND: this is text-to-speech"),
    ],
)
def test_configs_that_cannot_be_decoded(data, tmp_path, change, code) -> None:
    exp = data.experiment("rnn")
    write_yaml(tmp_path / "config.yaml", {**read_yaml(exp / "config.yaml"), **change})
    shutil.copy(exp / "1epoch.pth", tmp_path)
    with pytest.raises(TopDownError, match=code):
        scored(tmp_path)


def test_an_experiment_that_upstreams_asr_sh_made(mini_an4, monkeypatch, tmp_path):
    monkeypatch.chdir(mini_an4)
    exp, test = Path("exp/asr_train_asr_tiny_raw_en_char"), Path("dump/raw/test")
    score = scored(exp)
    assert (score["set"], score["utts"], score["cer"]["ref"]) == ("train_dev", 1, 3)
    out = tmp_path / "test"
    score = decode.decode_set(exp, "best", test / "wav.scp", out, test / "text")
    (stock,) = exp.glob("decode_*/test/score_cer/ref.trn")
    assert (out / "score_cer" / "ref.trn").read_bytes() == stock.read_bytes()
    model = load(exp)
    sources = read_wav_scp(test / "wav.scp").values()
    for utt, sound in read_longest_first(sources, 16000):
        ids = " ".join(map(str, by_hand(model, sound)))
        assert f"{utt} {ids}" in (out / "token_int").read_text().splitlines()
    assert score["cer"]["ref"] == 67 and score["wer"]["ref"] == 10
