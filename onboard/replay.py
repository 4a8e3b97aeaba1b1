"""A recorded flight, decided again: the same bundle must come to the same actions, on any machine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onboard.bundle import Bundle
from onboard.executor import Executor, ExecutorError, MakeRunner, make_reference
from onboard.recording import Asked, Recording, RecordingError, Sent, Told

PATIENCE_MS = 1e9  # a replay waits for every answer: what was late in flight shows as a difference


@dataclass(frozen=True, slots=True)
class Difference:
    """The first decision that a replay decides otherwise, or message that it does not send so."""

    index: int  # of the question, from 0; of a message, that of the decision after it
    asked: Asked | Sent
    action: int | None  # the replay's, or its message; None: it sends none
    said: tuple[str, ...]  # what the replay's flight log says of it


def replay(recording: Recording, bundle: Bundle, make_runner: MakeRunner = make_reference) -> Difference | None:
    """Decide a recorded flight again; the first decision that differs, or None.

    Raises:
        RecordingError: it is of other satellites, or of other observations or actions, than the bundle's.
        onboard.budget.BudgetError, onboard.golden_check.GoldenError: as of ``Executor``.
    """
    bundle = _as_flown(bundle, recording.networks)
    missing = sorted({each.spec.name for each in bundle.satellites} - set(recording.limits or {}))
    if recording.limits is not None and missing:
        raise RecordingError(f"the recording has no limits of {', '.join(missing)}: it is of other satellites")
    executor = Executor(bundle, PATIENCE_MS, make_runner=make_runner, limits=recording.limits)
    index = 0
    try:
        for entry in recording.entries:
            if isinstance(entry, Told):
                _tell(executor, entry)
                continue
            known = len(executor.log.events)
            if isinstance(entry, Sent):
                message = executor.send(entry.satellite, entry.obs, entry.time_s)
                if message != entry.message:
                    return Difference(index, entry, message, _said(executor, known))
                continue
            action = executor.decide(entry.satellite, entry.obs, entry.mask, entry.time_s, entry.health)
            if action != entry.action:
                return Difference(index, entry, action, _said(executor, known))
            index += 1
    except ExecutorError as error:
        raise RecordingError(f"the recording does not fit the bundle: {error}") from error
    finally:
        executor.close()
    return None


def _said(executor: Executor, known: int) -> tuple[str, ...]:
    return tuple(f"{event.kind}: {event.detail}" for event in executor.log.events[known:])


def _as_flown(bundle: Bundle, networks: dict[str, str] | None) -> Bundle:
    """The bundle with its networks under the names of the satellites that flew them."""
    if networks is None:
        return bundle
    own = {each.spec.name: each for each in bundle.satellites}
    if missing := sorted(set(networks.values()) - own.keys()):
        raise RecordingError(f"the recording is of networks of {', '.join(missing)}: the bundle has none of them")
    flown = [replace(own[whose], spec=replace(own[whose].spec, name=name)) for name, whose in networks.items()]
    return replace(bundle, satellites=tuple(flown))


def _tell(executor: Executor, told: Told) -> None:
    if told.satellite is None:
        executor.reset(told.time_s)
    else:
        executor.resume(told.satellite, told.time_s)
