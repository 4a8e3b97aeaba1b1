"""A recorded flight decided again, told in a few sentences."""

from __future__ import annotations

from pathlib import Path

from onboard.bundle import SatelliteBundle, read_bundle
from onboard.recording import Sent, read
from onboard.replay import replay as decide_again
from onboard.runners import Runner, choose


def replay(record: Path, folder: Path, runner: str) -> tuple[str, bool]:
    """What a replay finds, and whether every decision is the flight's.

    Raises:
        onboard.recording.RecordingError: the recording is damaged or does not fit the bundle.
        onboard.bundle.BundleError, onboard.golden_check.GoldenError: the bundle cannot be flown here.
    """
    recording, bundle = read(record), read_bundle(folder)
    kind = "reference" if runner == "native" and choose.native_fault() else runner

    def make(satellite: SatelliteBundle, deadline_ms: float) -> Runner:
        return choose.make(kind, satellite, deadline_ms)

    found = decide_again(recording, bundle, make)
    if found is None:
        return f"{recording.questions} decisions, all as they were flown ({kind} runner)", True
    where = f"of {recording.questions} differs: {found.asked.satellite} at {found.asked.time_s:g} s"
    if isinstance(found.asked, Sent):
        sent = f"sent message {found.asked.message}, and the replay sends {found.action} ({'; '.join(found.said)})"
        return f"decision {found.index} {where} {sent}", False
    assert found.action is not None
    network = (recording.networks or {}).get(found.asked.satellite, found.asked.satellite)
    actions = {each.spec.name: each.spec.actions for each in bundle.satellites}[network]
    flown = actions[found.asked.action] if 0 <= found.asked.action < len(actions) else str(found.asked.action)
    takes = f"flew {flown}, and the replay takes {actions[found.action]} ({'; '.join(found.said)})"
    return f"decision {found.index} {where} {takes}", False
