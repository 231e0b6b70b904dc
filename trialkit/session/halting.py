"""How the machine holds and ends a session: what reaches the device comes first."""

from __future__ import annotations

from trialkit.session import reasons, steering, telling
from trialkit.session import words as w
from trialkit.session.guards import REPEATS
from trialkit.session.interlocks import Tripped
from trialkit.session.state import Result, State, changed


def stop(state: State, given: w.Stop) -> Result:
    """Stop the device, and end the session unless it has ended: legal in every phase."""
    halt = w.StopDevice(1)
    if state.final:
        return state, (halt,)
    code, text = reasons.coded(reasons.STOP, given.code, given.text)
    return end(state, f"stopped_{given.who}", given.who, code, halt, reason=text)


def end(
    state: State, phase: str, cause: str, code: str, *first: w.Effect, reason: str | None = None
) -> Result:
    """End the session in `phase`; the effects `first` come before the events."""
    undecided = [
        telling.adapted(state, p, accepted=False, by="undecided")
        for p in steering.open_proposals(state)
    ]
    moved = telling.moved(state, phase, cause, code, reason)
    ended = changed(state, phase=phase, armed=False, proposals={}, waiting={}, code=code)
    return ended, (*first, moved, *undecided)


def _safety(state: State, fired: Tripped) -> Result:
    return end(state, "stopped_safety", "rule", fired.rule.id, w.StopDevice(1))


def failed(state: State, given: w.DeviceFailed) -> Result:
    """End the session because the device failed."""
    return end(state, "device_fault", "device", given.code, w.StopDevice(1))


def hold_for(state: State, cause: str, code: str, reason: str | None = None) -> Result:
    """Hold the session: the device pauses, and is held once it has come to rest."""
    if not state.on_device or state.finishing:
        moved = telling.moved(state, "held", cause, code, reason)
        return changed(state, phase="held"), (w.Notice("Held."), moved)
    moved = telling.moved(state, "pausing", cause, code, reason)
    return changed(state, phase="pausing", since=state.t_s), (w.HoldDevice(), moved)


def trip(state: State, cause: str, code: str) -> Result:
    """Hold because of a guard or of the device itself; end where that came too often."""
    times = state.trips.get(code, 0) + 1
    state = changed(state, trips={**state.trips, code: times})
    if times >= REPEATS:
        return end(state, "stopped_safety", cause, f"{code}.repeated", w.StopDevice(1))
    return hold_for(state, cause, code)


def fire(state: State, fired: Tripped) -> Result:
    """Do what a rule that fired asks: stop or hold."""
    if fired.rule.action == "stop":
        return _safety(state, fired)
    if state.phase != "running":
        return state, ()
    return hold_for(state, "rule", fired.rule.id)
