"""Layers: gradients agree with finite differences, results with PyTorch; and Module."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import assert_as_torch, assert_gradients_are_sound, generators, leaf, leaves
from hypothesis import given, settings
from hypothesis import strategies as st
from on_both import assert_allclose, assert_array_equal, here, host, share_memory

import minigrad as mg
from minigrad import Tensor, gradcheck, nn

pytestmark = pytest.mark.usefixtures("backend")

Draw = Callable[[st.SearchStrategy[Any]], Any]
SIZES = st.integers(1, 3)
BATCHES = st.integers(0, 3)  # which may be empty, as the last of a data set


class Case(NamedTuple):
    """A layer, a function that makes PyTorch's from torch, and inputs for both."""

    layer: nn.Module
    theirs: Callable[[Any], Any] | None
    inputs: Sequence[np.ndarray]


def call(layer: Any) -> Callable[..., Any]:
    """The layer as a function of its input and states (for LSTM a pair)."""

    def function(x: Any, *state: Any) -> Any:
        mg.manual_seed(0)  # the same units dropped at every call
        hidden = state if len(state) > 1 else state[0] if state else None
        return layer(x) if hidden is None else layer(x, hidden)

    return function


def sized(draw: Draw, *shape: int) -> np.ndarray:
    """Random numbers, away from ReLU's kink and from each other."""
    size = int(np.prod(shape))
    steps = draw(generators).permutation(size) - (size - 1) / 2 + 0.25
    return 2 * steps.reshape(shape) / size


def some(draw: Draw, dims: int) -> np.ndarray:
    return sized(draw, draw(BATCHES), *(draw(SIZES) for _ in range(dims - 1)))


def spread(layer: nn.Module, draw: Draw) -> nn.Module:
    """Replace the initial weights, because initial biases may be zero."""
    rng = draw(generators)
    for parameter in layer.double().parameters():
        parameter.data[...] = here(rng.uniform(-1, 1, parameter.shape))
    return layer


def linear(draw: Draw) -> Case:
    I, O, bias = draw(SIZES), draw(SIZES), draw(st.booleans())
    lead = draw(st.lists(BATCHES, max_size=2))
    return Case(
        spread(nn.Linear(I, O, bias=bias), draw),
        lambda torch: torch.nn.Linear(I, O, bias=bias),
        [sized(draw, *lead, I)],
    )


def embedding(draw: Draw) -> Case:
    V, E = draw(SIZES), draw(SIZES)
    ids = draw(generators).integers(0, V, draw(st.lists(BATCHES, max_size=2)))
    return Case(
        spread(nn.Embedding(V, E), draw), lambda torch: torch.nn.Embedding(V, E), [np.array(ids)]
    )


def recurrent(name: str, **how: Any) -> Any:
    """Up to three layers, with and without initial state; dropout only if inactive."""
    directions = 2 if how.get("bidirectional") else 1

    def case(draw: Draw) -> Case:
        B, (T, I, H) = draw(BATCHES), (draw(SIZES) for _ in range(3))
        layers = draw(st.integers(1, 4 - directions))  # each direction is a layer to be computed
        bptt = draw(st.sampled_from(["manual", "autograd"]))
        dropout = draw(st.sampled_from([0.0, 0.5])) if layers > 1 else 0.0
        states = draw(st.sampled_from([0, 2 if name == "LSTM" else 1]))
        options = {"dropout": dropout, "batch_first": draw(st.booleans()), **how}
        layer = getattr(nn, name)(I, H, layers, bptt=bptt, **options)
        lead = (B, T) if options["batch_first"] else (T, B)
        state = (layers * directions, B, H)
        return Case(
            spread(layer, draw).train(not dropout),
            lambda torch: getattr(torch.nn, name)(I, H, layers, **options),
            [sized(draw, *lead, I), *(sized(draw, *state) for _ in range(states))],
        )

    return case


def cell(name: str, **how: Any) -> Any:
    def case(draw: Draw) -> Case:
        B, I, H = draw(BATCHES), draw(SIZES), draw(SIZES)
        states = draw(st.sampled_from([0, 2 if name == "LSTMCell" else 1]))
        return Case(
            spread(getattr(nn, name)(I, H, **how), draw),
            lambda torch: getattr(torch.nn, name)(I, H, **how),
            [sized(draw, B, I), *(sized(draw, B, H) for _ in range(states))],
        )

    return case


