"""The kernels, compiled by g++ and run on the CPU, compared with NumPy's code."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import fake_cupy
import numpy as np
import pytest
from on_both import assert_allclose, assert_array_equal, here, host

import minigrad as mg
from minigrad import Tensor, cells, gradcheck, nn, optim, random
from minigrad import functional as F
from minigrad.bptt import through_time, unrolled
from minigrad.gpu import functional as on_gpu
from minigrad.gpu import kernels, masks
from minigrad.gpu.bptt import through_time as through_time_on_gpu

pytestmark = pytest.mark.skipif(not fake_cupy.COMPILER, reason="needs g++")

CELLS = (cells.TanhRNN, cells.ReLURNN, cells.LSTM, cells.GRU)
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(autouse=True)
def on_device(device: Any) -> None:
    mg.use("cupy")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A switch between the kernels and NumPy's code."""
    return lambda on: monkeypatch.setattr(kernels, "ENABLED", not on)


@pytest.fixture(params=["product inside", "product apart"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers compute their products inside the kernels, large ones apart."""
    monkeypatch.setattr(kernels, "PRODUCT_INSIDE", 9**9 if "inside" in request.param else 0)


def leaf(array: np.ndarray, dtype: Any = np.float64) -> Tensor:
    return mg.tensor(array.astype(dtype), requires_grad=True)


def layer_inputs(cell: Any, T: int, B: int, I: int, H: int, dtype: Any = np.float64) -> list[Any]:
    rng, G = np.random.default_rng(0), cell.num_gates
    shapes = [(T, B, I), *[(B, H)] * cell.num_states, (G * H, I), (G * H, H), (G * H,), (G * H,)]
    return [leaf(rng.uniform(-1, 1, shape), dtype) for shape in shapes]


def run(one_layer: Any, cell: Any, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    x, *state = inputs[: 1 + cell.num_states]
    return one_layer(cell, x, state, *inputs[1 + cell.num_states :])


def values_and_gradients(one_layer: Any, cell: Any, inputs: list[Tensor]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    outputs = run(one_layer, cell, inputs)
    sum((y * here(rng.standard_normal(y.shape).astype(y.dtype))).sum() for y in outputs).backward()
    found = [*(y.numpy() for y in outputs), *(host(x.grad) for x in inputs)]
    for x in inputs:
        x.zero_grad()
    return found


SIZES = [(1, 1, 1, 1), (5, 3, 2, 4), (4, 1, 3, 5), (3, 4, 2, 1)]


@pytest.mark.usefixtures("each_way")
@each_cell
@each_dtype
@pytest.mark.parametrize("sizes", SIZES)
def test_a_fused_cell_is_the_plain_one(cell: Any, dtype: Any, sizes: Any, plain: Any) -> None:
    inputs = layer_inputs(cell, *sizes, dtype)
    mine = values_and_gradients(through_time_on_gpu, cell, inputs)
    plain(True)
    expected = values_and_gradients(through_time, cell, inputs)
    by_tape = values_and_gradients(unrolled, cell, inputs)
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    for a, b, c in zip(mine, expected, by_tape, strict=True):
        assert a.dtype == dtype
        assert_allclose(a, b, rtol=0, atol=tolerance)
        assert_allclose(a, c, rtol=0, atol=tolerance)


@pytest.mark.usefixtures("each_way")
@each_cell
def test_a_fused_cells_gradient_is_the_finite_difference(cell: Any) -> None:
    inputs = layer_inputs(cell, 3, 2, 2, 3)
    if cell is cells.ReLURNN:  # away from the kink
        for x in inputs:
            x.data = abs(x.data) + 0.1
    assert gradcheck(lambda *xs: run(through_time_on_gpu, cell, list(xs)), inputs)


@pytest.mark.usefixtures("each_way")
@each_cell
def test_a_state_that_is_constant_gets_no_gradient(cell: Any) -> None:
    inputs = layer_inputs(cell, 3, 2, 2, 3)
    expected = values_and_gradients(through_time_on_gpu, cell, inputs)[-4:]
    for x in inputs[: 1 + cell.num_states]:
        x.requires_grad = False
    outputs = run(through_time_on_gpu, cell, inputs)
    rng = np.random.default_rng(1)
    sum((y * here(rng.standard_normal(y.shape))).sum() for y in outputs).backward()
    for x, gradient in zip(inputs[-4:], expected, strict=True):
        assert_array_equal(x.grad, gradient)
    assert all(x.grad is None for x in inputs[:-4])


@pytest.mark.usefixtures("each_way")
@each_cell
def test_gradients_that_are_not_contiguous(cell: Any, plain: Any) -> None:
    """With batch_first, the gradient of the output is a transposed view; a sum's is broadcast."""
    layer = nn.Recurrent(cell, 2, 3, 2, batch_first=True)
    x, found = leaf(np.random.default_rng(0).standard_normal((4, 5, 2)), np.float32), []
    for on in (False, True):
        plain(on)
        output, state = layer(x)
        last = state if isinstance(state, tuple) else (state,)
        (output * output).sum().backward(retain_graph=True)
        sum(s.transpose(0, 1).sum() for s in last).backward()
        found.append([host(a.grad) for a in (x, *layer.parameters())])
        x.zero_grad(), layer.zero_grad()
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("each_way")
@pytest.mark.parametrize("value", [-1e4, 1e4])
@each_cell
def test_saturated_gates_do_not_overflow(cell: Any, value: float) -> None:
    inputs = layer_inputs(cell, 2, 2, 2, 2, np.float32)
    inputs[0].data.fill(value)
    found = values_and_gradients(through_time_on_gpu, cell, inputs)
    assert all(np.isfinite(a).all() for a in found)


def test_a_fifth_cell_takes_the_plain_path() -> None:
    class Own(cells.TanhRNN):
        pass

    x = leaf(np.random.default_rng(0).standard_normal((4, 2, 3)), np.float32)
    assert kernels.takes(x.data, cell=cells.TanhRNN) and not kernels.takes(x.data, cell=Own)
    layer = nn.RNN(3, 5)
    layer.cell = Own
    own, _ = layer(x)
    layer.cell = cells.TanhRNN
    assert_allclose(own.data, layer(x)[0].data, atol=1e-6)


# -------------------------------------------------------------------- masks


def device_mask(shape: Any, p: float) -> np.ndarray:
    return host(on_gpu.keep_mask(fake_cupy.module, shape, *masks.count_mask(p)))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(7,), (3, 5, 4), (2, 1, 300)])
