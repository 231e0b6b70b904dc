"""Forms filled in at visits: entry, second entry of paper forms, adjudication, correction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from trialkit.errors import Duplicate, NotPermitted, OutOfOrder, OutOfRange, UsageError
from trialkit.participants.lateness import entry_delay, is_late
from trialkit.protocol.forms import Entries, Entry, Form, Status, read_entries, score
from trialkit.record.chain import Event
from trialkit.record.kinds import (
    AssessmentAdjudicated,
    AssessmentCorrected,
    AssessmentEnteredAgain,
    AssessmentRecorded,
)
from trialkit.record.state import AssessmentState
from trialkit.study import Study
from trialkit.study.commands import command
from trialkit.study.guards import require_active, require_text

Items = Mapping[str, Entry]
Side = Literal["first", "second"]


@command("assess")
def assess(
    study: Study,
    usubjid: str,
    *,
    visit: str,
    instrument: str,
    items: Items | None = None,
    status: Status = "done",
    code: str | None = None,
    done_on: str | None = None,
    reason: str | None = None,
) -> Event:
    """Record one form at a visit that took place; scores are derived at entry.

    Parameters
    ----------
    instrument : str
        Code of the form.
    items : mapping
        Item id to entry, for status ``done``. A number may carry its unit (``"1200 cm"``) where
        the form allows that unit.
    status : {"done", "unable", "not_done"}
        ``unable``: the participant could not do it, which is an observation. ``not_done`` needs
        a reason `code`.
    done_on : str or None
        Date of the act, YYYY-MM-DD; None is the day of the visit, where study day 0 is known.
    reason : str or None
        Why the entry is late; needed when it comes later than the form allows.

    Raises
    ------
    OutOfOrder
        If the visit is not recorded, or does not plan the form.
    OutOfRange
        With every faulty entry.
    OutOfWindow
        If the entry is late and no reason was given.
    Duplicate
        If it is recorded; see `correct` and `assess_again`.
    """
    form = study.design.instrument(instrument)
    planned = study.design.visit(visit)
    who = require_active(study, usubjid)
    held = who.visits.get(visit)
    if held is None or held.day is None:
        raise OutOfOrder(
            f"{usubjid}: visit {visit} is not recorded as held.",
            remedy=f"Record it first: `trialkit visit {usubjid} {visit} --day N`.",
        )
    if instrument not in planned.assessments:
        raise OutOfOrder(
            f"{visit} does not plan {instrument}.",
            remedy=f"It plans {', '.join(planned.assessments) or 'no assessment'}.",
        )
    if (visit, instrument) in who.assessments:
        raise Duplicate(
            f"{instrument} at {visit} of {usubjid} is recorded.",
            remedy="Correct it, with a reason: `trialkit assess ... --correct --reason TEXT`.",
        )
    read = _read(form, items or {}, status)
    if status == "not_done":
        code = require_text(code, "a reason code")
    delay = entry_delay(study, usubjid, held.day, done_on)
    what = f"{instrument} at {visit} of {usubjid}"
    late = is_late(what, delay, _allowed_days(study, form), reason)
    return study.append(
        AssessmentRecorded(
            visit=visit,
            day=held.day,
            instrument=instrument,
            status=status,
            items=read.values,
            scores=score(form, read.values, status),
            code=code,
            entry=_first_entry(study, form),
            entered=read.entered,
            flags=read.flags,
            done_on=done_on,
            delay_days=delay,
            late=late,
            imported_from=study.source_file,
        ),
        subject=usubjid,
        reason=reason if late else None,
    )


@command("assess")
def assess_again(
    study: Study,
    usubjid: str,
    *,
    visit: str,
    instrument: str,
    items: Items | None = None,
    status: Status = "done",
    code: str | None = None,
) -> Event:
    """Record the second entry of a paper form, by another person than the first.

    Where the two agree the score counts as verified; where they differ the event lists the
    differences, and `adjudicate` decides.

    Raises
    ------
    OutOfOrder
        If no second entry is due.
    NotPermitted
        If the person who acts made the first entry.
    OutOfRange
        With every faulty entry.
    """
    form = study.design.instrument(instrument)
    first = _recorded(study, usubjid, visit, instrument)
    if first.entry != "first":
        raise OutOfOrder(
            f"{instrument} at {visit} of {usubjid} waits for no second entry ({first.entry}).",
            remedy="Correct it with a reason, or adjudicate where two entries differ.",
        )
    if first.entered_by == study.actor:
        raise NotPermitted(
            f"{study.actor} made the first entry of {instrument} at {visit} of {usubjid}.",
            remedy="Another person enters the paper form again.",
            permission="assess",
        )
    read = _read(form, items or {}, status)
    if status == "not_done":
        code = require_text(code, "a reason code")
    day = study.participant(usubjid).visits[visit].day
    return study.append(
        AssessmentEnteredAgain(
            seq=first.seq,
            visit=visit,
            instrument=instrument,
            status=status,
            items=read.values,
            code=code,
            entered=read.entered,
            differences=_differences(form, first, read.values, status, code),
            delay_days=None if day is None else entry_delay(study, usubjid, day, first.done_on),
        ),
        subject=usubjid,
    )


@command("assess")
def adjudicate(
    study: Study,
    usubjid: str,
    *,
    visit: str,
    instrument: str,
    reason: str,
    take: Side | None = None,
    items: Items | None = None,
) -> Event:
    """Decide between two entries that differ, by a new event; both stay readable.

    Parameters
    ----------
    reason : str
        What the decision rests on; never blank.
    take : {"first", "second"} or None
        The entry whose values are taken for the differences that `items` does not settle.
    items : mapping or None
        Values for single items that differ; None takes an entry away.

    Raises
    ------
    OutOfOrder
        If no two entries differ.
    UsageError
        If a difference is not settled, an item does not differ, or the reason is missing.
    OutOfRange
        With every faulty entry.
    """
    reason = require_text(reason, "the reason of the decision")
    form = study.design.instrument(instrument)
    state = _recorded(study, usubjid, visit, instrument)
    second = state.second
    if state.entry != "differs" or second is None:
        raise OutOfOrder(
            f"{instrument} at {visit} of {usubjid}: no two entries differ ({state.entry}).",
            remedy="Correct what is recorded, with a reason.",
        )
    differences: list[str] = second["differences"]
    given = dict(items or {})
    if alike := [name for name in given if name not in differences]:
        raise UsageError(f"{alike[0]} does not differ.", remedy=f"Settle {', '.join(differences)}.")
    if take is None and (open_ := [name for name in differences if name not in given]):
        raise UsageError(
            f"{', '.join(open_)}: the difference is not settled.",
            remedy="Give its value, or say which entry is taken: first or second.",
        )
    taken = second if take == "second" else vars(state)
    status: Status = taken["status"]
    merged = {**taken["items"], **given} if status == "done" else dict(given)
    read = _read(form, {name: v for name, v in merged.items() if v is not None}, status)
    return study.append(
        AssessmentAdjudicated(
            seq=state.seq,
            visit=visit,
            instrument=instrument,
            status=status,
            items=read.values,
            scores=score(form, read.values, status),
            code=taken["code"],
            flags=read.flags,
            settled=_settled(state, second, read.values, differences, take),
        ),
        subject=usubjid,
        reason=reason,
    )


@command("assess")
def correct(
    study: Study,
    usubjid: str,
    *,
    visit: str,
    instrument: str,
    reason: str,
    items: Items | None = None,
    status: Status = "done",
) -> Event:
    """Correct an assessment by a new event; the old values stay readable.

    A paper form then waits for a second entry again.

    Parameters
    ----------
    items : mapping
        Entries to change; the others stay. None takes an entry away.
    reason : str
        Why; never blank.

    Raises
    ------
    UsageError
        If the reason is missing.
    OutOfOrder
        If there is nothing to correct.
    OutOfRange
        With every faulty entry.
    """
    reason = require_text(reason, "the reason of the correction")
    form = study.design.instrument(instrument)
    old = _recorded(study, usubjid, visit, instrument)
    kept = dict(old.items) if status == "done" else {}
    changed = kept | dict(items or {})
    read = _read(form, {k: v for k, v in changed.items() if v is not None}, status)
    if read.values == old.items and status == old.status:
        raise UsageError("the correction changes nothing.", remedy="Give the new values.")
    return study.append(
        AssessmentCorrected(
            seq=old.seq,
            visit=visit,
            instrument=instrument,
            status=status,
            items=read.values,
            scores=score(form, read.values, status),
            old_items=old.items,
            entry=_first_entry(study, form),
            entered=read.entered,
            flags=read.flags,
        ),
        subject=usubjid,
        reason=reason,
    )


def pending_entries(study: Study) -> list[dict[str, Any]]:
    """Return the assessments whose second entry or adjudication is due.

    Returns
    -------
    list of dict
        ``usubjid, visit, instrument, entry`` (first or differs), ``entered_by`` and, where
        entries differ, ``differences``: item to the pair of values. A first entry is not shown
        before the second is made.
    """
    study.require("assess")
    rows: list[dict[str, Any]] = []
    for usubjid, who in study.state.participants.items():
        for state in who.assessments.values():
            if state.verified:
                continue
            row: dict[str, Any] = {
                "usubjid": usubjid,
                "visit": state.visit,
                "instrument": state.instrument,
                "entry": state.entry,
                "entered_by": state.entered_by,
            }
            if state.second is not None:
                first, second = _flat(vars(state)), _flat(state.second)
                row["differences"] = {
                    name: [first.get(name), second.get(name)]
                    for name in state.second["differences"]
                }
            rows.append(row)
    return rows


def _recorded(study: Study, usubjid: str, visit: str, instrument: str) -> AssessmentState:
    found = study.participant(usubjid).assessments.get((visit, instrument))
    if found is None:
        raise OutOfOrder(
            f"{usubjid}: no {instrument} is recorded at {visit}.", remedy="Record it first."
        )
    return found


def _first_entry(study: Study, form: Form) -> Literal["single", "first"]:
    """Return ``first`` where another person has to enter the form again."""
    imported = study.source_file is not None or study.state.source == "import"
    return "first" if form.source == "paper" and not imported else "single"


def _differences(
    form: Form, first: AssessmentState, items: Items, status: str, code: str | None
) -> list[str]:
    """Return what two entries do not have alike, in the order of the form."""
    if status != first.status:
        return ["status"]
    found = ["code"] if code != first.code else []
    return found + [i.id for i in form.items if items.get(i.id) != first.items.get(i.id)]


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry["items"], "status": entry["status"], "code": entry["code"]}


def _settled(
    first: AssessmentState,
    second: Mapping[str, Any],
    values: Items,
    differences: list[str],
    take: Side | None,
) -> dict[str, Literal["first", "second", "other"]]:
    """Return of each difference whose value was taken."""
    settled: dict[str, Literal["first", "second", "other"]] = {}
    for name in differences:
        if name in ("status", "code"):
            settled[name] = take or "first"
        elif values.get(name) == first.items.get(name):
            settled[name] = "first"
        else:
            settled[name] = "second" if values.get(name) == second["items"].get(name) else "other"
    return settled


def _allowed_days(study: Study, form: Form) -> int | None:
    own = form.late_after_days
    return study.design.late_entry_days if own is None else own


def _read(form: Form, items: Items, status: Status) -> Entries:
    """Return the entries as read, or raise `OutOfRange` with every faulty one."""
    entries = dict(items)
    if status != "done":
        if entries:
            raise UsageError(
                f"{form.code}: status {status} has no entries.", remedy="Leave the items out."
            )
        return Entries({})
    if not entries:
        raise UsageError(
            f"{form.code}: no entry was given.", remedy="Give items, or status unable or not_done."
        )
    read = read_entries(form, entries)
    if read.findings:
        raise OutOfRange(
            "; ".join(f"{f.where}: {f.message.rstrip('.')}" for f in read.findings) + ".",
            remedy=" ".join(dict.fromkeys(f.remedy for f in read.findings)),
            findings=[f.to_dict() for f in read.findings],
        )
    return read
