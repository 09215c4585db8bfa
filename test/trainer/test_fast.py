"""Every fast way gives the numbers of the stock one: outputs, states, all gradients."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import random
import subprocess
import sys
import threading

import pytest
import torch
from espnet2.asr.decoder.rnn_decoder import RNNDecoder
from espnet2.tasks.asr import encoder_choices
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from espnet_topdown.models.weights import load_weights
from espnet_topdown.trainer.fast import _cpu_lstm as cpu_lstm
from espnet_topdown.trainer.fast import (
    _location_attention,
    _lstm_steps,
    cpu,
    process,
    sdpa,
)
from espnet_topdown.trainer.fast._side_by_side import side_by_side

pytestmark = pytest.mark.espnet


@pytest.fixture
def n_threads():
    """Set the number of PyTorch's threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def fast(stock, n_modules):
    """A copy on the fast way; only its classes are other ones."""
    ours = copy.deepcopy(stock)
    assert cpu.install(ours) == n_modules and cpu.install(ours) == 0
    assert list(stock.state_dict()) == list(ours.state_dict())
    return pickle.loads(pickle.dumps(ours))


def assert_same(a, b, atol=0.0, rtol=0.0):
    assert len(a) == len(b)
    for u, v in zip(a, b):
        assert (u is None) == (v is None)
        if u is not None:
            torch.testing.assert_close(u, v, rtol=rtol, atol=atol)


# --- LSTM
LENGTHS = [[1], [7], [5, 5, 5], [9, 7, 1], [3, 8, 2, 8], [1, 1], [12, 11, 10, 9, 8]]
LONG = [[70, 3, 1], [40, 5, 99, 66, 33, 1], [64, 32], [200, 100, 50, 25, 1, 1, 1, 1]]
SHAPES = [(1, False, 0.0), (1, True, 0.0), (2, False, 0.3), (3, True, 0.0)]
SHAPES += [(2, True, 0.4)]  # layers, bidirectional, dropout


def lstms(layers, bidirectional, dropout, dtype=torch.float32, **options):
    torch.manual_seed(0)
    options = {"batch_first": True, "dropout": dropout, **options}
    stock = torch.nn.LSTM(5, 4, layers, bidirectional=bidirectional, **options)
    return stock.to(dtype), fast(stock.to(dtype), 1)


def run_lstm(lstm, lengths, with_states=False):
    """Outputs, both states and the gradients of input, states and parameters."""
    dtype = lstm.weight_ih_l0.dtype
    n_states = lstm.num_layers * (1 + lstm.bidirectional)
    torch.manual_seed(3)
    x = torch.randn(len(lengths), max(lengths), 5, dtype=dtype)
    x = x if lstm.batch_first else x.transpose(0, 1).contiguous()
    x.requires_grad_()
    states = torch.randn(2, n_states, len(lengths), 4, dtype=dtype).requires_grad_()
    lstm.zero_grad()
    in_order = lengths == sorted(lengths, reverse=True)
    packed = pack_padded_sequence(x, lengths, lstm.batch_first, in_order)
    y, (h, c) = lstm(packed, tuple(states) if with_states else None)
    padded, n = pad_packed_sequence(y, lstm.batch_first)
    assert n.tolist() == lengths
    (padded.sin().sum() + (h * h).sum() + c.cos().sum()).backward()
    grads = [p.grad for p in lstm.parameters()]
    return [padded, h, c, x.grad, states.grad, *grads]


