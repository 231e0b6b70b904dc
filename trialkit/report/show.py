"""What a report's cells call: `open_report` and the methods of `Show`. No statistic is made here.

Every method returns an object that Jupyter, Quarto and the embedded renderer show as Markdown.
"""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from trialkit.errors import UnknownName
from trialkit.plan import Plan, load_plan
from trialkit.report import tables
from trialkit.report.cells import Grid, Numbers, escape
from trialkit.report.descriptive import descriptive
from trialkit.report.figures import describe_graph, draw_graph, save_figure, slug
from trialkit.report.flow import check_flow, describe_flow, draw_flow, read_flow
from trialkit.results import AnalysisResult, Results

# shell ids of the clinical study report (ICH E3, section 14) that this version fills
KINDS = {
    "T-14.1.1": "disposition",
    "T-14.1.4": "baseline",
    "T-14.3.1.1": "adverse_events",
    "T-14.3.4.1": "exposure",
}


@dataclass(frozen=True)
class Shown:
    """Markdown that shows itself."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text

    def __str__(self) -> str:
        """Return the Markdown."""
        return self.text


def open_report(results: str, plan: str, context: str = "", folder: str = ".") -> Show:
    """Open results, plan and study facts for the cells of a report.

    Parameters
    ----------
    results : str
        Folder of the results.
    plan : str
        The plan's file.
    context : str
        JSON file of study facts: study_id, title, software, record, lock; may be absent.
    folder : str
        Where figures are written.
    """
    facts: dict[str, Any] = {}
    if context:
        facts = json.loads(Path(context).read_text(encoding="utf-8"))
    return Show(Results.load(Path(results)), load_plan(Path(plan)), facts, Path(folder))


class Show:
    """Shows results by id.

    Parameters
    ----------
    results : Results
    plan : Plan
    context : dict
        Facts of the study that results do not hold.
    folder : Path
        Where figures are written.
    """

    def __init__(self, results: Results, plan: Plan, context: dict[str, Any], folder: Path) -> None:
        self.results = results
        self.plan = plan
        self.context = context
        self.folder = folder
        self.numbers = Numbers(results)

    # --- the study and its plan -----------------------------------------------------------

    def _fact(self, *path: str) -> str:
        value: Any = self.context
        for name in path:
            value = value.get(name, {}) if isinstance(value, dict) else {}
        return "" if value == {} or value is None else str(value)

    @property
    def title(self) -> Shown:
        """The study's title."""
        return Shown(escape(self._fact("title") or self.plan.title))

    @property
    def subtitle(self) -> Shown:
        """Study id, plan id and version."""
        text = f"{self._fact('study_id')} · plan {self.plan.id} {self.plan.version}"
        return Shown(escape(text.strip(" ·")))

    def about(self) -> Shown:
        """Return what the report rests on: study, plan, lock, hashes, software, record."""
        record = self.context.get("record", {})
        at = f" at event {record['seq']}" if record else ""
        rows = [
            ("Study", self._fact("study_id"), False),
            ("Title", self._fact("title"), False),
            ("Plan", f"{self.plan.id}, version {self.plan.version}", False),
            ("Registration", self.plan.registration or "", False),
            ("Plan file (SHA-256)", self._fact("plan"), True),
            ("Plan lock", self._fact("lock", "lock"), True),
            ("Locked at", _moment(self._fact("lock", "at")), False),
            *(
                (
                    "Signed by",
                    f"{s['name']} ({s['meaning']}), {_moment(self._fact('lock', 'at'))}, "
                    f"key {s['fingerprint']}",
                    False,
                )
                for s in self.context.get("lock", {}).get("signatures", [])
            ),
            *(
                ("Signed", f"{s['what']}: {s['name']} ({s['meaning']}), {_moment(s['at'])}", False)
                for s in self.context.get("signatures", [])
            ),
            ("Analysed at", _moment(self._fact("record", "at")), False),
            ("Snapshot", self._fact("snapshot"), True),
            *([("Data", self._fact("data"), False)] if "data" in self.context else []),
            ("Results", self.results.hash, True),
            ("Record head" + at, self._fact("record", "hash"), True),
            *_merkle(self.context.get("head")),
            ("Software", self._fact("software"), False),
        ]
        return self._grid(tables.about(rows))

    def blinding(self) -> Shown:
        """Return when the arms were revealed, and whose arm was told before in an emergency."""
        facts = self.context.get("blinding")
        if facts is None:
            return Shown("")
        revealed = _moment(facts["revealed"] or "")
        text = f"The allocation was revealed on {revealed}. " if revealed else ""
        if not facts["told"]:
            return Shown(f"{text}No participant's arm was told in an emergency before.\n")
        one = len(facts["told"]) == 1
        text += f"The arm of {len(facts['told'])} participant{'' if one else 's'} was told "
        text += "before in an emergency, to two persons:\n\n"
        return Shown(text + tables.unblinded(facts["told"]).markdown())

    def estimands(self) -> Shown:
        """Return the table of estimands."""
        return self._grid(tables.estimands(self.plan))

    def missing_data(self) -> Shown:
        """Return the plan's strategy for missing data."""
        return Shown(escape(self.plan.missing_data.strip()) + "\n")

    def notes(self) -> Shown:
        """Return the plan's notes and limits as a list."""
        if not self.plan.notes:
            return Shown("*The plan has no notes.*\n")
        return Shown("\n".join(f"- {escape(n.strip())}" for n in self.plan.notes) + "\n")

    # --- numbers ----------------------------------------------------------------------------

    def value(self, identifier: str, digits: int | None = None) -> Shown:
        """Return one number by the id of its result."""
        self.numbers.place = "text"
        return Shown(self.numbers.show(identifier, digits=digits))

    def ids(self) -> Shown:
        """Return the table of all numbers printed so far with their ids."""
        return Shown(tables.printed_ids(self.numbers).markdown())

    # --- tables -----------------------------------------------------------------------------

    def table(self, name: str) -> Shown:
        """Return a table by its shell id (``T-14.2.1``) or by the plan's id of a table.

        Raises
        ------
        UnknownName
            If neither exists.
        """
        special: dict[str, Callable[[], Shown]] = {
            "T-14.2.1": self.primary,
            "T-14.2.5": lambda: self._sections("secondary"),
            "T-14.2.11": self.multiplicity,
        }
        if name in special:
            return special[name]()
        wanted = [t for t in self.plan.tables if t.id == name or t.kind == KINDS.get(name)]
        if wanted:
            return Shown("\n".join(self._descriptive(t.id, t.label) for t in wanted))
        if name in KINDS:
            return Shown("*The plan registers no such table.*\n")
        known = [*KINDS, *special, *(t.id for t in self.plan.tables)]
        near = difflib.get_close_matches(name, known, n=3)
        raise UnknownName(f"no table {name!r}.", remedy=f"Use one of: {', '.join(near or known)}.")

    def _descriptive(self, table: str, label: str) -> str:
        rows = tables.rows_of(self.results, table)
        failed = rows[rows["state"] == "failed"]
        if len(failed) == len(rows):
            reason = str(failed["reason"].iloc[0]) if len(rows) else "no rows"
            return _failure(label, reason)
        grid = self._descriptive_grid(rows, label, table)
        return grid.markdown()

    def _descriptive_grid(self, rows: pd.DataFrame, label: str, table: str) -> Grid:
        self.numbers.place = label
        name = f"tbl-{slug(table)}"
        return descriptive(rows, self.numbers, caption=escape(label), label=name)

    def overview(self) -> Shown:
        """Return one row an analysis."""
        self.numbers.place = "Registered comparisons"
        return self._grid(
            tables.overview(self.results, self.plan, self.numbers, label="tbl-overview")
        )

    def multiplicity(self) -> Shown:
        """Return the tested hypotheses in order with their decisions."""
        if self.plan.multiplicity.procedure == "none":
            return Shown("The plan registers no procedure for multiplicity.\n")
        self.numbers.place = "Multiplicity"
        grid = tables.multiplicity(self.results, self.plan, self.numbers, label="tbl-multiplicity")
        steps = self.results.meta.get("multiplicity", {}).get("steps")
        if not steps:
            return self._grid(grid)
        figure = save_figure(
            draw_graph(steps),
            self.folder,
            "multiplicity",
            caption="Shares of alpha at the start and after the last rejection",
            alt=describe_graph(steps),
        )
        return Shown(f"{grid.markdown()}\n{figure}")

    def primary(self) -> Shown:
        """Return the primary analyses in full."""
        return self._sections("primary")

    def analyses(self, role: str) -> Shown:
        """Return every analysis of a role: comparison, estimates by group, its figure."""
        return self._sections(role)

    def _sections(self, role: str) -> Shown:
        chosen = [a for a in self.plan.analyses if a.role == role and a.id in self.results]
        if not chosen:
            return Shown(f"*The plan registers no {escape(role)} analysis.*\n")
        parts = []
        for analysis in chosen:
            parts.append(f"## {escape(analysis.label)} {{#sec-{slug(analysis.id)}}}\n")
            parts.append(self._analysis(self.results[analysis.id]))
        return Shown("\n".join(parts))

    def _analysis(self, one: AnalysisResult) -> str:
        self.numbers.place = one.label
        name = slug(one.id)
        estimand = self.plan.estimand(str(one.table["estimand"].iloc[0]))
        parts = [f"{escape(estimand.summary)}.\n"] if estimand is not None else []
        if one.failed:
            parts.append(_failure(one.label, one.failed))
        grids = [
            tables.comparison(one, self.numbers, self.plan, label=f"tbl-{name}"),
            tables.by_group(one, self.numbers, label=f"tbl-{name}-groups"),
            tables.tipping(one, self.numbers, label=f"tbl-{name}-tipping"),
        ]
        if not one.failed:
            other = tables.contrasts(one, self.numbers, label=f"tbl-{name}-comparisons")
            grids += [other] if len(other.rows) > 1 else []
        parts += [g.markdown() for g in grids if g.rows]
        parts.append(self._curves(one))
        return "\n".join(p for p in parts if p)

    def _grid(self, grid: Grid) -> Shown:
        return Shown(grid.markdown())

    # --- figures ----------------------------------------------------------------------------

    def flow(self) -> Shown:
        """Return the CONSORT diagram and its counts as a table.

        Raises
        ------
        ReportFindings
            If the counts do not balance.
        """
        wanted = [t for t in self.plan.tables if t.kind == "flow"]
        if not wanted:
            return Shown("*The plan registers no flow diagram.*\n")
        parts = []
        for table in wanted:
            rows = tables.rows_of(self.results, table.id)
            flow = read_flow(rows)
            check_flow(flow)
            parts.append(
                save_figure(
                    draw_flow(flow),
                    self.folder,
                    table.id,
                    caption=f"{escape(table.label)} (CONSORT 2025)",
                    alt=describe_flow(flow),
                )
            )
            self.numbers.place = f"{table.label}, counts"
            name, caption = f"tbl-{slug(table.id)}-counts", escape(self.numbers.place)
            grid = tables.flow_counts(flow, self.numbers, caption=caption, label=name)
            parts.append(grid.markdown())
        return Shown("\n".join(parts))

    def forest(self) -> Shown:
        """Return the forest plot: differences and ratios apart, the favoured sides named."""
        from trialkit import _figures

        rows = self._forest_rows()
        shown = rows[rows["measure"] != "logrank"] if len(rows) else rows
        if not len(shown):
            return Shown("*There is no comparison to draw.*\n")
        said = [_comparison_alt(row) for row in shown.to_dict("records")]
        return Shown(
            save_figure(
                _figures.forest_figure(rows),
                self.folder,
                "forest",
                caption="Registered comparisons with their intervals",
                alt="Forest plot. " + "; ".join(said) + ".",
            )
        )

    def _forest_rows(self) -> pd.DataFrame:
        """Return the comparisons in the order of the plan, with labels that fit."""
        rows = self.results.forest()
        order = {a.id: i for i, a in enumerate(self.plan.analyses)}
        rows = rows.sort_values("analysis", key=lambda c: c.map(order), kind="stable")
        return rows.assign(label=[textwrap.fill(str(x), 30) for x in rows["label"]])

    def _curves(self, one: AnalysisResult) -> str:
        from matplotlib.figure import Figure

        kinds = set(one.series["series"])
        if not kinds & {"survival", "profile"}:
            return ""
        survival = "survival" in kinds
        figure = one.plot().get_figure()
        if not isinstance(figure, Figure):
            return ""
        what = "Kaplan-Meier curves with numbers at risk" if survival else "Means by visit"
        return save_figure(
            figure,
            self.folder,
            one.id,
            caption=f"{escape(one.label)}: {what}",
            alt=_curve_alt(one.series, "survival" if survival else "profile", what, one.label),
            width="88%",
        )


