"""What the networks of missions and games share: initialisation, and the normalisation of returns."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

RELU_GAIN = math.sqrt(2.0)
HEAD_GAIN = 0.01  # a fresh policy is close to uniform


def linear(inputs: int, outputs: int, gain: float, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    """A layer with orthogonal weights and zero bias, drawn from ``generator`` alone; ``inputs`` may be 0."""
    layer = nn.Linear(max(inputs, 1), outputs, bias=bias, device="meta").to_empty(device="cpu")
    if inputs == 0:  # torch's own initialisation warns of a layer without inputs
        layer.in_features, layer.weight = 0, nn.Parameter(torch.empty(outputs, 0))
    nn.init.orthogonal_(layer.weight, gain, generator)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def seeded(generator: torch.Generator | None) -> torch.Generator:
    return torch.Generator().manual_seed(0) if generator is None else generator


class ValueNorm(nn.Module):
    """Running mean and standard deviation of the returns, debiased (Yu et al. 2022).

    ``update`` is called once per batch of episodes, so ``decay`` looks back over about 1 / (1 - decay) batches.
    """

    mean: Tensor
    mean_square: Tensor
    debias: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        for name in ("mean", "mean_square", "debias"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, values: Tensor) -> None:
        """Take in a flat batch of returns."""
        values = values.double()
        self.mean.lerp_(values.mean(), 1 - self.decay)
        self.mean_square.lerp_(values.square().mean(), 1 - self.decay)
        self.debias.lerp_(torch.ones_like(self.debias), 1 - self.decay)

    def _statistics(self) -> tuple[float, float]:
        weight = self.debias.item()
        if weight == 0:
            return 0.0, 1.0
        mean = self.mean.item() / weight
        variance = self.mean_square.item() / weight - mean * mean
        return mean, math.sqrt(max(variance, 1e-2))

    def normalise(self, values: Tensor) -> Tensor:
        mean, deviation = self._statistics()
        return (values - mean) / deviation

    def denormalise(self, values: Tensor) -> Tensor:
        mean, deviation = self._statistics()
        return values * deviation + mean
