"""Progression: which setting may move after a block, by how much, and who must agree.

Pure functions. A setting moves at most by its step and the envelope's ``max_step``, not
sooner than ``min_interval_s`` after its last change, not further than ``per_session_max``
from where the session began, and never outside envelope and limits. The order of the
protocol decides which settings come first; at most ``changes_per_block`` move. Nothing is
rounded: a step that differs by 1e-9 gives a decision that differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trialkit.protocol.model import Parameter
from trialkit.session.program import Course, Rule

SCHEME = "progression/2"
"""Names the way of deciding; another way has another name."""
_EPS = 1e-9


@dataclass(frozen=True)
class Proposal:
    """A change of one setting with everything that it rests on.

    `model` is the hash of the scheme and its numbers, where a scheme proposed it.
    """

    parameter: Parameter
    old: float
    proposed: float
    inputs: Mapping[str, float]
    rule: str
    confirm: bool
    model: str | None = None


def propose(
    course: Course,
    *,
    levels: Mapping[Parameter, float],
    base: Mapping[Parameter, float],
    values: Mapping[str, float],
    since_change_s: Mapping[str, float],
) -> list[Proposal]:
    """Return the changes that the rules ask for, regressions first.

    Parameters
    ----------
    levels, base : mapping
        Levels now and when the session began.
    values : mapping of sign to value
        Of the block that just ended; of what the device measures, the mean over the block.
    since_change_s : mapping
        Seconds since a parameter last changed; a parameter that is absent never did.
    """
    wanted: list[Proposal] = []
    for word in ("regress", "advance"):
        for rule in course.rules:
            if any(p.parameter == rule.parameter for p in wanted) or not _asks(rule, word, values):
                continue
            proposal = _change(course, rule, word, levels, base, values, since_change_s)
            if proposal is not None:
                wanted.append(proposal)
        if wanted:
            break  # a block that calls for a regression never advances anything
    return wanted[: course.changes_per_block]


def _asks(rule: Rule, word: str, values: Mapping[str, float]) -> bool:
    if word == "regress":
        return any(condition.holds(values) is True for condition in rule.regress_if)
    return bool(rule.advance_if) and all(c.holds(values) is True for c in rule.advance_if)


def _change(
    course: Course,
    rule: Rule,
    word: str,
    levels: Mapping[Parameter, float],
    base: Mapping[Parameter, float],
    values: Mapping[str, float],
    since_change_s: Mapping[str, float],
) -> Proposal | None:
    name = rule.parameter
    old, begun = levels[name], base[name]
    envelope = course.envelopes.get(name)
    step = abs(rule.step)
    if envelope is not None:
        step = min(step, envelope.max_step)
        if since_change_s.get(name, float("inf")) < envelope.min_interval_s - _EPS:
            return None
    sign = 1.0 if rule.step > 0 else -1.0
    goal = old + sign * step if word == "advance" else old - sign * step
    if word == "advance":
        goal = min(goal, rule.target) if sign > 0 else max(goal, rule.target)
    goal = min(max(goal, begun - rule.per_session_max), begun + rule.per_session_max)
    new = clamp(course, name, goal)
    if abs(new - old) < 1e-6 or (word == "advance" and (new - old) * sign < 0):
        return None
    conditions = rule.advance_if if word == "advance" else rule.regress_if
    inputs = {c.sign: float(values[c.sign]) for c in conditions if c.sign in values}
    confirm = envelope is not None and envelope.confirm == "therapist"
    return Proposal(name, old, new, inputs, f"progression.{word}", confirm)


def clamp(course: Course, parameter: str, value: float) -> float:
    """Return `value` inside the envelope and the limits of `parameter`."""
    for bound in (course.envelopes.get(parameter), course.limits.get(parameter)):
        if bound is not None:
            value = min(max(value, bound.minimum), bound.maximum)
    return value


def levels_after(
    start: Mapping[Parameter, float], accepted: Mapping[str, float]
) -> dict[Parameter, float]:
    """Return the levels to start from: the last accepted ones, else those of the protocol."""
    return {name: accepted.get(name, value) for name, value in start.items()}