def _merkle(head: dict[str, Any] | None) -> list[tuple[str, str, bool]]:
    """Return the rows of the newest Merkle head: paper that holds them anchors the record."""
    if head is None:
        return []
    by = f"{head['signer']}, key {head['fingerprint']}" if head["signer"] else "unsigned"
    return [
        (f"Merkle root over {head['size']} events", head["root"], True),
        ("Merkle head signed", f"{_moment(head['at'])}, {by}", False),
    ]


def _moment(at: str) -> str:
    """Return a time of the record to the second."""
    return at[:19].replace("T", " ") + " UTC" if at else ""


def _failure(label: str, reason: str) -> str:
    return (
        "::: {.callout-warning}\n"
        f"**{escape(label)} failed and has no result.** {escape(reason)}\n"
        ":::\n"
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if value == value else "not estimated"


def _comparison_alt(row: dict[Hashable, Any]) -> str:
    """Return a row of the forest plot in words."""
    if row["state"] != "ok":
        return f"{row['label']}: not estimated"
    low, mid, high = (_number(row[k]) for k in ("lower", "estimate", "upper"))
    return f"{row['label']}: {mid} ({low} to {high})"


def _curve_alt(series: pd.DataFrame, kind: str, what: str, label: str) -> str:
    """Return the first and last point of each curve in words."""
    said = []
    rows = series[series["series"] == kind]
    for group in dict.fromkeys(rows["group"]):
        one = rows[rows["group"] == group].sort_values("x")
        first, last = one.iloc[0], one.iloc[-1]
        said.append(
            f"{group} from {_number(first['y'])} at day {first['x']:g} "
            f"to {_number(last['y'])} at day {last['x']:g}"
        )
    return f"{what}, {label}: {'; '.join(said)}."
