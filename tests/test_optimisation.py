from __future__ import annotations

import pytest
import torch
from torch import nn

from training.optimisation import descend, means, set_rate


def test_each_module_is_clipped_by_itself() -> None:
    """Plain gradient descent shows the gradients: 3 -> clipped to 1, and 0.5 untouched by its neighbour."""
    steep, gentle = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    for layer in (steep, gentle):
        nn.init.zeros_(layer.weight)
    optimiser = torch.optim.SGD([*steep.parameters(), *gentle.parameters()], lr=123.0)
    set_rate(optimiser, 1.0)
    loss = (3.0 * steep(torch.ones(1)) + 0.5 * gentle(torch.ones(1))).sum()
    assert descend(optimiser, loss, [steep, gentle], max_norm=1.0).item() == pytest.approx(3.0)
    assert steep.weight.item() == pytest.approx(-1.0, abs=1e-5)
    assert gentle.weight.item() == pytest.approx(-0.5)


def test_means_are_per_statistic() -> None:
    records = [{"a": torch.tensor(1.0), "b": torch.tensor(0.0)}, {"a": torch.tensor(3.0), "b": torch.tensor(1.0)}]
    assert means(records) == {"a": 2.0, "b": 0.5}
