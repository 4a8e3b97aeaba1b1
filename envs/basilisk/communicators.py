"""BSK-RL's communication between satellites, corrected: failed satellites do not take part."""

from __future__ import annotations

from itertools import permutations

from bsk_rl import comm

from envs.basilisk.satellites import Imager
from scenarios.communication import Communication


class FreeCommunication(comm.FreeCommunication):  # type: ignore[misc]  # bsk_rl is untyped
    """BSK-RL's free communication without failed satellites."""

    def communication_pairs(self) -> list[tuple[Imager, Imager]]:
        return list(permutations([s for s in self.satellites if s.is_alive()], 2))


class LineOfSightCommunication(comm.LOSCommunication):  # type: ignore[misc]
    """Upstream's, without the dead, each pair once: it has every pair twice, and takes half of all for all of them."""

    def communication_pairs(self) -> list[tuple[Imager, Imager]]:
        pairs = [pair for pair in super().communication_pairs() if all(s.is_alive() for s in pair)]
        return list(dict.fromkeys(pairs))

    def forget(self) -> None:
        """Delete the record of which satellites have been in sight since the last exchange."""
        for logs in self.los_logs.values():
            for log in logs.values():
                log.clear()


COMMUNICATORS = {
    Communication.none: comm.NoCommunication,
    Communication.free: FreeCommunication,
    Communication.line_of_sight: LineOfSightCommunication,
}
