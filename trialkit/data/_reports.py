"""CE and AE: diaries and adverse events as they stand after corrections and updates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from data_schemas.terminology import OUTCOME_FROM
from trialkit.errors import IntegrityError
from trialkit.record import Event
from trialkit.record import kinds as k
from trialkit.record.kinds.safety import Criterion

Row = dict[str, Any]

#: The SDTM flag of each criterion of seriousness.
FLAGS: dict[Criterion, str] = {
    "death": "AESDTH",
    "life_threatening": "AESLIFE",
    "hospitalisation": "AESHOSP",
    "permanent_impairment": "AESDISAB",
    "intervention": "AESINTV",
    "congenital": "AESCONG",
}


#: What a masked table has in place of words that may tell an arm.
MASKED = "hidden while blinded"
#: Classes of what is no adverse event.
DEFICIENCIES = ("DD", "DD_SADE")


class Reports:
    """Takes the events of diaries and adverse events; `labels` are of diaries by PARAMCD."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._diaries: dict[int, tuple[Event, k.DiaryReturned]] = {}
        self._adverse: dict[str, tuple[Event, k.AdverseEventReported]] = {}
        self._numbers: dict[tuple[str, bool], int] = {}

    def diary(self, event: Event, payload: k.DiaryReturned) -> None:
        """Take a returned diary."""
        self._diaries[event.seq] = event, payload

    def diary_corrected(self, event: Event, payload: k.DiaryCorrected) -> None:
        """Replace a returned diary; its rows name the correction as their source.

        Raises
        ------
        IntegrityError
            If there is no such return.
        """
        if payload.returned not in self._diaries:
            raise _unknown(event, f"event {payload.returned}, which is no diary")
        given = k.DiaryReturned(**payload.model_dump(include=set(k.DiaryReturned.model_fields)))
        self._diaries[payload.returned] = event, given

    def adverse(self, event: Event, payload: k.AdverseEventReported) -> None:
        """Take a report; one of an older version gets the id that it has in the study's state."""
        counted = str(event.subject), payload.harm
        self._numbers[counted] = number = self._numbers.get(counted, 0) + 1
        name = payload.ae or f"{event.subject}-{'AE' if payload.harm else 'DD'}{number:02d}"
        self._adverse[name] = event, payload.model_copy(update={"ae": name})

    def adverse_updated(self, event: Event, payload: k.AdverseEventUpdated) -> None:
        """Change fields of a report; its row still names the report as its source.

        Raises
        ------
        IntegrityError
            If there is no such report.
        """
        if payload.ae not in self._adverse:
            raise _unknown(event, f"adverse event {payload.ae}")
        first, facts = self._adverse[payload.ae]
        changed = k.AdverseEventReported.model_validate(facts.model_dump() | payload.changes)
        self._adverse[payload.ae] = first, changed

    def ce(self) -> list[Row]:
        """Return the rows of CE: each period that was observed, and the events in it."""
        return [
            row for event, payload in self._diaries.values() for row in self._ce(event, payload)
        ]

    def _ce(self, event: Event, payload: k.DiaryReturned) -> list[Row]:
        common = {
            "DOMAIN": "CE",
            "USUBJID": event.subject,
            "CECAT": payload.diary,
            "CETERM": self._labels.get(payload.diary, payload.diary),
            "CEREFID": event.seq,
        }
        period = {"CESCAT": "PERIOD", "CESTDY": payload.from_day, "CEENDY": payload.to_day}
        rows = [common | period | {"CEOCCUR": _yes(bool(payload.entries))}]
        for entry in sorted(payload.entries, key=lambda e: (e.day, -(e.grade or 0))):
            grade = math.nan if entry.grade is None else float(entry.grade)
            row = {"CESCAT": "EVENT", "CEOCCUR": "Y", "CETOXGR": grade}
            rows.append(common | row | {"CESTDY": entry.day, "CEENDY": entry.day})
        return rows

    def ae(self) -> list[Row]:
        """Return the rows of AE, deficiencies without harm included (``AECLASS`` DD)."""
        return [_ae(event, facts) for event, facts in self._adverse.values()]


def _ae(event: Event, facts: k.AdverseEventReported) -> Row:
    outcome = facts.outcome.strip()
    return {
        "DOMAIN": "AE",
        "USUBJID": event.subject,
        "AESPID": facts.ae,
        "AETERM": facts.term,
        "AECAT": facts.category,
        "AECLASS": k.main_class(k.classify(facts)),
        "AESEV": facts.severity.upper(),
        "AESER": _yes(facts.serious),
        **{flag: "Y" if facts.criterion == name else None for name, flag in FLAGS.items()},
        "AERELDEV": _yes(facts.related_device),
        "AERLDEV": _degree(facts.device_relation),
        "AERELTRT": _yes(facts.related_training),
        "AERLPRC": _degree(facts.procedure_relation),
        "AEDEVDEF": _yes(facts.device_deficiency),
        "AEEXP": _yes(facts.expected),
        "AEOUT": OUTCOME_FROM.get(outcome.lower().replace(" ", "_"), outcome.upper()),
        "AESESS": facts.session,
        "AESTDY": facts.day,
        "AEENDY": math.nan if facts.end_day is None else float(facts.end_day),
        "AEREFID": event.seq,
    }


def mask_ae(adverse: pd.DataFrame) -> pd.DataFrame:
    """Return AE without what tells an arm: deficiencies without harm go, and leave no gap.

    Neither do the words that people wrote who saw the arm: how an event is named may tell it.
    """
    harmful = adverse[~adverse["AECLASS"].isin(DEFICIENCIES)].reset_index(drop=True)
    numbers = harmful.groupby("USUBJID", sort=False).cumcount() + 1
    hidden = dict.fromkeys(("AERELDEV", "AERLDEV", "AEDEVDEF", "AESESS", "AECLASS"))
    known = harmful["AEOUT"].isin(list(OUTCOME_FROM.values()))
    return harmful.assign(
        **hidden,
        AETERM=MASKED,
        AECAT=MASKED,
        AEOUT=harmful["AEOUT"].where(known, "UNKNOWN"),
        AESEQ=numbers,
    )


def _degree(relation: str | None) -> str | None:
    return None if relation is None else relation.upper().replace("_", " ")


def _yes(value: bool) -> str:
    return "Y" if value else "N"


def _unknown(event: Event, what: str) -> IntegrityError:
    return IntegrityError(
        f"event {event.seq} refers to {what}.",
        remedy="Verify the record: `trialkit record verify`.",
    )
