"""The actor and critic networks, and how a team of agents is served by them.

Shapes: T decisions, B sequences (episodes x agents), E episodes, N agents, C context columns, K slots of F columns,
M fixed actions, A = M + K actions, H hidden units, S state columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from envs.sensing import Sensing
from training.losses import by_kind
from training.networks import HEAD_GAIN, RELU_GAIN, linear, seeded


class OpportunityActor(nn.Module):
    """Scores each opportunity with shared weights; a GRU remembers.  Teacher and students differ in width only.

    u = W_c c + b_c;  e_0 = relu(u);  e_j = relu(u + W_x x_j);  g = e_0 + mean over legal slots of e_j;
    h' = GRU(g, h);  q = W_h h' + b_h;  s_j = relu(W_e e_j + q);  fixed logits W_f s_0 + b_f, slot logit w_s.s_j + b_s.
    """

    def __init__(
        self,
        context_size: int,
        slot_size: int,
        slots: int,
        fixed_actions: int,
        hidden: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        generator = seeded(generator)
        self.context_size, self.slot_size, self.slots = context_size, slot_size, slots
        self.fixed_actions, self.hidden = fixed_actions, hidden
        self.context = linear(context_size, hidden, RELU_GAIN, generator)
        self.slot = linear(slot_size, hidden, RELU_GAIN, generator, bias=False)
        self.gru = nn.GRU(hidden, hidden, device="meta").to_empty(device="cpu")
        for name, weight in self.gru.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(weight)
            else:
                for gate in weight.data.chunk(3):
                    nn.init.orthogonal_(gate, 1.0, generator)
        self.query = linear(hidden, hidden, RELU_GAIN, generator)
        self.key = linear(hidden, hidden, RELU_GAIN, generator, bias=False)
        self.fixed = linear(hidden, fixed_actions, HEAD_GAIN, generator)
        self.score = linear(hidden, 1, HEAD_GAIN, generator)

    def forward(self, context: Tensor, slots: Tensor, mask: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """context [T, B, C], slots [T, B, K, F], mask [T, B, A] bool, hidden [B, H] -> logits [T, B, A], z [T, B, H].

        Logits of illegal actions are not masked here; the latent z is the recurrent output (Eqs. 9-11).
        """
        u = self.context(context)
        alone = F.relu(u)
        with_slot = F.relu(u.unsqueeze(-2) + self.slot(slots))  # [T, B, K, H]
        legal = mask[..., self.fixed_actions :].to(u.dtype).unsqueeze(-2)  # [T, B, 1, K]
        pooled = (legal @ with_slot).squeeze(-2) / legal.sum(-1).clamp_min(1.0)
        z, _ = self.gru(alone + pooled, hidden.unsqueeze(0))
        entities = torch.cat((alone.unsqueeze(-2), with_slot), dim=-2)  # [T, B, K+1, H]
        s = F.relu(self.key(entities) + self.query(z).unsqueeze(-2))
        fixed = self.fixed(s[..., 0, :])
        scores = self.score(s[..., 1:, :]).squeeze(-1)
        return torch.cat((fixed, scores), dim=-1), z

    def macs(self) -> int:
        """Multiply-accumulates of one decision (FLOPs = 2 MAC); biases and non-linearities are not counted."""
        h, k = self.hidden, self.slots
        encode = h * self.context_size + k * h * self.slot_size
        return encode + 6 * h * h + h * h + (k + 1) * h * h + self.fixed_actions * h + k * h


class Critic(nn.Module):
    """v_i = f([phi_i, mean_j phi_j]), phi_i = g(row i of the state): one value per agent, any number of agents."""

    def __init__(self, state_size: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        generator = seeded(generator)
        self.row = nn.Sequential(
            linear(state_size, hidden, RELU_GAIN, generator),
            nn.ReLU(),
            linear(hidden, hidden, RELU_GAIN, generator),
            nn.ReLU(),
        )
        self.value = nn.Sequential(
            linear(2 * hidden, hidden, RELU_GAIN, generator), nn.ReLU(), linear(hidden, 1, 1.0, generator)
        )

    def forward(self, state: Tensor) -> Tensor:
        """state [..., N, S] -> values [..., N]."""
        phi = self.row(state)
        team = phi.mean(-2, keepdim=True).expand_as(phi)
        values: Tensor = self.value(torch.cat((phi, team), dim=-1)).squeeze(-1)
        return values


class Team(nn.Module):
    """N agents and the networks that serve them: network k serves the agents in ``groups[k]``.

    One group of all agents is the shared teacher; N groups of one are students with networks of their own. Each
    network reads the columns of the full observation that ``sensings`` grant, so a masked column never reaches it.
    """

    def __init__(
        self,
        sensings: Sequence[Sensing],
        groups: Sequence[Sequence[int]],
        hidden: Sequence[int],
        generator: torch.Generator | None = None,
        by_kind: bool = False,
    ) -> None:
        """``hidden`` holds one width per group; ``by_kind``: how the team decides when it does not draw.

        Raises:
            ValueError: agents of one group do not sense the same columns, or the agents' actions differ in number.
        """
        super().__init__()
        generator = seeded(generator)
        self.agents, self.by_kind = len(sensings), by_kind
        self.groups = tuple(tuple(group) for group in groups)
        if sorted(agent for group in self.groups for agent in group) != list(range(self.agents)):
            raise ValueError(f"groups={self.groups} is not allowed: it must name each of {self.agents} agents once")
        self._context_columns: list[Tensor] = []
        self._slot_columns: list[Tensor] = []
        networks: list[OpportunityActor] = []
        for group, width in zip(self.groups, hidden, strict=True):
            first = sensings[group[0]]
            for agent in group[1:]:
                if sensings[agent].columns.tolist() != first.columns.tolist():
                    raise ValueError(
                        f"agents {first.spec.name!r} and {sensings[agent].spec.name!r} cannot share a network: "
                        "they must sense the same columns"
                    )
            slots, slot_size = first.slot_columns.shape
            networks.append(
                OpportunityActor(
                    len(first.context_columns), slot_size, slots, len(first.spec.fixed_actions), width, generator
                )
            )
            self._context_columns.append(torch.from_numpy(first.context_columns))
            self._slot_columns.append(torch.from_numpy(first.slot_columns))
        self.networks = nn.ModuleList(networks)
        if len({len(sensing.spec.actions) for sensing in sensings}) != 1:
            raise ValueError("the agents of a team must have equally many actions")

    @property
    def members(self) -> list[OpportunityActor]:
        """The network that serves each agent."""
        served = {agent: network for group, network in zip(self.groups, self.networks, strict=True) for agent in group}
        return [network for _, network in sorted(served.items()) if isinstance(network, OpportunityActor)]

    def decisive(self, logits: Tensor, mask: Tensor) -> Tensor:
        """Logits whose largest is the team's decision when it does not draw.

        logits [..., N, A], mask [..., N, A] bool -> [..., N, A], not masked.
        """
        return by_kind(logits, mask, self.members[0].fixed_actions) if self.by_kind else logits

    def initial_hidden(self, episodes: int) -> list[Tensor]:
        """Zeros, N tensors [E, H_i]."""
        return [torch.zeros(episodes, network.hidden) for network in self.members]

    def forward(self, obs: Tensor, mask: Tensor, hidden: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """obs [T, E, N, O], mask [T, E, N, A], hidden N x [E, H_i] (None: zeros).

        Returns logits [T, E, N, A], not masked, and the latents N x [T, E, H_i].
        """
        steps, episodes = obs.shape[:2]
        hidden = self.initial_hidden(episodes) if hidden is None else hidden
        logits: dict[int, Tensor] = {}
        latents: dict[int, Tensor] = {}
        for k, (group, network) in enumerate(zip(self.groups, self.networks, strict=True)):
            own, own_mask = obs[:, :, group].flatten(1, 2), mask[:, :, group].flatten(1, 2)  # [T, E*n, ...]
            h = torch.stack([hidden[agent] for agent in group], dim=1).flatten(0, 1)  # [E*n, H]
            flat, z = network(own[..., self._context_columns[k]], own[..., self._slot_columns[k]], own_mask, h)
            shape = (steps, episodes, len(group), -1)
            logits.update(zip(group, flat.view(shape).unbind(2), strict=True))
            latents.update(zip(group, z.view(shape).unbind(2), strict=True))
        order = range(self.agents)
        return torch.stack([logits[agent] for agent in order], dim=2), [latents[agent] for agent in order]

    def decide(self, obs: Tensor, mask: Tensor, asked: Tensor, hidden: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """One decision of those agents that are asked; the others cost nothing and keep their memory.

        obs [E, N, O], mask [E, N, A], asked [E, N] bool, hidden N x [E, H_i] -> logits [E, N, A] (0 where not asked),
        N x [E, H_i].
        """
        logits = obs.new_zeros(mask.shape)
        kept = [h.clone() for h in hidden]
        for k, (group, network) in enumerate(zip(self.groups, self.networks, strict=True)):
            episode, place = asked[:, group].nonzero(as_tuple=True)
            if len(episode) == 0:
                continue
            agent = torch.tensor(group)[place]
            h = torch.stack([hidden[n] for n in group], dim=1)[episode, place]
            own = obs[episode, agent].unsqueeze(0)  # [1, B, O]
            context, slots = own[..., self._context_columns[k]], own[..., self._slot_columns[k]]
            out, z = network(context, slots, mask[episode, agent].unsqueeze(0), h)
            logits[episode, agent] = out[0]
            for n in group:
                of_n = agent == n
                kept[n][episode[of_n]] = z[0, of_n]
        return logits, kept


def shared_team(sensings: Sequence[Sensing], hidden: int, generator: torch.Generator | None = None) -> Team:
    """One network for all agents, e.g. the teacher on the full observations."""
    return Team(sensings, [range(len(sensings))], [hidden], generator)


def individual_team(
    sensings: Sequence[Sensing], hidden: Sequence[int], generator: torch.Generator | None = None
) -> Team:
    """One network per agent, e.g. students; ``hidden`` holds N widths."""
    return Team(sensings, [[agent] for agent in range(len(sensings))], hidden, generator)
