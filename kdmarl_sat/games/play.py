"""``kdmarl-sat play``: a bundle plays a game under the onboard executor.

Nothing is trained. Where students send messages, each step has two rounds: all that live send, then each decides with
what arrived.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.errors import MissingConfigException
from rich.box import SIMPLE_HEAD
from rich.table import Table
from torch import Tensor

from envs.files import write_json, write_whole
from envs.games.api import Game
from envs.games.make import always_visible, make_evaluation_game
from envs.games.sensing import RandomMasks, fixed
from kdmarl_sat.console import Console
from kdmarl_sat.games.evaluation import FINAL_SEED
from kdmarl_sat.games.package import GAME
from kdmarl_sat.provenance import code_versions
from onboard.admission import measure
from onboard.bundle import Bundle, BundleError, SatelliteBundle, read_bundle
from onboard.executor import Executor
from onboard.flightlog import Kind
from onboard.recording import Recorder
from onboard.runners import Runner, choose
from scenarios.compose import composed_game
from scenarios.folders import own_folder
from scenarios.games.schema import GameRunConfig
from scenarios.messages import explain
from scenarios.ranges import ConfigError, check, check_name, positive, within
from scenarios.schema import to_dict
from training.games.appended import AppendedGame, AppendedSight
from training.games.evaluate import episode_key
from training.games.export import APPENDED, HEARD, LAST_ACTION, SENSED, wiring_of
from training.games.messages import Links
from training.games.networks import Sight
from training.games.play import Played, play


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be played."""

    bundle: Path
    scenario: str | None  # None: the one that the bundle was made for
    config_dir: Path | None  # of the user's own scenarios
    episodes: int
    runner: str
    target: str  # what the emulated runner emulates
    message_loss: float  # share of messages that are lost, on each link by itself
    deadline_ms: float | None  # None: the bundle's
    record: bool  # keep every question and answer of the first episode, for kdmarl-sat replay

    def __post_init__(self) -> None:
        within("", 0, 1, message_loss=self.message_loss)
        if self.deadline_ms is not None:
            positive("", deadline_ms=self.deadline_ms)
        if self.scenario is not None:
            one = bool(self.scenario) and not set(self.scenario) & set(",(){}[]")
            check("scenario", self.scenario, one, "the name of one game")


def run(order: Order, wanted: Path) -> dict[str, Any]:
    """Play the episodes; write play.json and the first episode's log into the folder, and show what came out.

    Raises:
        ValueError: (subclasses of ours) anything that the user can mend, in one sentence.
    """
    bundle = read_bundle(order.bundle)
    bits = bits_of(bundle)
    if order.message_loss and not bits:
        raise ConfigError(
            f"message_loss={order.message_loss} is not allowed: it must be 0, the bundle sends no messages"
        )
    config = _game_of(order, bundle)
    with Console() as console, contextlib.closing(make_evaluation_game(config.scenario, 1)) as game:
        sight = sight_of_bundle(bundle, config, game)
        wiring = wiring_of(game.specs, sight, bits)
        bundle = read_bundle(order.bundle, expect=[each.spec for each in wiring])
        if told := _other_settings(bundle, config):
            console.say(told)
        recorder = Recorder() if order.record else None
        kind, executor = _executor(order, bundle, recorder, console)
        played: list[Played] = []
        events: Counter[Kind] = Counter()
        with contextlib.closing(executor), console.stage(f"play {game.name}") as progress:
            folder = own_folder(wanted)
            heard_on = AppendedGame(game, Links(order.message_loss)) if bits else game
            for episode in range(order.episodes):
                played.append(play(heard_on, sight, wiring, executor, episode_key(FINAL_SEED, episode)))
                progress((episode + 1) / order.episodes, _told(played, game))
                if episode == 0:
                    _keep_first(folder, executor, recorder)
                events.update(executor.log.counts())
                executor.log.clear()  # so that memory does not grow with the episodes
                if recorder is not None:
                    recorder.clear()
        result = {
            "run": {**code_versions(), "runner": kind, "bundle": bundle.provenance},
            "scenario": config.scenario.name,
            "backend": game.backend,
            "message_loss": order.message_loss,
            **summary(bundle, executor, events, played, game.has_victory),
        }
        write_json(folder / "play.json", result)
        console.show(table(result))
        console.say(f"play.json, the first episode's log: {folder}")
    return result


def _game_of(order: Order, bundle: Bundle) -> GameRunConfig:
    """
    Raises:
        ConfigError: the bundle was made for a scenario that is not here, or is no game.
    """
    if order.scenario is not None:
        return composed_game(f"scenario={order.scenario}", config_dir=order.config_dir)
    try:
        check_name("scenario", bundle.scenario)
        return composed_game(f"scenario={bundle.scenario}", config_dir=order.config_dir)
    except MissingConfigException as error:
        raise ConfigError(f"bundle={order.bundle} needs scenario={bundle.scenario}: {explain(error)}") from error


def _executor(order: Order, bundle: Bundle, recorder: Recorder | None, console: Console) -> tuple[str, Executor]:
    """The kind of its runners too: the reference where this machine cannot run the native one."""
    kind = order.runner
    if kind == "native" and (fault := choose.native_fault()):
        console.say(f"{fault}; playing with the reference runner")
        kind = "reference"

    def make(satellite: SatelliteBundle, deadline_ms: float) -> Runner:
        return choose.make(kind, satellite, deadline_ms, order.target)

    return kind, Executor(bundle, order.deadline_ms, make_runner=make, recorder=recorder)


def _keep_first(folder: Path, executor: Executor, recorder: Recorder | None) -> None:
    """The first episode's flight log, and its recording where there is one."""
    executor.log.write(folder / "flight_log_0.jsonl")
    if recorder is not None:
        write_whole(folder / "flight_record_0.jsonl", recorder.text(None).encode())


