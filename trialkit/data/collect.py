"""Record to SDTM-like tables: the events of a study as rows, one way, from the record alone.

Arms come from the event of the unblinding and are checked against the commitments that were
made at randomisation; the allocation file is never read. While blinded, what tells an arm
(the arm itself, how and on what device a session went, relatedness to the device) is empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import pandas as pd

from data_schemas import sdtm as schema
from data_schemas._columns import typed
from data_schemas.terminology import SEX_FROM
from trialkit._canonical import canonical_json
from trialkit.data._assessments import Assessments
from trialkit.data._exposure import HIDDEN, Exposure
from trialkit.data._reports import MASKED, Reports, mask_ae
from trialkit.data.terms import Frames, column_name
from trialkit.errors import IntegrityError, UsageError
from trialkit.record import Event, commitment
from trialkit.record import kinds as k
from trialkit.study import Design, Study

Row = dict[str, Any]


def collect(
    source: Study | Iterable[Event],
    design: Design | None = None,
    *,
    unblind: bool = False,
    mask: bool | None = None,
) -> Frames:
    """Return the SDTM-like tables of a study.

    Parameters
    ----------
    source : Study or iterable of Event
        A study, or its events in their order.
    design : Design or None
        Visits, diaries, arms and instruments; None takes the study's own.
    unblind : bool
        Show the arms, as the record's unblinding event gives them.
    mask : bool or None
        Empty what tells an arm; None does so unless `unblind` is set.

    Returns
    -------
    dict of DataFrame
        DM SUPPDM SV DS FT QS CE AE DV EX DI, typed and ordered by `data_schemas.sdtm`.

    Raises
    ------
    IntegrityError
        If a revealed arm does not meet its commitment, or one is not revealed.
    """
    if isinstance(source, Study):
        design = design or source.design
        source = source.record.read(kinds=list(_Collector.TAKES))
    if design is None:
        raise UsageError("events alone have no design.", remedy="Give the study's design.")
    collector = _Collector(design)
    for event in source:
        if event.kind in _Collector.TAKES:
            collector.take(event)
    return collector.frames(unblind=unblind, mask=not unblind if mask is None else mask)


class _Collector:
    """Sorts events into the rows of the tables."""

    TAKES: ClassVar[dict[str, type[k.Payload]]] = {
        model.kind: model
        for model in (
            k.StudyCreated,
            k.ParticipantEnrolled,
            k.ParticipantConsented,
            k.ParticipantEligible,
            k.ParticipantExcluded,
            k.ParticipantRandomised,
            k.AllocationRevealed,
            k.VisitHeld,
            k.VisitMissed,
            k.AssessmentRecorded,
            k.AssessmentEnteredAgain,
            k.AssessmentAdjudicated,
            k.AssessmentCorrected,
            k.DiaryReturned,
            k.DiaryCorrected,
            k.AdverseEventReported,
            k.AdverseEventUpdated,
            k.TrainingDiscontinued,
            k.ParticipantWithdrawn,
            k.DeviationRaised,
            k.DataLockSet,
            k.DataLockLifted,
            k.SessionOpened,
            k.SessionClosed,
            k.SessionConventional,
            k.SessionMissed,
        )
    }

    def __init__(self, design: Design) -> None:
        self._design = design
        self._days = {visit.code: float(visit.day) for visit in design.visits}
        self._labels = {diary.paramcd: diary.label for diary in design.diaries}
        self._study = ""
        self._people: dict[str, Row] = {}
        self._attributes: dict[str, dict[str, k.Scalar]] = {}
        self._strata: dict[str, dict[str, str]] = {}
        self._committed: dict[str, str] = {}
        self._arms: dict[str, tuple[str, str]] = {}
        self._rows: dict[str, list[Row]] = {name: [] for name in schema.DOMAINS}
        self._assessments = Assessments()
        self._reports = Reports(self._labels)
        self._locked = False
        self._late: list[tuple[Event, Any]] = []
        self._exposure = Exposure()
        self._handlers: dict[type[k.Payload], Callable[[Event, Any], None]] = {
            k.StudyCreated: self._created,
            k.ParticipantEnrolled: self._enrolled,
            k.ParticipantConsented: self._consented,
            k.ParticipantEligible: self._eligible,
            k.ParticipantExcluded: self._excluded,
            k.ParticipantRandomised: self._randomised,
            k.AllocationRevealed: lambda _, p: self._arms.update(p.arms),
            k.VisitHeld: self._visit,
            k.VisitMissed: self._visit,
            k.AssessmentRecorded: self._assessments.record,
            k.AssessmentEnteredAgain: self._assessments.enter_again,
            k.AssessmentAdjudicated: self._assessments.adjudicate,
            k.AssessmentCorrected: self._assessments.correct,
            k.DiaryReturned: self._reports.diary,
            k.DiaryCorrected: self._reports.diary_corrected,
            k.AdverseEventReported: self._safety,
            k.AdverseEventUpdated: self._safety,
            k.TrainingDiscontinued: self._left,
            k.ParticipantWithdrawn: self._left,
            k.DeviationRaised: self._deviation,
            k.DataLockSet: self._data_locked,
            k.DataLockLifted: self._data_unlocked,
            k.SessionOpened: self._exposure.opened,
            k.SessionClosed: self._exposure.closed,
            k.SessionConventional: self._exposure.conventional,
            k.SessionMissed: self._exposure.missed,
        }

    def take(self, event: Event) -> None:
        """Sort one event in."""
        payload = event.model()
        self._handlers[type(payload)](event, payload)

    # --- one method a kind ---------------------------------------------------------------

    def _created(self, _: Event, payload: k.StudyCreated) -> None:
        self._study = payload.study_id

    def _safety(self, event: Event, payload: Any) -> None:
        """Take a report of an adverse event or its follow-up; under a data lock it waits."""
        if self._locked:
            self._late.append((event, payload))
        elif isinstance(payload, k.AdverseEventReported):
            self._reports.adverse(event, payload)
        else:
            self._reports.adverse_updated(event, payload)

    def _data_locked(self, _: Event, __: k.DataLockSet) -> None:
        self._locked = True

    def _data_unlocked(self, _: Event, __: k.DataLockLifted) -> None:
        self._locked = False
        while self._late:
            self._safety(*self._late.pop(0))

    def _enrolled(self, event: Event, payload: k.ParticipantEnrolled) -> None:
        given = dict(payload.attributes)
        age = given.pop("age_years", given.pop("age", None))
        sex = given.pop("sex", None)
        usubjid = str(event.subject)
        self._attributes[usubjid] = given
        self._people[usubjid] = {
            "DOMAIN": "DM",
            "USUBJID": usubjid,
            "SITEID": payload.site,
            "AGE": float(age) if isinstance(age, int | float) else math.nan,
            "SEX": None if sex is None else SEX_FROM.get(str(sex).strip().lower(), str(sex)),
            "DMREFID": event.seq,
        }

    def _milestone(
        self, event: Event, decod: str, term: str | None, day: float, category: str
    ) -> None:
        self._rows["DS"].append(
            {
                "DOMAIN": "DS",
                "USUBJID": event.subject,
                "DSCAT": category,
                "DSDECOD": decod,
                "DSTERM": term,
                "DSSTDY": day,
                "DSREFID": event.seq,
            }
        )

    def _consented(self, event: Event, payload: k.ParticipantConsented) -> None:
        self._people[str(event.subject)]["RFICDTC"] = event.at[:10]
        self._milestone(
            event, "INFORMED CONSENT OBTAINED", payload.version, math.nan, "PROTOCOL MILESTONE"
        )

    def _eligible(self, event: Event, payload: k.ParticipantEligible) -> None:
        self._milestone(
            event, "ELIGIBILITY CRITERIA MET", payload.version, math.nan, "PROTOCOL MILESTONE"
        )

    def _excluded(self, event: Event, payload: k.ParticipantExcluded) -> None:
        self._milestone(event, "SCREEN FAILURE", payload.code, math.nan, "DISPOSITION EVENT")

    def _randomised(self, event: Event, payload: k.ParticipantRandomised) -> None:
        usubjid = str(event.subject)
        self._people[usubjid] |= {"RFSTDTC": event.at[:10], "STRATUM": payload.stratum}
        self._strata[usubjid] = payload.strata
        self._committed[usubjid] = payload.commitment
        self._milestone(event, "RANDOMIZED", payload.stratum, 0.0, "PROTOCOL MILESTONE")

    def _left(self, event: Event, payload: k.TrainingDiscontinued | k.ParticipantWithdrawn) -> None:
        training = isinstance(payload, k.TrainingDiscontinued)
        decod = "TREATMENT DISCONTINUED" if training else "WITHDRAWAL"
        self._milestone(event, decod, payload.code, float(payload.day), "DISPOSITION EVENT")

    def _visit(self, event: Event, payload: k.VisitHeld | k.VisitMissed) -> None:
        held = isinstance(payload, k.VisitHeld)
        self._rows["SV"].append(
            {
                "DOMAIN": "SV",
                "USUBJID": event.subject,
                "VISIT": payload.visit,
                "VISITNUM": self._days.get(payload.visit, math.nan),
                "SVOCCUR": "Y" if held else "N",
                "SVREASOC": None if isinstance(payload, k.VisitHeld) else payload.code,
                "SVSTDY": float(payload.day) if isinstance(payload, k.VisitHeld) else math.nan,
                "SVINWIN": _yes(payload.in_window) if isinstance(payload, k.VisitHeld) else None,
                "SVREFID": event.seq,
            }
        )

    def _deviation(self, event: Event, payload: k.DeviationRaised) -> None:
        self._rows["DV"].append(
            {
                "DOMAIN": "DV",
                "USUBJID": event.subject,
                "DVCAT": payload.category,
                "DVTERM": payload.detail,
                "DVSTDY": math.nan if payload.day is None else float(payload.day),
                "DVSESS": payload.session,
                "DVREFID": event.seq,
            }
        )

    # --- tables --------------------------------------------------------------------------

    def frames(self, *, unblind: bool, mask: bool) -> Frames:
        """Return the tables, ordered and typed."""
        if self._design.randomisation is None and len(self._design.arms) == 1:
            self._start_at_consent(show=unblind)
        if unblind:
            self._show_arms()
        self._rows["DM"] = list(self._people.values())
        self._rows["SUPPDM"] = self._supplement()
        self._rows["FT"], self._rows["QS"] = self._assessments.rows(self._design)
        self._rows["CE"], self._rows["AE"] = self._reports.ce(), self._reports.ae()
        self._rows["EX"] = self._exposure.rows()
        self._rows["DI"] = self._exposure.devices()
        tables = schema.TABLES
        made = {name: _ordered(name, rows, self._study) for name, rows in self._rows.items()}
        if mask:
            _mask(made)
        return {name: typed(tables[name], made[name]) for name in schema.DOMAINS}

    def _start_at_consent(self, *, show: bool) -> None:
        """Take consent as study day 0 in a study of one arm that randomises nobody."""
        arm = self._design.arms[0]
        failed = {r["USUBJID"] for r in self._rows["DS"] if r["DSDECOD"] == "SCREEN FAILURE"}
        for usubjid, person in self._people.items():
            if usubjid not in failed and "RFICDTC" in person:
                person.setdefault("RFSTDTC", person["RFICDTC"])
                if show:
                    person |= {"ARMCD": arm.code, "ARM": arm.label}

    def _show_arms(self) -> None:
        labels = {arm.code: arm.label for arm in self._design.arms}
        for usubjid, committed in self._committed.items():
            arm, salt = self._arms.get(usubjid, (None, ""))
            if arm is None or commitment(salt, usubjid, arm) != committed:
                what = "is not revealed" if arm is None else "is not the one that was committed"
                raise IntegrityError(
                    f"the arm of {usubjid} {what}.",
                    remedy="Verify the record, and build an unblinded snapshot again.",
                )
            self._people[usubjid] |= {"ARMCD": arm, "ARM": labels.get(arm, arm)}

    def _supplement(self) -> list[Row]:
        attributes = {n: None for given in self._attributes.values() for n in given}
        strata = {n: None for given in self._strata.values() for n in given}
        columns: dict[str, str] = {}
        rows: list[Row] = []
        for origin, names, source, prefix in (
            ("STRATUM", strata, self._strata, "STRAT_"),
            ("ATTRIBUTE", attributes, self._attributes, "ATT_"),
        ):
            for name in names:
                columns[column_name(name, columns, prefix)] = name
                values = [given.get(name) for given in source.values()]
                kind = "number" if all(map(_is_number, values)) else "text"
                rows += [
                    {
                        "RDOMAIN": "DM",
                        "USUBJID": usubjid,
                        "QNAM": list(columns)[-1],
                        "QLABEL": name,
                        "QTYPE": kind if origin == "ATTRIBUTE" else "text",
                        "QVAL": _plain(given[name]),
                        "QORIG": origin,
                    }
                    for usubjid, given in source.items()
                    if name in given
                ]
        return rows


def _is_number(value: k.Scalar) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _plain(value: k.Scalar) -> str | None:
    if isinstance(value, bool):
        return _yes(value)
    return value if value is None or isinstance(value, str) else canonical_json(value)


def _yes(value: bool) -> str:
    return "Y" if value else "N"


_ORDER = {
    "DM": ["USUBJID"],
    "SUPPDM": [],
    "SV": ["USUBJID", "VISITNUM", "SVREFID"],
    "DS": ["USUBJID", "DSREFID"],
    "FT": ["USUBJID", "FTDY", "FTREFID", "FTSRC", "FTTESTCD"],
    "QS": ["USUBJID", "QSDY", "QSREFID", "QSSRC", "QSTESTCD"],
    "CE": ["USUBJID", "CECAT", "CEREFID"],
    "AE": ["USUBJID", "AESTDY", "AEREFID"],
    "DV": ["USUBJID", "DVREFID"],
    "EX": ["USUBJID", "EXDY", "EXREFID"],
    "DI": [],
}


def _ordered(name: str, rows: list[Row], study: str) -> pd.DataFrame:
    """Return the rows in a fixed order with study id and sequence numbers."""
    frame = pd.DataFrame(rows).assign(STUDYID=study)
    if not rows:
        return frame
    if _ORDER[name]:
        frame = frame.sort_values(_ORDER[name], kind="stable", ignore_index=True)
    sequence = f"{name}SEQ"
    if sequence in schema.TABLES[name].columns and sequence not in frame:
        frame[sequence] = frame.groupby("USUBJID", sort=False).cumcount() + 1
    return frame


#: Dispositions whose reason may tell an arm: those after randomisation.
_AFTER = ("TREATMENT DISCONTINUED", "WITHDRAWAL")


def _mask(frames: Frames) -> None:
    """Empty what tells an arm, in place, for all arms alike.

    That is the arm, how and on what device a session went and that one is not over, what was
    found about sessions (the software finds it on the device only), and the words in which people
    who saw the arm say why something was or was not done.
    """
    exposure, deviations = frames["EX"], frames["DV"]
    if len(exposure):
        over = exposure[exposure["EXSTAT"] != "open"]
        kept = over.drop(columns=[c for c in HIDDEN if c in over])
        kept = kept.assign(EXSTAT=kept["EXSTAT"].where(kept["EXSTAT"] == "missed", "hidden"))
        frames["EX"] = _renumbered("EX", kept)
    if len(frames["AE"]):
        frames["AE"] = mask_ae(frames["AE"])
    if len(deviations):
        frames["DV"] = _renumbered("DV", deviations[deviations["DVSESS"].isna()])
    if len(frames["DS"]):
        after = frames["DS"]["DSDECOD"].isin(_AFTER)
        frames["DS"] = frames["DS"].assign(DSTERM=frames["DS"]["DSTERM"].mask(after, MASKED))
    if len(frames["SV"]):
        missed = frames["SV"]["SVREASOC"].notna()
        frames["SV"] = frames["SV"].assign(SVREASOC=frames["SV"]["SVREASOC"].mask(missed, MASKED))
    frames["DI"] = frames["DI"].iloc[:0]
    _rank_sources(frames)


def _renumbered(name: str, kept: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are left, numbered without gaps within each participant."""
    kept = kept.reset_index(drop=True)
    numbers = kept.groupby("USUBJID", sort=False).cumcount() + 1
    return kept.assign(**{f"{name}SEQ": numbers})


def _rank_sources(frames: Frames) -> None:
    """Replace event numbers by their ranks: a session on a device takes more events.

    Sessions are numbered after all the others, as they stand in their table: those of a home
    device come in later than those without.
    """
    names = {name: f"{name}REFID" for name, f in frames.items() if f"{name}REFID" in f}
    sessions = names.pop("EX", None)
    numbers = sorted({n for name, column in names.items() for n in frames[name][column]})
    rank = {number: place for place, number in enumerate(numbers, start=1)}
    for name, column in names.items():
        frames[name] = frames[name].assign(**{column: frames[name][column].map(rank)})
    if sessions is not None:
        first = len(numbers) + 1
        frames["EX"] = frames["EX"].assign(**{sessions: range(first, first + len(frames["EX"]))})
