"""The language model: its parameters, its two outputs, and where gradients stop."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from on_both import assert_allclose, assert_array_equal, host, share_memory

import minigrad as mg
from lm.model import RNNModel
from lm.steps import repackage_hidden
from minigrad import Tensor, nn
from minigrad import functional as F
from minigrad.cells import CELLS

pytestmark = pytest.mark.usefixtures("backend")

V, E, H, LAYERS = 23, 5, 6, 2
T, B = 7, 3


def make(rnn_type: str = "LSTM", **options: Any) -> RNNModel:
    """A small model in float64, the same every time."""
    mg.manual_seed(0)
    ninp = H if options.get("tie_weights") else E
    return RNNModel(rnn_type, V, ninp, H, LAYERS, **{"dropout": 0.0, **options}).double()


def words(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, (T, B))


def tuple_of(hidden: Any) -> tuple[Tensor, ...]:
    return hidden if isinstance(hidden, tuple) else (hidden,)


def some_hidden(model: RNNModel, requires_grad: bool = False) -> Any:
    """A state that is not zero, of the form the model wants."""
    rng = np.random.default_rng(5)
    zeros = tuple_of(model.init_hidden(B))
    states = tuple(
        mg.tensor(rng.standard_normal(z.shape), requires_grad=requires_grad) for z in zeros
    )
    return states if len(states) > 1 else states[0]


def gradients(model: RNNModel) -> dict[str, np.ndarray]:
    found = {name: p.grad for name, p in model.named_parameters()}
    assert all(grad is not None for grad in found.values())
    return found


def assert_same_gradients(a: RNNModel, b: RNNModel, atol: float = 1e-13) -> None:
    expected = gradients(b)
    for name, grad in gradients(a).items():
        assert_allclose(grad, expected[name], rtol=0, atol=atol, err_msg=name)


def test_the_signature_is_word_language_models() -> None:
    parameters = inspect.signature(RNNModel).parameters
    names = ["rnn_type", "ntoken", "ninp", "nhid", "nlayers", "dropout", "tie_weights"]
    assert list(parameters)[: len(names)] == names
    assert parameters["dropout"].default == 0.5
    assert parameters["tie_weights"].default is False


@pytest.mark.parametrize("rnn_type", CELLS)
def test_shapes(rnn_type: str) -> None:
    model = make(rnn_type)
    logits, hidden = model(words(1), model.init_hidden(B))
    assert logits.shape == (T * B, V)
    assert [h.shape for h in tuple_of(hidden)] == [(LAYERS, B, H)] * len(tuple_of(hidden))
    loss, _ = model.loss(words(1), words(2).reshape(-1), model.init_hidden(B))
    assert loss.shape == ()


@pytest.mark.parametrize("rnn_type", CELLS)
def test_init_hidden_is_zero_and_a_pair_for_the_lstm(rnn_type: str) -> None:
    model = make(rnn_type)
    hidden = model.init_hidden(4)
    assert isinstance(hidden, tuple) == (rnn_type == "LSTM")
    assert len(tuple_of(hidden)) == (2 if rnn_type == "LSTM" else 1)
    for h in tuple_of(hidden):
        assert h.shape == (LAYERS, 4, H)
        assert h.dtype == np.float64  # the parameters'
        assert not h.data.any()
        assert not h.requires_grad


def test_state_dict_has_pytorchs_names_and_shapes() -> None:
    shapes = {name: w.shape for name, w in make("LSTM").state_dict().items()}
    assert shapes == {
        "encoder.weight": (V, E),
        "rnn.weight_ih_l0": (4 * H, E),
        "rnn.weight_hh_l0": (4 * H, H),
        "rnn.bias_ih_l0": (4 * H,),
        "rnn.bias_hh_l0": (4 * H,),
        "rnn.weight_ih_l1": (4 * H, H),
        "rnn.weight_hh_l1": (4 * H, H),
        "rnn.bias_ih_l1": (4 * H,),
        "rnn.bias_hh_l1": (4 * H,),
        "decoder.weight": (V, H),
        "decoder.bias": (V,),
    }


def test_weights_begin_as_word_language_models_do() -> None:
    mg.manual_seed(3)
    model = RNNModel("LSTM", 1000, 20, 25, 2)
    weights = model.state_dict()
    for name, bound in {"encoder": 0.1, "decoder": 0.1, "rnn": 1 / np.sqrt(25)}.items():
        drawn = np.concatenate(
            [
                host(w).reshape(-1)
                for n, w in weights.items()
                if n.startswith(name) and n[-4:] != "bias"
            ]
        )
        assert drawn.dtype == np.float32
        assert np.abs(drawn).max() <= bound
        assert_allclose(drawn.mean(), 0, atol=0.05 * bound)
        assert_allclose(drawn.std(), bound / np.sqrt(3), rtol=0.03)  # uniform
    assert not weights["decoder.bias"].any()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rnn_type", CELLS)
def test_loss_is_the_cross_entropy_of_the_logits(rnn_type: str, tied: bool) -> None:
    one, other = make(rnn_type, tie_weights=tied), make(rnn_type, tie_weights=tied)
    target = words(2).reshape(-1)
    loss, hidden = one.loss(words(1), target, some_hidden(one))
    logits, expected_hidden = other(words(1), some_hidden(other))
    expected = F.cross_entropy(logits, target)

    z = logits.numpy() - logits.numpy().max(axis=1, keepdims=True)
    by_hand = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(T * B), target])
    assert loss.item() == pytest.approx(by_hand, abs=1e-13)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-13)
    for h, expected_h in zip(tuple_of(hidden), tuple_of(expected_hidden), strict=True):
        assert_array_equal(h.data, expected_h.data)
    loss.backward()
    expected.backward()
    assert_same_gradients(one, other)


@pytest.mark.parametrize("rnn_type", CELLS)
def test_autograd_bptt_gives_the_same_losses_and_gradients(rnn_type: str) -> None:
    def three_chunks(model: RNNModel) -> list[float]:
        losses = []
        hidden = some_hidden(model)
        for chunk in range(3):
            hidden = repackage_hidden(hidden)
            loss, hidden = model.loss(words(chunk), words(chunk + 1).reshape(-1), hidden)
            loss.backward()
            losses.append(loss.item())
        return losses

    by_hand, by_tape = make(rnn_type), make(rnn_type, bptt="autograd")
    assert three_chunks(by_hand) == pytest.approx(three_chunks(by_tape), rel=0, abs=1e-12)
    assert_same_gradients(by_hand, by_tape, atol=1e-12)


def test_tied_weights_are_one_parameter_and_one_array() -> None:
    tied, untied = make(tie_weights=True), make()
    assert tied.decoder.weight is tied.encoder.weight
    assert len(list(tied.parameters())) == len(list(untied.parameters())) - 1
    weights = tied.state_dict()
    assert weights["decoder.weight"] is weights["encoder.weight"]
    assert weights.keys() == untied.state_dict().keys()


def test_tied_weights_stay_tied_when_loaded() -> None:
    model, other = make(tie_weights=True), make(tie_weights=True)
    other.encoder.weight.data[...] = 0.5
    model.load_state_dict({name: w.copy() for name, w in other.state_dict().items()})
    assert model.decoder.weight is model.encoder.weight
    assert (model.decoder.weight.data == 0.5).all()


def test_tied_gradient_is_the_sum_of_both_uses() -> None:
    tied, apart = make(tie_weights=True), make(tie_weights=True)
    apart.decoder.weight = nn.Parameter(apart.encoder.weight.data.copy())
    for model in (tied, apart):
        loss, _ = model.loss(words(1), words(2).reshape(-1), model.init_hidden(B))
        loss.backward()
    both = apart.encoder.weight.grad + apart.decoder.weight.grad
    assert_allclose(tied.encoder.weight.grad, both, rtol=0, atol=1e-14)


def test_dropout_acts_in_training_only() -> None:
    model = make(dropout=0.5)
    target = words(2).reshape(-1)

    def loss() -> float:
        return model.loss(words(1), target, model.init_hidden(B))[0].item()

    assert len({loss() for _ in range(3)}) == 3
    model.eval()
    without, _ = make().loss(words(1), target, model.init_hidden(B))
    assert [loss() for _ in range(3)] == [without.item()] * 3


def test_dropout_reaches_the_embedding_between_the_layers_and_the_output() -> None:
    """With p = 1 each of the three cuts the model off from what lies before it."""
    model = make(dropout=1.0)
    logits, hidden = model(words(1), some_hidden(model))
    assert_array_equal(logits.data, np.tile(model.decoder.bias.numpy(), (T * B, 1)))
    other_words_hidden = model(words(9), some_hidden(model))[1]
    for h, other in zip(hidden, other_words_hidden, strict=True):
        assert_array_equal(h.data, other.data)  # the embedding
    model.rnn.weight_hh_l0.data *= 2
    h, changed = hidden[0].data, model(words(1), some_hidden(model))[1][0].data
    assert (h[0] != changed[0]).any()
    assert_array_equal(h[1], changed[1])  # between the layers


@pytest.mark.parametrize("kind", ["standard", "variational"])
def test_variational_dropout_drops_the_same_units_at_every_step(kind: str) -> None:
    model = make(dropout=0.5, dropout_kind=kind)
    features, _ = model.features(words(1), model.init_hidden(B))
    dropped = features.numpy().reshape(T, B, H) == 0
    assert 0.2 < dropped.mean() < 0.8
    assert (dropped == dropped[0]).all() == (kind == "variational")


@pytest.mark.parametrize("rnn_type", CELLS)
def test_repackaged_hidden_shares_its_values_but_has_no_history(rnn_type: str) -> None:
    model = make(rnn_type)
    _, hidden = model.loss(words(1), words(2).reshape(-1), some_hidden(model))
    again = repackage_hidden(hidden)
    assert type(again) is type(hidden)
    for h, detached in zip(tuple_of(hidden), tuple_of(again), strict=True):
        assert h.requires_grad
        assert not detached.requires_grad
        assert share_memory(h.data, detached.data)


def test_repackage_hidden_takes_tuples_in_tuples() -> None:
    a, b, c = (mg.tensor(np.ones(2), requires_grad=True) * n for n in (1, 2, 3))
    first, (second, (third,)) = repackage_hidden((a, (b, (c,))))
    for before, after in ((a, first), (b, second), (c, third)):
        assert_array_equal(after.data, before.data)
        assert before.requires_grad
        assert not after.requires_grad


@pytest.mark.parametrize("rnn_type", CELLS)
def test_no_gradient_passes_the_start_of_a_chunk(rnn_type: str) -> None:
    def second_chunk(cut: Any) -> tuple[RNNModel, Any]:
        model = make(rnn_type)
        start = some_hidden(model, requires_grad=True)
        _, hidden = model.loss(words(1), words(2).reshape(-1), start)
        loss, _ = model.loss(words(2), words(3).reshape(-1), cut(hidden))
        loss.backward()
        return model, tuple_of(start)

    truncated, start = second_chunk(repackage_hidden)
    assert all(h.grad is None for h in start)
    constants, _ = second_chunk(
        lambda hidden: (
            tuple(Tensor(h.data.copy()) for h in hidden)
            if isinstance(hidden, tuple)
            else Tensor(hidden.data.copy())
        )
    )
    assert_same_gradients(truncated, constants, atol=0)

    whole, start = second_chunk(lambda hidden: hidden)  # so that the test could fail
    assert all(abs(h.grad).max() > 1e-9 for h in start)
    name = "rnn.weight_hh_l0"
    assert abs(gradients(whole)[name] - gradients(truncated)[name]).max() > 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("TRANSFORMER", V, E, H, 2), "RNN_TANH, RNN_RELU, LSTM, GRU"),
        (("lstm", V, E, H, 2), "LSTM"),
        (("LSTM", 0, E, H, 2), "at least 1"),
        (("LSTM", V, 0, H, 2), "at least 1"),
        (("LSTM", V, E, 0, 2), "at least 1"),
        (("LSTM", V, E, H, 0), "at least 1"),
        (("LSTM", V, E, H, -1), "at least 1"),
        (("GRU", V, E, H, 2, 1.5), "from 0 to 1"),
        (("GRU", V, E, H, 2, -0.1), "from 0 to 1"),
        (("GRU", V, E, H, 2, float("nan")), "from 0 to 1"),
        (("RNN_TANH", V, E, H, 2, 0.5, True), f"{E}.*{H}"),
    ],
)
def test_what_cannot_be_is_a_value_error(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RNNModel(*arguments)


@pytest.mark.parametrize("option", ["bptt", "dropout_kind"])
def test_an_unknown_option_is_a_value_error(option: str) -> None:
    with pytest.raises(ValueError, match=r"not 'wrong'"):
        make(**{option: "wrong"})
