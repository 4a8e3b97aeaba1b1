"""A team's recurrent networks in one batched computation, what they read, and the critic.

Shapes: T steps, E environments, N agents, G networks, O observation columns, I input columns, A actions, H hidden units
(of the widest network), S state columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from envs.api import AgentSpec
from envs.games.sensing import RandomMasks
from training.exact import square_root
from training.games.gru import gated_recurrence
from training.networks import HEAD_GAIN, RELU_GAIN, linear


class Sight:
    """What a team's networks read: the columns that their agents sense, and what an agent knows of itself."""

    def __init__(
        self, specs: Sequence[AgentSpec], masks: Tensor | RandomMasks, identities: bool, last_action: bool
    ) -> None:
        """masks: [N, O] bool, or drawn for every episode; ``identities``: networks are shared, so each agent says
        which one it is; ``last_action``: its own latest action is read."""
        self.agents, self.actions = len(specs), max(len(spec.actions) for spec in specs)
        self.obs_size = max(spec.obs_size for spec in specs)
        self._own = [spec.obs_size for spec in specs]
        self.own_actions = [len(spec.actions) for spec in specs]
        self._masks, self.identities, self.last_action = masks, identities, last_action
        self._identity = torch.eye(self.agents)
        self._one_hot = torch.cat((torch.eye(self.actions), torch.zeros(1, self.actions)))  # the last row: none yet

    @property
    def random(self) -> bool:
        return isinstance(self._masks, RandomMasks)

    @property
    def inputs(self) -> int:
        masks = self.obs_size if self.random else 0
        return self.obs_size + masks + self.identities * self.agents + self.last_action * self.actions

    def reads(self, agent: int) -> Tensor:
        """Which input columns can be other than 0 for this agent, [I] bool: what a network of its own needs."""
        own = torch.arange(self.obs_size) < self._own[agent]
        # Where masks are drawn: what is sensed, and which columns those are.
        parts = [own, own] if isinstance(self._masks, RandomMasks) else [self._masks[agent]]
        if self.identities:
            parts.append(torch.ones(self.agents, dtype=torch.bool))
        if self.last_action:
            parts.append(torch.arange(self.actions) < self.own_actions[agent])
        return torch.cat(parts)

    def columns(self, agent: int) -> int:
        """How many columns its network reads when it is cut to them: what that costs."""
        return int(self.reads(agent).sum())

    def draw(self, environments: int, generator: torch.Generator) -> Tensor:
        """What each agent senses in a new episode, [E, N, O] bool."""
        if isinstance(self._masks, RandomMasks):
            return self._masks.draw(environments, generator)
        return self._masks.expand(environments, -1, -1)

    def prepare(self, obs: Tensor, seen: Tensor, last_action: Tensor) -> Tensor:
        """obs [..., N, O], seen [..., N, O] bool, last_action [..., N] int64 (-1: none yet) -> [..., N, I].

        Columns that are not sensed are 0, so that nothing of them reaches a network.
        """
        parts = [obs * seen]
        if self.random:
            parts.append(seen.to(obs.dtype).expand_as(obs))
        if self.identities:
            parts.append(self._identity.expand(*obs.shape[:-2], -1, -1))
        if self.last_action:
            parts.append(self._one_hot[last_action])
        return torch.cat(parts, dim=-1)


