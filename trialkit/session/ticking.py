"""What the machine does with a tick: look at the device, the gravest first, and deliver."""

from __future__ import annotations

from collections.abc import Callable

from device_interface.contract import FAILED, MOVING_M_S, DeviceState
from trialkit.record.kinds import DeviationRaised
from trialkit.session import blocks, halting, steering, telling
from trialkit.session import words as w
from trialkit.session.guards import gravest, seen_in
from trialkit.session.interlocks import tripped
from trialkit.session.schemes import added, followed
from trialkit.session.state import Effects, Result, State, changed

GRACE_S = 1.0
"""After arming and resuming, rows from before it may still come."""
REST_WITHIN_S = 5.0
"""A device that does not come to rest this long after a hold is stopped."""
_EPS = 1e-9
_SOUND = frozenset(int(state) for state in DeviceState if state not in FAILED)


def tick(state: State, tick: w.Tick) -> Result:
    """Let time pass, with what the device showed in it."""
    seen = tick.summary
    state = changed(state, t_s=state.t_s + tick.dt_s, guards=seen_in(seen))
    if state.phase in ("planned", "ready"):
        return state, ()
    if seen.measures:
        state = changed(state, signs={**state.signs, **seen.measures})
    state, named = _silent(state, seen)
    after, effects = _look(state, tick)
    return after, (*effects, *named)


def _look(state: State, tick: w.Tick) -> Result:
    """Look at what a tick shows, the gravest first; if all is well, deliver its time."""
    seen = tick.summary
    if seen.device_state is not None and seen.device_state not in _SOUND:
        name = _state_name(seen.device_state)
        return halting.failed(_deliver(state, tick), w.DeviceFailed(f"{name}-{seen.fault_code}"))
    if not state.on_device or state.finishing:
        return state, ()
    guard = gravest(state.guards)
    if guard is not None and guard.action == "stop":
        state = _deliver(state, tick)
        return halting.end(state, "stopped_safety", "guard", guard.code, w.StopDevice(1))
    values = {**seen.measures, "telemetry_gap_s": seen.gap_s}
    fired = tripped(state.program.course.during, values)
    if fired is not None and (fired.rule.action == "stop" or state.phase == "running"):
        return halting.fire(_deliver(state, tick), fired)
    if state.phase == "running" and (left := _left(state, seen)) is not None:
        return left(_deliver(state, tick))
    if guard is not None and state.phase == "running":
        return halting.trip(_deliver(state, tick), "guard", guard.code)
    return _run(state, tick) if state.phase == "running" else _rest(state, seen)


def _left(state: State, seen: w.Summary) -> Callable[[State], Result] | None:
    """Return what to do where the device no longer runs, None where it does."""
    device = seen.device_state
    if device is None or device == DeviceState.RUNNING or state.t_s - state.since <= GRACE_S:
        return None
    if device == DeviceState.HOLD:
        return lambda now: halting.trip(now, "device", f"device_held-{seen.fault_code}")
    gone = w.DeviceFailed(f"left_running-{_state_name(device)}")
    return lambda now: halting.failed(now, gone)


def _state_name(number: int) -> str:
    known = number in DeviceState.__members__.values()
    return DeviceState(number).name.lower() if known else f"unknown_state_{number}"


def _silent(state: State, seen: w.Summary) -> Result:
    """Name, once each, the streams that are not required and have fallen silent."""
    new = [name for name in seen.silent if name not in state.silent]
    if not new:
        return state, ()
    effects = tuple(
        w.Append(
            DeviationRaised(
                category="stream_silent",
                detail=f"{name}: no rows, or the same values again and again",
                session=state.program.session,
            )
        )
        for name in new
    )
    return changed(state, silent=state.silent | set(new)), effects


def _deliver(state: State, tick: w.Tick, seconds: float | None = None) -> State:
    """Count `seconds` of a tick, by default all, as delivered in the current block."""
    if not state.delivering:
        return state
    here = min(tick.dt_s if seconds is None else seconds, state.left_s)
    sums, measures = state.sums, tick.summary.measures
    if measures and here > 0:
        sums = added(sums, measures, here)
    following = state.following
    if following and here > 0 and state.program.course.blocks[state.block].kind == "walk":
        following = followed(following, measures, here)
    left, delivered = max(0.0, state.left_s - here), state.delivered_s + here
    return changed(state, left_s=left, delivered_s=delivered, sums=sums, following=following)


def _run(state: State, tick: w.Tick) -> Result:
    """Deliver a tick, over as many blocks as it covers."""
    effects: Effects = ()
    left_s = tick.dt_s
    while state.delivering:
        here = min(left_s, state.left_s)
        state = _deliver(state, tick, here)
        left_s -= here
        if state.left_s > _EPS:
            break
        state, more = blocks.leave(state)
        effects = (*effects, *more)
    state, more = steering.follow(state)
    return state, (*effects, *more)


def _rest(state: State, seen: w.Summary) -> Result:
    """Wait, while pausing, until the device has come to rest; see, while held, that it stays."""
    held = state.phase == "held"
    resting = seen.device_state == DeviceState.HOLD and seen.speed_m_s <= MOVING_M_S
    if resting and not held:
        return changed(state, phase="held"), (telling.moved(state, "held", "at_rest"),)
    moves = held and seen.device_state is not None and seen.speed_m_s > MOVING_M_S
    if moves or (not held and state.t_s - state.since > REST_WITHIN_S):
        return halting.end(state, "stopped_safety", "interlock", "no_rest", w.StopDevice(0))
    return state, ()
