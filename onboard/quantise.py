"""Float32 networks as int8 ones: each output's weights in 127 steps of the largest of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onboard.network import Dtype, Network
from onboard.reference import SMALLEST_WEIGHT
from onboard.spec import FloatArray

LEVELS = 127  # steps to each side


def quantised(network: Network) -> Network:
    """The int8 network nearest to a float32 one; biases and the slot score stay as they are."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, tensor in network.tensors.items():
        if name.endswith(".weight") and name != "score.weight":
            steps, scale = rounded(tensor)
            tensors[name.replace(".weight", ".scale")] = scale
            tensors[name] = steps
        else:
            tensors[name] = tensor
    return Network(dataclasses.replace(network.design, dtype=Dtype.INT8), tensors)


def rounded(weight: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """A matrix [outputs, inputs] in int8, and the scale of each output; a row of nothing but zeros has scale 1."""
    scale = np.max(np.abs(weight), axis=1, initial=0).astype(np.float32) / np.float32(LEVELS)
    scale = np.where(scale < SMALLEST_WEIGHT, np.float32(1), scale)  # smaller ones are flushed when they are loaded
    steps = np.clip(np.rint(weight / scale[:, None]), -LEVELS, LEVELS).astype(np.int8)
    return steps, scale
