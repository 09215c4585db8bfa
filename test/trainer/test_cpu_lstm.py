"""Our LSTM gives the numbers of ``torch.nn.LSTM``: outputs, states, all gradients."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from espnet_topdown.trainer.fast import cpu_lstm

LENGTHS = [[1], [7], [5, 5, 5], [9, 7, 1], [3, 8, 2, 8], [1, 1], [12, 11, 10, 9, 8]]
SHAPES = [(1, False, 0.0), (1, True, 0.0), (2, False, 0.3), (3, True, 0.0)]
SHAPES += [(2, True, 0.4)]  # layers, bidirectional, dropout


def everything(lstm, x, lengths, hx=None, batch_first=True):
    """Outputs, both states and the gradients of input, states and parameters."""
    x = x.clone().requires_grad_()
    hx = hx and tuple(s.clone().requires_grad_() for s in hx)
    lstm.zero_grad()
    in_order = lengths == sorted(lengths, reverse=True)
    packed = pack_padded_sequence(x, lengths, batch_first, enforce_sorted=in_order)
    torch.manual_seed(3)  # of the dropout between layers
    y, (h, c) = lstm(packed, hx)
    padded, n = pad_packed_sequence(y, batch_first)
    assert n.tolist() == lengths
    (padded.sin().sum() + (h * h).sum() + c.cos().sum()).backward()
    states = [s.grad for s in hx] if hx else []
    return [padded, h, c, x.grad, *states, *(p.grad for p in lstm.parameters())]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def pair(layers, bidirectional, dropout, dtype=torch.float32, **options):
    torch.manual_seed(0)
    stock = torch.nn.LSTM(
        5, 4, layers, bidirectional=bidirectional, dropout=dropout, **options
    ).to(dtype)
    ours = copy.deepcopy(stock)
    assert cpu_lstm.install(ours) == 1
    return stock, ours


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("layers, bidirectional, dropout", SHAPES)
@pytest.mark.parametrize("given_states", [False, True])
def test_equal_in_float64(layers, bidirectional, dropout, lengths, given_states):
    stock, ours = pair(layers, bidirectional, dropout, torch.double, batch_first=True)
    x = torch.randn(len(lengths), max(lengths), 5).double()
    shape = (layers * (2 if bidirectional else 1), len(lengths), 4)
    hx = (torch.randn(shape).double(), torch.randn(shape).double())
    hx = hx if given_states else None
    for a, b in zip(
        everything(stock, x, lengths, hx), everything(ours, x, lengths, hx)
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)


FROZEN = [(), ("weight",), ("bias", "weight_hh_l0"), ("_reverse",), ("weight", "bias")]


@pytest.mark.parametrize("lengths", LENGTHS[2:5], ids=str)
@pytest.mark.parametrize("frozen", FROZEN, ids=str)
@pytest.mark.parametrize("given_states", [False, True])
def test_two_threads_one_a_direction(two_threads, lengths, frozen, given_states):
    _, ours = pair(2, True, 0.4, batch_first=True)
    for name, p in ours.named_parameters():
        p.requires_grad = not any(part in name for part in frozen)
    x, state = torch.randn(len(lengths), max(lengths), 5), None
    if given_states:
        state = tuple(torch.randn(4, len(lengths), 4) for _ in range(2))
    many = [everything(ours, x, lengths, state) for _ in range(2)]
    torch.set_num_threads(1)
    one = everything(ours, x, lengths, state)
    assert_same(many[0], one)
    assert_same(many[1], one)


def test_two_threads_without_gradients(two_threads):
    _, ours = pair(2, True, 0.0, batch_first=True)
    packed = pack_padded_sequence(torch.randn(2, 6, 5), [6, 4], batch_first=True)
    expected = ours(packed)[0].data
    assert expected.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = ours(packed)[0].data
        assert not found.requires_grad
        assert torch.equal(found, expected)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_equal_in_float32(lengths, batch_first):
    stock, ours = pair(2, True, 0.0, batch_first=batch_first)
    x = torch.randn(len(lengths), max(lengths), 5)
    x = x if batch_first else x.transpose(0, 1).contiguous()
    a = everything(stock, x, lengths, batch_first=batch_first)
    b = everything(ours, x, lengths, batch_first=batch_first)
    for u, v in zip(a[:3], b[:3]):
        torch.testing.assert_close(u, v, rtol=0, atol=1e-6)
    for u, v in zip(a[3:], b[3:]):
        torch.testing.assert_close(u, v, rtol=1e-5, atol=1e-5)


LONG = [[70, 3, 1], [40, 5, 99, 66, 33, 1], [64, 32], [200, 100, 50, 25, 1, 1, 1, 1]]


@pytest.mark.parametrize("lengths", LONG, ids=str)
@pytest.mark.parametrize("layers, bidirectional", [(1, False), (2, True)])
@pytest.mark.parametrize("given_states", [False, True])
def test_lengths_that_differ_much(layers, bidirectional, lengths, given_states):
    stock, ours = pair(layers, bidirectional, 0.0, torch.double, batch_first=True)
    x = torch.randn(len(lengths), max(lengths), 5).double()
    shape = (layers * (2 if bidirectional else 1), len(lengths), 4)
    hx = tuple(torch.randn(shape).double() for _ in range(2)) if given_states else None
    for a, b in zip(
        everything(stock, x, lengths, hx), everything(ours, x, lengths, hx)
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


def sizes(lengths):
    return [sum(n > t for n in lengths) for t in range(max(lengths))]


@pytest.mark.parametrize(
    "lengths, expected",
    [
        ([5], [(5, 1)]),
        ([9, 1], [(9, 2)]),  # too short
        ([100, 90, 85, 80], [(100, 4)]),  # nearly full
        ([100, 10], [(32, 2), (68, 1)]),
        ([100, 40, 40, 69], [(40, 4), (60, 2)]),
        ([64, 32], [(32, 2), (32, 1)]),
        ([63, 20, 20], [(63, 3)]),  # the second block would have 31 frames
        ([300, 150, 70, 1, 1, 1], [(32, 6), (38, 3), (80, 2), (150, 1)]),
    ],
)
def test_blocks(lengths, expected):
    assert cpu_lstm.blocks(sizes(lengths)) == expected


def test_without_bias_and_in_eval_mode():
    stock, ours = pair(2, True, 0.5, torch.double, batch_first=True, bias=False)
    x = torch.randn(3, 6, 5).double()
    for a, b in zip(
        everything(stock.eval(), x, [6, 4, 3]), everything(ours.eval(), x, [6, 4, 3])
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_padding_has_no_influence():
    _, ours = pair(1, True, 0.0, batch_first=True)
    x = torch.randn(2, 6, 5)
    packed = pack_padded_sequence(x, [6, 2], batch_first=True)
    x[1, 2:] = float("nan")
    again = pack_padded_sequence(x, [6, 2], batch_first=True)
    assert torch.equal(ours(packed)[0].data, ours(again)[0].data)


def test_other_input_goes_the_stock_way():
    stock, ours = pair(1, True, 0.0, batch_first=True)
    x = torch.randn(2, 6, 5)
    assert torch.equal(stock(x)[0], ours(x)[0])


def test_projections_are_left_alone():
    lstm = torch.nn.LSTM(5, 4, proj_size=2)
    assert cpu_lstm.install(lstm) == 0
    assert type(lstm) is torch.nn.LSTM


def test_only_the_class_changes():
    stock, ours = pair(2, True, 0.0)
    assert list(stock.state_dict()) == list(ours.state_dict())
    assert isinstance(ours, torch.nn.LSTM)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(other) is cpu_lstm.CPULSTM
        assert torch.equal(other.weight_hh_l1_reverse, stock.weight_hh_l1_reverse)
    assert cpu_lstm.install(ours) == 0


def test_takes_the_onednn_way():
    from torch.profiler import profile

    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    _, ours = pair(1, True, 0.0, batch_first=True)
    with profile() as record:
        everything(ours, torch.randn(2, 6, 5), [6, 3])
    names = {e.key for e in record.key_averages()}
    assert "aten::mkldnn_rnn_layer_backward" in names


ENCODERS = [
    ("rnn", {"subsample": [2, 2, 1]}, [40, 33, 12]),
    ("rnn", {"subsample": None, "bidirectional": False}, [21, 21]),
    ("rnn", {"use_projection": False}, [17, 9, 9, 4]),
    ("vgg_rnn", {}, [40, 33, 12]),
    ("vgg_rnn", {"use_projection": False}, [25]),
]


@pytest.mark.espnet
@pytest.mark.parametrize("name, conf, lengths", ENCODERS, ids=str)
def test_encoders_of_espnet(name, conf, lengths):
    from espnet2.tasks.asr import encoder_choices

    torch.manual_seed(0)
    sizes = dict(num_layers=3, hidden_size=7, output_size=6)
    stock = encoder_choices.get_class(name)(input_size=12, **sizes, **conf).double()
    ours = copy.deepcopy(stock)
    assert cpu_lstm.install(ours) == (3 if conf.get("use_projection", True) else 1)
    results = []
    for encoder in (stock, ours):
        x = torch.randn(len(lengths), max(lengths), 12, generator=_seeded()).double()
        y, n, _ = encoder(x.requires_grad_(), torch.tensor(lengths))
        y.sin().sum().backward()
        results.append([y, n, x.grad, *(p.grad for p in encoder.parameters())])
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)