def _other_settings(bundle: Bundle, config: GameRunConfig) -> str:
    """A sentence where the game's settings are not those that its students were trained with; "" where they are, or the
    bundle does not say."""
    trained, here = bundle.provenance.get(GAME), to_dict(config.scenario)
    if not isinstance(trained, dict):
        return ""
    differing = [f"scenario.{key}" for key in here if key != "name" and here[key] != trained.get(key)]
    return f"the students were trained with other settings of {', '.join(differing)}" if differing else ""


def sight_of_bundle(bundle: Bundle, config: GameRunConfig, game: Game) -> Sight:
    """What the bundle's networks read of the game, as their blocks say.

    Raises:
        ConfigError: the game has other agents than the bundle.
        BundleError: the networks read what the game's agents do not have.
    """
    by_agent = {each.spec.name: [block.name for block in each.spec.blocks] for each in bundle.satellites}
    agents = [spec.name for spec in game.specs]
    if sorted(by_agent) != sorted(agents):
        allowed = f"a game of the bundle's agents, {', '.join(by_agent)}, and it has {', '.join(agents)}"
        raise ConfigError(f"scenario={config.scenario.name} is not allowed: it must be {allowed}")
    blocks = [by_agent[agent] for agent in agents]
    known = [[block.name for block in spec.blocks] for spec in game.specs]
    for agent, read, own in zip(agents, blocks, known, strict=True):
        if strange := [name for name in read if name not in (*own, *APPENDED)]:
            told = f"the network of agent {agent!r} reads a block {strange[0]!r}"
            raise BundleError(f"{told}, and in {game.name!r} it has {', '.join(own)}")
    random = config.scenario.random_mask
    if any(SENSED in names for names in blocks):
        if random is None:
            raise BundleError(f"the bundle's networks sense columns that change, and those of {game.name!r} do not")
        always = always_visible(config.scenario, game)
        masks: RandomMasks | Tensor = RandomMasks(game.specs, (random.visible[0], random.visible[1]), always)
    else:
        masks = fixed(game.specs, [[name for name in names if name not in APPENDED] for names in blocks])
    last_action = any(LAST_ACTION in names for names in blocks)
    kind = AppendedSight if any(HEARD in names for names in blocks) else Sight
    return kind(game.specs, masks, identities=False, last_action=last_action)


def bits_of(bundle: Bundle) -> int:
    """Of each message that its networks send; 0: none do.

    Raises:
        BundleError: they send messages of unlike length.
    """
    found = sorted({each.network.design.message_bits for each in bundle.satellites})
    if len(found) > 1:
        raise BundleError(f"the bundle's networks send messages of {found} bits: all must send equally many")
    return found[0]


def _told(played: Sequence[Played], game: Game) -> str:
    won = f", {np.mean([each.won for each in played]):.0%} won" if game.has_victory else ""
    return f"return {np.mean([each.reward for each in played]):.2f}{won}"


def summary(
    bundle: Bundle, executor: Executor, events: Mapping[Kind, int], played: Sequence[Played], victory: bool
) -> dict[str, Any]:
    """What the episodes came to, with the number of events of each kind; latency is this machine's wall clock."""
    decisions, sent = sum(each.decisions for each in played), sum(each.messages for each in played)
    bits = bits_of(bundle)
    return {
        "returns": [round(each.reward, 4) for each in played],
        "wins": [each.won for each in played] if victory else None,
        "decisions": decisions,
        "messages": {
            "bits": bits,
            "sent": sent,
            "heard": sum(each.heard for each in played),
            "bits_per_decision": bits * sent / decisions,
        },
        "events": {kind.value: events[kind] for kind in Kind},
        "agents": [
            {
                "name": each.spec.name,
                "hidden": each.network.design.hidden,
                "macs": measure(each).macs,
                "bytes": measure(each).bytes,
                "latency_us": _median_us(executor.latencies_ms(each.spec.name)),
            }
            for each in bundle.satellites
        ],
    }


def _median_us(latencies_ms: Sequence[float]) -> float | None:
    return round(1e3 * float(np.median(latencies_ms)), 1) if latencies_ms else None


def table(result: dict[str, Any]) -> Table:
    """The episodes in a few rows."""
    messages, events = result["messages"], result["events"]
    shown = Table(
        title=f"{result['scenario']} on {result['backend']}: {len(result['returns'])} episodes, "
        f"runner={result['run']['runner']}",
        title_justify="left",
        caption="latency: median wall clock of one answer on this machine",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_header=False,
    )
    shown.add_column("")
    shown.add_column("", justify="right")
    if result["wins"] is not None:
        shown.add_row("won", f"{np.mean(result['wins']):.1%}")
    shown.add_row("return per episode", f"{np.mean(result['returns']):.2f}")
    shown.add_row("decisions by the networks", str(events[Kind.DECISION.value]))
    shown.add_row("missed deadlines", str(events[Kind.LATE.value]))
    shown.add_row("fallback actions", str(events[Kind.FALLBACK.value]))
    if events[Kind.SAFE_MODE.value]:
        shown.add_row("agents in safe mode to the end", str(events[Kind.SAFE_MODE.value]))
    if messages["bits"]:
        shown.add_row("messages sent, heard", f"{messages['sent']}, {messages['heard']}")
        shown.add_row("bits sent per decision", f"{messages['bits_per_decision']:.2f}")
    for agent in result["agents"]:
        latency = "–" if agent["latency_us"] is None else f"{agent['latency_us']:.0f} µs"
        size = f"{agent['hidden']} units, {agent['macs']} MACs, {agent['bytes']} bytes, {latency}"
        shown.add_row(agent["name"], size)
    return shown
