"""A protocol made ready for one session: blocks in seconds, rules parsed, start levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trialkit.errors import Finding, ProtocolFindings
from trialkit.protocol.conditions import Condition, parse_condition
from trialkit.protocol.model import (
    DEVICE_KINDS,
    Envelope,
    Limit,
    Parameter,
    Protocol,
    StopRule,
)


@dataclass(frozen=True)
class Stretch:
    """One block; `on_device` is False for overground and therapy."""

    id: str
    kind: str
    seconds: float
    on_device: bool
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """A progression rule with its conditions parsed."""

    parameter: Parameter
    start: float
    target: float
    step: float
    per_session_max: float
    advance_if: tuple[Condition, ...]
    regress_if: tuple[Condition, ...]


@dataclass(frozen=True)
class Course:
    """What a protocol asks of every session."""

    protocol: Protocol
    blocks: tuple[Stretch, ...]
    rules: tuple[Rule, ...]
    changes_per_block: int
    limits: Mapping[str, Limit]
    envelopes: Mapping[str, Envelope]
    before: tuple[StopRule, ...]
    during: tuple[StopRule, ...]

    @property
    def start(self) -> dict[Parameter, float]:
        """Levels of the first session."""
        return {rule.parameter: rule.start for rule in self.rules}


@dataclass(frozen=True)
class Program:
    """A course, the session, and the levels that it starts with."""

    course: Course
    session: str
    levels: Mapping[Parameter, float] = field(default_factory=dict)


def make_course(protocol: Protocol) -> Course:
    """Return the course of a protocol.

    Raises
    ------
    ProtocolFindings
        If a condition of the progression cannot be read.
    """
    progression = protocol.progression
    rules = tuple(
        Rule(
            rule.parameter,
            rule.start,
            rule.target,
            rule.step,
            rule.per_session_max,
            _conditions(rule.advance_if),
            _conditions(rule.regress_if),
        )
        for rule in (progression.order if progression else [])
    )
    return Course(
        protocol=protocol,
        blocks=tuple(
            Stretch(b.id, b.kind, b.minutes * 60.0, b.kind in DEVICE_KINDS, tuple(b.prompts))
            for b in protocol.session.blocks
        ),
        rules=rules,
        changes_per_block=progression.changes_per_block if progression else 0,
        limits={limit.parameter: limit for limit in protocol.limits},
        envelopes={envelope.parameter: envelope for envelope in protocol.adaptation},
        before=tuple(r for r in protocol.stop_rules if r.when == "before_start"),
        during=tuple(r for r in protocol.stop_rules if r.when == "during"),
    )


def _conditions(texts: list[str]) -> tuple[Condition, ...]:
    parsed = [(text, parse_condition(text)) for text in texts]
    faults = [
        Finding("progression", f"{text!r} is no condition.", "Write it like rpe <= 13.")
        for text, condition in parsed
        if condition is None
    ]
    if faults:
        raise ProtocolFindings("a progression rule cannot be read.", faults)
    return tuple(condition for _, condition in parsed if condition is not None)
