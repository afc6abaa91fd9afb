"""Tokens per second against the number of ranks, the time of the all-reduce, and a prediction.

    python benchmarks/scaling_out.py --out docs/results/scaling-out.json

Each turn starts every job once, one after the other: training steps in one process and on several
ranks, and all-reduces of several sizes between two ranks. Each time is the median over the turns of
the median of a turn. From these the model in scaling_model.py is calibrated, and predicts the same
jobs. Calibrated with the steps in docs/results/speed.json, it predicts what was not measured: other
sizes, networks and numbers of nodes. It needs `pip install '.[mpi,bench]'`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import scaling_model as model
import vocabulary_model
from scaling_model import Network, Node, Sizes

from lm.arguments import Parser, at_least_one
from lm.console import UserError, run_command, show
from lm.files import replace_file
from lm.results import read_result, this_command, write_result
from lm.run import launch

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(__file__).with_name("rank_steps.py")

Times = dict[str, list[float]]  # seconds of each step, or of each all-reduce of some size


@dataclass(frozen=True)
class Job:
    """Training steps on some ranks, with `threads` each and `sizes.columns` columns each."""

    ranks: int = 1
    threads: int = 1
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def tokens(self) -> int:
        return self.ranks * self.sizes.tokens

    def options(self, steps: int) -> list[str]:
        s = self.sizes
        given = {"ranks": self.ranks, "columns": self.ranks * s.columns, "units": s.units,
                 "words": s.words, "steps": steps}  # fmt: skip
        return [word for name, value in given.items() for word in (f"--{name}", str(value))]


JOBS = {
    "one thread": Job(),
    "two threads": Job(threads=2),
    "two threads, 40 columns": Job(threads=2, sizes=Sizes(columns=40)),
    "2 ranks": Job(2),
    "4 ranks": Job(4),
    "2 ranks, 10 columns each": Job(2, sizes=Sizes(columns=10)),
    "two threads, 33 thousand words": Job(threads=2, sizes=Sizes(words=33_278)),
    "two threads, 650 units, 40 columns": Job(threads=2, sizes=Sizes(650, columns=40)),
    "2 ranks, 650 units": Job(2, sizes=Sizes(650)),
}
# What a job on several ranks is compared with: one process with two threads and as many columns.
ALONE = {
    "2 ranks": "two threads, 40 columns",
    "2 ranks, 10 columns each": "two threads",
    "2 ranks, 650 units": "two threads, 650 units, 40 columns",
}
MESSAGES = [4 * 4**k for k in range(3, 13)]  # bytes, from 256 to 67 million

# Rows of docs/results/speed.json. Tied weights change no product.
USUAL = {
    "LSTM 200": Sizes(),
    "LSTM 200, 33278 words": Sizes(words=33_278),
    "LSTM 650 tied": Sizes(650),
}
FASTER = 8  # times the two cores here: a node of 16 cores or more, assumed
UNITS = (200, 650, 1500)
WORDS = (10_000, 33_278, 267_735)
RANKS = (1, 2, 4, 8, 16, 32, 64)

TINY = Sizes(16, 50, columns=2)
QUICK_JOBS = {
    "one thread": Job(sizes=TINY),
    "two threads, 40 columns": Job(threads=2, sizes=TINY),
    "2 ranks": Job(2, sizes=TINY),
}


# -------------------------------------------------------------------- measuring


def run(ranks: int, threads: int, options: list[str]) -> Times:
    """What rank_steps.py measures; started as by `train_ptb.py --ranks`."""
    command = [sys.executable, str(PROGRAM), *options]
    if ranks > 1:
        starter = launch._mpiexec(ranks)
        command = [*starter, sys.executable, "-m", "mpi4py", *command[1:]]
    given = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    environment = launch._environment({**given, "OMP_NUM_THREADS": str(threads)}, ranks)
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise UserError(f"{' '.join(['rank_steps.py', *options])} failed: {reason}")
    found: Times = json.loads(done.stdout)
    return found


def take_turns(
    jobs: dict[str, Job], messages: list[int], turns: int, seconds: float
) -> tuple[dict[str, list[Times]], list[Times]]:
    """For each job and turn, the times of its steps; for each turn, those of each message.

    A job is to take about so many seconds; the first one of each, which is not counted, says how
    many steps these are.
    """
    steps = {name: 3 for name in jobs}
    sent = ["--ranks", "2", "--messages", *map(str, messages)]
    found: dict[str, list[Times]] = {name: [] for name in jobs}
    exchanged: list[Times] = []
    for turn in range(-1, turns):
        for name, job in jobs.items():
            times = run(job.ranks, job.threads, job.options(steps[name]))
            if turn < 0:
                steps[name] = max(3, min(50, round(seconds / min(times["step"]))))
            else:
                found[name].append(times)
        exchanged.append(run(2, 1, sent))
        show(f"turn {turn + 1} of {turns}")
    return found, exchanged[1:]


def medians(turns: list[Times], what: str) -> list[float]:
    """The median of each turn."""
    return [statistics.median(times[what]) for times in turns]


def summarised(jobs: dict[str, Job], found: dict[str, list[Times]]) -> dict[str, dict[str, Any]]:
    """For each job: milliseconds of a step and of its parts, and tokens per second."""
    summary: dict[str, dict[str, Any]] = {}
    for name, turns in found.items():
        ms = {f"{what}_ms": 1000 * statistics.median(medians(turns, what)) for what in turns[0]}
        per_second = jobs[name].tokens / ms["step_ms"] * 1000
        summary[name] = {**ms, "tokens_per_second": per_second}
        if name in ALONE:
            other = ALONE[name]
            more = jobs[name].tokens / jobs[other].tokens
            pairs = zip(medians(found[other], "step"), medians(turns, "step"), strict=True)
            summary[name]["against_one_process"] = statistics.median(
                more * theirs / ours for theirs, ours in pairs
            )
    return summary


# -------------------------------------------------------------------- predicting


def calibrated(
    jobs: dict[str, Job], found: dict[str, dict[str, Any]], messages: dict[int, float]
) -> tuple[dict[int, Node], Network]:
    """The node with one thread and with two, from steps of a single process; shared memory."""
    nodes = {
        threads: model.fitted_node(
            {
                job.sizes: found[name]["step_ms"] / 1000
                for name, job in jobs.items()
                if job.ranks == 1 and job.threads == threads
            }
        )
        for threads in (1, 2)
    }
    return nodes, model.fitted_network(messages)


def beside(
    jobs: dict[str, Job], nodes: dict[int, Node], network: Network
) -> dict[str, dict[str, float]]:
    """The model's prediction of each job on the two cores here."""
    predicted = {}
    for name, job in jobs.items():
        waits = max(1.0, job.ranks * job.threads / 2)  # ranks that take turns on a core
        node = Node(nodes[job.threads].rate / waits)
        predicted[name] = {
            "step_ms": 1000 * model.step(job.sizes, node, network, job.ranks),
            "exchange_ms": 1000 * network.all_reduce(job.sizes.bytes, job.ranks),
            "tokens_per_second": model.tokens_per_second(job.sizes, node, network, job.ranks),
        }
    return predicted


