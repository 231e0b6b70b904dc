"""The events that the session machine appends, built from its state; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from trialkit.record.kinds import (
    DeviationRaised,
    SessionAdapted,
    SessionCommand,
    SessionPrompt,
    SessionTransition,
)
from trialkit.session import words as w
from trialkit.session.adapt import Proposal
from trialkit.session.interlocks import Tripped
from trialkit.session.state import Effects, State


def moved(
    state: State, new: str, cause: str, code: str | None = None, reason: str | None = None
) -> w.Append:
    """Return the event of a change of phase, with its cause and coded reason."""
    payload = SessionTransition(
        session=state.program.session,
        t_s=round(state.t_s, 3),
        old=state.phase,
        new=new,
        cause=cause,
        code=code,
    )
    return w.Append(payload, reason)


def noted(state: State, prompt: str, values: Mapping[str, float]) -> tuple[w.Effect, ...]:
    """Return the event of values that were entered, or nothing where none were."""
    if not values:
        return ()
    payload = SessionPrompt(
        session=state.program.session,
        t_s=round(state.t_s, 3),
        prompt=prompt,
        values={name: round(float(value), 4) for name, value in values.items()},
    )
    return (w.Append(payload),)


def finite(values: Mapping[str, float]) -> tuple[dict[str, float], Effects]:
    """Return the values that are numbers; one that is not counts as not entered."""
    good = {name: value for name, value in values.items() if math.isfinite(value)}
    bad = [name for name in values if name not in good]
    told = (w.Notice(f"{', '.join(bad)}: no number, so not entered."),) if bad else ()
    return good, told


def told(
    state: State,
    number: int,
    phase: Literal["requested", "accepted", "refused"],
    setpoints: Mapping[str, float],
    detail: str | None = None,
) -> w.Append:
    """Return the event of one phase of a command to the device."""
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


def adapted(state: State, proposal: Proposal, *, accepted: bool, by: str) -> w.Append:
    """Return the event of a decision on a setting."""
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


def afterwards(state: State, fired: Tripped) -> w.Append:
    """Return the deviation for a rule that fired when everything was delivered already."""
    return w.Append(
        DeviationRaised(
            category="stop_rule",
            detail=f"{fired.rule.id}: {fired.rule.sign} = {fired.value:g} after the last block",
            session=state.program.session,
        )
    )
