"""The session machine: ``step(state, input) -> (state, effects)``.

Pure: no clock, no input or output, no randomness. Time comes in ticks, people and the
device come in as inputs, and everything that should happen goes out as effects in the order
in which it must happen:

* hold and stop are sent before anything is logged; stop is legal in every state;
* every other command is committed to the record, then sent, then acknowledged;
* a block advances by the time for which it was delivered, so that a resumed session
  continues what remains and never repeats dose;
* nothing but an explicit resume leaves ``held``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from device_interface.contract import FAILED, MOVING_M_S, DeviceState
from trialkit.protocol.model import Parameter
from trialkit.record.kinds import (
    DeviationRaised,
    SessionAdapted,
    SessionCommand,
    SessionPrompt,
    SessionTransition,
)
from trialkit.session import words as w
from trialkit.session.adapt import Proposal, clamp, propose
from trialkit.session.interlocks import Tripped, tripped
from trialkit.session.program import Program

Phase = Literal[
    "planned",
    "ready",
    "running",
    "pausing",
    "held",
    "completed",
    "stopped_operator",
    "stopped_participant",
    "stopped_safety",
    "device_fault",
]
FINAL = frozenset(
    {"completed", "stopped_operator", "stopped_participant", "stopped_safety", "device_fault"}
)
GRACE_S = 1.0
"""After arming and resuming, rows from before it may still come."""
REST_WITHIN_S = 5.0
"""A device that does not come to rest this long after a hold is stopped."""
_EPS = 1e-9

Effects = tuple[w.Effect, ...]
Result = tuple["State", Effects]


@dataclass(frozen=True)
class State:
    """Everything that the machine knows.

    `left_s` is what remains of the current block; `waiting` are blocks whose prompts are
    open; `proposals` wait for a therapist, by number; `since` is the time of the last
    arming, resume or hold; `walked_s` and `signs` belong to the current block.
    """

    program: Program
    phase: Phase = "planned"
    t_s: float = 0.0
    block: int = -1
    left_s: float = 0.0
    delivered_s: float = 0.0
    finishing: bool = False
    armed: bool = False
    since: float = 0.0
    commands: int = 0
    targets: Mapping[str, float] = field(default_factory=dict)
    levels: Mapping[Parameter, float] = field(default_factory=dict)
    signs: Mapping[str, float] = field(default_factory=dict)
    block_signs: Mapping[str, float] = field(default_factory=dict)
    waiting: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    changed: Mapping[str, float] = field(default_factory=dict)
    proposals: Mapping[int, Proposal] = field(default_factory=dict)
    proposed: int = 0
    code: str | None = None

    @property
    def final(self) -> bool:
        """True where the session has ended."""
        return self.phase in FINAL

    @property
    def on_device(self) -> bool:
        """True while the current block is device time."""
        blocks = self.program.course.blocks
        return 0 <= self.block < len(blocks) and blocks[self.block].on_device

    @property
    def block_id(self) -> str:
        """Id of the current block; empty before the first."""
        blocks = self.program.course.blocks
        return blocks[min(self.block, len(blocks) - 1)].id if self.block >= 0 else ""

    @property
    def due_s(self) -> float:
        """Time until the machine itself will do something next; infinite where it waits."""
        running = self.phase == "running" and self.on_device and not self.finishing
        return self.left_s if running else float("inf")


def _with(state: State, **changes: Any) -> State:
    """Return a copy with other values: ``dataclasses.replace``, ten times as fast."""
    unknown = changes.keys() - state.__dict__.keys()
    if unknown:
        raise TypeError(f"no such field: {sorted(unknown)}")
    new = object.__new__(State)
    new.__dict__.update(state.__dict__)
    new.__dict__.update(changes)
    return new


def start(program: Program) -> State:
    """Return the state before anything happened, with every level inside its bounds."""
    course = program.course
    given = course.start | dict(program.levels)
    levels = {name: clamp(course, name, value) for name, value in given.items()}
    return State(dataclasses.replace(program, levels=levels), levels=levels)


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
    return _end(state, f"stopped_{stop.who}", stop.who, stop.code, halt)  # type: ignore[arg-type]


def _end(state: State, phase: Phase, cause: str, code: str, *first: w.Effect) -> Result:
    undecided = [_adapted(state, p, accepted=False, by="undecided") for p in _open(state)]
    moved = _moved(state, phase, cause, code)
    ended = _with(state, phase=phase, armed=False, proposals={}, waiting={}, code=code)
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
    return _with(state, phase="ready"), (_moved(state, "ready", "preflight"),)


def _begin(state: State, begin: w.Begin) -> Result:
    if state.phase != "ready":
        return state, (w.Notice("The session is not ready, or was begun already."),)
    noted = _noted(state, "screening", begin.values)
    state = _with(state, signs=dict(begin.values))
    course = state.program.course
    fired = tripped(course.before, begin.values)
    asked = course.protocol.session.screening
    unknown = [r.id for r in course.before if r.sign in asked and r.sign not in begin.values]
    if fired is not None or unknown:
        code = fired.rule.id if fired is not None else f"{unknown[0]}.not_entered"
        ended, effects = _end(state, "stopped_safety", "rule", code, w.StopDevice(1))
        return ended, (effects[0], *noted, *effects[1:])
    moved = _moved(state, "running", "begin")
    # signs of the screening are at rest: they do not count as signs of the training
    running = _with(state, phase="running", signs={}, since=state.t_s)
    entered, effects = _enter(running, 0, 0.0)
    return entered, (*noted, moved, *effects)


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


def _enter(state: State, index: int, carry_s: float) -> Result:
    """Enter the block `index`; `carry_s` of it were delivered by the tick that led here."""
    blocks = state.program.course.blocks
    if index >= len(blocks):
        return _finish(_with(state, block=len(blocks) - 1, left_s=0.0))
    block = blocks[index]
    state = _with(state, block=index, left_s=block.seconds - carry_s, block_signs={})
    if not block.on_device:
        down: Effects = (w.RampDown(),) if state.armed else ()
        off = _with(state, armed=False, targets={})
        return off, (*down, w.LogBlock(block.id, block.seconds / 60.0))
    before: Effects = ()
    if not state.armed:
        state, before = _with(state, armed=True, since=state.t_s, targets={}), (w.Arm(),)
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
    state = _with(state, commands=number, targets={**state.targets, **new})
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
    noted = _noted(state, given.block, {"minutes": given.minutes})
    state, effects = _leave(state, 0.0)
    return state, (*noted, *effects)


def _leave(state: State, carry_s: float) -> Result:
    """Leave the current block: ask its prompts, or judge at once where it has none."""
    block = state.program.course.blocks[state.block]
    if block.prompts:
        waiting = {**state.waiting, block.id: state.block_signs}
        state, effects = _with(state, waiting=waiting), (w.Ask(block.id, block.prompts),)
        asked: Effects = effects
    else:
        state, asked = _judge(state, block.kind, state.block_signs)
    state, entered = _enter(state, state.block + 1, carry_s)
    return state, (*asked, *entered)


def _finish(state: State) -> Result:
    down: Effects = (w.RampDown(),) if state.armed else ()
    if state.waiting:
        return _with(state, finishing=True, armed=False), down
    ended, effects = _end(state, "completed", "program", "done")
    return ended, (*down, *effects)


# --- time and telemetry ------------------------------------------------------------------------


def _tick(state: State, tick: w.Tick) -> Result:
    seen = tick.summary
    t_s = state.t_s + tick.dt_s
    if state.phase in ("planned", "ready") or not seen.measures:
        state = _with(state, t_s=t_s)
    else:
        signs = {**state.signs, **seen.measures}
        block_signs = {**state.block_signs, **seen.measures}
        state = _with(state, t_s=t_s, signs=signs, block_signs=block_signs)
    if state.phase in ("planned", "ready"):
        return state, ()
    if seen.device_state is not None and DeviceState(seen.device_state) in FAILED:
        name = DeviceState(seen.device_state).name.lower()
        return _failed(state, w.DeviceFailed(f"{name}-{seen.fault_code}"))
    if not state.on_device or state.finishing:
        return state, ()
    values = {**seen.measures, "telemetry_gap_s": seen.gap_s}
    fired = tripped(state.program.course.during, values)
    if fired is not None and (fired.rule.action == "stop" or state.phase == "running"):
        return _fire(state, fired)
    if state.phase == "running":
        return _run(state, tick)
    return _rest(state, seen)


def _run(state: State, tick: w.Tick) -> Result:
    device = tick.summary.device_state
    if device is not None and device != DeviceState.RUNNING and state.t_s - state.since > GRACE_S:
        if device == DeviceState.HOLD:
            return _hold_for(state, "device", f"device_held-{tick.summary.fault_code}")
        return _failed(state, w.DeviceFailed(f"left_running-{DeviceState(device).name.lower()}"))
    state = _with(state, left_s=state.left_s - tick.dt_s, delivered_s=state.delivered_s + tick.dt_s)
    effects: Effects = ()
    while state.phase == "running" and state.on_device and state.left_s <= _EPS:
        if state.finishing:
            break
        carry = max(0.0, -state.left_s)
        state = _with(state, delivered_s=state.delivered_s - carry)
        state, more = _leave(state, carry)
        effects = (*effects, *more)
        if state.on_device and not state.finishing and not state.final:
            state = _with(state, delivered_s=state.delivered_s + carry)
    return state, effects


def _rest(state: State, seen: w.Summary) -> Result:
    """Wait, while pausing, until the device has come to rest."""
    if state.phase != "pausing":
        return state, ()
    if seen.device_state == DeviceState.HOLD and seen.speed_m_s <= MOVING_M_S:
        return _with(state, phase="held"), (_moved(state, "held", "at_rest"),)
    if state.t_s - state.since > REST_WITHIN_S:
        return _end(state, "stopped_safety", "interlock", "no_rest", w.StopDevice(0))
    return state, ()


# --- people ------------------------------------------------------------------------------------


def _hold(state: State, hold: w.Hold) -> Result:
    if state.phase != "running":
        return state, (w.Notice("Nothing runs that could be held."),)
    return _hold_for(state, "operator", hold.code)


def _hold_for(state: State, cause: str, code: str) -> Result:
    if not state.on_device or state.finishing:
        moved = _moved(state, "held", cause, code)
        return _with(state, phase="held"), (w.Notice("Held."), moved)
    moved = _moved(state, "pausing", cause, code)
    return _with(state, phase="pausing", since=state.t_s), (w.HoldDevice(), moved)


def _fire(state: State, fired: Tripped) -> Result:
    if fired.rule.action == "stop":
        return _safety(state, fired)
    if state.phase != "running":
        return state, ()
    return _hold_for(state, "rule", fired.rule.id)


def _resume(state: State, resume: w.Resume) -> Result:
    if state.phase != "held":
        return state, (w.Notice("Only a session that is held can be resumed."),)
    if not resume.reason.strip():
        return state, (w.Notice("A resume needs a reason."),)
    fired = tripped(state.program.course.during, state.signs)
    if fired is not None:
        again = f"recheck-{fired.rule.sign}"
        waiting = {**state.waiting, again: {}}
        text = f"{fired.rule.sign} = {fired.value:g} still trips {fired.rule.id}; enter it again."
        asked = w.Ask(again, (fired.rule.sign,))
        return _with(state, waiting=waiting), (w.Notice(text), asked)
    moved = _moved(state, "running", "operator", "resume", resume.reason)
    state = _with(state, phase="running", since=state.t_s)
    if not state.on_device or state.finishing:
        return state, (moved,)
    # targets start from rest: whatever the block wants is sent anew
    state, effects = _command(_with(state, targets={}))
    return state, (moved, w.ResumeDevice(), *effects)


def _answered(state: State, given: w.Answered) -> Result:
    if given.block not in state.waiting:
        return state, (w.Notice(f"No prompt of {given.block} is open."),)
    measured = state.waiting[given.block]
    waiting = {name: signs for name, signs in state.waiting.items() if name != given.block}
    noted = _noted(state, given.block, given.values)
    state = _with(state, waiting=waiting, signs={**state.signs, **given.values})
    fired = tripped(state.program.course.during, given.values)
    if fired is not None and state.finishing:
        noted = (*noted, _afterwards(state, fired))
    elif fired is not None:
        ended, effects = _fire(state, fired)
        if effects:
            return ended, (effects[0], *noted, *effects[1:])
    kinds = {block.id: block.kind for block in state.program.course.blocks}
    kind = kinds.get(given.block, "")
    state, judged = _judge(state, kind, {**measured, **given.values})
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
    effects: Effects = ()
    waiting = {p.parameter for p in _open(state)}
    for proposal in proposals:
        if proposal.parameter in waiting:
            continue
        if proposal.confirm:
            number = state.proposed + 1
            open_now = {**state.proposals, number: proposal}
            state = _with(state, proposals=open_now, proposed=number)
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
    state = _with(
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
    others = {n: p for n, p in state.proposals.items() if n != given.number}
    state = _with(state, proposals=others)
    if given.value is None and given.accepted:
        return _accept(state, proposal, proposal.proposed, by=given.by)
    refused = _adapted(state, proposal, accepted=False, by=given.by)
    if given.value is None:
        return state, (refused,)
    value = round(clamp(state.program.course, proposal.parameter, given.value), 4)
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
            old=round(proposal.old, 4),
            proposed=round(proposal.proposed, 4),
            accepted=accepted,
            by=by,
            rule=proposal.rule,
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