class RecurrentTeam(nn.Module):
    """N agents served by G networks: linear, ReLU, GRU, linear (the paper's student, and EPyMARL's actor).

    Networks of unlike width are one tensor. All weights into and out of a unit that a narrower one lacks start at 0:
    the unit stays at 0 and so do its gradients, and each network computes and learns what it would alone.
    """

    def __init__(
        self,
        inputs: int,
        actions: int,
        groups: Sequence[Sequence[int]],
        hidden: Sequence[int],
        generator: torch.Generator,
        head_gain: float = HEAD_GAIN,
    ) -> None:
        """``groups`` names the agents of each network, ``hidden`` its width."""
        super().__init__()
        self.groups = tuple(tuple(group) for group in groups)
        self.agents = sum(len(group) for group in self.groups)
        if sorted(agent for group in self.groups for agent in group) != list(range(self.agents)):
            raise ValueError(f"groups={self.groups} is not allowed: it must name each agent once")
        self.inputs, self.actions, self.widths = inputs, actions, tuple(hidden)
        network_of = {agent: k for k, group in enumerate(self.groups) for agent in group}
        self._network_of = [network_of[agent] for agent in range(self.agents)]
        networks, widest = len(self.groups), max(hidden)

        self.encoder_weight = nn.Parameter(torch.zeros(networks, inputs, widest))
        self.encoder_bias = nn.Parameter(torch.zeros(networks, 1, widest))
        self.input_weight = nn.Parameter(torch.zeros(networks, widest, 3 * widest))
        self.input_bias = nn.Parameter(torch.zeros(networks, 1, 3 * widest))
        self.hidden_weight = nn.Parameter(torch.zeros(networks, widest, 3 * widest))
        self.hidden_bias = nn.Parameter(torch.zeros(networks, 1, 3 * widest))
        self.head_weight = nn.Parameter(torch.zeros(networks, widest, actions))
        self.head_bias = nn.Parameter(torch.zeros(networks, 1, actions))
        with torch.no_grad():
            for k, width in enumerate(hidden):
                self.encoder_weight[k, :, :width] = linear(inputs, width, RELU_GAIN, generator).weight.T
                for gate in range(3):
                    columns = slice(gate * widest, gate * widest + width)
                    self.input_weight[k, :width, columns] = linear(width, width, 1.0, generator).weight.T
                    self.hidden_weight[k, :width, columns] = linear(width, width, 1.0, generator).weight.T
                self.head_weight[k, :width] = linear(width, actions, head_gain, generator).weight.T

    @property
    def hidden(self) -> int:
        return max(self.widths)

    def width(self, agent: int) -> int:
        return self.widths[self._network_of[agent]]

    def initial_hidden(self, environments: int) -> Tensor:
        """Zeros, [N, E, H]."""
        return torch.zeros(self.agents, environments, self.hidden)

    def forward(self, inputs: Tensor, hidden: Tensor, starts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """inputs [T, E, N, I], hidden [N, E, H] before the first step, starts [T, E] bool: memory is forgotten before
        that step (None: never).

        Returns outputs [T, E, N, A], not masked, and the latents [T, N, E, H]; the last is the next ``hidden``.
        """
        steps, environments = inputs.shape[:2]
        one = len(self.groups) == 1
        if one:  # all agents are rows of one product, in the order that they come in
            x, h0 = inputs.reshape(1, -1, self.inputs), hidden.transpose(0, 1).reshape(1, -1, self.hidden)
        else:
            x, h0 = inputs.permute(2, 0, 1, 3).reshape(self.agents, -1, self.inputs), hidden
        e = F.relu(torch.baddbmm(self._of(self.encoder_bias), x, self._of(self.encoder_weight)))
        x_gates = torch.baddbmm(self._of(self.input_bias), e, self._of(self.input_weight))
        keep = None
        if starts is not None and bool(starts.any()):
            keep = (~starts).to(e.dtype)
            keep = (keep.repeat_interleave(self.agents, dim=1) if one else keep).view(steps, 1, -1, 1)
        z = gated_recurrence(
            x_gates.view(len(x), steps, -1, 3 * self.hidden).transpose(0, 1),
            h0,
            self._of(self.hidden_weight),
            self._of(self.hidden_bias),
            keep,
        )
        by_network = z.transpose(0, 1).reshape(len(x), -1, self.hidden)
        out = torch.baddbmm(self._of(self.head_bias), by_network, self._of(self.head_weight))
        if one:
            shape = (steps, environments, self.agents, -1)
            return out.view(shape), z.view(shape).transpose(1, 2)
        return out.view(self.agents, steps, environments, -1).permute(1, 2, 0, 3), z

    def _of(self, parameter: Tensor) -> Tensor:
        """A parameter [G, ...] as the batch needs it: one network's as it is, else each agent's own [N, ...]."""
        if len(self.groups) in (1, self.agents) and self._network_of == sorted(self._network_of):
            return parameter
        return parameter[self._network_of]

    def clip_gradients(self, max_norm: float) -> Tensor:
        """Each network's gradient to a norm of at most ``max_norm``, so that unlike networks do not scale one another.

        Returns the largest norm before clipping.
        """
        grads = [p.grad for p in self.parameters() if p.grad is not None]
        square = torch.stack([grad.square().flatten(1).sum(1) for grad in grads]).sum(0)  # [G]
        norm = square_root(square)
        factor = (max_norm / (norm + 1e-6)).clamp_max(1.0)
        for grad in grads:
            grad.mul_(factor.view(-1, 1, 1))
        return norm.max()

    def macs(self, sight: Sight) -> list[int]:
        """Multiply-accumulates of one decision of each agent (FLOPs = 2 MAC): C h + 6 h^2 + h A, with the C input
        columns that the agent has and the h units of its network; biases and non-linearities are not counted."""
        own = sight.own_actions
        return [sight.columns(n) * (h := self.width(n)) + 6 * h * h + h * own[n] for n in range(self.agents)]


def descend(
    optimiser: torch.optim.Optimizer,
    loss: Tensor,
    team: RecurrentTeam,
    max_norm: float,
    others: nn.Module | None = None,
) -> Tensor:
    """One step of a team, and of ``others`` that learn with it; returns the largest gradient norm before clipping."""
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    norm = team.clip_gradients(max_norm)
    if others is not None:
        nn.utils.clip_grad_norm_(others.parameters(), max_norm)
    optimiser.step()
    return norm


class StateCritic(nn.Module):
    """V(s): one value for the team, from the state that only the ground sees."""

    def __init__(self, state_size: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.value = nn.Sequential(
            linear(state_size, hidden, RELU_GAIN, generator),
            nn.ReLU(),
            linear(hidden, hidden, RELU_GAIN, generator),
            nn.ReLU(),
            linear(hidden, 1, 1.0, generator),
        )

    def forward(self, state: Tensor) -> Tensor:
        """state [..., S] -> values [...]."""
        values: Tensor = self.value(state).squeeze(-1)
        return values


def alike(specs: Sequence[AgentSpec]) -> list[list[int]]:
    """Agents with the same blocks and actions, who can share a network."""
    kinds: dict[object, list[int]] = {}
    for agent, spec in enumerate(specs):
        kinds.setdefault((spec.blocks, spec.fixed_actions), []).append(agent)
    return list(kinds.values())
