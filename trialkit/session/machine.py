"""The session machine: ``step(state, input) -> (state, effects)``.

Pure: no clock, no input or output, no randomness. Time comes in ticks, people and the
device come in as inputs, and everything that should happen goes out as effects in the order
in which it must happen:

* hold and stop are sent before anything is logged; stop is legal in every state;
* every other command is committed to the record, then sent, then acknowledged;
* a block advances by the time for which it was delivered, so that a resumed session
  continues what remains and never repeats dose;
* nothing but an explicit resume leaves ``held``, and no resume is taken while a guard or a
  rule still trips.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from device_interface.contract import FAILED, MOVING_M_S, DeviceState
from trialkit.record.kinds import (
    DeviationRaised,
    SessionAdapted,
    SessionCommand,
    SessionPrompt,
    SessionTransition,
)
from trialkit.session import reasons
from trialkit.session import words as w
from trialkit.session.adapt import Proposal, clamp, propose
from trialkit.session.guards import REPEATS, gravest, seen_in
from trialkit.session.interlocks import Tripped, tripped
from trialkit.session.schemes import added, decide, due, followed
from trialkit.session.state import FINAL, State, changed, start

__all__ = ["FINAL", "State", "start", "step"]

GRACE_S = 1.0
"""After arming and resuming, rows from before it may still come."""
REST_WITHIN_S = 5.0
"""A device that does not come to rest this long after a hold is stopped."""
OWN_DEVIATIONS = frozenset({"stop_rule", "stream_silent"})
"""Categories of the deviations that the machine itself raises."""
_EPS = 1e-9
_SOUND = frozenset(int(state) for state in DeviceState if state not in FAILED)

Effects = tuple[w.Effect, ...]
Result = tuple[State, Effects]


def step(state: State, given: w.Input) -> Result:
    """Return the next state and what must be done, in order."""
    if isinstance(given, w.Stop):
        return _stop(state, given)
    if state.final:
        return state, ()
    return _HANDLERS[type(given)](state, given)


# --- ends --------------------------------------------------------------------------------


def _stop(state: State, stop: w.Stop) -> Result:
    halt = w.StopDevice(1)
    if state.final:
        return state, (halt,)
    code, text = reasons.coded(reasons.STOP, stop.code, stop.text)
    return _end(state, f"stopped_{stop.who}", stop.who, code, halt, reason=text)


def _end(
    state: State, phase: str, cause: str, code: str, *first: w.Effect, reason: str | None = None
) -> Result:
    undecided = [_adapted(state, p, accepted=False, by="undecided") for p in _open(state)]
    moved = _moved(state, phase, cause, code, reason)
    ended = changed(state, phase=phase, armed=False, proposals={}, waiting={}, code=code)
    return ended, (*first, moved, *undecided)


def _safety(state: State, fired: Tripped) -> Result:
    return _end(state, "stopped_safety", "rule", fired.rule.id, w.StopDevice(1))


def _failed(state: State, given: w.DeviceFailed) -> Result:
    return _end(state, "device_fault", "device", given.code, w.StopDevice(1))


def _moved(
    state: State, new: str, cause: str, code: str | None = None, reason: str | None = None
) -> w.Append:
    payload = SessionTransition(
        session=state.program.session,
        t_s=round(state.t_s, 3),
        old=state.phase,
        new=new,
        cause=cause,
        code=code,
    )
    return w.Append(payload, reason)


# --- before the start ----------------------------------------------------------------------


def _ready(state: State, _: w.Ready) -> Result:
    if state.phase != "planned":
        return state, ()
    return changed(state, phase="ready"), (_moved(state, "ready", "preflight"),)


def _begin(state: State, begin: w.Begin) -> Result:
    if state.phase != "ready":
        return state, (w.Notice("The session is not ready, or was begun already."),)
    values, remarks = _finite(begin.values)
    noted = (*remarks, *_noted(state, "screening", values))
    state = changed(state, signs=values)
    course = state.program.course
    fired = tripped(course.before, values)
    asked = course.protocol.session.screening
    unknown = [r.id for r in course.before if r.sign in asked and r.sign not in values]
    seen = gravest(state.guards)
    if fired is not None or unknown or seen is not None:
        cause, code = "rule", f"{unknown[0]}.not_entered" if unknown else ""
        if fired is not None:
            code = fired.rule.id
        elif not unknown and seen is not None:
            cause, code = "guard", seen.code
        ended, effects = _end(state, "stopped_safety", cause, code, w.StopDevice(1))
        return ended, (effects[0], *noted, *effects[1:])
    moved = _moved(state, "running", "begin")
    # signs of the screening are at rest: they do not count as signs of the training
    running = changed(state, phase="running", signs={}, since=state.t_s)
    entered, effects = _enter(running, 0)
    return entered, (*noted, moved, *effects)


def _finite(values: Mapping[str, float]) -> tuple[dict[str, float], Effects]:
    """Return the values that are numbers; one that is not counts as not entered."""
    good = {name: value for name, value in values.items() if math.isfinite(value)}
    bad = [name for name in values if name not in good]
    told = (w.Notice(f"{', '.join(bad)}: no number, so not entered."),) if bad else ()
    return good, told


def _noted(state: State, prompt: str, values: Mapping[str, float]) -> tuple[w.Effect, ...]:
    if not values:
        return ()
    payload = SessionPrompt(
        session=state.program.session,
        t_s=round(state.t_s, 3),
        prompt=prompt,
        values={name: round(float(value), 4) for name, value in values.items()},
    )
    return (w.Append(payload),)


# --- blocks and setpoints --------------------------------------------------------------------


def _enter(state: State, index: int) -> Result:
    """Enter the block `index`, or finish after the last."""
    blocks = state.program.course.blocks
    if index >= len(blocks):
        return _finish(changed(state, block=len(blocks) - 1, left_s=0.0))
    block = blocks[index]
    state = changed(state, block=index, left_s=block.seconds, sums={})
    if not block.on_device:
        down: Effects = (w.RampDown(),) if state.armed else ()
        off = changed(state, armed=False, targets={})
        return off, (*down, w.LogBlock(block.id, block.seconds / 60.0))
    before: Effects = ()
    if not state.armed:
        state, before = changed(state, armed=True, since=state.t_s, targets={}), (w.Arm(),)
    state, effects = _command(state)
    return state, (*before, *effects)


def _command(state: State) -> Result:
    """Send the setpoints of the current block where they differ from the last ones."""
    course = state.program.course
    planned = course.protocol.setpoints(state.levels)[state.block]
    needed = course.protocol.device.parameters if course.protocol.device else list(planned)
    wanted: dict[str, float] = {
        name: _limited(state, name, planned[name]) for name in needed if name in planned
    }
    new = {name: value for name, value in wanted.items() if state.targets.get(name) != value}
    if not new:
        return state, ()
    number = state.commands + 1
    rates = {name: course.limits[name].rate_per_s for name in new if name in course.limits}
    state = changed(state, commands=number, targets={**state.targets, **new})
    return state, (_told(state, number, "requested", new), w.Send(number, new, rates))


def _limited(state: State, name: str, value: float) -> float:
    limit = state.program.course.limits.get(name)
    if limit is None:
        return value
    low = 0.0 if name == "speed_m_s" and value == 0.0 else limit.minimum  # rest is always legal
    return min(max(value, low), limit.maximum)


def _told(
    state: State,
    number: int,
    phase: Literal["requested", "accepted", "refused"],
    setpoints: Mapping[str, float],
    detail: str | None = None,
) -> w.Append:
    return w.Append(
        SessionCommand(
            session=state.program.session,
            t_s=round(state.t_s, 3),
            number=number,
            phase=phase,
            block=state.block_id,
            setpoints=dict(setpoints),
            detail=detail,
        )
    )


def _acknowledged(state: State, given: w.Acknowledged) -> Result:
    phase: Literal["accepted", "refused"] = "accepted" if given.accepted else "refused"
    told = _told(state, given.number, phase, given.values, given.detail)
    if given.accepted or state.phase != "running":
        return state, (told,)
    held, effects = _hold_for(state, "refused", "setpoint_refused")
    return held, (effects[0], told, *effects[1:])


def _logged(state: State, given: w.BlockLogged) -> Result:
    if state.phase != "running" or state.on_device or given.block != state.block_id:
        return state, ()
    if not math.isfinite(given.minutes) or given.minutes < 0:
        return state, (w.Notice("The minutes of a block are a number from 0 on."),)
    noted = _noted(state, given.block, {"minutes": given.minutes})
    state, effects = _leave(state)
    return state, (*noted, *effects)


def _leave(state: State) -> Result:
    """Leave the current block: ask its prompts, or judge at once where it has none."""
    block = state.program.course.blocks[state.block]
    if block.prompts:
        state = changed(state, waiting={**state.waiting, block.id: state.means})
        asked: Effects = (w.Ask(block.id, block.prompts),)
    else:
        state, asked = _judge(state, block.kind, state.means)
    state, entered = _enter(state, state.block + 1)
    return state, (*asked, *entered)


def _finish(state: State) -> Result:
    down: Effects = (w.RampDown(),) if state.armed else ()
    if state.waiting:
        return changed(state, finishing=True, armed=False), down
    ended, effects = _end(state, "completed", "program", "done")
    return ended, (*down, *effects)


# --- time and telemetry ------------------------------------------------------------------------


def _tick(state: State, tick: w.Tick) -> Result:
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
        return _failed(_deliver(state, tick), w.DeviceFailed(f"{name}-{seen.fault_code}"))
    if not state.on_device or state.finishing:
        return state, ()
    guard = gravest(state.guards)
    if guard is not None and guard.action == "stop":
        state = _deliver(state, tick)
        return _end(state, "stopped_safety", "guard", guard.code, w.StopDevice(1))
    values = {**seen.measures, "telemetry_gap_s": seen.gap_s}
    fired = tripped(state.program.course.during, values)
    if fired is not None and (fired.rule.action == "stop" or state.phase == "running"):
        return _fire(_deliver(state, tick), fired)
    if state.phase == "running" and (left := _left(state, seen)) is not None:
        return left(_deliver(state, tick))
    if guard is not None and state.phase == "running":
        return _trip(_deliver(state, tick), "guard", guard.code)
    return _run(state, tick) if state.phase == "running" else _rest(state, seen)


def _left(state: State, seen: w.Summary) -> Callable[[State], Result] | None:
    """Return what to do where the device no longer runs, None where it does."""
    device = seen.device_state
    if device is None or device == DeviceState.RUNNING or state.t_s - state.since <= GRACE_S:
        return None
    if device == DeviceState.HOLD:
        return lambda now: _trip(now, "device", f"device_held-{seen.fault_code}")
    gone = w.DeviceFailed(f"left_running-{_state_name(device)}")
    return lambda now: _failed(now, gone)


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
        state, more = _leave(state)
        effects = (*effects, *more)
    state, more = _follow(state)
    return state, (*effects, *more)


def _rest(state: State, seen: w.Summary) -> Result:
    """Wait, while pausing, until the device has come to rest; see, while held, that it stays."""
    held = state.phase == "held"
    resting = seen.device_state == DeviceState.HOLD and seen.speed_m_s <= MOVING_M_S
    if resting and not held:
        return changed(state, phase="held"), (_moved(state, "held", "at_rest"),)
    moves = held and seen.device_state is not None and seen.speed_m_s > MOVING_M_S
    if moves or (not held and state.t_s - state.since > REST_WITHIN_S):
        return _end(state, "stopped_safety", "interlock", "no_rest", w.StopDevice(0))
    return state, ()


# --- people ------------------------------------------------------------------------------------


def _hold(state: State, hold: w.Hold) -> Result:
    if state.phase != "running":
        return state, (w.Notice("Nothing runs that could be held."),)
    code, text = reasons.coded(reasons.HOLD, hold.code, hold.text)
    return _hold_for(state, "operator", code, text)


def _hold_for(state: State, cause: str, code: str, reason: str | None = None) -> Result:
    if not state.on_device or state.finishing:
        moved = _moved(state, "held", cause, code, reason)
        return changed(state, phase="held"), (w.Notice("Held."), moved)
    moved = _moved(state, "pausing", cause, code, reason)
    return changed(state, phase="pausing", since=state.t_s), (w.HoldDevice(), moved)


def _trip(state: State, cause: str, code: str) -> Result:
    """Hold because of a guard or of the device itself; end where that came too often."""
    times = state.trips.get(code, 0) + 1
    state = changed(state, trips={**state.trips, code: times})
    if times >= REPEATS:
        return _end(state, "stopped_safety", cause, f"{code}.repeated", w.StopDevice(1))
    return _hold_for(state, cause, code)


def _fire(state: State, fired: Tripped) -> Result:
    if fired.rule.action == "stop":
        return _safety(state, fired)
    if state.phase != "running":
        return state, ()
    return _hold_for(state, "rule", fired.rule.id)


def _resume(state: State, resume: w.Resume) -> Result:
    if state.phase != "held":
        return state, (w.Notice("Only a session that is held can be resumed."),)
    code, text = reasons.coded(reasons.RESUME, resume.code, resume.reason)
    if code == "other" and text is None:
        return state, (w.Notice("A resume needs a reason."),)
    if state.guards and state.on_device:
        seen = ", ".join(f"{name} ({value:g})" for name, value in state.guards.items())
        return state, (w.Notice(f"A guard still trips: {seen}."),)
    fired = tripped(state.program.course.during, state.signs)
    if fired is not None:
        again = f"recheck-{fired.rule.sign}"
        waiting = {**state.waiting, again: {}}
        text = f"{fired.rule.sign} = {fired.value:g} still trips {fired.rule.id}; enter it again."
        asked = w.Ask(again, (fired.rule.sign,))
        return changed(state, waiting=waiting), (w.Notice(text), asked)
    moved = _moved(state, "running", "operator", code, text)
    state = changed(state, phase="running", since=state.t_s)
    if not state.on_device or state.finishing:
        return state, (moved,)
    # targets start from rest: whatever the block wants is sent anew
    state, effects = _command(changed(state, targets={}))
    return state, (moved, w.ResumeDevice(), *effects)


def _answered(state: State, given: w.Answered) -> Result:
    if given.block not in state.waiting:
        return state, (w.Notice(f"No prompt of {given.block} is open."),)
    measured = state.waiting[given.block]
    entered, remarks = _finite(given.values)
    waiting = {name: signs for name, signs in state.waiting.items() if name != given.block}
    noted = (*remarks, *_noted(state, given.block, entered))
    state = changed(state, waiting=waiting, signs={**state.signs, **entered})
    fired = tripped(state.program.course.during, entered)
    if fired is not None and state.finishing:
        noted = (*noted, _afterwards(state, fired))
    elif fired is not None:
        ended, effects = _fire(state, fired)
        if effects:
            return ended, (effects[0], *noted, *effects[1:])
    kinds = {block.id: block.kind for block in state.program.course.blocks}
    kind = kinds.get(given.block, "")
    state, judged = _judge(state, kind, {**measured, **entered})
    if state.finishing and not state.waiting:
        state, ended_by = _end(state, "completed", "program", "done")
        return state, (*noted, *judged, *ended_by)
    return state, (*noted, *judged)


def _afterwards(state: State, fired: Tripped) -> w.Append:
    """Return the deviation for a rule that fired when everything was delivered already."""
    return w.Append(
        DeviationRaised(
            category="stop_rule",
            detail=f"{fired.rule.id}: {fired.rule.sign} = {fired.value:g} after the last block",
            session=state.program.session,
        )
    )


# --- adaptation --------------------------------------------------------------------------------


def _open(state: State) -> list[Proposal]:
    return [state.proposals[number] for number in sorted(state.proposals)]


def _judge(state: State, kind: str, values: Mapping[str, float]) -> Result:
    """Let the rules say, after a walking block, which settings should move."""
    if kind != "walk":
        return state, ()
    since = {name: state.t_s - at for name, at in state.changed.items()}
    proposals = propose(
        state.program.course,
        levels=state.levels,
        base=state.program.levels,
        values=values,
        since_change_s=since,
    )
    return _put(state, proposals)


def _follow(state: State) -> Result:
    """Let the schemes whose time has come decide, in walking blocks only."""
    course = state.program.course
    if not state.following or not state.delivering or course.blocks[state.block].kind != "walk":
        return state, ()
    waiting = {p.parameter for p in _open(state)}
    proposals: list[Proposal] = []
    kept: Effects = ()
    for name, one in state.following.items():
        if name in waiting or not due(course.envelopes[name], one, state.t_s):
            continue
        current, base = state.levels[name], state.program.levels[name]
        one, proposal = decide(course, name, one, current=current, base=base, t_s=state.t_s)
        state = changed(state, following={**state.following, name: one})
        if proposal.proposed == proposal.old:  # to stay is a decision too
            kept = (*kept, _adapted(state, proposal, accepted=True, by="software"))
        else:
            proposals.append(proposal)
    state, effects = _put(state, proposals)
    return state, (*kept, *effects)


def _put(state: State, proposals: Sequence[Proposal]) -> Result:
    """Make the changes that need nobody's word, and ask the therapist for the others."""
    effects: Effects = ()
    waiting = {p.parameter for p in _open(state)}
    for proposal in proposals:
        if proposal.parameter in waiting:
            continue
        if proposal.confirm:
            number = state.proposed + 1
            open_now = {**state.proposals, number: proposal}
            state = changed(state, proposals=open_now, proposed=number)
            asked = w.Propose(
                number, proposal.parameter, proposal.old, proposal.proposed, proposal.rule
            )
            effects = (*effects, asked)
        else:
            state, more = _accept(state, proposal, proposal.proposed, by="software")
            effects = (*effects, *more)
    return state, effects


