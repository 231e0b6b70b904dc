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

from collections.abc import Callable
from typing import Any, Literal

from trialkit.session import blocks, halting, reasons, steering, telling, ticking
from trialkit.session import words as w
from trialkit.session.guards import gravest
from trialkit.session.interlocks import tripped
from trialkit.session.state import FINAL, Result, State, changed, start

__all__ = ["FINAL", "OWN_DEVIATIONS", "State", "start", "step"]

OWN_DEVIATIONS = frozenset({"stop_rule", "stream_silent"})
"""Categories of the deviations that the machine itself raises."""


def step(state: State, given: w.Input) -> Result:
    """Return the next state and what must be done, in order."""
    if isinstance(given, w.Stop):
        return halting.stop(state, given)
    if state.final:
        return state, ()
    return _HANDLERS[type(given)](state, given)


def _ready(state: State, _: w.Ready) -> Result:
    if state.phase != "planned":
        return state, ()
    return changed(state, phase="ready"), (telling.moved(state, "ready", "preflight"),)


def _begin(state: State, begin: w.Begin) -> Result:
    if state.phase != "ready":
        return state, (w.Notice("The session is not ready, or was begun already."),)
    values, remarks = telling.finite(begin.values)
    noted = (*remarks, *telling.noted(state, "screening", values))
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
        ended, effects = halting.end(state, "stopped_safety", cause, code, w.StopDevice(1))
        return ended, (effects[0], *noted, *effects[1:])
    moved = telling.moved(state, "running", "begin")
    # signs of the screening are at rest: they do not count as signs of the training
    running = changed(state, phase="running", signs={}, since=state.t_s)
    entered, effects = blocks.enter(running, 0)
    return entered, (*noted, moved, *effects)


def _acknowledged(state: State, given: w.Acknowledged) -> Result:
    phase: Literal["accepted", "refused"] = "accepted" if given.accepted else "refused"
    told = telling.told(state, given.number, phase, given.values, given.detail)
    if given.accepted or state.phase != "running":
        return state, (told,)
    held, effects = halting.hold_for(state, "refused", "setpoint_refused")
    return held, (effects[0], told, *effects[1:])


def _hold(state: State, hold: w.Hold) -> Result:
    if state.phase != "running":
        return state, (w.Notice("Nothing runs that could be held."),)
    code, text = reasons.coded(reasons.HOLD, hold.code, hold.text)
    return halting.hold_for(state, "operator", code, text)


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
    moved = telling.moved(state, "running", "operator", code, text)
    state = changed(state, phase="running", since=state.t_s)
    if not state.on_device or state.finishing:
        return state, (moved,)
    # targets start from rest: whatever the block wants is sent anew
    state, effects = steering.command(changed(state, targets={}))
    return state, (moved, w.ResumeDevice(), *effects)


def _answered(state: State, given: w.Answered) -> Result:
    if given.block not in state.waiting:
        return state, (w.Notice(f"No prompt of {given.block} is open."),)
    measured = state.waiting[given.block]
    entered, remarks = telling.finite(given.values)
    waiting = {name: signs for name, signs in state.waiting.items() if name != given.block}
    noted = (*remarks, *telling.noted(state, given.block, entered))
    state = changed(state, waiting=waiting, signs={**state.signs, **entered})
    fired = tripped(state.program.course.during, entered)
    if fired is not None and state.finishing:
        noted = (*noted, telling.afterwards(state, fired))
    elif fired is not None:
        ended, effects = halting.fire(state, fired)
        if effects:
            return ended, (effects[0], *noted, *effects[1:])
    kinds = {block.id: block.kind for block in state.program.course.blocks}
    kind = kinds.get(given.block, "")
    state, judged = steering.judge(state, kind, {**measured, **entered})
    if state.finishing and not state.waiting:
        state, ended_by = halting.end(state, "completed", "program", "done")
        return state, (*noted, *judged, *ended_by)
    return state, (*noted, *judged)


_HANDLERS: dict[type, Callable[[State, Any], Result]] = {
    w.Ready: _ready,
    w.Begin: _begin,
    w.Tick: ticking.tick,
    w.Hold: _hold,
    w.Resume: _resume,
    w.Answered: _answered,
    w.Decide: steering.decided,
    w.BlockLogged: blocks.logged,
    w.Acknowledged: _acknowledged,
    w.DeviceFailed: halting.failed,
}