def usual_node() -> Node:
    """Two cores as in the table of docs/speed.md."""
    result = read_result(ROOT / "docs" / "results" / "speed.json")["numbers"]
    return model.fitted_node({s: result[row]["minigrad"] / 1000 for row, s in USUAL.items()})


def cases(node: Node, sizes: Sizes) -> dict[str, tuple[Node, Network]]:
    """The nodes and networks that are predicted; two cores as here if no other node is named."""
    gpu, faster = model.gpu(sizes), Node(FASTER * node.rate)
    return {
        "10 GbE": (node, model.ETHERNET_10),
        "100 GbE": (node, model.ETHERNET_100),
        "NVLink": (gpu, model.NVLINK),
        "faster nodes, 10 GbE": (faster, model.ETHERNET_10),
        "faster nodes, 100 GbE": (faster, model.ETHERNET_100),
        "GPUs, 10 GbE": (gpu, model.ETHERNET_10),
        "GPUs, 100 GbE": (gpu, model.ETHERNET_100),
    }


def predictions(node: Node) -> dict[str, Any]:
    """Milliseconds, tokens per second and efficiency, by case, units, words and ranks."""
    found: dict[str, Any] = {}
    for sizes in (Sizes(units, words) for units in UNITS for words in WORDS):
        for name, (on, network) in cases(node, sizes).items():
            case = found.setdefault(name, {}).setdefault(str(sizes.units), {})
            case[str(sizes.words)] = {
                "compute_ms": 1000 * on.seconds(sizes),
                "megabytes": sizes.bytes / 1e6,
                "exchange_ms": {n: 1000 * network.all_reduce(sizes.bytes, n) for n in RANKS},
                "tokens_per_second": {
                    n: model.tokens_per_second(sizes, on, network, n) for n in RANKS
                },
                "efficiency": {n: model.efficiency(sizes, on, network, n) for n in RANKS},
            }
    return found