def batch_norm(dims: int) -> Any:
    """Training and evaluation, with more than one value per channel."""

    def case(draw: Draw) -> Case:
        C = draw(SIZES)
        shape = (draw(st.integers(3, 4)), C, *(draw(SIZES) for _ in range(dims)))
        name = f"BatchNorm{max(dims, 1)}d"
        layer = spread(getattr(nn, name)(C), draw)
        rng = draw(generators)
        layer.running_mean.data[...] = here(rng.standard_normal(C))
        layer.running_var.data[...] = here(rng.uniform(0.5, 2, C))
        return Case(
            layer.train(draw(st.booleans())),
            lambda torch: getattr(torch.nn, name)(C),
            [sized(draw, *shape)],
        )

    return case


def images(draw: Draw) -> np.ndarray:
    return sized(draw, draw(BATCHES), draw(SIZES), draw(st.integers(3, 5)), draw(st.integers(3, 5)))


def conv2d(draw: Draw) -> Case:
    x, O = images(draw), draw(SIZES)
    kernel, stride = (draw(SIZES), draw(SIZES)), (draw(SIZES), draw(SIZES))
    padding, bias = draw(st.integers(0, 2)), draw(st.booleans())
    return Case(
        spread(nn.Conv2d(x.shape[1], O, kernel, stride, padding, bias=bias), draw),
        lambda torch: torch.nn.Conv2d(x.shape[1], O, kernel, stride, padding, bias=bias),
        [x],
    )


def max_pool2d(draw: Draw) -> Case:
    kernel = (draw(st.integers(2, 3)), draw(st.integers(2, 3)))
    how = (kernel, draw(st.none() | SIZES), draw(st.integers(0, 1)))
    return Case(nn.MaxPool2d(*how), lambda torch: torch.nn.MaxPool2d(*how), [images(draw)])


def plain(name: str) -> Any:
    return lambda draw: Case(
        getattr(nn, name)(), lambda torch: getattr(torch.nn, name)(), [images(draw)]
    )


def sequential(draw: Draw) -> Case:
    return Case(
        spread(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)), draw),
        lambda torch: torch.nn.Sequential(
            torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)
        ),
        [sized(draw, draw(BATCHES), 2)],
    )


class Branches(nn.ModuleList):
    """A module list that sums the outputs of its modules."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = self
        return first(x) + second(x) * self[-1](x)


def module_list(draw: Draw) -> Case:
    def theirs(torch: Any) -> Any:
        class Branches(torch.nn.ModuleList):
            def forward(self, x: Any) -> Any:
                return self[0](x) + self[1](x) * self[1](x)

        return Branches([torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)])

    layer = Branches([nn.Linear(2, 3), nn.Linear(2, 3)])
    return Case(spread(layer, draw), theirs, [sized(draw, draw(BATCHES), 2)])


def dropout(name: str, dims: int) -> Any:
    """Random masks, which can't be compared with PyTorch."""
    return lambda draw: Case(getattr(nn, name)(0.4), None, [some(draw, dims)])


def certain_dropout(name: str, dims: int) -> Any:
    def case(draw: Draw) -> Case:
        p, training = draw(st.sampled_from([(0.0, True), (1.0, True), (0.4, False)]))
        layer = getattr(nn, name)(p).train(training)
        return Case(layer, lambda torch: getattr(torch.nn, name)(p), [some(draw, dims)])

    return case


def cross_entropy_loss(draw: Draw) -> Case:
    N, V = draw(st.integers(2, 3)), draw(st.integers(2, 3))
    target = np.array(
        [1, *draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=N - 1, max_size=N - 1))]
    )
    how = {"ignore_index": -1, "reduction": draw(st.sampled_from(["mean", "sum"]))}
    return Case(
        nn.CrossEntropyLoss(**how),
        lambda torch: torch.nn.CrossEntropyLoss(**how),
        [sized(draw, N, V), target],
    )


def mse_loss(draw: Draw) -> Case:
    shape = draw(SIZES), draw(SIZES)
    how = {"reduction": draw(st.sampled_from(["mean", "sum"]))}
    return Case(
        nn.MSELoss(**how),
        lambda torch: torch.nn.MSELoss(**how),
        [sized(draw, *shape), sized(draw, *shape) + 3],
    )


