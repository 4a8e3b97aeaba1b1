"""Which network of a bundle flies which satellite, where the bundle was made for other satellites of the same kinds."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence

from onboard.bundle import Bundle, BundleError, SatelliteBundle
from onboard.spec import AgentSpec


def assigned(bundle: Bundle, specs: Sequence[AgentSpec], shown: str) -> Bundle:
    """The bundle as if it had been made for these satellites; see ``networks_for``.

    A satellite's network keeps weights, golden vectors, budget and fallback; what its observations cost is the
    satellite's own, and is admitted anew.

    Args:
        bundle: as it was read.
        specs: of the mission's satellites, reduced to what they sense.
        shown: the bundle's name in a refusal.

    Raises:
        BundleError: some satellites find no network.
    """
    return flown_by(bundle, networks_for(bundle.satellites, specs, shown), specs)


def flown_by(bundle: Bundle, taken: Sequence[SatelliteBundle], specs: Sequence[AgentSpec]) -> Bundle:
    """The bundle with one of its networks for each of the mission's satellites, under that satellite's spec."""
    flown = tuple(dataclasses.replace(one, spec=spec) for one, spec in zip(taken, specs, strict=True))
    return dataclasses.replace(bundle, satellites=flown)


def networks_for(
    satellites: Sequence[SatelliteBundle], specs: Sequence[AgentSpec], shown: str
) -> tuple[SatelliteBundle, ...]:
    """Of a bundle's satellites, the one whose network each of the mission's satellites takes.

    A network fits where names, sizes, units and scales of the sensed blocks are equal, and so are the actions. Of
    those that fit, the ones made for the satellite's hardware are taken, if there are such. Satellites with the same
    choice take them in turn.

    Raises:
        BundleError: some satellites find none; all of them are named.
    """
    turns: Counter[tuple[int, ...]] = Counter()
    found: list[SatelliteBundle] = []
    unfit: dict[str, list[str]] = defaultdict(list)
    for spec in specs:
        fits = [index for index, each in enumerate(satellites) if _difference(each.spec, spec) is None]
        alike = tuple(index for index in fits if satellites[index].spec.hardware == spec.hardware) or tuple(fits)
        if not alike:
            unfit[_nearest(satellites, spec)].append(spec.name)
            continue
        found.append(satellites[alike[turns[alike] % len(alike)]])
        turns[alike] += 1
    if unfit:
        told = "; ".join(f"{', '.join(names)} ({why})" for why, names in unfit.items())
        raise BundleError(f"bundle {shown}: none of its networks fits the satellites {told}")
    return tuple(found)


def _difference(ours: AgentSpec, wanted: AgentSpec) -> str | None:
    """The first way in which a network's spec is not the wanted one, but for name, hardware and cost."""
    blocks = tuple(
        dataclasses.replace(block, macs=other.macs) if block.name == other.name else block
        for block, other in zip(ours.blocks, wanted.blocks, strict=False)
    )
    rest = ours.blocks[len(blocks) :]
    like = dataclasses.replace(ours, name=wanted.name, hardware=wanted.hardware, blocks=(*blocks, *rest))
    return like.difference(wanted)


def _nearest(satellites: Sequence[SatelliteBundle], wanted: AgentSpec) -> str:
    """Why the network that shares most with a satellite does not fit it."""
    names = {block.name for block in wanted.blocks}

    def apart(each: SatelliteBundle) -> tuple[int, int]:
        ours = {block.name for block in each.spec.blocks}
        return len(ours ^ names), int(each.spec.actions != wanted.actions)

    near = min(satellites, key=apart)
    ours = {block.name for block in near.spec.blocks}
    lacks, more = sorted(names - ours), sorted(ours - names)
    if lacks or more:
        told = [f"does not read {', '.join(lacks)}"] if lacks else []
        told += [f"reads {', '.join(more)}, which they do not sense"] if more else []
        why = " and ".join(told)
    elif near.spec.fixed_actions != wanted.fixed_actions:
        why = f"acts by {', '.join(near.spec.fixed_actions)}, and they by {', '.join(wanted.fixed_actions)}"
    else:
        why = f"has {_difference(near.spec, wanted)}"
    return f"the nearest, {near.spec.name}, {why}"
