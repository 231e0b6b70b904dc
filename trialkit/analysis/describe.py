"""The plan's descriptive tables: baseline, training delivered, adverse events, disposition.

No test is made here. Groups are the arms, reference first; without a group: all together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from trialkit.analysis.flow import flow
from trialkit.analysis.prepare import column_of, frame_of
from trialkit.analysis.rows import SUBJECT
from trialkit.plan.model import Plan, Table
from trialkit.results import ResultRows, slug

KNOWN = {"AGE": ("Age", "years"), "SEX": ("Sex", None), "SITEID": ("Site", None)}
SEXES = {"F": "Female", "M": "Male", "U": "Unknown", "UNDIFFERENTIATED": "Undifferentiated"}
ENDS = {"COMPLETED": "Completed the study", "DISCONTINUED": "Left the study early"}
DOSES = (
    ("planned_minutes", "PLANMIN", "Planned training", "min"),
    ("minutes", "EXMIN", "Delivered training", "min"),
    ("moving_minutes", "EXMOVMIN", "Moving time", "min"),
    ("steps", "EXSTEPS", "Steps", None),
    ("distance", "EXDIST", "Distance", "m"),
)
MEANS = (
    ("speed", "EXSPEED", "Mean training speed", "m/s"),
    ("support", "EXSUPP", "Mean body-weight support, fraction", None),
    ("guidance", "EXGUID", "Mean guidance, 0 to 1", None),
)
EVENTS = (
    ("serious", "AESER", "Y", "Serious adverse event"),
    ("severe", "AESEV", "SEVERE", "Severe adverse event"),
    ("device_related", "AERELDEV", "Y", "Related to the device"),
    ("serious_device_related", None, "", "Serious and related to the device"),
    ("training_related", "AERELTRT", "Y", "Related to the training"),
    ("device_deficiency", "AEDEVDEF", "Y", "Device deficiency"),
)


class Groups:
    """Participants by arm, and all together.

    Parameters
    ----------
    people : DataFrame
        ADSL rows of the table's population.
    """

    def __init__(self, plan: Plan, people: pd.DataFrame) -> None:
        self.people = people
        arms = people[column_of(people, plan.treatment.variable, "ADSL")]
        order = [plan.treatment.reference, plan.treatment.treatment]
        order += sorted(set(arms.dropna()) - set(order))
        self.members: list[tuple[str | None, pd.DataFrame]] = [
            (arm, people[arms == arm]) for arm in order
        ]
        self.members.append((None, people))

    def __iter__(self) -> Iterator[tuple[str | None, pd.DataFrame]]:
        """Yield arm (None: all) and its rows of ADSL."""
        return iter(self.members)


def describe(
    plan: Plan, frames: Mapping[str, pd.DataFrame], analysed: set[str] | None
) -> list[ResultRows]:
    """Return the rows of every descriptive table of the plan, in its order."""
    return [_table(plan, table, frames, analysed) for table in plan.tables]


def _table(
    plan: Plan, table: Table, frames: Mapping[str, pd.DataFrame], analysed: set[str] | None
) -> ResultRows:
    adsl = frame_of(frames, "ADSL")
    who = "SAFFL" if table.kind in {"exposure", "adverse_events"} else "RANDFL"
    names = {"SAFFL": "received training", "RANDFL": "randomised"}
    rows = ResultRows(
        table.id,
        table.label,
        "descriptive",
        method="descriptive",
        population="assessed" if table.kind == "flow" else names[who],
    )
    if table.kind == "flow":
        flow(plan, rows, adsl, analysed)
        return rows
    groups = Groups(plan, adsl[adsl[who] == "Y"])
    for arm, own in groups:
        rows.add("n", "n_subjects", float(len(own)), group=arm, text="Participants")
    if table.kind == "baseline":
        baseline(rows, groups, frames, table.variables)
    elif table.kind == "exposure":
        exposure(rows, groups, frame_of(frames, "ADEX"))
    elif table.kind == "adverse_events":
        adverse_events(rows, groups, frame_of(frames, "ADAE"))
    else:
        disposition(rows, groups)
    return rows


def numeric(
    rows: ResultRows,
    quantity: str,
    groups: list[tuple[str | None, pd.Series[Any]]],
    label: str,
    unit: str | None,
) -> None:
    """Write n, mean, SD, median, quartiles, range and n missing of a value, by group."""
    for arm, values in groups:
        there = values.dropna().to_numpy(dtype=np.float64)
        found: dict[str, float] = {"n": float(len(there))}
        if len(there):
            q1, median, q3 = np.quantile(there, [0.25, 0.5, 0.75])  # R's type 7
            found |= {"mean": there.mean(), "median": median, "q1": q1, "q3": q3}
            found |= {"min": there.min(), "max": there.max()}
        if len(there) > 1:
            found["sd"] = there.std(ddof=1)
        if len(there) < len(values):
            found["n_missing"] = float(len(values) - len(there))
        for name in ("n", "mean", "sd", "median", "q1", "q3", "min", "max", "n_missing"):
            if name in found:
                rows.add(quantity, name, found[name], group=arm, unit=unit or "", text=label)


def share(
    rows: ResultRows, quantity: str, number: int, of: int, arm: str | None, text: str
) -> None:
    """Write a count and its percentage of `of` (none where `of` is zero)."""
    rows.add(quantity, "count", float(number), group=arm, text=text)
    if of:
        rows.add(quantity, "percent", 100.0 * number / of, group=arm, unit="%", text=text)


def baseline(
    rows: ResultRows, groups: Groups, frames: Mapping[str, pd.DataFrame], variables: list[str]
) -> None:
    """Write baseline characteristics: columns of ADSL, or baseline values of a PARAMCD."""
    for name in variables:
        if name in groups.people.columns:
            label, unit = KNOWN.get(name, (name.replace("_", " ").capitalize(), None))
            values = groups.people.set_index(SUBJECT)[name]
        else:
            values, label, unit = _baseline_values(frames, name)
        parts = [(arm, own[SUBJECT].map(values)) for arm, own in groups]
        quantity = slug(name).replace("-", "_")
        if pd.api.types.is_numeric_dtype(values.dtype):
            numeric(rows, quantity, parts, label, unit)
        else:
            _levels(rows, quantity, parts, label)


def _baseline_values(
    frames: Mapping[str, pd.DataFrame], paramcd: str
) -> tuple[pd.Series[Any], str, str | None]:
    for frame in frames.values():
        if {"PARAMCD", "ABLFL", "AVAL"} <= set(frame.columns):
            found = frame[(frame["PARAMCD"] == paramcd) & (frame["ABLFL"] == "Y")]
            if len(found):
                first = found.iloc[0]
                label = str(first["PARAM"]) if "PARAM" in found.columns else paramcd
                unit = first["AVALU"] if "AVALU" in found.columns else None
                values = found.drop_duplicates(SUBJECT).set_index(SUBJECT)["AVAL"]
                return values, label, unit if isinstance(unit, str) else None
    return pd.Series(dtype=np.float64), paramcd, None


def _levels(
    rows: ResultRows,
    quantity: str,
    parts: list[tuple[str | None, pd.Series[Any]]],
    label: str,
) -> None:
    everybody = parts[-1][1]
    for level in sorted(everybody.dropna().unique().tolist(), key=str):
        text = f"{label}: {SEXES.get(str(level), level) if quantity == 'sex' else level}"
        name = f"{quantity}_{slug(str(level)).replace('-', '_')}"
        for arm, values in parts:
            share(rows, name, int((values == level).sum()), int(values.notna().sum()), arm, text)
    if everybody.isna().any():
        for arm, values in parts:
            missing = float(values.isna().sum())
            text = f"{label}: missing"
            rows.add(f"{quantity}_missing", "count", missing, group=arm, text=text)


def exposure(rows: ResultRows, groups: Groups, adex: pd.DataFrame) -> None:
    """Write planned and delivered training a participant, and how sessions ended."""
    held = adex[adex["EXSTAT"] != "missed"]
    parts = [(arm, own[SUBJECT]) for arm, own in groups]
    sizes = held.groupby(SUBJECT).size().astype(np.float64)
    sessions = [(arm, who.map(sizes).fillna(0.0)) for arm, who in parts]
    numeric(rows, "sessions", sessions, "Sessions delivered", None)
    for name, column, label, unit in DOSES:
        if column in adex.columns:
            source = adex if column == "PLANMIN" else held
            total = source.groupby(SUBJECT)[column].sum(min_count=1)
            numeric(rows, name, [(arm, who.map(total)) for arm, who in parts], label, unit)
    for name, column, label, unit in MEANS:
        if column in held.columns and held[column].notna().any():
            mean = held.groupby(SUBJECT)[column].mean()
            numeric(rows, name, [(arm, who.map(mean)) for arm, who in parts], label, unit)
    for status in sorted(adex["EXSTAT"].dropna().unique()):
        for arm, who in parts:
            own = adex[adex[SUBJECT].isin(set(who))]
            text = f"Sessions: {str(status).replace('_', ' ')}"
            number = int((own["EXSTAT"] == status).sum())
            share(rows, f"session_{slug(status).replace('-', '_')}", number, len(own), arm, text)


def adverse_events(rows: ResultRows, groups: Groups, adae: pd.DataFrame) -> None:
    """Write participants with events, and numbers of events, on or after randomisation.

    Zeroes are written: that none was observed is said, not left out.
    """
    after = adae[adae["TRTEMFL"] == "Y"]
    _events(rows, groups, "any", after, "Any adverse event")
    for name, column, value, label in EVENTS:
        if column is None:
            both = (after["AESER"] == "Y") & (after["AERELDEV"] == "Y")
            _events(rows, groups, name, after[both], label)
        else:
            _events(rows, groups, name, after[after[column] == value], label)
    for category in sorted(after["AECAT"].dropna().unique()):
        label = f"Category: {str(category).replace('_', ' ')}"
        name = f"category_{slug(str(category)).replace('-', '_')}"
        _events(rows, groups, name, after[after["AECAT"] == category], label)


def _events(rows: ResultRows, groups: Groups, name: str, events: pd.DataFrame, label: str) -> None:
    for arm, own in groups:
        mine = events[events[SUBJECT].isin(set(own[SUBJECT]))]
        share(rows, name, int(mine[SUBJECT].nunique()), len(own), arm, label)
        rows.add(name, "n", float(len(mine)), group=arm, text=label)


def disposition(rows: ResultRows, groups: Groups) -> None:
    """Write how participants ended the study and the training, with reasons."""
    people = groups.people
    if "EOSSTT" in people.columns:
        for status in sorted(people["EOSSTT"].dropna().unique()):
            label = ENDS.get(status, str(status).capitalize())
            _dispositions(rows, groups, slug(status).replace("-", "_"), label, "EOSSTT", status)
        left = people["EOSSTT"] == "DISCONTINUED"
        _reasons(rows, groups, "discontinued", left, "DCSREAS", "Left early")
    if "TRTDISDY" in people.columns:
        name, label = "training_discontinued", "Discontinued the intervention"
        _dispositions(rows, groups, name, label, "TRTDISDY", None)
        _reasons(rows, groups, name, people["TRTDISDY"].notna(), "TRTDISRS", label)


def _dispositions(
    rows: ResultRows, groups: Groups, name: str, label: str, column: str, value: str | None
) -> None:
    for arm, own in groups:
        hit = own[column].notna() if value is None else own[column] == value
        share(rows, name, int(hit.sum()), len(own), arm, label)


def _reasons(
    rows: ResultRows,
    groups: Groups,
    name: str,
    where: pd.Series[bool],
    column: str,
    label: str,
) -> None:
    if column not in groups.people.columns:
        return
    for code in sorted(groups.people.loc[where, column].dropna().unique()):
        chosen = where & (groups.people[column] == code)
        text = f"{label}, reason: {str(code).replace('_', ' ')}"
        for arm, own in groups:
            number = int(chosen.reindex(own.index).sum())
            share(rows, f"{name}_{slug(str(code)).replace('-', '_')}", number, len(own), arm, text)