# The first word is the layer's name, the rest distinguishes its cases.
CASES = {
    "Linear": linear,
    "Embedding": embedding,
    "RNN tanh": recurrent("RNN", nonlinearity="tanh"),
    "RNN relu": recurrent("RNN", nonlinearity="relu"),
    "RNN both ways": recurrent("RNN", bidirectional=True),
    "LSTM": recurrent("LSTM"),
    "LSTM both ways": recurrent("LSTM", bidirectional=True),
    "GRU": recurrent("GRU"),
    "GRU both ways": recurrent("GRU", bidirectional=True),
    "RNNCell tanh": cell("RNNCell", nonlinearity="tanh"),
    "RNNCell relu": cell("RNNCell", nonlinearity="relu"),
    "LSTMCell": cell("LSTMCell"),
    "GRUCell": cell("GRUCell"),
    "Dropout": dropout("Dropout", 2),
    "Dropout without chance": certain_dropout("Dropout", 2),
    "Dropout1d": dropout("Dropout1d", 3),
    "Dropout1d without chance": certain_dropout("Dropout1d", 3),
    "Dropout2d": dropout("Dropout2d", 4),
    "Dropout2d without chance": certain_dropout("Dropout2d", 4),
    "BatchNorm1d": batch_norm(0),
    "BatchNorm1d sequences": batch_norm(1),
    "BatchNorm2d": batch_norm(2),
    "Conv2d": conv2d,
    "MaxPool2d": max_pool2d,
    "ReLU": plain("ReLU"),
    "Tanh": plain("Tanh"),
    "Flatten": plain("Flatten"),
    "CrossEntropyLoss": cross_entropy_loss,
    "MSELoss": mse_loss,
    "ModuleList": module_list,
    "Sequential": sequential,
}

each_case = pytest.mark.parametrize("name", CASES)
few = settings(max_examples=8)


BASES = {"Module", "Parameter", "Recurrent"}


def test_every_layer_is_in_the_table() -> None:
    assert set(nn.__all__) - BASES == {case.split()[0] for case in CASES}


@each_case
@few
@given(data=st.data())
def test_gradient_is_the_finite_difference(name: str, data: st.DataObject) -> None:
    """With respect to the input, the states, and every parameter."""
    case = CASES[name](data.draw)
    inputs, function = leaves(case.inputs), call(case.layer)
    given_to = [*inputs, *case.layer.parameters()]
    assert gradcheck(lambda *xs: function(*xs[: len(inputs)]), given_to)


@each_case
@few
@given(data=st.data())
def test_values_and_gradients_are_pytorchs(name: str, data: st.DataObject) -> None:
    """With the same weights under the same names, gates in the same order."""
    torch = pytest.importorskip("torch")
    case = CASES[name](data.draw)
    if case.theirs is None:
        return
    theirs = case.theirs(torch).double().train(case.layer.training)
    theirs.load_state_dict({k: torch.tensor(host(v)) for k, v in case.layer.state_dict().items()})
    named = dict(theirs.named_parameters())
    pairs = [(parameter, named[name]) for name, parameter in case.layer.named_parameters()]
    assert len(pairs) == len(named)
    assert_as_torch(call(case.layer), call(theirs), case.inputs, pairs)
    after = case.layer.state_dict()
    for name, value in theirs.state_dict().items():  # running estimates too
        assert_allclose(after[name], value.numpy(), rtol=0, atol=1e-10)


@each_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@few
@given(data=st.data())
def test_gradients_are_sound(name: str, dtype: Any, data: st.DataObject) -> None:
    case = CASES[name](data.draw)
    layer = case.layer.float() if dtype == np.float32 else case.layer.double()
    assert_gradients_are_sound(call(layer), leaves(case.inputs, dtype), layer.parameters())


# -------------------------------------------------------------------- dtypes and shapes

