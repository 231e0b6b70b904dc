"""What a preview found, and how it is shown: timeline, course, findings."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from trialkit.errors import Finding
from trialkit.protocol.model import Protocol
from trialkit.session.dose import PlannedDose

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class BlockRow:
    """A block of a session: when it begins, how long, with which setpoints and prompts."""

    session: int
    block: str
    kind: str
    t_min: float | None
    minutes: float
    speed_m_s: float | None = None
    support_fraction: float | None = None
    guidance: float | None = None
    prompts: str = ""


@dataclass(frozen=True)
class SessionRow:
    """A session of the course: how it ended, what it planned, what the patient would get."""

    session: int
    status: str
    code: str | None
    planned_distance_m: float | None
    minutes: float
    moving_minutes: float
    steps: int
    distance_m: float | None
    levels: dict[str, float]


@dataclass
class Preview:
    """What a preview found.

    Attributes
    ----------
    protocol : Protocol
    device : str
        What it was walked on, in words; that no device is needed, where none is.
    findings : list of Finding
        What would be refused, stopped, left unanswered or not reached.
    notices : list of Finding
        What should be known and is no obstacle.
    blocks : list of BlockRow
        Of every session that was walked.
    sessions : list of SessionRow
    dose : PlannedDose
        Of the first session.
    """

    protocol: Protocol
    device: str
    dose: PlannedDose
    findings: list[Finding] = field(default_factory=list)
    notices: list[Finding] = field(default_factory=list)
    blocks: list[BlockRow] = field(default_factory=list)
    sessions: list[SessionRow] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True where nothing would be refused."""
        return not self.findings

    @property
    def table(self) -> pd.DataFrame:
        """The timeline of all sessions, one row a block, with the columns of `BlockRow`."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.blocks])

    def to_dict(self) -> dict[str, Any]:
        """Return the preview as plain data."""
        return {
            "protocol": self.protocol.id,
            "version": self.protocol.version,
            "arm": self.protocol.arm,
            "device": self.device,
            "ok": self.ok,
            "planned_dose": asdict(self.dose),
            "findings": [finding.to_dict() for finding in self.findings],
            "notices": [notice.to_dict() for notice in self.notices],
            "blocks": [asdict(row) for row in self.blocks],
            "sessions": [asdict(row) for row in self.sessions],
        }

    def to_text(self) -> str:
        """Return the timeline of the first session, the course and the findings as text."""
        lines = [f"{self.protocol.id} {self.protocol.version} ({self.device})", ""]
        lines += [" | ".join(cells) for cells in _block_cells(self)]
        lines += ["", f"planned: {dose_text(self.dose)}"]
        if self.sessions:
            lines.append(_course_text(self))
        lines += [f"notice: {notice}" for notice in self.notices]
        lines.append("")
        lines += [f"refused: {finding}" for finding in self.findings] or [
            "nothing would be refused"
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *rows = _block_cells(self)
        top = "".join(f"<th>{html.escape(cell.strip())}</th>" for cell in head)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell.strip())}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        found = "".join(f"<li>{html.escape(str(finding))}</li>" for finding in self.findings)
        verdict = f"<ul>{found}</ul>" if found else "<p>Nothing would be refused.</p>"
        return (
            f"<p><b>{html.escape(self.protocol.id)}</b> {html.escape(self.device)}; planned: "
            f"{html.escape(dose_text(self.dose))}</p>"
            f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{verdict}"
        )


def _block_cells(result: Preview) -> list[list[str]]:
    """Return the timeline of the first session as cells of equal width, the head first."""
    names = ("block", "kind", "from", "min", "m/s", "support", "guidance", "prompts")

    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:g}"

    rows = [list(names)] + [
        [
            row.block,
            row.kind,
            "never" if row.t_min is None else f"{row.t_min:g}",
            f"{row.minutes:g}",
            shown(row.speed_m_s),
            shown(row.support_fraction),
            shown(row.guidance),
            row.prompts,
        ]
        for row in result.blocks
        if row.session == 1
    ]
    wide = [max(len(row[i]) for row in rows) for i in range(len(names))]
    return [[cell.ljust(wide[i]) for i, cell in enumerate(row)] for row in rows]


def dose_text(dose: PlannedDose) -> str:
    """Return a planned dose in one line."""
    text = f"{dose.minutes:g} min, {dose.moving_minutes:g} min moving"
    if dose.steps is not None:
        text += f", about {dose.steps} steps (walk ratio {dose.walk_ratio_m_min:g} m.min)"
        text += f", {dose.distance_m:g} m"
    for name, planned in (("donning", dose.donning_minutes), ("doffing", dose.doffing_minutes)):
        if planned is not None:
            text += f"; {name} {planned[0]:g} to {planned[1]:g} min apart"
    return text


def _course_text(result: Preview) -> str:
    done = [row for row in result.sessions if row.status == "completed"]
    last = result.sessions[-1]
    reached_levels = ", ".join(f"{name} {value:g}" for name, value in last.levels.items())
    steps = sum(row.steps for row in result.sessions)
    metres = sum(row.distance_m or 0.0 for row in result.sessions)
    return (
        f"course: {len(done)} of {len(result.sessions)} sessions completed, {steps} steps, "
        f"{metres:.0f} m; after the last: {reached_levels}"
    )
