"""PTDE (Chen et al. 2024) on MAPPO: agents act on global information made for each of them, then on its prediction.

First stage: z_i, made from the global state and what agent i sees, is a further input of its network, and both learn
by MAPPO. Second stage: a recurrent network per agent predicts z_i from what the agent itself has seen; the prediction
takes the place of z_i (docs/peers.md).

Shapes: T steps, E environments, N agents, I input columns, S state columns, Z columns of information, U units,
A actions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from envs.games.api import Game
from scenarios.games.peers import PtdeConfig
from scenarios.games.schema import GameDistillConfig, MappoConfig
from training.artifact import Place
from training.games.networks import RecurrentTeam, Sight, descend
from training.games.stretches import Plan, learn_in_stretches
from training.games.training import Curve, Evaluations
from training.games.windows import Player, Window, minibatches
from training.losses import weighted_mean
from training.networks import RELU_GAIN, linear
from training.optimisation import adam, means, set_rate


class PersonalisedTeam(RecurrentTeam):
    """The first stage's team: each network reads [x_i, z_i], with

    z_i = tanh(W_z (relu(W_s s + b_s) * sigmoid(W_x x_i + b_x)) + b_z).

    What the agent sees gates what it is told of the state: a hypernetwork whose weights are diagonal.
    """

    def __init__(
        self, inputs: int, state_size: int, actions: int, hidden: Sequence[int], config: PtdeConfig, seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        agents, units, told = len(hidden), config.units, config.information
        super().__init__(inputs + told, actions, [[agent] for agent in range(agents)], hidden, generator)
        self.own_inputs, self.information_size = inputs, told

        def stacked(columns: int, outputs: int, gain: float) -> nn.Parameter:
            each = [linear(columns, outputs, gain, generator).weight.T for _ in range(agents)]
            return nn.Parameter(torch.stack(each).detach())

        self.state_weight = stacked(state_size, units, RELU_GAIN)
        self.state_bias = nn.Parameter(torch.zeros(agents, 1, units))
        self.gate_weight = stacked(inputs, units, 1.0)
        self.gate_bias = nn.Parameter(torch.zeros(agents, 1, units))
        self.told_weight = stacked(units, told, 1.0)
        self.told_bias = nn.Parameter(torch.zeros(agents, 1, told))

    def information(self, own: Tensor, state: Tensor) -> Tensor:
        """own [T, E, N, I], state [T, E, N, S] -> z [T, E, N, Z], between -1 and 1."""

        def of_each(columns: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            return torch.einsum("tenc,ncu->tenu", columns, weight) + bias.squeeze(1)

        gate = of_each(own, self.gate_weight, self.gate_bias).sigmoid()
        units = F.relu(of_each(state, self.state_weight, self.state_bias)) * gate
        return of_each(units, self.told_weight, self.told_bias).tanh()

    def forward(self, inputs: Tensor, hidden: Tensor, starts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """inputs [T, E, N, I + S]; else as of ``RecurrentTeam``."""
        own, state = inputs[..., : self.own_inputs], inputs[..., self.own_inputs :]
        return super().forward(torch.cat((own, self.information(own, state)), dim=-1), hidden, starts)


class DistilledTeam(RecurrentTeam):
    """What flies: the first stage's networks, told what ``predictor`` expects in place of z.

    Its memory is that of both, side by side: [N, E, H + H of the predictor].
    """

    def __init__(self, taught: PersonalisedTeam, hidden: Sequence[int], seed: int) -> None:
        """``hidden``: the predictors' widths."""
        generator = torch.Generator().manual_seed(seed + _PREDICTOR)
        super().__init__(taught.inputs, taught.actions, taught.groups, taught.widths, generator)
        of_both = {name: value for name, value in taught.state_dict().items() if name in self.state_dict()}
        self.load_state_dict(of_both)
        self.predictor = RecurrentTeam(
            taught.own_inputs, taught.information_size, taught.groups, hidden, generator, head_gain=1.0
        )

    def initial_hidden(self, environments: int) -> Tensor:
        return torch.cat((super().initial_hidden(environments), self.predictor.initial_hidden(environments)), dim=-1)

    def forward(self, inputs: Tensor, hidden: Tensor, starts: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """inputs [T, E, N, I], else as of ``RecurrentTeam``; latents of both, side by side."""
        own, of_predictor = torch.split(hidden, [self.hidden, self.predictor.hidden], dim=-1)
        expected, expecting = self.predictor(inputs, of_predictor.contiguous(), starts)
        out, z = super().forward(torch.cat((inputs, expected), dim=-1), own.contiguous(), starts)
        return out, torch.cat((z, expecting), dim=-1)

    def macs(self, sight: Sight) -> list[int]:
        """Both networks: C h + Z h + 6 h^2 + h A, and C h + 6 h^2 + h Z of the predictor."""
        told, pairs = self.predictor.actions, []
        for agent, actor in enumerate(super().macs(sight)):
            h = self.predictor.width(agent)
            pairs.append(actor + told * self.width(agent) + sight.columns(agent) * h + 6 * h * h + h * told)
        return pairs


_PREDICTOR = 2**32  # keeps its draws apart from the first stage's


def stages(mappo: MappoConfig, config: PtdeConfig) -> tuple[MappoConfig, int]:
    """MAPPO's settings of the first stage, each phase shortened alike, and the second stage's environment steps.

    Together they are as many steps as MAPPO has.
    """
    phases = [dataclasses.replace(p, steps=max(1, round(p.steps * (1 - config.second_stage)))) for p in mappo.phases]
    left = sum(phase.steps for phase in mappo.phases) - sum(phase.steps for phase in phases)
    return dataclasses.replace(mappo, phases=phases), left


def prediction_error(expected: Tensor, told: Tensor, alive: Tensor) -> Tensor:
    """Mean over agents that live, and steps, of |z^_i - z_i|^2 / Z.  expected, told [T, E, N, Z]; alive [T, E, N]."""
    return weighted_mean((expected - told.detach()).square().mean(-1), alive)


@dataclass
class PredictorLearner:
    """All that the second stage changes."""

    students: DistilledTeam
    optimiser: torch.optim.Adam
    seed: int
    updates: int = 0  # windows learnt from

    def state_dict(self) -> dict[str, Any]:
        """For ``training.checkpoint.save``."""
        modules = {"students": self.students.state_dict(), "optimiser": self.optimiser.state_dict()}
        return modules | {"seed": self.seed, "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.students.load_state_dict(state["students"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.seed, self.updates = state["seed"], state["updates"]


def new_learner(students: DistilledTeam, seed: int) -> PredictorLearner:
    return PredictorLearner(students, adam(students.predictor.parameters(), 1e-3), seed)


def learn(
    learner: PredictorLearner,
    taught: PersonalisedTeam,
    sight: Sight,
    window: Window,
    hidden: Tensor,
    rate: float,
    config: GameDistillConfig,
) -> tuple[dict[str, float], Tensor]:
    """Some epochs over a window of the first stage's play.

    ``sight``: what the first stage's networks read, state columns behind the agents' own; hidden [N, E, H]: the
    predictors' memory before the window. Returns the last epoch's statistics and the memory behind the window.
    """
    predictor = learner.students.predictor
    inputs = sight.prepare(window.obs, window.seen, window.last_action)
    own, state = inputs[..., : taught.own_inputs], inputs[..., taught.own_inputs :]
    set_rate(learner.optimiser, rate)
    with torch.no_grad():
        told = taught.information(own, state)
    records: list[dict[str, Tensor]] = []
    for epoch in range(config.student_epochs):
        records = []
        for index in minibatches(window.reward.shape[1], config.minibatches, (learner.seed, learner.updates, epoch)):
            expected, _ = predictor(own[:, index], hidden[:, index], window.starts[:, index])
            loss = prediction_error(expected, told[:, index], window.alive[:, index])
            descend(learner.optimiser, loss, predictor, config.max_grad_norm)
            records.append({"loss": loss.detach()})
    with torch.no_grad():
        _, latents = predictor(own, hidden, window.starts)
    learner.updates += 1
    return means(records), latents[-1]


def train_predictor(
    learner: PredictorLearner,
    taught: PersonalisedTeam,
    sight: Sight,
    game: Game,
    config: GameDistillConfig,
    plan: Plan,
    place: Place,
    evaluations: Evaluations,
) -> Curve:
    """The second stage: ``plan.windows`` windows in which the first stage's team plays; see ``learn_in_stretches``.

    ``game`` appends its state to the observations (``training.games.appended.StateColumns``).
    """
    player = Player(game, taught, sight, 0)
    predictor = learner.students.predictor
    hidden = predictor.initial_hidden(game.environments)

    def restart(seed: int) -> None:
        nonlocal hidden
        player.restart(seed)
        hidden = predictor.initial_hidden(game.environments)

    def step() -> dict[str, float]:
        nonlocal hidden
        window, _ = player.play(config.window)
        rate = config.learning_rate * (1 - learner.updates / plan.windows)
        record, hidden = learn(learner, taught, sight, window, hidden, rate, config)
        return record

    return learn_in_stretches(learner, learner.students, plan, restart, step, place, evaluations)
