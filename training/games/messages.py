"""Students that tell one another a few bits at each step, read in the same step (docs/peers.md).

Shapes: T steps, E environments, N agents, I input columns, B bits of a message, H hidden units, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from envs.games.api import Frame
from training.games.networks import RecurrentTeam, Sight
from training.networks import linear

_RECEIVER_GAIN = 0.3
_MESSAGES, _LINKS = 2**33, 0x6C696E6B  # keep the messages' and the links' draws apart from others


class Links:
    """Which messages arrive: a column for each of the other agents, in their order (``appended.Columns``).

    1 where agent j lives and its message to agent i is not lost, else 0. Each link loses a share ``loss`` of its
    messages, each by itself.
    """

    def __init__(self, loss: float) -> None:
        self.loss = loss
        self.restart(0)

    def restart(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed ^ _LINKS)

    def of(self, frame: Frame) -> Tensor:
        """[E, N, N-1] float32."""
        sender = frame.alive[:, others(frame.alive.shape[1])]
        arrives = torch.rand(sender.shape, generator=self._generator) >= self.loss
        return (sender & arrives).to(frame.obs.dtype)


def others(agents: int) -> Tensor:
    """[N, N-1]: row i names all agents but i, in their order."""
    rows = [[j for j in range(agents) if j != i] for i in range(agents)]
    return torch.tensor(rows, dtype=torch.int64).view(agents, agents - 1)


def bits(a: Tensor) -> Tensor:
    """-1 or 1, the sign of ``a`` (1 at 0); its gradient is that of tanh(a)."""
    signs: Tensor = _Bits.apply(a)  # type: ignore[no-untyped-call]
    return signs


class _Bits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return torch.where(a >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        through: Tensor = grads[0] * (1 - a.tanh().square())
        return through


class MessagingTeam(RecurrentTeam):
    """N agents with a network and a sender each.

    x = W_e o + b_e,  m = sign(W_m [relu(x), h] + c),  e = relu(x + W_r [m_j of the others]);  then GRU and head on e.
    h is the memory before the step: forgotten where an episode starts, so messages are forgotten with it. Of a message
    that does not arrive zeros are read.
    """

    def __init__(
        self,
        inputs: int,
        actions: int,
        hidden: Sequence[int],
        message_bits: int,
        generator: torch.Generator,
        message_generator: torch.Generator,
    ) -> None:
        super().__init__(inputs, actions, [[agent] for agent in range(len(hidden))], hidden, generator)
        self.bits = message_bits
        agents, widest = len(hidden), max(hidden)
        self._others = others(agents)
        self.sender_weight = nn.Parameter(torch.zeros(agents, 2 * widest, message_bits))
        self.sender_bias = nn.Parameter(torch.zeros(agents, 1, message_bits))
        self.receiver_weight = nn.Parameter(torch.zeros(agents, (agents - 1) * message_bits, widest))
        with torch.no_grad():
            for k, width in enumerate(hidden):
                weight = linear(2 * width, message_bits, 1.0, message_generator).weight.T
                self.sender_weight[k, :width] = weight[:width]
                self.sender_weight[k, widest : widest + width] = weight[width:]
                receiver = linear((agents - 1) * message_bits, width, _RECEIVER_GAIN, message_generator)
                self.receiver_weight[k, :, :width] = receiver.weight.T

    def forward(self, inputs: Tensor, hidden: Tensor, starts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """inputs [T, E, N, I + N-1], which messages arrive behind the agents' own columns (``Links``).

        Else as of ``RecurrentTeam``; gradients flow from receivers to senders.
        """
        steps, environments, agents, units = *inputs.shape[:3], self.hidden
        own = inputs[..., : self.inputs].permute(2, 0, 1, 3).reshape(agents, -1, self.inputs)
        x = torch.baddbmm(self.encoder_bias, own, self.encoder_weight)
        of_x = torch.baddbmm(self.sender_bias, F.relu(x), self.sender_weight[:, :units])
        x, of_x = (each.view(agents, steps, environments, -1) for each in (x, of_x))
        arrives = inputs[..., self.inputs :].permute(0, 2, 3, 1).unsqueeze(-1)  # [T, N, N-1, E, 1]
        of_memory = torch.cat((self.hidden_weight, self.sender_weight[:, units:]), dim=-1)
        bias = torch.cat((self.hidden_bias, torch.zeros_like(self.sender_bias)), dim=-1)
        sizes = [2 * units, units, self.bits]
        h, each = hidden, []
        for t in range(steps):
            if starts is not None:
                h = h * (~starts[t]).to(h.dtype).view(1, -1, 1)
            h_ru, h_n, h_m = torch.split(torch.baddbmm(bias, h, of_memory), sizes, dim=-1)
            message = bits(of_x[:, t] + h_m)  # [N, E, B]
            read = (message[self._others] * arrives[t]).transpose(1, 2).reshape(agents, environments, -1)
            e = F.relu(torch.baddbmm(x[:, t], read, self.receiver_weight))
            into_gates = torch.baddbmm(self.input_bias, e, self.input_weight)
            x_ru, x_n = torch.split(into_gates, [2 * units, units], dim=-1)
            r, u = torch.split((x_ru + h_ru).sigmoid(), units, dim=-1)
            h = torch.lerp((x_n + r * h_n).tanh(), h, u)
            each.append(h)
        z = torch.stack(each)  # [T, N, E, H]
        by_agent = z.transpose(0, 1).reshape(agents, -1, units)
        out = torch.baddbmm(self.head_bias, by_agent, self.head_weight)
        return out.view(agents, steps, environments, -1).permute(1, 2, 0, 3), z

    def macs(self, sight: Sight) -> list[int]:
        """As of ``RecurrentTeam``, with 2 h B for the message sent and (N-1) B h for those read."""
        per_unit = (self.agents + 1) * self.bits
        return [mac + per_unit * self.width(n) for n, mac in enumerate(super().macs(sight))]


def messaging_team(inputs: int, actions: int, hidden: Sequence[int], message_bits: int, seed: int) -> MessagingTeam:
    """Freshly drawn; what students without messages have too is drawn as theirs."""
    generators = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + _MESSAGES)
    return MessagingTeam(inputs, actions, hidden, message_bits, *generators)