@pytest.mark.parametrize("lengths", LENGTHS + LONG, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("with_states", [False, True])
def test_lstm(shape, lengths, with_states):
    stock, ours = lstms(*shape, torch.double)
    a, b = (run_lstm(lstm, lengths, with_states) for lstm in (stock, ours))
    assert_same(a, b, atol=1e-11)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_lstm_in_float32(lengths, batch_first):
    both = lstms(2, True, 0.0, batch_first=batch_first)
    a, b = (run_lstm(lstm, lengths) for lstm in both)
    assert_same(a[:3], b[:3], atol=1e-6)
    assert_same(a[3:], b[3:], atol=1e-5, rtol=1e-5)


def test_lstm_without_bias_and_in_eval_mode():
    both = lstms(2, True, 0.5, torch.double, bias=False)
    a, b = (run_lstm(lstm.eval(), [6, 4, 3]) for lstm in both)
    assert_same(a, b, atol=1e-12)


@pytest.mark.parametrize("lengths", LENGTHS[2:5], ids=str)
@pytest.mark.parametrize(
    "frozen",
    [(), ("weight",), ("bias", "weight_hh_l0"), ("_reverse",), ("weight", "bias")],
    ids=str,
)
def test_lstm_with_a_thread_for_each_direction(n_threads, lengths, frozen):
    _, ours = lstms(2, True, 0.4)
    for name, p in ours.named_parameters():
        p.requires_grad = not any(part in name for part in frozen)
    found = []
    for n in (2, 2, 1):
        n_threads(n)
        found.append(run_lstm(ours, lengths, with_states=True))
    assert_same(found[0], found[2])
    assert_same(found[1], found[2])


def test_lstm_with_two_threads_and_without_gradients(n_threads):
    n_threads(2)
    _, ours = lstms(2, True, 0.0)
    packed = pack_padded_sequence(torch.randn(2, 6, 5), [6, 4], batch_first=True)
    expected = ours(packed)[0].data
    assert expected.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = ours(packed)[0].data
        assert not found.requires_grad and torch.equal(found, expected)


@pytest.mark.parametrize(
    "lengths, expected",
    [
        ([5], [(5, 1)]),
        ([9, 1], [(9, 2)]),  # too short
        ([100, 90, 85, 80], [(100, 4)]),  # nearly full
        ([100, 10], [(32, 2), (68, 1)]),
        ([100, 40, 40, 69], [(40, 4), (60, 2)]),
        ([63, 20, 20], [(63, 3)]),  # the second block would have 31 frames
        ([300, 150, 70, 1, 1, 1], [(32, 6), (38, 3), (80, 2), (150, 1)]),
    ],
)
def test_blocks_of_an_lstms_batch(lengths, expected):
    sizes = [sum(n > t for n in lengths) for t in range(max(lengths))]
    assert cpu_lstm.blocks(sizes) == expected


def test_what_an_lstm_leaves_to_pytorch():
    stock, ours = lstms(1, True, 0.0)
    x = torch.randn(2, 6, 5)
    assert torch.equal(stock(x)[0], ours(x)[0])  # not packed
    projected = torch.nn.LSTM(5, 4, proj_size=2)
    assert cpu.install(projected) == 0 and type(projected) is torch.nn.LSTM


def test_lstm_takes_the_onednn_way():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    with torch.profiler.profile() as record:
        run_lstm(lstms(1, True, 0.0)[1], [6, 3])
    names = {e.key for e in record.key_averages()}
    assert "aten::mkldnn_rnn_layer_backward" in names


# --- encoders, with a projection after each layer
def encoders(name, n_modules, **conf):
    torch.manual_seed(0)
    sizes = {"num_layers": 3, "hidden_size": 7, "output_size": 6, **conf}
    stock = encoder_choices.get_class(name)(input_size=12, **sizes).double()
    return stock, fast(stock, n_modules)


def run_encoder(encoder, lengths, states=None):
    """Output, lengths, states, gradients, and the random numbers that come next."""
    torch.manual_seed(1)
    x = torch.randn(len(lengths), max(lengths), 12, dtype=torch.double)
    x.requires_grad_()
    y, n, states = encoder(x, torch.tensor(lengths), states)
    grads = torch.autograd.grad(y.sin().sum(), [x, *encoder.parameters()])
    return [y, n, torch.rand(2), *flat(states), *grads]


def flat(states):
    if isinstance(states, (list, tuple)):
        return [t for inner in states for t in flat(inner)]
    return [] if states is None else [states]


@pytest.mark.parametrize("lengths", [[40, 33, 33, 12], [21], [25, 24]], ids=str)
@pytest.mark.parametrize(
    "name, conf, n_modules",
    [
        ("rnn", {"subsample": [2, 2, 1]}, 4),
        ("rnn", {"subsample": [3, 1, 2], "bidirectional": False, "dropout": 0.3}, 4),
        ("rnn", {"subsample": None, "num_layers": 2, "dropout": 0.5}, 3),
        ("rnn", {"rnn_type": "gru", "subsample": [2, 1, 2], "dropout": 0.5}, 1),
        ("rnn", {"use_projection": False}, 1),
        ("vgg_rnn", {}, 4),
        ("vgg_rnn", {"use_projection": False}, 1),
    ],
    ids=str,
)
def test_encoders(name, conf, n_modules, lengths):
    both = encoders(name, n_modules, **conf)
    a, b = (run_encoder(encoder, lengths) for encoder in both)
    assert_same(a, b, atol=1e-10)


def test_states_and_wrong_lengths_are_left_to_espnet():
    states = [[(torch.randn(1, 2, 7).double(),) * 2] * 3]
    both = encoders("rnn", 4, bidirectional=False, subsample=None)
    a, b = (run_encoder(encoder, [9, 4], states) for encoder in both)
    assert_same(a, b, atol=1e-10)
    for subsample, lengths in (([1], [9, 8, 9]), ([1], [9, 0]), ([3], [9, 1])):
        for encoder in encoders("rnn", 4, subsample=subsample):
            with pytest.raises(RuntimeError):
                run_encoder(encoder, lengths)


# --- attention decoder
BATCHES = {  # frames and units of each utterance
    "one frame": ([1], [3]),
    "one unit": ([100, 80], [1, 1]),
    "units not sorted": ([40, 17, 16, 3], [2, 9, 4, 9]),
    "units alike": ([20, 20, 20], [6, 6, 6]),
}
OPTIONS = {
    "paper": {},
    "two layers": {"num_layers": 2, "context_residual": True},
    "dropout": {"num_layers": 3, "dropout": 0.4},
    "dropout, residual": {"dropout": 0.3, "context_residual": True},
    "GRU": {"rnn_type": "gru"},
    "sampling": {"sampling_probability": 0.5},
    "dot": {"att_conf": {"atype": "dot", "adim": 5}},
}


def decoders(frozen=(), taps=4, **options):
    torch.manual_seed(0)
    att = {"atype": "location", "adim": 5, "aconv_chans": 3, "aconv_filts": taps}
    sizes = dict(vocab_size=9, encoder_output_size=6, hidden_size=7, att_conf=att)
    stock = RNNDecoder(**{**sizes, **options}).double()
    for name, p in stock.named_parameters():
        p.data.mul_(3)  # attention that is not nearly uniform
        p.requires_grad = not any(name.startswith(f) for f in frozen)
    return stock, fast(stock, 1)


def run_decoder(module, n_frames, n_units, enc_grad=True, n_padded=0):
    """All outputs, all gradients, and the random numbers that come next."""
    torch.manual_seed(1)
    random.seed(1)
    enc = torch.randn(len(n_frames), max(n_frames), 6, dtype=torch.double)
    enc.requires_grad_(enc_grad)
    ids = torch.randint(0, 9, (len(n_frames), max(n_units) + n_padded))
    module.zero_grad()
    y, n = module(enc, torch.tensor(n_frames), ids, torch.tensor(n_units))
    if y.requires_grad:
        y.sin().sum().backward()
    after = torch.rand(2), torch.tensor(random.random())
    return [y, n, enc.grad, *after, *(p.grad for p in module.parameters())]


@pytest.mark.parametrize("taps", [0, 4, 16, 100])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("options", OPTIONS)
def test_decoder(options, batch, taps):
    stock, ours = decoders(taps=taps, **OPTIONS[options])
    for _ in range(2):  # the second batch begins afresh
        a, b = (run_decoder(m, *BATCHES[batch]) for m in (stock, ours))
        assert_same(a, b, atol=1e-10)


@pytest.mark.parametrize(
    "frozen",
    [["att_list"], ["att_list.0.gvec"], ["embed", "decoder"], ["output"]],
    ids=str,
)
@pytest.mark.parametrize("enc_grad", [True, False])
def test_decoder_with_frozen_parts_and_more_columns_than_units(frozen, enc_grad):
    run = functools.partial(run_decoder, enc_grad=enc_grad, n_padded=2)
    a, b = (run(m, [9, 4], [3, 5]) for m in decoders(frozen))
    assert_same(a, b, atol=1e-10)


def test_weights_of_a_frozen_decoder_cost_no_product(monkeypatch):
    monkeypatch.setattr(_location_attention.Convolution, "d_taps", None)
    monkeypatch.setattr(_lstm_steps.LSTMSteps, "d_weight", None)
    run_decoder(decoders(["att_list", "embed", "decoder"])[1], [9, 4], [3, 5])
    with pytest.raises(TypeError):
        run_decoder(decoders(["att_list"])[1], [9, 4], [3, 5])


def test_decoder_in_validation_and_beam_search():
    stock, ours = (m.eval() for m in decoders(num_layers=2, dropout=0.4))
    with torch.no_grad():
        a, b = (run_decoder(m, [30, 9], [4, 3]) for m in (stock, ours))
        assert_same(a, b, atol=1e-10)
        x, ids = torch.randn(11, 6, dtype=torch.double), torch.tensor([8])
        states = [m.init_state(x) for m in (stock, ours)]
        for _ in range(3):
            scores = [m.score(ids, s, x) for m, s in zip((stock, ours), states)]
            assert torch.equal(scores[0][0], scores[1][0])
            states = [state for _, state in scores]


def test_what_a_decoder_leaves_to_espnet():
    stock, ours = (m.bfloat16() for m in decoders())
    enc, units = torch.randn(2, 9, 6).bfloat16(), torch.tensor([3, 2])
    batch = (enc, torch.tensor([9, 4]), torch.randint(0, 9, (2, 3)), units)
    assert torch.equal(stock(*batch)[0], ours(*batch)[0])
    _, ours = decoders()
    seen = []  # ESPnet draws attention weights with such a hook
    ours.att_list[0].register_forward_hook(lambda m, i, output: seen.append(output[1]))
    run_decoder(ours, [9, 4], [3, 2])
    assert [w.shape for w in seen] == [(2, 9)] * 3


def test_decoder_lets_a_batch_go():
    _, ours = decoders()
    gc.collect()
    gc.disable()
    try:
        run_decoder(ours, [9, 4], [3, 2])
        kinds = {type(x) for x in gc.get_objects()}
        assert _location_attention.Attention not in kinds
    finally:
        gc.enable()


# --- threads and memory
def product(x, w):
    return x @ x.t(), w.exp()


@pytest.mark.parametrize("with_grad", [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("used", [(0, 1, 2, 3), (0,), (1, 2)], ids=str)
def test_parts_side_by_side(n_threads, with_grad, used):
    n_threads(4)
    torch.manual_seed(0)
    tensors = torch.randn(3, 3).double(), torch.randn(3).double()
    parts = (lambda x, w: (x.sin() * w, w * 2)), product
    results = []
    for together in (False, True):
        x, w = (t.clone().requires_grad_(g) for t, g in zip(tensors, with_grad))
        found = [part(x, w) for part in parts]
        if together:
            found = side_by_side(parts, [(x, w), (x, w)])
        flat = [t for out in found for t in out]
        total = sum(flat[i].sum() for i in used)
        if total.requires_grad:
            total.backward()
        grads = [torch.zeros(1) if t.grad is None else t.grad for t in (x, w)]
        results.append([*flat, *(g if g.any() else torch.zeros(1) for g in grads)])
    assert_same(*results, atol=1e-14)


def test_parts_share_the_threads_and_raise_their_errors(n_threads):
    n_threads(4)
    meet, seen = threading.Barrier(2, timeout=30), []

    def part(x):
        meet.wait()  # fails if the other part does not run now
        seen.append(torch.get_num_threads())
        return (x * 2,)

    x = torch.ones(1, requires_grad=True)
    with torch.no_grad():
        found = side_by_side([part, part], [(x,), (x,)])
    assert not any(t.requires_grad for tensors in found for t in tensors)
    assert seen == [2, 2] and torch.get_num_threads() == 4
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen[2] == 4
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        wrong = lambda x, w: (x @ x, w)  # noqa: E731
        side_by_side([product, wrong], [(torch.ones(2, 3),) * 2] * 2)


def test_parts_notice_changed_inputs_and_their_threads_never_end():
    x = torch.ones(2, requires_grad=True)
    w = x * 1
    part = lambda x, w: (x.sin() * w,)  # noqa: E731
    found = side_by_side([part, part], [(x, w), (x, w)])
    w.detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found[0][0].sum().backward()
    # one that ends while Python ends aborts the process
    threads = [t for t in threading.enumerate() if t.name.startswith("side_")]
    assert len(threads) >= 2 and all(t.daemon for t in threads)


@pytest.mark.parametrize(
    "before, after",
    [
        ({}, {"GOMP_SPINCOUNT": "300"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_threads_do_not_spin_unless_the_user_says_so(before, after, monkeypatch):
    monkeypatch.setattr(process.os, "environ", before)
    process.limit_spinning()
    assert before == after


# In a process of its own: the setting is for a whole process, and where malloc has once
# failed (a truncated checkpoint asks for too much) glibc leaves the heap that it keeps.
FAULTS = """
import resource, sys
import torch
from espnet_topdown.trainer.fast import process

if sys.argv[1] == "keep" and not process.keep_memory():
    sys.exit(3)
for blocks in (20, 3):  # small ones beside them first cut what was freed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        torch.ones(40 << 20, dtype=torch.uint8)  # glibc gives over 32 MiB back
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_a_large_block_is_not_fetched_again(monkeypatch):
    faults = []
    for word in ("keep", "give"):
        line = [sys.executable, "-c", FAULTS, word]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True)
        if done.returncode == 3:
            pytest.skip("another C library")
        faults.append(int(done.stdout))
    assert faults[0] * 10 < faults[1]
    monkeypatch.setattr(process.ctypes, "CDLL", lambda name: object())
    assert not process.keep_memory()


# --- attention of Transformers
@pytest.mark.parametrize("shape", [(3, 1, 5), (3, 5, 5)], ids=str)
def test_fused_attention(shape):
    """With padding, as encoders mask it, and as decoders do; in training only."""
    mask = torch.ones(shape, dtype=torch.bool).tril()
    mask[..., 0] = True
    torch.manual_seed(0)
    stock = sdpa.Attention(2, 8, 0.0)
    ours = copy.deepcopy(stock)
    assert sdpa.install(ours) == 1
    x = torch.randn(3, 5, 8, requires_grad=True)
    outs = [m.train()(x, x, x, mask) for m in (ours, stock)]
    assert ours.use_sdpa and ours.attn is None and stock.attn is not None
    torch.testing.assert_close(outs[0], outs[1], rtol=1e-5, atol=1e-6)
    grads = [torch.autograd.grad(o.square().sum(), x)[0] for o in outs]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-5)
    a, b = (m.eval()(x, x, x, mask) for m in (ours, stock))
    assert torch.equal(a, b) and ours.attn is not None and not ours.use_sdpa


def test_a_training_with_fused_attention(train):
    rates = {"dropout_rate": 0.0, "positional_dropout_rate": 0.0}
    part = {"attention_heads": 2, "linear_units": 8, "num_blocks": 2, **rates}
    encoder = {**part, "output_size": 8, "input_layer": "conv2d1"}
    encoder["attention_dropout_rate"] = 0.0
    options = {"encoder": "transformer", "encoder_conf": encoder, "max_epoch": 1}
    options |= {"decoder": "transformer", "decoder_conf": part}
    options["model_conf"] = {"ctc_weight": 0.3}
    ours = load_weights(train("fused", sdpa=True, **options) / "1epoch.pth")
    stock = load_weights(train("stock", **options) / "1epoch.pth")
    assert ours.keys() == stock.keys()
    assert_same(list(ours.values()), list(stock.values()), rtol=1e-3, atol=1e-4)