# -------------------------------------------------------------------- the command


def foretold() -> dict[str, Any]:
    """The numbers that follow from docs/results/speed.json and from assumptions."""
    node = usual_node()
    return {"model": predictions(node), "million words": vocabulary_model.on_paper(node)}


def predict_again(out: Path) -> None:
    """Replace the predictions in a result, and keep what was measured."""
    result = read_result(out)
    result["numbers"] |= foretold()
    result["numbers"]["calibration"]["gflops usual"] = usual_node().rate / 1e9
    replace_file(out, (json.dumps(result, indent=1) + "\n").encode())


def main() -> None:
    args = parser().parse()
    if args.predict_only is not None:
        return predict_again(args.predict_only)
    started = time.perf_counter()
    jobs = QUICK_JOBS if args.quick else JOBS
    sizes, turns, seconds = (MESSAGES[:4], 1, 0.1) if args.quick else (MESSAGES, args.turns, 1.0)
    times, exchanged = take_turns(jobs, sizes, turns, seconds)
    found = summarised(jobs, times)
    messages = {size: statistics.median(medians(exchanged, str(size))) for size in sizes}
    nodes, network = calibrated(jobs, found, messages)
    predicted = beside(jobs, nodes, network)
    show(f"{'':36} tokens/s  predicted  ms/step  all-reduce, ms  predicted  waiting, ms")
    for name, f in found.items():
        f["predicted"] = p = predicted[name]
        f["measured_over_predicted"] = f["tokens_per_second"] / p["tokens_per_second"]
        show(
            f"{name:36} {f['tokens_per_second']:8,.0f}  {p['tokens_per_second']:9,.0f}  "
            f"{f['step_ms']:7.1f}  {f.get('exchange_ms', 0):14.1f}  {p['exchange_ms']:9.1f}  "
            f"{f.get('waiting_ms', 0):11.1f}"
        )
    for name in ALONE:
        if name in found:
            ratio = found[name]["against_one_process"]
            show(f"{name} / one process with two threads: {ratio:.3f}")
    numbers = {
        "steps": found,
        "messages": {str(size): 1e6 * t for size, t in messages.items()},  # microseconds
        "calibration": {
            "gflops one thread": nodes[1].rate / 1e9,
            "gflops two threads": nodes[2].rate / 1e9,
            "gflops usual": usual_node().rate / 1e9,
            "gigabytes per second": network.bandwidth / 1e9,
            "latency us": 1e6 * network.latency,
        },
        **foretold(),
    }
    if args.out is not None:
        settings = {"turns": turns, "layers": 2, "steps per chunk": 35, "dropout": 0.2}
        took = time.perf_counter() - started
        write_result(args.out, this_command(), settings, [0], took, numbers)


def parser() -> Parser:
    p = Parser(description="Measure how training scales with ranks, and predict it for others.")
    p.add_argument("--out", type=Path, metavar="FILE.json", help="also write the results")
    p.add_argument("--predict-only", type=Path, metavar="FILE.json",
                   help="measure nothing, only predict again in these results")  # fmt: skip
    p.add_argument("--turns", type=at_least_one, default=7)
    p.add_argument("--quick", action="store_true", help="tiny models, as a test")
    return p


if __name__ == "__main__":
    run_command(main)
