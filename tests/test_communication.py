"""Who hears of what: lines of sight, dead satellites, outages."""

from __future__ import annotations

import numpy as np
import pytest

from envs.basilisk.faults import Spells
from envs.basilisk.simulation import Constellation
from tests.test_missions import mission


def chain(*overrides: str) -> Constellation:
    """Three satellites one behind the other: each sees its neighbours, the first and the last do not see each other."""
    config = mission(
        "imaging_constellation",
        2400.0,
        *("scenario.constellation.per_plane=3", "scenario.constellation.spacing_deg=40"),
        *("scenario.communication.mode=line_of_sight", "scenario.constellation.classes=[{hardware:wide,sensing:full}]"),
        *overrides,
    )
    constellation = Constellation(config)
    constellation.reset(1)
    return constellation


def all_image(constellation: Constellation, failure_s: np.ndarray, outage: Spells) -> None:
    """Every living satellite images whatever it can, to the end."""
    while not constellation.over():
        for satellite in constellation.satellites:
            if satellite.requires_retasking and satellite.is_alive():
                windows = satellite.windows
                open_now = np.nonzero(
                    (windows.open_s <= constellation.time_s) & (windows.close_s > constellation.time_s)
                )[0]
                new = [
                    k
                    for k in open_now
                    if constellation.targets[windows.target[k]] not in satellite.data_store.data.imaged
                ]
                if new:
                    satellite.image(
                        constellation.targets[windows.target[new[0]]], float(windows.close_s[new[0]]), 120.0
                    )
                else:
                    satellite.charge(30.0)
        constellation.advance(failure_s, outage)


NEVER = np.full(3, np.inf)
NO_OUTAGE = Spells(np.empty(0), np.empty(0))


def test_news_travels_along_a_chain_but_not_through_a_dead_link() -> None:
    heard = {}
    for name, failure_s in (("alive", NEVER), ("dead", np.array([np.inf, 60.0, np.inf]))):
        constellation = chain()
        all_image(constellation, failure_s, NO_OUTAGE)
        first, _, last = (satellite.data_store for satellite in constellation.satellites)
        own = {image.target for image in first.buffer}
        assert len(own) >= 5
        heard[name] = len(own & last.data.imaged - {image.target for image in last.buffer})
    assert heard["alive"] >= 4
    assert heard["dead"] <= 1  # what came before the link died


def test_what_was_in_sight_during_an_outage_is_not_heard_after_it() -> None:
    """Neighbours are always in sight here: after the outage they hear one another, within it they do not; but a
    constellation out of whose sight they are at its end hears nothing."""
    constellation = chain()
    all_image(constellation, NEVER, Spells(np.array([0.0]), np.array([2500.0])))
    stores = [satellite.data_store for satellite in constellation.satellites]
    assert all(store.data.imaged == {image.target for image in store.buffer} for store in stores)
    # As if the outage ended now, with nobody in sight any more:
    assert constellation.communicator.communication_pairs() == []


def test_each_pair_in_sight_is_told_once() -> None:
    constellation = chain()
    for satellite in constellation.satellites:
        satellite.charge(60.0)
    constellation.advance(NEVER, Spells(np.array([1000.0]), np.array([1001.0])))
    assert constellation.time_s == pytest.approx(60.0)
    for satellite in constellation.satellites:
        satellite.charge(60.0)
    constellation._run_until_decision(NEVER)
    a, b, c = constellation.satellites
    pairs = constellation.communicator.communication_pairs()
    assert len(pairs) == len({*pairs}) == 4
    assert {*pairs} == {(a, b), (b, a), (b, c), (c, b)}
