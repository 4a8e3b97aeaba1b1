"""How far Basilisk's satellites part from SGP4's, which both begin in the same state.

Basilisk flies them in the Earth's gravity to degree 10 and the Sun's, without drag; SGP4 knows J2 to J4 and a drag that
is fitted to observations.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.basilisk.elements import flown_states
from envs.basilisk.simulation import Constellation
from envs.basilisk.support_data import parse_epoch
from scenarios.files.mission import element_sets


def divergence_km(constellation: Constellation) -> NDArray[np.float64]:
    """[N] the largest distance within the episode, after ``Constellation.reset``; [0] where SGP4 has no part."""
    config = constellation.config
    sets = () if config.constellation.file is None else element_sets(config.constellation)
    found = []
    for satellite, each in zip(constellation.satellites if sets else (), sets, strict=True):
        time_s = np.asarray(satellite.trajectory.times)
        within = time_s <= constellation.time_limit
        theirs = flown_states((each,), parse_epoch(config.epoch_utc), time_s[within])[0][0]
        ours = np.asarray(satellite.trajectory._r_BN_N_log)[within]
        found.append(float(np.linalg.norm(ours - theirs, axis=-1).max()) / 1e3)
    return np.array(found)
