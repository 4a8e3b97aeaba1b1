"""Episodes as arrays: on the step grid as they happened, and as each agent's sequence of decisions.

Shapes: T steps, E episodes, N agents, O observation columns, A actions, S state columns, D decisions of one agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.api import BoolArray, FloatArray, IntArray, Policy, Step, VectorEnv
from envs.files import read_arrays, write_arrays


@dataclass(frozen=True, slots=True)
class Rollout:
    """E whole episodes on a common step grid, padded behind each one's end with zeros."""

    obs: FloatArray  # [T, E, N, O]
    mask: BoolArray  # [T, E, N, A] legal actions
    active: BoolArray  # [T, E, N] the agent was asked at the start of this step
    alive: BoolArray  # [T+1, E, N] at the start of each step, and after the last
    action: IntArray  # [T, E, N] meaningful where active
    advice: IntArray  # [T, E, N] likewise: what an adviser would have done; without one, what was done
    log_prob: FloatArray  # [T, E, N] of the action under the behaviour policy; 0 if that was deterministic
    reward: FloatArray  # [T, E] team reward of the step, received at its end
    duration_s: FloatArray  # [T, E]
    terminated: BoolArray  # [E] the mission was over: nothing can be earned behind the end
    truncated: BoolArray  # [E] cut off by the time limit
    state: FloatArray  # [T+1, E, N, S]; row ``steps[e]`` is the true final state
    valid: BoolArray  # [T, E] the step happened
    seeds: IntArray  # [E]

    @property
    def steps(self) -> IntArray:
        """[E] how many steps each episode has."""
        return np.asarray(self.valid.sum(0), np.int64)

    def save(self, path: Path) -> None:
        """Write an npz; the file appears whole or not at all."""
        write_arrays(path, {name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def load(cls, path: Path) -> Rollout:
        return cls(**read_arrays(path))


@dataclass(frozen=True, slots=True)
class Decisions:
    """Each agent's decisions in order, packed to the front of D; entries that are not ``valid`` are 0.

    With gamma per second, decision d at time t_d, steps s from there to the agent's next decision, ending at t_{s+1}:
    reward_d = sum_s gamma^(t_{s+1} - t_d) r_s,  discount_d = gamma^(t_{d+1} - t_d).
    An agent that dies has its last reward end with the step of its death (penalty included) and discount 0; at a time
    limit the last discount reaches to the final state, ``next_step`` = T_e.
    """

    step: IntArray  # [D, E, N] step at whose start the decision is made
    valid: BoolArray  # [D, E, N]
    obs: FloatArray  # [D, E, N, O]
    mask: BoolArray  # [D, E, N, A]
    action: IntArray  # [D, E, N]
    advice: IntArray  # [D, E, N]
    log_prob: FloatArray  # [D, E, N]
    reward: FloatArray  # [D, E, N]
    discount: FloatArray  # [D, E, N] 0: nothing follows
    next_step: IntArray  # [D, E, N] row of ``Rollout.state`` to bootstrap from
    held: IntArray  # [T, E, N] index of the agent's latest decision at each step; -1: none, dead, or no such step


def collect(env: VectorEnv, policy: Policy, seeds: Sequence[int]) -> Rollout:
    """Play one whole episode per seed.

    A stochastic policy has ``log_prob`` [E, N] of its latest choice, and one that is advised ``advice`` [E, N].
    """
    step = env.reset(list(seeds))
    policy.reset(list(seeds))
    before: list[Step] = []
    actions, advices, log_probs, valid = [], [], [], []
    terminated, truncated = step.terminated.copy(), step.truncated.copy()
    while not (terminated | truncated).all():
        running = ~(terminated | truncated)
        action = np.asarray(policy.act(step), np.int64)
        active = step.active & running[:, None]
        log_prob = np.asarray(getattr(policy, "log_prob", np.zeros(action.shape)), np.float32)
        before.append(step)
        actions.append(np.where(active, action, 0))
        advices.append(np.where(active, getattr(policy, "advice", action), 0))
        log_probs.append(np.where(active, log_prob, np.float32(0)))
        valid.append(running)
        step = env.step(action)
        terminated |= step.terminated & running
        truncated |= step.truncated & running

    happened = np.stack(valid)  # [T, E]
    reached = np.concatenate((np.ones_like(happened[:1]), happened))[..., None]  # [T+1, E, 1]
    every, after = [*before, step], [*before[1:], step]
    return Rollout(
        obs=np.where(happened[..., None, None], np.stack([s.obs for s in before]), np.float32(0)),
        mask=np.stack([s.action_mask for s in before]) & happened[..., None, None],
        active=np.stack([s.active for s in before]) & happened[..., None],
        alive=np.stack([s.alive for s in every]) & reached,
        action=np.stack(actions),
        advice=np.stack(advices),
        log_prob=np.stack(log_probs),
        reward=np.where(happened, np.stack([s.reward for s in after]), np.float32(0)),
        duration_s=np.where(happened, np.stack([s.duration_s for s in after]), np.float32(0)),
        terminated=terminated,
        truncated=truncated,
        state=np.where(reached[..., None], np.stack([s.state for s in every]), np.float32(0)),
        valid=happened,
        seeds=np.asarray(seeds, np.int64),
    )


_PER_EPISODE = ("terminated", "truncated", "seeds")


def concatenate(rollouts: Sequence[Rollout]) -> Rollout:
    """All episodes in order, padded to the longest."""
    longest = max(len(rollout.valid) for rollout in rollouts)

    def joined(name: str) -> np.ndarray:
        arrays = [getattr(rollout, name) for rollout in rollouts]
        if name in _PER_EPISODE:
            return np.concatenate(arrays)
        extra = [longest - len(rollout.valid) for rollout in rollouts]
        padded = [np.pad(a, [(0, n)] + [(0, 0)] * (a.ndim - 1)) for a, n in zip(arrays, extra, strict=True)]
        return np.concatenate(padded, axis=1)

    return Rollout(**{name: joined(name) for name in Rollout.__slots__})


def decisions(rollout: Rollout, discount_per_s: float) -> Decisions:
    """Each agent's decision sequence, with the team reward discounted to the agent's next decision."""
    asked = rollout.active & rollout.valid[..., None] & rollout.alive[:-1]  # [T, E, N]
    steps, episodes, agents = asked.shape
    index = np.cumsum(asked, axis=0) - 1  # [T, E, N]
    reward, discount, next_step = _to_next_decision(rollout, asked, discount_per_s)

    t, e, n = np.nonzero(asked)
    d = index[t, e, n]
    depth = int(index.max(initial=-1)) + 1

    def packed(values: np.ndarray) -> np.ndarray:
        out = np.zeros((depth, episodes, agents, *values.shape[3:]), values.dtype)
        out[d, e, n] = values[t, e, n]
        return out

    return Decisions(
        step=packed(np.broadcast_to(np.arange(steps)[:, None, None], asked.shape)),
        valid=packed(asked),
        obs=packed(rollout.obs),
        mask=packed(rollout.mask),
        action=packed(rollout.action),
        advice=packed(rollout.advice),
        log_prob=packed(rollout.log_prob),
        reward=packed(reward),
        discount=packed(discount),
        next_step=packed(next_step),
        held=np.where(rollout.valid[..., None] & rollout.alive[:-1], index, -1),
    )


def _to_next_decision(
    rollout: Rollout, asked: BoolArray, discount_per_s: float
) -> tuple[FloatArray, FloatArray, IntArray]:
    """From the start of each step to each agent's next decision: reward, discount, step; [T, E, N] each.

    Backwards over the steps: G_s = gamma^dt_s (r_s + G_{s+1}), where G_{s+1} counts only if the agent flies on
    through step s+1 without being asked.
    """
    gamma = np.power(discount_per_s, rollout.duration_s.astype(np.float64))[..., None]  # [T, E, 1]
    alive_after, steps = rollout.alive[1:], len(asked)
    flies_on = np.zeros_like(asked)
    flies_on[:-1] = rollout.valid[1:, :, None] & alive_after[:-1] & ~asked[1:]
    over = (np.arange(1, steps + 1)[:, None] == rollout.steps) & rollout.terminated  # [T, E]
    has_future = alive_after & ~over[..., None]

    reward = np.zeros(asked.shape, np.float32)
    discount = np.zeros(asked.shape, np.float32)
    next_step = np.zeros(asked.shape, np.int64)
    later_reward, later_discount = np.zeros(asked.shape[1:]), np.zeros(asked.shape[1:])
    later_step = np.zeros(asked.shape[1:], np.int64)
    for s in range(steps - 1, -1, -1):
        later_reward = gamma[s] * (rollout.reward[s][:, None] + np.where(flies_on[s], later_reward, 0.0))
        later_discount = gamma[s] * np.where(flies_on[s], later_discount, has_future[s])
        later_step = np.where(flies_on[s], later_step, s + 1)
        reward[s], discount[s], next_step[s] = later_reward, later_discount, later_step
    return reward, discount, next_step