def _accept(state: State, proposal: Proposal, value: float, *, by: str) -> Result:
    adapted = _adapted(state, proposal, accepted=True, by=by)
    state = changed(
        state,
        levels={**state.levels, proposal.parameter: value},
        changed={**state.changed, proposal.parameter: state.t_s},
    )
    effects: Effects = ()
    if state.phase == "running" and state.on_device and not state.finishing:
        state, effects = _command(state)
    return state, (adapted, *effects)


def _decide(state: State, given: w.Decide) -> Result:
    proposal = state.proposals.get(given.number)
    if proposal is None:
        return state, (w.Notice("That proposal is not open."),)
    if given.value is not None and not math.isfinite(given.value):
        return state, (w.Notice("That value is no number."),)
    others = {n: p for n, p in state.proposals.items() if n != given.number}
    state = changed(state, proposals=others)
    if given.value is None and given.accepted:
        return _accept(state, proposal, proposal.proposed, by=given.by)
    refused = _adapted(state, proposal, accepted=False, by=given.by)
    if given.value is None:
        return state, (refused,)
    value = clamp(state.program.course, proposal.parameter, given.value)
    own = dataclasses.replace(proposal, proposed=value, rule="override")
    state, effects = _accept(state, own, value, by=given.by)
    return state, (refused, *effects)


def _adapted(state: State, proposal: Proposal, *, accepted: bool, by: str) -> w.Append:
    return w.Append(
        SessionAdapted(
            session=state.program.session,
            t_s=round(state.t_s, 3),
            parameter=proposal.parameter,
            inputs=dict(proposal.inputs),
            old=proposal.old,
            proposed=proposal.proposed,
            accepted=accepted,
            by=by,
            rule=proposal.rule,
            model=proposal.model,
        )
    )


_HANDLERS: dict[type, Callable[[State, Any], Result]] = {
    w.Ready: _ready,
    w.Begin: _begin,
    w.Tick: _tick,
    w.Hold: _hold,
    w.Resume: _resume,
    w.Answered: _answered,
    w.Decide: _decide,
    w.BlockLogged: _logged,
    w.Acknowledged: _acknowledged,
    w.DeviceFailed: _failed,
}
