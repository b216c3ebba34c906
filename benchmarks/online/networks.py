"""The networks that every server serves, with the same weights everywhere."""

from itertools import pairwise

import torch
from torch import nn

TINY = (4, 16, 3)
BATCHABLE = (512, 2048, 2048, 512)
"""Widths of the layers, input first."""


def tiny() -> nn.Sequential:
    """`x` FP32 [-1, 4] → [-1, 3]: so small that the server is all that is measured."""
    return _perceptron(TINY, seed=1)


def batchable(member: int) -> nn.Sequential:
    """`x` FP32 [-1, 512] → [-1, 512]: one row reads 25 MB of weights, and sixteen rows read them once.

    Args:
        member: 0 for the workload of one model; 0 and 1 for the pipeline.
    """
    return _perceptron(BATCHABLE, seed=10 + member)


def _perceptron(widths: tuple[int, ...], seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.ReLU()]
        return nn.Sequential(*layers[:-1]).eval()
