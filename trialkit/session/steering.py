"""What the machine asks of the device, and the settings that rules, schemes and people move.

Settings move between strides or bouts, inside the envelope of the protocol; each decision is
an event with its inputs, what was proposed, and who accepted it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from trialkit.session import telling
from trialkit.session import words as w
from trialkit.session.adapt import Proposal, clamp, propose
from trialkit.session.schemes import decide, due
from trialkit.session.state import Effects, Result, State, changed


def command(state: State) -> Result:
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
    return state, (telling.told(state, number, "requested", new), w.Send(number, new, rates))


def _limited(state: State, name: str, value: float) -> float:
    limit = state.program.course.limits.get(name)
    if limit is None:
        return value
    low = 0.0 if name == "speed_m_s" and value == 0.0 else limit.minimum  # rest is always legal
    return min(max(value, low), limit.maximum)


def open_proposals(state: State) -> list[Proposal]:
    """Return the proposals that wait for a word, the oldest first."""
    return [state.proposals[number] for number in sorted(state.proposals)]


def judge(state: State, kind: str, values: Mapping[str, float]) -> Result:
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


def follow(state: State) -> Result:
    """Let the schemes whose time has come decide, in walking blocks only."""
    course = state.program.course
    if not state.following or not state.delivering or course.blocks[state.block].kind != "walk":
        return state, ()
    waiting = {p.parameter for p in open_proposals(state)}
    proposals: list[Proposal] = []
    kept: Effects = ()
    for name, one in state.following.items():
        if name in waiting or not due(course.envelopes[name], one, state.t_s):
            continue
        current, base = state.levels[name], state.program.levels[name]
        one, proposal = decide(course, name, one, current=current, base=base, t_s=state.t_s)
        state = changed(state, following={**state.following, name: one})
        if proposal.proposed == proposal.old:  # to stay is a decision too
            kept = (*kept, telling.adapted(state, proposal, accepted=True, by="software"))
        else:
            proposals.append(proposal)
    state, effects = _put(state, proposals)
    return state, (*kept, *effects)


def _put(state: State, proposals: Sequence[Proposal]) -> Result:
    """Make the changes that need nobody's word, and ask the therapist for the others."""
    effects: Effects = ()
    waiting = {p.parameter for p in open_proposals(state)}
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
    adapted = telling.adapted(state, proposal, accepted=True, by=by)
    state = changed(
        state,
        levels={**state.levels, proposal.parameter: value},
        changed={**state.changed, proposal.parameter: state.t_s},
    )
    effects: Effects = ()
    if state.phase == "running" and state.on_device and not state.finishing:
        state, effects = command(state)
    return state, (adapted, *effects)


def decided(state: State, given: w.Decide) -> Result:
    """Take the word of a person on a proposal: accepted, refused, or a value of their own."""
    proposal = state.proposals.get(given.number)
    if proposal is None:
        return state, (w.Notice("That proposal is not open."),)
    if given.value is not None and not math.isfinite(given.value):
        return state, (w.Notice("That value is no number."),)
    others = {n: p for n, p in state.proposals.items() if n != given.number}
    state = changed(state, proposals=others)
    if given.value is None and given.accepted:
        return _accept(state, proposal, proposal.proposed, by=given.by)
    refused = telling.adapted(state, proposal, accepted=False, by=given.by)
    if given.value is None:
        return state, (refused,)
    value = clamp(state.program.course, proposal.parameter, given.value)
    own = dataclasses.replace(proposal, proposed=value, rule="override")
    state, effects = _accept(state, own, value, by=given.by)
    return state, (refused, *effects)
