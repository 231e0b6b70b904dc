"""Schemes of adaptation while a session runs: what they have seen, and what they propose.

A scheme of `trialkit.adaptation` moves a setting between strides, in walking blocks only. It
sees the time-weighted mean of its measure since its last decision, and decides not sooner
than the envelope's ``min_interval_s`` after that. Its proposal is held to the envelope's
step and bounds, to the limits, and to the progression's ``per_session_max``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from trialkit.adaptation.schemes import SCHEMES, model_hash
from trialkit.protocol.model import Envelope, Parameter
from trialkit.session.adapt import Proposal, clamp
from trialkit.session.program import Course

Sums = Mapping[str, tuple[float, float]]
_EPS = 1e-9


@dataclass(frozen=True)
class Following:
    """A scheme in a session.

    `memory` is what the scheme returned last; `sums` are, for each measure since the last
    decision, the sum of value times seconds and of the seconds; `walked_s` is the walking
    time since then; `decided_s` is the session time of the last decision.
    """

    memory: Mapping[str, float] = field(default_factory=dict)
    sums: Sums = field(default_factory=dict)
    walked_s: float = 0.0
    decided_s: float = 0.0


def followings(course: Course) -> dict[Parameter, Following]:
    """Return the schemes that the envelopes of a course name, before the first decision."""
    return {e.parameter: Following() for e in course.protocol.adaptation if e.scheme is not None}


def scheme_hashes(course: Course) -> dict[str, str]:
    """Return the hash of each scheme of a course: its formula's version and its numbers."""
    named = [e for e in course.protocol.adaptation if e.scheme is not None]
    return {e.parameter: model_hash(str(e.scheme), e.options) for e in named}


def added(
    sums: Sums, measures: Mapping[str, float], seconds: float
) -> dict[str, tuple[float, float]]:
    """Return `sums` with the finite `measures` of another `seconds`."""
    new = dict(sums)
    for name, value in measures.items():
        if math.isfinite(value):
            total, weight = new.get(name, (0.0, 0.0))
            new[name] = (total + value * seconds, weight + seconds)
    return new


def means(sums: Sums) -> dict[str, float]:
    """Return the means, with the share of the load on the leg that carries less."""
    found = {name: total / weight for name, (total, weight) in sums.items()}
    if "load_share_l" in found:
        found["lesser_load_share"] = min(found["load_share_l"], 1.0 - found["load_share_l"])
    return found


def followed(
    following: Mapping[Parameter, Following], measures: Mapping[str, float], seconds: float
) -> dict[Parameter, Following]:
    """Return the schemes after `seconds` of walking with these measures."""
    return {
        name: Following(
            one.memory, added(one.sums, measures, seconds), one.walked_s + seconds, one.decided_s
        )
        for name, one in following.items()
    }


def due(envelope: Envelope, one: Following, t_s: float) -> bool:
    """Return whether a scheme may decide at `t_s`."""
    known = (envelope.measure or _measure(envelope)) in means(one.sums)
    return known and t_s - one.decided_s >= envelope.min_interval_s - _EPS


def decide(
    course: Course,
    parameter: Parameter,
    one: Following,
    *,
    current: float,
    base: float,
    t_s: float,
) -> tuple[Following, Proposal]:
    """Let a scheme decide.

    Parameters
    ----------
    current, base : float
        The level now, and when the session began.
    t_s : float
        Session time.

    Returns
    -------
    following : Following
        Its memory renewed and its sums emptied.
    proposal : Proposal
        ``proposed`` equals ``old`` where the setting should stay.
    """
    envelope = course.envelopes[parameter]
    scheme = SCHEMES[str(envelope.scheme)]
    usual = _measure(envelope)
    measure = envelope.measure or usual
    inputs = {measure: means(one.sums)[measure]}
    if "rest_s" in scheme.optional:
        inputs["rest_s"] = max(0.0, t_s - one.decided_s - one.walked_s)
    given = {**inputs, "current": current, usual: inputs[measure]}
    memory, wanted = scheme.propose(one.memory, given, envelope.options)
    rule = next(r for r in course.rules if r.parameter == parameter)
    step = min(max(wanted - current, -envelope.max_step), envelope.max_step)
    goal = current + step
    goal = min(max(goal, base - rule.per_session_max), base + rule.per_session_max)
    new = clamp(course, parameter, goal)
    confirm = envelope.confirm == "therapist"
    model = model_hash(scheme.name, envelope.options)
    proposal = Proposal(parameter, current, new, inputs, f"scheme.{scheme.name}", confirm, model)
    return Following(memory, {}, 0.0, t_s), proposal


def _measure(envelope: Envelope) -> str:
    return SCHEMES[str(envelope.scheme)].measures[0]
