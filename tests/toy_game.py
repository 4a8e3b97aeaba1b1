"""A closed-form benchmark game for learning tests: recurrent, cooperative, mortal, and an optimum known exactly.

An episode has ``rounds`` rounds and a cue, left or right, that all agents see at first (``cue_always``: all the time)
and have to remember. Each round an agent waits (which is illegal now and then), goes left, goes right, or, in games
with ``deaths``, grabs. Going with the cue pays 1, and 0.5 on top for the team if all N agents do so in one round;
grabbing pays 2 and is the agent's end. The team's reward is the mean over agents. Who grabs before the last round loses
by it, so the best plan goes with the cue and grabs, if at all, in the last round.

``truncated``: the last round is a time limit that nobody sees, of a game that goes on; there nobody ever grabs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.api import AgentSpec, FeatureBlock
from envs.games.api import Frame, Transition

WAIT, LEFT, RIGHT, GRAB = range(4)
MATCH, TOGETHER, PRIZE = 1.0, 0.5, 2.0


class ToyGame:
    """Satisfies ``envs.games.api.Game``. Columns: cue left, cue right, clock, alive, and but for the last agent noise.

    State columns: cue left, cue right, clock, the N agents' lives.
    """

    name = "toy"
    has_victory = True  # the episode earned the optimum
    backend = "toy"

    def __init__(
        self,
        environments: int,
        agents: int = 2,
        rounds: int = 3,
        deaths: bool = False,
        truncated: bool = False,
        cue_always: bool = False,
    ) -> None:
        self.environments, self.agents, self.horizon = environments, agents, rounds
        self.deaths, self.truncated, self.cue_always = deaths, truncated, cue_always
        self.state_size = 3 + agents
        blocks = (
            FeatureBlock("cue", 2, "1", 1.0),
            FeatureBlock("clock", 1, "rounds", float(rounds)),
            FeatureBlock("own", 1, "1", 1.0),
        )
        noise = (FeatureBlock("noise", 2, "1", 1.0),)
        self.specs = tuple(
            AgentSpec(
                name=f"toy_{i}",
                hardware="plain" if i == agents - 1 else "noisy",
                blocks=blocks if i == agents - 1 else blocks + noise,
                fixed_actions=("wait", "left", "right", "grab"),
                slots=0,
            )
            for i in range(agents)
        )

    def optimum(self) -> float:
        """Return of the best plan in every episode."""
        grabs = self.deaths and not self.truncated
        return (self.horizon - grabs) * (MATCH + TOGETHER) + grabs * PRIZE

    def reset(self, seed: int) -> Frame:
        self.random = torch.Generator().manual_seed(seed)
        self.cue = torch.zeros(self.environments, dtype=torch.int64)  # [E] LEFT or RIGHT
        self.round = torch.zeros(self.environments, dtype=torch.int64)
        self.alive = torch.zeros(self.environments, self.agents, dtype=torch.bool)
        self.earned = torch.zeros(self.environments)
        self._start(torch.ones(self.environments, dtype=torch.bool))
        return self._offer()

    def step(self, action: Tensor) -> Transition:
        legal = self.mask.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        assert (legal | ~self.alive).all(), "illegal action"
        matched = self.alive & (action == self.cue.unsqueeze(-1))
        grabbed = self.alive & (action == GRAB)
        reward = (MATCH * matched + PRIZE * grabbed).mean(-1) + TOGETHER * matched.all(-1)
        self.alive = self.alive & ~grabbed
        self.round += 1
        self.earned += reward
        over = self.round == self.horizon
        dead = ~self.alive.any(-1)
        truncated = over & ~dead if self.truncated else torch.zeros_like(over)
        ended = over | dead
        won = ended & (self.earned > self.optimum() - 1e-4)
        last = self._offer()
        self._start(ended)
        first = self._offer()
        self.mask = torch.where(ended.view(-1, 1, 1), first.action_mask, last.action_mask)
        frame = Frame(
            torch.where(ended.view(-1, 1, 1), first.obs, last.obs),
            self.mask,
            torch.where(ended.view(-1, 1), first.alive, last.alive),
            torch.where(ended.view(-1, 1), first.state, last.state),
        )
        return Transition(frame, reward, ended & ~truncated, truncated, last, won)

    def close(self) -> None:
        pass

    def _start(self, anew: Tensor) -> None:
        """Draws for all environments, so that what one draws does not depend on the others."""
        cue = torch.randint(LEFT, RIGHT + 1, (self.environments,), generator=self.random)
        self.cue = torch.where(anew, cue, self.cue)
        self.round = torch.where(anew, 0, self.round)
        self.earned = torch.where(anew, 0.0, self.earned)
        self.alive = self.alive | anew.unsqueeze(-1)

    def _offer(self) -> Frame:
        alive = self.alive.clone()
        may_wait = torch.rand(alive.shape, generator=self.random) < 0.7
        may_go = alive
        may_grab = alive if self.deaths else torch.zeros_like(alive)
        self.mask = torch.stack((may_wait | ~alive, may_go, may_go, may_grab), dim=-1)
        cue = torch.stack((self.cue == LEFT, self.cue == RIGHT), dim=-1).float()
        clock = torch.zeros(self.environments) if self.truncated else self.round / self.horizon
        shown = torch.ones_like(clock) if self.cue_always else (self.round == 0).float()
        noise = torch.randn(*alive.shape, 2, generator=self.random)
        noise[:, -1] = 0.0
        own = torch.cat((cue * shown.unsqueeze(-1), clock.unsqueeze(-1)), dim=-1).unsqueeze(1)
        obs = torch.cat((own.expand(-1, self.agents, -1), alive.unsqueeze(-1), noise), dim=-1)
        state = torch.cat((cue, clock.unsqueeze(-1), alive), dim=-1)
        # a dead agent senses nothing
        return Frame(obs * alive.unsqueeze(-1), self.mask, alive, state)


def best_actions(game: ToyGame) -> Tensor:
    """The best plan's actions [E, N] in the frame that the game offers now."""
    ends = game.deaths and not game.truncated
    grab = torch.tensor(ends) & (game.round == game.horizon - 1)
    return torch.where(grab, GRAB, game.cue).unsqueeze(-1).expand(-1, game.agents)
