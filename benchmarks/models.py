"""The two language models of the benchmarks, built from the same options."""

from __future__ import annotations

import argparse
from typing import Any

import minigrad as mg
from lm import RNNModel


def ours(args: argparse.Namespace) -> RNNModel:
    mg.keep_freed_memory()  # as in lm's training
    mg.manual_seed(0)
    return RNNModel(*_sizes(args))


def theirs(args: argparse.Namespace) -> Any:
    import torch
    import torch_model

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    return torch_model.RNNModel(*_sizes(args))


def _sizes(args: argparse.Namespace) -> tuple[Any, ...]:
    sizes = args.words, args.nhid, args.nhid, args.nlayers
    return args.model, *sizes, args.dropout, args.tied
