"""The model of the speed on many ranks, and the program that measures and calibrates it."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm import RNNModel

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))
import scaling_model as model  # noqa: E402
import vocabulary_model as vocabulary  # noqa: E402
from scaling_model import Network, Node, Sizes  # noqa: E402

SIZES = [Sizes(units, words) for units in (200, 1500) for words in (10_000, 267_735)]
NODE = Node(100e9)


@pytest.mark.parametrize("network", [model.ETHERNET_10, model.ETHERNET_100, model.NVLINK])
@pytest.mark.parametrize("sizes", SIZES)
def test_the_limits_of_the_model(sizes: Sizes, network: Network) -> None:
    alone = NODE.seconds(sizes)
    assert network.all_reduce(sizes.bytes, 1) == 0
    assert model.step(sizes, NODE, network, 1) == alone
    assert model.efficiency(sizes, NODE, network, 1) == 1
    assert model.tokens_per_second(sizes, NODE, network, 1) == sizes.tokens / alone

    perfect = Network(float("inf"), 0.0)
    assert model.efficiency(sizes, NODE, perfect, 64) == 1
    only_latency = replace(network, bandwidth=float("inf"))
    assert model.step(sizes, NODE, only_latency, 64) == alone + 126 * network.latency

    ranks = [1, 2, 4, 8, 16, 32, 64]
    efficiencies = [model.efficiency(sizes, NODE, network, n) for n in ranks]
    assert efficiencies == sorted(efficiencies, reverse=True) and len(set(efficiencies)) == 7
    times = [network.all_reduce(sizes.bytes, n) for n in ranks]
    assert max(times) < 2 * sizes.bytes / network.bandwidth + 126 * network.latency
    faster = replace(network, bandwidth=2 * network.bandwidth)
    assert model.efficiency(sizes, NODE, faster, 8) > efficiencies[3]
    assert model.efficiency(sizes, Node(10 * NODE.rate), network, 8) < efficiencies[3]


def test_two_ranks_exchange_the_whole_once() -> None:
    """Each sends half of it, then the sum of the other half."""
    network = Network(1e9, 1e-3)
    assert network.all_reduce(1e9, 2) == pytest.approx(1 + 2e-3)
    assert network.all_reduce(1e9, 4) == pytest.approx(1.5 + 6e-3)


def test_the_gradient_has_the_size_of_the_model() -> None:
    lstm = RNNModel("LSTM", 50, 16, 16, 2, 0.2)
    assert Sizes(16, 50).parameters == sum(p.data.size for p in lstm.parameters())


def test_the_flops_are_those_of_the_products() -> None:
    """Each product of a step is counted by its shapes, for one layer and one column."""
    H, V, T = 3, 7, 5
    gates = 2 * T * (4 * H) * H  # from the input, and again from the state before
    decoder = 2 * T * V * H
    backward = 2 * (2 * gates + decoder)  # to the argument and to the weight
    assert Sizes(H, V, columns=1, layers=1, steps=T).flops == 2 * gates + decoder + backward


def test_a_host_that_is_slower_than_the_device_decides() -> None:
    assert Node(1e15, host=0.004).seconds(Sizes()) == 0.004
    assert Node(1e9, host=0.004).seconds(Sizes()) == Sizes().flops / 1e9


def test_the_calibration_finds_what_made_the_times() -> None:
    network = Network(5e9, 4e-6)
    times = {size: network.all_reduce(size, 2) for size in (1_000, 100_000, 10_000_000)}
    found = model.fitted_network(times)
    assert found.bandwidth == pytest.approx(5e9) and found.latency == pytest.approx(4e-6)
    steps = {sizes: NODE.seconds(sizes) for sizes in SIZES}
    assert model.fitted_node(steps).rate == pytest.approx(NODE.rate)


def test_a_sharded_vocabulary_sends_nothing_alone_and_does_not_depend_on_its_size() -> None:
    assert vocabulary.sharded_bytes(Sizes(), 1) == 0
    large, larger = Sizes(words=1_000_000), Sizes(words=2_000_000)
    assert vocabulary.sharded_bytes(large, 8) == vocabulary.sharded_bytes(larger, 8)


def test_the_remedies_cost_less_than_the_full_softmax() -> None:
    costs = vocabulary.costs(Sizes(words=1_000_000), NODE, model.ETHERNET_10, 8)
    full = costs.pop("full")
    assert full["exchange_s"] == model.ETHERNET_10.all_reduce(Sizes(words=1_000_000).bytes, 8)
    assert all(c["sent_gb"] < full["sent_gb"] for c in costs.values())
    assert costs["sharded"]["compute_s"] == full["compute_s"]  # all ranks' columns, V / N rows
    for name in ("sampled", "adaptive"):
        assert costs[name]["compute_s"] < full["compute_s"] / 10


def test_an_adaptive_softmax_counts_its_clusters_by_zipfs_law() -> None:
    V = 300_000
    probability = 1 / np.arange(1, V + 1)
    probability /= probability.sum()
    assert vocabulary.zipf(20_000, V) == pytest.approx(probability[:20_000].sum(), rel=1e-4)
    middle, last = probability[20_000:200_000].sum(), probability[200_000:].sum()
    multiplied, kept = vocabulary.adaptive_words(V)
    assert multiplied == pytest.approx(20_002 + middle * 45_000 + last * 6_250, rel=1e-4)
    assert kept == 20_002 + 45_000 + 6_250


def test_it_measures_and_predicts(mpi: None, tmp_path: Path, monkeypatch: Any) -> None:
    out = tmp_path / "scaling.json"
    monkeypatch.setattr(sys, "argv", ["scaling_out.py", "--quick", "--out", str(out)])
    runpy.run_path(str(ROOT / "benchmarks" / "scaling_out.py"))["main"]()
    numbers = json.loads(out.read_text())["numbers"]
    assert_result(numbers)


def assert_result(numbers: dict[str, Any]) -> None:
    steps = numbers["steps"]
    for name, job in steps.items():
        assert ("exchange_ms" in job) == ("ranks" in name)
        assert 0 <= job.get("exchange_ms", 0) + job.get("waiting_ms", 0) < job["step_ms"]
    assert steps["2 ranks"]["against_one_process"] > 0
    for networks in numbers["model"].values():
        for words in networks.values():
            for case in words.values():
                found = list(case["efficiency"].values())
                assert found[0] == 1 and found == sorted(found, reverse=True)


def test_the_committed_result_is_what_the_model_says() -> None:
    """Pages quote both: a change of the model needs the program to be run again."""
    result = json.loads((ROOT / "docs" / "results" / "scaling-out.json").read_text("utf-8"))
    numbers = result["numbers"]
    assert_result(numbers)
    for name in ("2 ranks", "2 ranks, 10 columns each", "2 ranks, 650 units"):
        assert numbers["steps"][name]["against_one_process"] >= 0.9
    program = runpy.run_path(str(ROOT / "benchmarks" / "scaling_out.py"))
    node = program["usual_node"]()
    predicted = json.loads(json.dumps(program["predictions"](node)))
    paper = json.loads(json.dumps(vocabulary.on_paper(node)))
    for new, old in ((predicted, numbers["model"]), (paper, numbers["million words"])):
        assert leaves(new) == pytest.approx(leaves(old))


def leaves(numbers: dict[str, Any]) -> list[float]:
    nested = (leaves(v) if isinstance(v, dict) else [v] for v in numbers.values())
    return [number for found in nested for number in found]
