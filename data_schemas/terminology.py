"""Controlled terms of the tables, and what to do when a check fails.

The upper-case terms are those of CDISC SDTM controlled terminology 2024-03-29 (NY, SEX,
AESEV, OUT, ND) and of the ADaM implementation guide (EOSSTT). Terms in lower case are the
record's own words. Reason codes are the study's and are kept as recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NY = ("Y", "N")
SEX = ("F", "M", "U", "UNDIFFERENTIATED")
SEVERITY = ("MILD", "MODERATE", "SEVERE")
RELATION = ("NOT RELATED", "POSSIBLE", "PROBABLE", "CAUSAL")
AE_CLASS = ("AE", "SAE", "ADE", "SADE", "USADE", "DD", "DD_SADE")
OUTCOME = (
    "FATAL",
    "NOT RECOVERED/NOT RESOLVED",
    "RECOVERED/RESOLVED",
    "RECOVERED/RESOLVED WITH SEQUELAE",
    "RECOVERING/RESOLVING",
    "UNKNOWN",
)
STATUS = ("done", "unable", "not_done")
SOURCE = ("ITEM", "SCORE")
ENTRY = ("single", "first", "differs", "agreed", "adjudicated")
"""``first`` waits for a second person's entry, ``differs`` for a decision between the two."""
FLAG = ("IMPLAUSIBLE",)
DISPOSITION = (
    "INFORMED CONSENT OBTAINED",
    "ELIGIBILITY CRITERIA MET",
    "SCREEN FAILURE",
    "RANDOMIZED",
    "TREATMENT DISCONTINUED",
    "WITHDRAWAL",
)
DISPOSITION_CATEGORY = ("PROTOCOL MILESTONE", "DISPOSITION EVENT")
END_OF_STUDY = ("COMPLETED", "DISCONTINUED", "ONGOING", "SCREEN FAILURE", "NOT RANDOMIZED")
EXPOSURE_CLOSED = (
    "completed",
    "stopped_operator",
    "stopped_participant",
    "stopped_safety",
    "device_fault",
    "recovered",
    "missed",
)
EXPOSURE = (*EXPOSURE_CLOSED, "open", "hidden")
"""``open`` has not ended; ``hidden`` took place, and how it went is not shown while blinded."""
DIARY_ROW = ("PERIOD", "EVENT")
SUPPLEMENT_ORIGIN = ("ATTRIBUTE", "STRATUM")
SUPPLEMENT_TYPE = ("number", "text")

SEX_FROM = {
    "f": "F",
    "female": "F",
    "w": "F",
    "woman": "F",
    "m": "M",
    "male": "M",
    "man": "M",
    "u": "U",
    "unknown": "U",
    "undifferentiated": "UNDIFFERENTIATED",
    "other": "UNDIFFERENTIATED",
}
"""Common spellings of sex, folded to the term."""

OUTCOME_FROM = {
    "fatal": "FATAL",
    "death": "FATAL",
    "not_recovered": "NOT RECOVERED/NOT RESOLVED",
    "ongoing": "NOT RECOVERED/NOT RESOLVED",
    "recovered": "RECOVERED/RESOLVED",
    "resolved": "RECOVERED/RESOLVED",
    "recovered_with_sequelae": "RECOVERED/RESOLVED WITH SEQUELAE",
    "recovering": "RECOVERING/RESOLVING",
    "resolving": "RECOVERING/RESOLVING",
    "unknown": "UNKNOWN",
}
"""Common spellings of the outcome of an adverse event, folded to the term."""

REMEDIES = {
    "dtype": "Report this as a defect: the column has another type than its schema.",
    "column_in_dataframe": "Report this as a defect: the column is missing.",
    "column_in_schema": "Report this as a defect: the column is not in the schema.",
    "not_nullable": "Enter the missing value.",
    "field_uniqueness": "Remove the duplicate by a correction.",
    "multiple_fields_uniqueness": "Remove the duplicate by a correction.",
    "subject_in_dm": "Enrol the participant, or correct the USUBJID.",
    "term": "Use one of the controlled terms of this column.",
    "range": "Check the source and correct the value.",
    "visit_in_schedule": "Use a visit of the protocol; the row is left out of the analysis data.",
    "instrument_known": "Use an instrument of the protocol.",
    "item_in_range": "Check the source and correct the item.",
    "item_plausible": "Check the source: the value is possible and not plausible. Correct it, or "
    "say that it is right.",
    "entry_settled": "Have another person enter the paper form again, or adjudicate where two "
    "entries differ; until then the first entry is used.",
    "score_follows_items": "Correct the assessment: the stored score is not the one that the "
    "items give; the analysis data use the one from the items.",
    "diary_known": "Use a diary of the protocol.",
    "entry_in_period": "Correct the diary: the event lies outside the days that it covers and "
    "is not counted.",
    "periods_apart": "Correct the diary: these days were returned before; the later return is "
    "used for them.",
    "no_gap_before": "Call the participant about the days without a diary; until then they are "
    "no exposure.",
    "moving_within_session": "Correct the dose: moving minutes exceed the minutes of the session.",
    "session_closed": "Run `trialkit recover`, or end the session.",
    "one_analysis_row": "Report this as a defect: two rows are flagged for one analysis visit.",
    "change_is_difference": "Report this as a defect: CHG is not AVAL - BASE.",
    "stop_after_start": "Report this as a defect: an interval without length.",
    "arm_in_design": "Check the arms of the study design.",
}
"""Check name to what a person can do about a failure."""


@dataclass(frozen=True)
class StudyTerms:
    """What one study allows: the terms that no public list can give.

    Parameters
    ----------
    subjects : frozenset of str
        Every USUBJID of DM.
    visits : dict
        Visit code to planned study day.
    arms : frozenset of str
        ARMCD values.
    items : dict
        Form code to item id to its (minimum, maximum); None for an item that is no number.
    diaries : dict
        Diary PARAMCD to its last day.
    supplement : dict
        Extra ADSL columns, in order, to origin (STRATUM or ATTRIBUTE) and type (number or text).
    """

    subjects: frozenset[str] = frozenset()
    visits: Mapping[str, int] = field(default_factory=dict)
    arms: frozenset[str] = frozenset()
    items: Mapping[str, Mapping[str, tuple[float, float] | None]] = field(default_factory=dict)
    diaries: Mapping[str, int] = field(default_factory=dict)
    supplement: Mapping[str, tuple[str, str]] = field(default_factory=dict)
