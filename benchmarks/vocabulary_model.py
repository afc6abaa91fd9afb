"""What a very large vocabulary costs in a training step, and what the known remedies save.

All numbers follow from formulas and from what scaling_model.py measures and assumes. A step with V
words multiplies every state with V rows of the decoder, and every rank exchanges the gradients of
2 V rows. The remedies:

sampled    The softmax is over `SAMPLES` random words and the right one (Jean et al., "On using very
           large target vocabulary for neural machine translation", arXiv:1412.2007). Noise
           contrastive estimation (Mnih and Teh, "A fast and simple algorithm for training neural
           probabilistic language models", arXiv:1206.6426) costs about as much. All ranks are
           assumed to use the same samples and to exchange only the rows that were used.
adaptive   A softmax over the frequent words and over clusters of rare ones, whose rows are short
           (Grave et al., "Efficient softmax approximation for GPUs", arXiv:1609.04309). The
           numbers assume Zipf's law, clusters `ENDS` and rows of a quarter of the length in each
           next one.
sharded    Each rank holds V / N rows of the embedding and the decoder. It needs the last layer's
           states of all ranks, and returns their gradients (Shoeybi et al., "Megatron-LM",
           arXiv:1909.08053). Exact.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import scaling_model as model
from scaling_model import Network, Node, Sizes

SAMPLES = 8_192
ENDS = (20_000, 200_000)  # the last word of each cluster but the last one
SHORTER = 4
EULER = 0.5772156649


def zipf(words: int, of: int) -> float:
    """The probability of the most frequent words, if the n-th has a probability as 1 / n."""
    return (math.log(words) + EULER) / (math.log(of) + EULER)


def adaptive_words(words: int) -> tuple[float, float]:
    """How many full rows an adaptive softmax multiplies with on average, and how many it has."""
    ends = [*ENDS, words]
    head = ENDS[0] + len(ENDS)
    multiplied, kept = float(head), float(head)
    for i, (start, end) in enumerate(pairwise(ends), 1):
        rows = (end - start) / SHORTER**i
        multiplied += (zipf(end, words) - zipf(start, words)) * rows
        kept += rows
    return multiplied, kept


def sharded_bytes(sizes: Sizes, ranks: int) -> float:
    """What a rank sends per step if each holds the rows of V / N words.

    An all-gather of states and a reduce-scatter of gradients, once for the embedding and once for
    the decoder; the maximum and the sum of each softmax; and the all-reduce of the layers' weights.
    """
    others = (ranks - 1) / ranks
    states = 4 * ranks * sizes.tokens * sizes.units
    softmax = 2 * 2 * 4 * ranks * sizes.tokens  # two numbers per token, all-reduced
    return others * (2 * 2 * states + softmax + 2 * replace(sizes, words=0).bytes)


def sampled_bytes(sizes: Sizes, ranks: int) -> float:
    """What a rank sends per step if only the rows of words that occur, or are samples, count."""
    occur = min(sizes.words, ranks * sizes.tokens)
    rows = occur + min(sizes.words, SAMPLES + occur)
    layers = replace(sizes, words=0).bytes
    return 2 * (ranks - 1) / ranks * (4 * rows * sizes.units + layers)


def costs(sizes: Sizes, node: Node, network: Network, ranks: int) -> dict[str, Any]:
    """Seconds, gigabytes and tokens per second of each remedy, and without one."""
    words, kept = adaptive_words(sizes.words)
    full, shorter = 2 * (ranks - 1) / ranks * sizes.bytes, sizes.units * (sizes.words - kept)
    remedies = {
        "full": (float(sizes.words), full),
        "sampled": (float(SAMPLES), sampled_bytes(sizes, ranks)),
        "adaptive": (words, full - 2 * (ranks - 1) / ranks * 4 * shorter),
        "sharded": (float(sizes.words), sharded_bytes(sizes, ranks)),
    }
    found: dict[str, Any] = {}
    for name, (rows, sent) in remedies.items():
        compute = node.seconds(replace(sizes, words=round(rows)))
        exchange = sent / network.bandwidth + 2 * (ranks - 1) * network.latency
        speed = ranks * sizes.tokens / (compute + exchange)
        found[name] = {
            "compute_s": compute,
            "sent_gb": sent / 1e9,
            "exchange_s": exchange,
            "tokens_per_second": speed,
            "hours_per_billion_words": 1e9 / speed / 3600,
        }
    return found


def on_paper(node: Node, ranks: int = 8, words: int = 1_000_000) -> dict[str, Any]:
    """The costs for each number of units, on nodes as here and on GPUs, and the memory."""
    found: dict[str, Any] = {}
    for units in (200, 1500):
        sizes = Sizes(units, words)
        gpu = model.gpu(sizes)
        found[str(units)] = {
            "weights and gradients gb": 2 * sizes.bytes / 1e9,
            "logits gb": 4 * sizes.tokens * words / 1e9,
            "10 GbE": costs(sizes, node, model.ETHERNET_10, ranks),
            "NVLink": costs(sizes, gpu, model.NVLINK, ranks),
        }
    return found