FLOAT_LAYERS = {
    "Linear": (lambda: nn.Linear(2, 3), (4, 2)),
    "RNN": (lambda: nn.RNN(2, 3), (5, 4, 2)),
    "LSTM": (lambda: nn.LSTM(2, 3), (5, 4, 2)),
    "GRU": (lambda: nn.GRU(2, 3, bptt="autograd"), (5, 4, 2)),
    "RNNCell": (lambda: nn.RNNCell(2, 3), (4, 2)),
    "LSTMCell": (lambda: nn.LSTMCell(2, 3), (4, 2)),
    "GRUCell": (lambda: nn.GRUCell(2, 3), (4, 2)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(2), (4, 2)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 2), (1, 2, 4, 4)),
}


@pytest.mark.parametrize("name", FLOAT_LAYERS)
def test_an_input_of_another_dtype_is_refused(name: str) -> None:
    make, shape = FLOAT_LAYERS[name]
    layer = make()
    with pytest.raises(TypeError, match=r"float64.*float32"):
        layer(mg.tensor(np.ones(shape)))
    with pytest.raises(TypeError, match=r"float32.*float64"):
        layer.double()(mg.tensor(np.ones(shape, np.float32)))


@pytest.mark.parametrize("bptt", ["manual", "autograd"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_state_of_another_dtype_is_refused(bptt: str, which: int) -> None:
    states = [mg.tensor(np.zeros((1, 4, 3), np.float32)) for _ in range(2)]
    states[which] = mg.tensor(np.zeros((1, 4, 3)))
    with pytest.raises(TypeError, match=r"input is float32 and the hidden state is float64"):
        nn.LSTM(2, 3, bptt=bptt)(mg.tensor(np.zeros((5, 4, 2), np.float32)), tuple(states))


@pytest.mark.parametrize("which", [0, 1])
def test_a_cells_state_of_another_dtype_is_refused(which: int) -> None:
    states = [mg.tensor(np.zeros((4, 3), np.float32)) for _ in range(2)]
    states[which] = mg.tensor(np.zeros((4, 3)))
    with pytest.raises(TypeError, match=r"float(32|64).*float(64|32)"):
        nn.LSTMCell(2, 3)(mg.tensor(np.zeros((4, 2), np.float32)), tuple(states))


@pytest.mark.parametrize("shape", [(4, 2), (5, 4, 3), (0, 4, 2), (5, 4, 2, 1)])
def test_recurrent_layers_say_which_input_they_take(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"GRU.*\(T, B, 2\)"):
        nn.GRU(2, 3)(mg.tensor(np.ones(shape, np.float32)))
    if shape[0] == 0:
        shape = (4, 0, 2)
    with pytest.raises(ValueError, match=rf"GRU.*\(B, T, 2\).*{re.escape(str(shape))}"):
        nn.GRU(2, 3, batch_first=True)(mg.tensor(np.ones(shape, np.float32)))


@pytest.mark.parametrize(
    "shapes", [[(1, 4, 3)], [(4, 3)] * 2, [(2, 4, 3)] * 2, [(1, 4, 2)] * 2, [(1, 1, 3)] * 2]
)
def test_recurrent_layers_say_which_state_they_take(shapes: list[tuple[int, ...]]) -> None:
    state = tuple(mg.tensor(np.ones(shape, np.float32)) for shape in shapes)
    with pytest.raises(ValueError, match=r"LSTM.* pair .*\(1, 4, 3\), not"):
        nn.LSTM(2, 3)(mg.tensor(np.ones((5, 4, 2), np.float32)), state)
    with pytest.raises(ValueError, match=r"LSTM.* pair .*\(4, 4, 3\), not"):
        both_ways = nn.LSTM(2, 3, 2, batch_first=True, bidirectional=True)
        both_ways(mg.tensor(np.ones((4, 5, 2), np.float32)), state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.RNN(2, 3, nonlinearity="sine"), "'sine'"),
        (lambda: nn.RNNCell(2, 3, nonlinearity="sine"), "'sine'"),
        (lambda: nn.LSTM(2, 3, bptt="guess"), "'guess'"),
        (lambda: nn.LSTM(2, 0), "hidden_size=0"),
        (lambda: nn.GRU(0, 3), "input_size=0"),
        (lambda: nn.GRU(2, 3, num_layers=0), "num_layers=0"),
        (lambda: nn.GRUCell(2, 0), "hidden_size=0"),
        (lambda: nn.LSTM(2, 3, 2, dropout=1.5), "1.5"),
        (lambda: nn.Dropout(-0.1), "-0.1"),
        (lambda: nn.Dropout(1.1), "1.1"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


# -------------------------------------------------------------------- dropout


def test_dropout_is_the_identity_in_evaluation() -> None:
    layer, x = nn.Dropout(0.5), leaf(np.ones(1000))
    assert (layer(x).data == 0).any()
    assert layer.eval()(x).data.tolist() == x.data.tolist()
    assert (layer.train()(x).data == 0).any()


@pytest.mark.parametrize("bptt", ["manual", "autograd"])
def test_dropout_acts_between_recurrent_layers_and_not_after_the_last(bptt: str) -> None:
    """With p = 1 the second layer gets zeros, and its own output is not dropped."""
    layer = nn.GRU(2, 3, 2, dropout=1.0, bptt=bptt)
    second = nn.GRU(3, 3, bptt=bptt)
    second.load_state_dict(
        {k.replace("_l1", "_l0"): v for k, v in layer.state_dict().items() if "_l1" in k}
    )
    x = mg.tensor(np.random.default_rng(0).standard_normal((4, 2, 2)).astype(np.float32))
    output, last = layer(x)
    assert_array_equal(output.data, second(mg.tensor(np.zeros((4, 2, 3), "f4")))[0].data)
    assert_array_equal(last.data[1], output.data[-1])
    one, _ = nn.GRU(2, 3, 1, dropout=1.0)(x)
    assert one.data.all()
    evaluated, _ = layer.eval()(x)
    assert (evaluated.data != output.data).any()


@pytest.mark.parametrize("bptt", ["manual", "autograd"])
def test_the_way_back_is_the_way_forth_of_the_sequence_reversed(bptt: str) -> None:
    layer = nn.GRU(2, 3, bptt=bptt, bidirectional=True)
    back = nn.GRU(2, 3, bptt=bptt)
    back.load_state_dict(
        {k.removesuffix("_reverse"): v for k, v in layer.state_dict().items() if "_rev" in k}
    )
    x = mg.tensor(np.random.default_rng(0).standard_normal((4, 2, 2)).astype(np.float32))
    (output, last), (reversed_output, end) = layer(x), back(x[::-1])
    assert_array_equal(output.data[:, :, 3:], reversed_output.data[::-1])
    assert_array_equal(last.data[1], end.data[0])
    assert_array_equal(last.data[1], output.data[0, :, 3:])  # after the sequence's first step


# -------------------------------------------------------------------- first weights


@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (lambda: nn.Linear(25, 400), 1 / 5),
        (lambda: nn.LSTM(100, 25, 2), 1 / 5),
        (lambda: nn.GRUCell(100, 25), 1 / 5),
        (lambda: nn.RNN(100, 25, nonlinearity="relu"), 1 / 5),
    ],
)
def test_first_weights_are_uniform_within_the_bound(make: Any, bound: float) -> None:
    for parameter in make().parameters():
        assert parameter.dtype == np.float32
        assert abs(parameter.data).max() <= bound
        assert abs(parameter.data).max() > 0.9 * bound
        if parameter.size > 1000:
            assert abs(parameter.data.mean()) < 0.05 * bound
            assert parameter.numpy().std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_first_embeddings_are_standard_normal() -> None:
    weight = nn.Embedding(100, 100).weight.numpy()
    assert weight.mean() == pytest.approx(0, abs=0.05)
    assert weight.std() == pytest.approx(1, abs=0.05)


def test_parameters_are_made_in_the_default_dtype() -> None:
    mg.set_default_dtype("float64")
    assert {p.dtype for p in nn.LSTM(2, 3).parameters()} == {np.dtype("float64")}
    mg.set_default_dtype(np.float32)
    assert nn.Embedding(2, 3).weight.dtype == np.float32


# -------------------------------------------------------------------- Module


class Tied(nn.Module):
    """An encoder and a decoder with one weight, and a layer inside a layer."""

    def __init__(self) -> None:
        self.encoder = nn.Embedding(5, 3)
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
        self.decoder = nn.Linear(3, 5)
        self.decoder.weight = self.encoder.weight
        self.scale = nn.Parameter(here(np.ones(1, np.float32)))
        self.note = "not a parameter"

    def forward(self, ids: Any) -> Tensor:
        return self.decoder(self.inner(self.encoder(ids))) * self.scale


def test_names_follow_the_attributes() -> None:
    model = Tied()
    inner = ["inner.0.weight", "inner.0.bias"]
    names = ["scale", "encoder.weight", *inner, "decoder.weight", "decoder.bias"]
    assert list(model.state_dict()) == names
    assert [name for name, _ in model.named_parameters()] == [
        name for name in names if name != "decoder.weight"
    ]
    assert len(list(model.parameters())) == 5
    assert [name for name, _ in nn.LSTM(2, 3, 2).named_parameters()] == [
        f"{kind}_{source}_l{k}"
        for k in (0, 1)
        for kind in ("weight", "bias")
        for source in ("ih", "hh")
    ]


def test_a_shared_parameter_is_one_array_with_one_gradient() -> None:
    model = Tied()
    state = model.state_dict()
    assert state["encoder.weight"] is state["decoder.weight"]
    model.eval()(np.array([1, 2])).sum().backward()
    assert model.encoder.weight.grad is model.decoder.weight.grad
    assert model.encoder.weight.grad.all()  # the decoder's rows, and two of the encoder's
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_conversion_keeps_what_is_shared_and_forgets_gradients() -> None:
    model = Tied()
    model(np.array([1, 2])).sum().backward()
    assert model.double() is model
    assert {p.dtype for p in model.parameters()} == {np.dtype("float64")}
    assert all(p.grad is None for p in model.parameters())
    assert model.decoder.weight is model.encoder.weight
    assert {p.dtype for p in model.float().parameters()} == {np.dtype("float32")}


def test_training_mode_reaches_every_module_inside() -> None:
    model = Tied()
    assert all(m.training for m in model.modules())
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert model.train() is model
    assert all(m.training for m in model.modules())
    assert not model.train(False).inner.training


def test_loading_copies_values_into_the_parameters_own_arrays_and_dtype() -> None:
    model, source = Tied(), {k: np.ones(v.shape) for k, v in Tied().state_dict().items()}
    source["scale"] = mg.tensor(source["scale"])  # a tensor does as well
    own = model.encoder.weight.data
    model.load_state_dict(source)
    assert model.encoder.weight.data is own
    assert own.dtype == np.float32
    assert (own == 1).all()
    assert not share_memory(model.decoder.bias.data, source["decoder.bias"])
    assert model.encoder.weight.requires_grad


def test_loading_names_everything_that_is_wrong_and_changes_nothing() -> None:
    model = Tied()
    before = {k: v.copy() for k, v in model.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    del state["scale"], state["inner.0.bias"]
    state |= {"extra": np.ones(1), "decoder.bias": np.ones(4), "inner.0.weight": np.ones((3, 2))}
    with pytest.raises(ValueError, match="load_state_dict") as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    for name in ("scale", "inner.0.bias", "extra", "decoder.bias", "inner.0.weight"):
        assert name in message
    for part in ("missing", "unexpected", "(4,)", "(5,)", "(3, 2)", "(3, 3)"):
        assert part in message
    assert "encoder" not in message
    for name, value in model.state_dict().items():
        assert_array_equal(value, before[name])


def test_loading_part_of_a_model_is_possible_when_asked_for() -> None:
    model = Tied()
    kept = model.encoder.weight.data.copy()
    model.load_state_dict({"scale": np.full(1, 7.0), "extra": np.ones(1)}, strict=False)
    assert model.scale.data == 7
    assert_array_equal(model.encoder.weight.data, kept)
    with pytest.raises(ValueError, match="scale"):
        model.load_state_dict({"scale": np.ones(2)}, strict=False)


def test_a_module_says_when_it_does_nothing() -> None:
    with pytest.raises(NotImplementedError):
        nn.Module()(1)


# -------------------------------------------------------------------- lists of modules


@pytest.mark.parametrize("kind", [nn.ModuleList, nn.Sequential])
def test_modules_by_number_are_a_list(kind: Any) -> None:
    one, two, three = nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)
    layers = kind().append(one).extend([two, three])
    assert len(layers) == 3
    assert list(layers) == [one, two, three]
    assert [layers[i] for i in (0, 1, 2, -1)] == [one, two, three, three]
    assert type(layers[1:]) is kind
    assert list(layers[1:]) == [two, three]
    assert list(layers[::-2].state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert [name for name, _ in layers.children()] == ["0", "1", "2"]
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with pytest.raises(IndexError):
        layers[3]
    assert len(kind()) == 0


def test_what_is_in_a_list_of_modules_is_found() -> None:
    class Stack(nn.Module):
        def __init__(self) -> None:
            self.layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    model = Stack()
    assert [n for n, _ in model.named_parameters()][:3] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
    ]
    assert not any(m.training for m in model.eval().layers)
    model(leaf(np.ones((1, 2)), np.float32)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("made", [lambda: nn.Sequential([nn.Tanh()]), lambda: nn.ModuleList([3])])
def test_only_modules_go_into_a_list_of_modules(made: Any) -> None:
    with pytest.raises(TypeError, match=r"takes modules, not (list|int)"):
        made()


# -------------------------------------------------------------------- repr

REPRS = {
    "Linear": lambda n: n.Linear(3, 4),
    "Linear without bias": lambda n: n.Linear(3, 4, bias=False),
    "Embedding": lambda n: n.Embedding(5, 3),
    "RNN": lambda n: n.RNN(2, 3, nonlinearity="relu"),
    "LSTM": lambda n: n.LSTM(2, 3, 2, dropout=0.5),
    "LSTM with all": lambda n: n.LSTM(2, 3, 2, dropout=0.5, batch_first=True, bidirectional=True),
    "GRU": lambda n: n.GRU(2, 3),
    "RNNCell": lambda n: n.RNNCell(2, 3),
    "RNNCell relu": lambda n: n.RNNCell(2, 3, nonlinearity="relu"),
    "LSTMCell": lambda n: n.LSTMCell(2, 3),
    "GRUCell": lambda n: n.GRUCell(2, 3),
    "Dropout": lambda n: n.Dropout(0.2),
    "Dropout1d": lambda n: n.Dropout1d(0.2),
    "Dropout2d": lambda n: n.Dropout2d(0.2),
    "BatchNorm1d": lambda n: n.BatchNorm1d(4, momentum=0.5),  # 0.5 means the same in both
    "BatchNorm2d": lambda n: n.BatchNorm2d(4, eps=1e-3, momentum=0.5),
    "Conv2d": lambda n: n.Conv2d(3, 4, 2),
    "Conv2d with all": lambda n: n.Conv2d(3, 4, (2, 3), 2, (1, 0), bias=False),
    "MaxPool2d": lambda n: n.MaxPool2d(2),
    "MaxPool2d with all": lambda n: n.MaxPool2d((2, 3), 1, 1),
    "ReLU": lambda n: n.ReLU(),
    "Tanh": lambda n: n.Tanh(),
    "Flatten": lambda n: n.Flatten(),
    "CrossEntropyLoss": lambda n: n.CrossEntropyLoss(),
    "MSELoss": lambda n: n.MSELoss(),
    "ModuleList": lambda n: n.ModuleList([n.Linear(3, 4), n.ReLU()]),
    "Sequential": lambda n: n.Sequential(n.Linear(3, 4), n.Sequential(n.Tanh(), n.GRU(4, 2))),
    "Sequential of none": lambda n: n.Sequential(n.Sequential()),
}
# Features of PyTorch's layers that ours reject with an error.
ONLY_THERE = [
    ", inplace=False", ", affine=True", ", bias=True, track_running_stats=True",
    ", track_running_stats=True", ", dilation=1, ceil_mode=False", "start_dim=1, end_dim=-1",
]  # fmt: skip


def test_every_layer_is_in_the_table_of_reprs() -> None:
    assert set(nn.__all__) - BASES == {name.split()[0] for name in REPRS}


@pytest.mark.parametrize("name", REPRS)
def test_layers_are_printed_as_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = repr(REPRS[name](torch.nn))
    for words in ONLY_THERE:
        theirs = theirs.replace(words, "")
    assert repr(REPRS[name](nn)) == theirs


def test_a_module_of_ones_own_is_printed_with_what_it_says() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Tanh()

        def extra_repr(self) -> str:
            return "size=3"

    assert repr(nn.Sequential(Own())) == (
        "Sequential(\n  (0): Own(\n    size=3\n    (inner): Tanh()\n  )\n)"
    )
