"""Functions that are correctly rounded where kernels are fixed (``training.kernels``)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.kernels import fixed


def square_root(values: Tensor) -> Tensor:
    """Of values without a gradient; correctly rounded where kernels are fixed.

    PyTorch leaves it to MKL, whose results depend on the processor under every setting (``kdmarl_sat.reproducible``).
    """
    return torch.from_numpy(np.asarray(np.sqrt(values.detach().numpy()))) if fixed() else values.sqrt()