def test_a_mask_has_the_same_bits_in_numpy(shape: Any, p: float) -> None:
    mg.manual_seed(3)
    drawn = [device_mask(shape, p) for _ in range(3)]
    mg.manual_seed(3)
    for mask in drawn:
        np.testing.assert_array_equal(mask, masks.keep_bits(shape, *masks.count_mask(p)))


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 5, 9), (3, 7)])
@pytest.mark.parametrize("shared", [(), (0,)])
def test_columns_of_a_mask_are_those_of_the_whole(shape: Any, shared: Any) -> None:
    mg.manual_seed(3)
    x = leaf(np.random.default_rng(0).standard_normal(shape))
    whole = F.dropout(x, 0.4, shared=shared)
    whole.sum().backward()
    state = random.get_state()
    for start, stop in ((0, 2), (2, 5), (1, shape[1]), (0, shape[1])):
        mg.manual_seed(3)
        part = leaf(x.numpy()[:, start:stop].copy())
        with random.columns(start, stop, shape[1]):
            y = F.dropout(part, 0.4, shared=shared)
        y.sum().backward()
        assert_array_equal(y.data, whole.data[:, start:stop])
        assert_array_equal(part.grad, x.grad[:, start:stop])
        assert random.get_state() == state


def test_splitmix64_is_the_published_one() -> None:
    """The first outputs of the reference implementation for the seed 1234567."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    z = masks._mixed(np.uint64(1234567) + np.arange(1, 6, dtype=np.uint64) * golden)
    assert z.tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip


def test_masks_keep_their_share_and_differ() -> None:
    drawn = [device_mask((200, 100), 0.3) for _ in range(4)]
    for mask in drawn:
        assert mask.mean() == pytest.approx(0.7, abs=0.02)
        neighbours = mask[:, 1:] & mask[:, :-1]
        assert neighbours.mean() == pytest.approx(0.49, abs=0.02)
    for a, b in itertools.combinations(drawn, 2):
        assert (a & b).mean() == pytest.approx(0.49, abs=0.02)


@each_dtype
def test_dropout_forgets_its_mask_and_finds_it_again(dtype: Any) -> None:
    x = leaf(np.random.default_rng(0).standard_normal((6, 5, 4)), dtype)
    mg.manual_seed(1)
    y = F.dropout(x, 0.4)
    mg.manual_seed(1)
    keep = masks.keep_bits(x.shape, *masks.count_mask(0.4))
    assert y.dtype == dtype
    assert_allclose(y.data, x.numpy() * keep / dtype(1 - 0.4), rtol=1e-6)
    y.backward(np.ones(x.shape, dtype))
    assert_allclose(x.grad, keep / dtype(1 - 0.4), rtol=1e-6)


def test_dropout_has_the_gradient_of_finite_differences() -> None:
    def seeded(x: Tensor) -> Tensor:
        mg.manual_seed(1)
        return F.dropout(x, 0.4)

    assert gradcheck(seeded, [leaf(np.random.default_rng(0).standard_normal((4, 3)))])


# -------------------------------------------------------------------- embedding


@each_dtype
def test_the_gradient_of_an_embedding_sums_repeated_words(dtype: Any) -> None:
    ids = np.array([[0, 4, 0], [2, 0, 4]])
    dy = np.random.default_rng(0).standard_normal((2, 3, 2)).astype(dtype)
    weight = leaf(np.ones((5, 2)), dtype)
    F.embedding(ids, weight).backward(here(dy))
    expected = np.zeros((5, 2), dtype)
    np.add.at(expected, ids, dy)
    assert_allclose(weight.grad, expected, rtol=1e-6)


# -------------------------------------------------------------------- loss


def test_division_is_exact_beyond_32_bits() -> None:
    """The index of an element of the logits can exceed 2^31."""
    i = np.array([0, 32, 33, 2**31 - 1, 2**31, 2**31 + 33_277, 2**32, 2**40 + 5])
    run = fake_cupy.module.ElementwiseKernel(
        "int64 k, int32 n", "int64 q", "q = quotient(k, n);", "q", preamble=kernels.FUNCTIONS
    )
    for n in (1, 33, 33_278, 2**31 - 1):
        assert_array_equal(run(here(i), n), i // n)


def decoder(dtype: Any, N: int = 7, H: int = 3, V: int = 5, bias: bool = True) -> list[Any]:
    rng = np.random.default_rng(0)
    shapes = [(N, H), (V, H), *[(V,)] * bias]
    return [leaf(rng.standard_normal(shape), dtype) for shape in shapes] + [None] * (not bias)


@each_dtype
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("ids", [np.int32, np.int64])
def test_the_fused_loss_is_the_plain_one(dtype: Any, bias: bool, ids: Any, plain: Any) -> None:
    inputs, target = decoder(dtype, bias=bias), np.array([0, 4, 2, 2, 0, 1, 2], ids)
    results: Iterator[Any] = iter(())
    found = []
    for on in (False, True):
        plain(on)
        loss = F.linear_cross_entropy(*inputs, target)
        (loss * 3).backward()
        found.append([loss.numpy(), *(host(x.grad) for x in inputs if x is not None)])
        for x in inputs:
            if x is not None:
                x.zero_grad()
    results = zip(*found, strict=True)
    for a, b in results:
        assert a.dtype == dtype
        assert_allclose(a, b, rtol=0, atol=1e-12 if dtype is np.float64 else 1e-5)


def test_the_fused_loss_has_the_gradient_of_finite_differences() -> None:
    target = np.array([0, 4, 2, 2, 0, 1, 2])
    inputs = decoder(np.float64)
    assert gradcheck(lambda *xs: F.linear_cross_entropy(*xs, target), inputs)


def test_the_fused_loss_does_not_overflow() -> None:
    x, weight = leaf(np.array([[1e4, -1e4, 0]]), np.float32), mg.tensor(np.eye(3, dtype=np.float32))
    loss = F.linear_cross_entropy(x, weight, None, np.array([1]))
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert_allclose(x.grad, [[1, -1, 0]], atol=1e-6)


# -------------------------------------------------------------------- clipping and update


@each_dtype
@pytest.mark.parametrize("max_norm", [0.01, 1e6])
@pytest.mark.parametrize("count", [1, 3, 40])  # a kernel takes 16
def test_clipping_and_update_are_the_plain_ones(
    dtype: Any, max_norm: float, count: int, plain: Any
) -> None:
    found = []
    for on in (False, True):
        plain(on)
        rng = np.random.default_rng(0)
        params = [leaf(rng.standard_normal((k % 5 + 1, 3)), dtype) for k in range(count)]
        for p in params:
            p.grad = here(rng.standard_normal(p.shape).astype(dtype))
        norm = optim.clip_grad_norm_(params, max_norm)
        optim.SGD(params, 0.5).step()
        found.append([host(norm), *(host(a) for p in params for a in (p.data, p.grad))])
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=1e-5 if dtype is np.float32 else 1e-12)


def test_a_thousand_gradients_fit_into_the_arguments_of_kernels() -> None:
    params = [leaf(np.ones((2, 1, 1))) for _ in range(1000)]
    for p in params:
        p.grad = here(np.ones((2, 1, 1)))
    assert host(optim.clip_grad_norm_(params, 1.0)) == pytest.approx(np.sqrt(2000))
    optim.SGD(params, 0.5).step()
    for p in params:
        assert_allclose(p.data, 1 - 0.5 / np.sqrt(2000), rtol=1e-6)


def test_the_fake_refuses_arguments_that_cuda_refuses() -> None:
    with pytest.raises(ValueError, match="4096"):
        kernels.kernel(fake_cupy.module, "clip", 300)(
            here(np.ones(1)), 1.0, *(here(np.ones(2)) for _ in range(300)), size=2
        )


def test_a_norm_needs_little_memory_and_few_launches() -> None:
    x = leaf(np.zeros(1))
    x.grad = here(np.ones((1000, 1000)))
    optim.clip_grad_norm_([x], 1e6)
    tracemalloc.start()
    with fake_cupy.counted() as counts:
        norm = optim.clip_grad_norm_([x], 1e6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert host(norm) == 1000
    assert peak < 0.1 * x.grad.nbytes
    assert counts.launches == 5  # the last sum, of all elements, is two


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_norm_that_is_no_number_leaves_the_gradients(bad: float) -> None:
    x = leaf(np.ones(3))
    x.grad = here(np.array([1.0, bad, 3.0]))
    norm = optim.clip_grad_norm_([x], 0.25)
    assert not np.isfinite(host(norm))
    assert host(x.grad)[[0, 2]].tolist() == [1, 3]


def test_parameters_of_two_dtypes_are_stepped_one_by_one() -> None:
    params = [leaf(np.ones(2), np.float32), leaf(np.ones(2), np.float64)]
    for p in params:
        p.grad = here(np.ones(2, p.dtype))
    optim.SGD(params, 0.5).step()
    assert [p.numpy().tolist() for p in params] == [[0.5, 0.5]] * 2


def test_a_layer_of_each_kind_learns() -> None:
    """With several layers, dropout between them, and both kinds of backward pass."""
    x = mg.tensor(np.random.default_rng(0).standard_normal((5, 4, 3)).astype(np.float32))
    for make in (nn.RNN, nn.LSTM, nn.GRU):
        layer = make(3, 6, 2, dropout=0.1)
        optimiser, losses = optim.SGD(layer.parameters(), 0.5), []
        for _ in range(30):
            optimiser.zero_grad()
            error = layer(x)[0] - 0.3
            loss = (error * error).mean()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]
