"""What the games made with JAX share: E environments in one compiled call per step, and tensors that cross uncopied.

Shapes: E environments, N agents, O observation columns, A actions, S state columns.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from envs.games.api import Frame, GameError, Transition

# Runs share a machine's cores: one thread each, and no device memory taken ahead. What the user has set stays.
_SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",  # every step is waited for: another thread would only cost the way there
}


def load(module: str) -> Any:
    """A module of the benchmarks extra, without what it prints and warns while it is imported.

    Untyped, so that our types do not depend on whether the extra is installed.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # Not contextlib.redirect_stdout: jaxmarl sets sys.stdout and sys.stderr to sys.__stdout__ and sys.__stderr__.
    streams = {name: vars(sys)[name] for name in ("stdout", "stderr", "__stdout__")}
    unread = io.StringIO()
    vars(sys).update(stdout=unread, __stdout__=unread)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise GameError(
            f'{module} cannot be imported ({error}); it comes with: pip install "kdmarl_sat[benchmarks]"'
        ) from error
    finally:
        vars(sys).update(streams)


class Lockstep:
    """E copies of one game, given by three functions of a single copy that JAX can trace.

    ``start(key, hardness)`` gives a state; ``advance(key, state, action [N])`` gives (state, reward, terminated,
    truncated, won); ``view(state)`` gives (obs [N, O], action_mask [N, A], alive [N], state [S]).

    ``hardness``, a number of the game's own meaning, is what it is at ``reset`` until the next one.

    Tensors that come out share their memory with JAX's arrays, which JAX takes to be constant: read them only.
    """

    def __init__(
        self,
        environments: int,
        start: Callable[[Any, Any], Any],
        advance: Callable[[Any, Any, Any], tuple[Any, Any, Any, Any, Any]],
        view: Callable[[Any], tuple[Any, Any, Any, Any]],
    ) -> None:
        if environments < 1:
            raise GameError(f"environments is {environments}; allowed: at least 1")
        self.environments = environments
        jax = load("jax")
        self._jax = jax
        self._cpu = jax.devices("cpu")[0]
        self.carry: Any = None  # every copy's random key, and its state; and the hardness
        self.hardness = 1.0
        jnp, each = jax.numpy, jax.vmap

        def settle(tree: Any) -> Any:
            # A fresh state and a stepped one differ in weak types, at which JAX would compile the step once more.
            return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype), tree)

        def pack(*arrays: Any) -> Any:
            return jnp.concatenate([array.ravel() for array in arrays])

        def reset(words: Any, hardness: Any) -> tuple[Any, Any]:
            # Folded in, not split: a copy's stream depends on the seed and its own index, not on how many there are.
            key = jax.random.wrap_key_data(words, impl="threefry2x32")
            keys = each(jax.random.fold_in, (None, 0))(key, jnp.arange(environments))
            keys, first = jnp.moveaxis(each(jax.random.split)(keys), 1, 0)
            states = settle(each(start, (0, None))(first, hardness))
            return (keys, states, hardness), each(view)(states)

        def step(carry: tuple[Any, Any, Any], words: Any) -> tuple[Any, Any]:
            keys, states, hardness = carry
            keys, now, anew = jnp.moveaxis(each(lambda key: jax.random.split(key, 3))(keys), 1, 0)
            action = words.reshape(environments, -1, 2)[..., 0]  # low halves of int64s
            states, reward, terminated, truncated, won = each(advance)(now, states, action)
            states = settle(states)
            last = each(view)(states)
            ended = terminated | truncated

            def begin() -> Any:
                fresh = settle(each(start, (0, None))(anew, hardness))
                new = (fresh, each(view)(fresh))

                def choose(new: Any, old: Any) -> Any:
                    return jnp.where(ended.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

                return jax.tree.map(choose, new, (states, last))

            states, frame = jax.lax.cond(jnp.any(ended), begin, lambda: (states, last))
            (obs, mask, alive, state), (last_obs, last_mask, last_alive, last_state) = frame, last
            # Two arrays: at small E every one that crosses costs about as much as a step of the game.
            floats = pack(obs, state, last_obs, last_state, reward.astype(jnp.float32))
            return (keys, states, hardness), (
                floats,
                pack(mask, alive, last_mask, last_alive, terminated, truncated, won),
            )

        self._reset = jax.jit(reset)
        self._step = jax.jit(step)

    def reset(self, seed: int) -> Frame:
        carry, frame = self._reset(np.random.SeedSequence(seed).generate_state(2), np.float32(self.hardness))
        # What dlpack brings is bound to its device; with a carry that is not, the second step would be compiled anew.
        self.carry = self._jax.device_put(carry, self._cpu)
        obs, mask, alive, state = (from_dlpack(array) for array in self._jax.block_until_ready(frame))
        each = (self.environments,)
        self._floats = [*2 * [obs.shape, state.shape], each]
        self._bools = [*2 * [mask.shape, alive.shape], *3 * [each]]
        return Frame(obs, mask, alive, state)

    def step(self, action: Tensor) -> Transition:
        if self.carry is None:
            raise GameError("step was called before reset; allowed: reset first")
        # JAX without 64-bit types would copy int64s into int32s; as pairs of int32 they cross as they are.
        words = action.contiguous().view(torch.int32).numpy()
        self.carry, packed = self._step(self.carry, words)
        # Finished before the caller may write to ``action`` again.
        floats, bools = self._jax.block_until_ready(packed)
        obs, state, last_obs, last_state, reward = _unpacked(floats, self._floats)
        mask, alive, last_mask, last_alive, terminated, truncated, won = _unpacked(bools, self._bools)
        frame, last = Frame(obs, mask, alive, state), Frame(last_obs, last_mask, last_alive, last_state)
        return Transition(frame, reward, terminated, truncated, last, won)


def _unpacked(array: Any, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
    parts = torch.split(from_dlpack(array), [math.prod(shape) for shape in shapes])
    return [part.view(*shape) for part, shape in zip(parts, shapes, strict=True)]
