"""Finds every fault of a protocol, and of the protocols of one trial, before anyone walks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trialkit._yaml import Document, line_of, path_text
from trialkit.errors import Finding
from trialkit.protocol.check_shared import check_shared
from trialkit.protocol.check_training import check_training
from trialkit.protocol.families import DeviceProfile, key_hint
from trialkit.protocol.forms import Form, forms_for
from trialkit.protocol.model import DoseMatch, Protocol

SHARED = ("trial", "visits", "diaries")


def read_protocol(
    path: Path,
    device_profile: DeviceProfile | None = None,
    instruments: Mapping[str, Form] | None = None,
) -> tuple[Protocol | None, list[Finding]]:
    """Return the protocol of a file, or None and every fault, in the order of their lines.

    Parameters
    ----------
    path : Path
    device_profile : DeviceProfile, optional
        The capability of the device that is meant; without it the table of the family.
    instruments : mapping, optional
        Known instruments by code; default: those that ship and those beside the file.
    """
    document = Document(path, key_hint)
    protocol = document.parse(Protocol)
    if isinstance(document.data, dict):
        known = forms_for(path) if instruments is None else instruments
        check_shared(document, known)
        check_training(document, device_profile)
    findings = sorted(document.findings, key=lambda f: (f.line or 0, f.where))
    return (None if findings else protocol), findings


def check_protocol(
    path: str | Path,
    device_profile: DeviceProfile | None = None,
    instruments: Mapping[str, Form] | None = None,
) -> list[Finding]:
    """Return every fault of a protocol file; parameters as in `read_protocol`."""
    return read_protocol(Path(path), device_profile, instruments)[1]


def check_trial(paths: Sequence[str | Path]) -> list[Finding]:
    """Return every way in which the protocols of one trial disagree.

    The sections ``trial``, ``visits`` and ``diaries`` must be alike, each arm has one protocol,
    and the arms are matched as ``trial.dose_match`` says. Faults within a file are those of
    `check_protocol`; a file that has them is left out here.
    """
    sound = [(Path(p), Document(Path(p))) for p in paths]
    read = [(p, d, read_protocol(p)[0]) for p, d in sound]
    arms = [(p, d, protocol) for p, d, protocol in read if protocol is not None]
    if not arms or len(arms) < len(read):
        return []
    first_path, _, first_protocol = arms[0]
    findings = []
    for path, document, protocol in arms[1:]:
        for section in SHARED:
            here, there = _plain(protocol, section), _plain(first_protocol, section)
            for at, mine, other in _differences((section,), here, there):
                findings.append(
                    Finding(
                        path_text(at),
                        f"{path.name} has {mine}, {first_path.name} has {other}.",
                        "Give the section alike in all protocols of the trial.",
                        line_of(document.lines, at),
                    )
                )
    if not findings:
        findings += _check_arms([(p.name, d, protocol) for p, d, protocol in arms])
        match = first_protocol.trial.dose_match
        if match is not None:
            findings += _check_dose([(p.name, d, protocol) for p, d, protocol in arms], match)
    return findings


def _plain(protocol: Protocol, section: str) -> Any:
    return protocol.model_dump(mode="json", include={section})[section]


def _differences(
    at: tuple[str | int, ...], mine: Any, other: Any
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Yield the path of each leaf that differs, with both values as text."""
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*mine, *other]):
            yield from _differences((*at, key), mine.get(key), other.get(key))
    elif isinstance(mine, list) and isinstance(other, list) and len(mine) == len(other):
        for index, (left, right) in enumerate(zip(mine, other, strict=True)):
            yield from _differences((*at, index), left, right)
    elif mine != other:
        yield at, _shown(mine), _shown(other)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{len(value)} entries" if isinstance(value, list | dict) else repr(value)


def _check_arms(arms: list[tuple[str, Document, Protocol]]) -> list[Finding]:
    """Each arm of the trial has exactly one protocol, and the versions agree."""
    by_arm: dict[str, str] = {}
    findings = []
    for name, document, protocol in arms:
        if protocol.arm in by_arm:
            findings.append(
                Finding(
                    "arm",
                    f"{name} and {by_arm[protocol.arm]} are both of arm {protocol.arm}.",
                    "Give one protocol an arm.",
                    line_of(document.lines, ("arm",)),
                )
            )
        by_arm.setdefault(protocol.arm, name)
    missing = [arm.code for arm in arms[0][2].trial.arms if arm.code not in by_arm]
    if missing:
        findings.append(
            Finding(
                "trial.arms",
                f"there is no protocol of arm {', '.join(missing)}.",
                "Give the protocol of every arm.",
            )
        )
    return findings


def _check_dose(arms: list[tuple[str, Document, Protocol]], match: DoseMatch) -> list[Finding]:
    """The planned course of every arm lies within the tolerance of the first arm's."""

    def course(protocol: Protocol) -> float:
        walking = match.unit == "walking_minutes"
        minutes = protocol.planned_walking_minutes if walking else protocol.planned_minutes
        return minutes * protocol.planned_sessions

    def beside(protocol: Protocol) -> float:
        weekly = (a.minutes_per_session * a.sessions_per_week for a in protocol.alongside)
        return sum(weekly) * protocol.schedule.weeks

    first_name, _, first = arms[0]
    findings = []
    for name, document, protocol in arms[1:]:
        for where, what, measure in (
            ("session", f"{match.unit} of training", course),
            ("alongside", "minutes alongside", beside),
        ):
            mine, other = measure(protocol), measure(first)
            if abs(mine - other) > match.tolerance_fraction * max(mine, other):
                findings.append(
                    Finding(
                        where,
                        f"{name} plans {mine:g} {what} over the course, "
                        f"{first_name} plans {other:g}.",
                        f"Bring them within {match.tolerance_fraction:.0%}, "
                        "or change trial.dose_match.",
                        line_of(document.lines, (where,)),
                    )
                )
    return findings
