"""The physical state of a constellation at one instant.

Frames: N inertial, P planet-fixed, B body. Angles in rad, times in s, positions in m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.api import BoolArray
from envs.basilisk.satellites import ECLIPSE_LOOKAHEAD_S, Imager


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The physical state of N satellites at one instant, read from Basilisk once."""

    time_s: float
    r_BP_P: NDArray[np.float64]  # [N, 3]
    v_BP_P: NDArray[np.float64]  # [N, 3] as seen in the rotating planet frame
    boresight_P: NDArray[np.float64]  # [N, 3] unit vectors
    omega_BP_P: NDArray[np.float64]  # [N, 3]
    rate: NDArray[np.float64]  # [N] |omega_BN|
    battery: NDArray[np.float64]  # [N] fraction
    sunlit: BoolArray  # [N]
    to_eclipse_start_s: NDArray[np.float64]  # [N]
    to_eclipse_end_s: NDArray[np.float64]  # [N]
    storage: NDArray[np.float64]  # [N] fraction of the buffer
    wheels: NDArray[np.float64]  # [N] the fastest wheel, as a fraction of the speed at which it fails
    to_pass_start_s: NDArray[np.float64]  # [N] of the present or next pass over a ground station
    to_pass_end_s: NDArray[np.float64]  # [N]


def snapshot(satellites: Sequence[Imager], world: Any, capacity_J: NDArray[np.float64], time_s: float) -> Snapshot:
    """
    Args:
        world: BSK-RL's model of the planet, at the same instant.
        capacity_J: [N] of the batteries.
        time_s: since the start of the episode.
    """
    planet = world.gravFactory.spiceObject.planetStateOutMsgs[world.body_index].read()
    PN = np.array(planet.J20002Pfix)
    PN_dot = np.array(planet.J20002Pfix_dot)
    skew_PN_N = -PN.T @ PN_dot
    omega_PN_N = np.array([skew_PN_N[2, 1], skew_PN_N[0, 2], skew_PN_N[1, 0]])
    buses = [s.bus() for s in satellites]
    r_BN_N = np.array([bus.r_BN_N for bus in buses])
    v_BN_N = np.array([bus.v_BN_N for bus in buses])
    NB = _dcm_from_mrp(np.array([bus.sigma_BN for bus in buses])).transpose(0, 2, 1)
    omega_BN_B = np.array([bus.omega_BN_B for bus in buses])
    boresight_B = np.array([[0.0, 0.0, 1.0]] * len(satellites))  # inst_pHat_B, BSK-RL's default
    omega_BN_N = np.einsum("nij,nj->ni", NB, omega_BN_B)
    starts, ends = zip(*(_next_eclipse(s, time_s) for s in satellites), strict=True)
    to_start, to_end = np.array(starts) - time_s, np.array(ends) - time_s
    pass_starts, pass_ends = np.array([_next_pass(s, time_s) for s in satellites]).T
    return Snapshot(
        time_s=time_s,
        r_BP_P=r_BN_N @ PN.T,
        v_BP_P=(v_BN_N - np.cross(omega_PN_N, r_BN_N)) @ PN.T,
        boresight_P=np.einsum("nij,nj->ni", NB, boresight_B) @ PN.T,
        omega_BP_P=(omega_BN_N - omega_PN_N) @ PN.T,
        rate=np.linalg.norm(omega_BN_B, axis=-1),
        battery=np.array([bus.battery_J for bus in buses]) / capacity_J,
        sunlit=to_start <= to_end,
        to_eclipse_start_s=to_start,
        to_eclipse_end_s=to_end,
        storage=np.array([s.storage() for s in satellites]),
        wheels=np.array([s.wheels() for s in satellites]),
        to_pass_start_s=np.maximum(0.0, pass_starts - time_s),
        to_pass_end_s=pass_ends - time_s,
    )


def _next_eclipse(satellite: Imager, time_s: float) -> tuple[float, float]:
    """Times of the next eclipse start and end; an orbit without eclipse has them beyond the look-ahead."""
    starts, ends = satellite.eclipse_starts_s, satellite.eclipse_ends_s
    start = np.searchsorted(starts, time_s, side="right")
    end = np.searchsorted(ends, time_s, side="right")
    never = time_s + ECLIPSE_LOOKAHEAD_S
    return (
        float(starts[start]) if start < len(starts) else never,
        float(ends[end]) if end < len(ends) else never,
    )


def _next_pass(satellite: Imager, time_s: float) -> tuple[float, float]:
    """Start and end of the pass it is in, or the next; beyond the look-ahead if there is none."""
    later = satellite.passes_s[np.searchsorted(satellite.passes_s[:, 1], time_s, side="right") :]
    return (
        (float(later[0, 0]), float(later[0, 1]))
        if len(later)
        else (time_s + ECLIPSE_LOOKAHEAD_S, time_s + ECLIPSE_LOOKAHEAD_S)
    )


def _dcm_from_mrp(sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction cosine matrices [N, 3, 3] (BN) of modified Rodrigues parameters [N, 3] (Schaub & Junkins, 3.147)."""
    squared = np.sum(sigma**2, axis=-1)
    tilde = np.zeros((len(sigma), 3, 3))
    tilde[:, 0, 1], tilde[:, 0, 2], tilde[:, 1, 2] = -sigma[:, 2], sigma[:, 1], -sigma[:, 0]
    tilde -= tilde.transpose(0, 2, 1)
    scale = ((1.0 + squared) ** 2)[:, None, None]
    return np.asarray(np.eye(3) + (8.0 * tilde @ tilde - 4.0 * (1.0 - squared)[:, None, None] * tilde) / scale)
