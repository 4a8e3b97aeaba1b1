"""Gradient steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from training import kernels


def adam(parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Adam:
    """The fused form takes exact square roots; those of the other depend on the processor."""
    fused = True if kernels.fixed() else None
    return torch.optim.Adam(parameters, lr=learning_rate, eps=1e-5, fused=fused)


def set_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, modules: Iterable[nn.Module], max_norm: float) -> Tensor:
    """One step; each module's gradient is clipped by itself, so that unlike agents do not scale one another.

    Returns the largest gradient norm before clipping.
    """
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    norms = [nn.utils.clip_grad_norm_(module.parameters(), max_norm) for module in modules]
    optimiser.step()
    return torch.stack(norms).max()


def means(records: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Each statistic's mean over the minibatches."""
    return {name: float(torch.stack([record[name] for record in records]).mean()) for name in records[0]}
