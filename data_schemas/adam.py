"""ADaM-like schemas: what analyses read.

ADSL has one row a participant, ADFT and ADQS one row a score and visit (basic data
structure), the diary frames (ADFALL and their like) start-stop intervals at risk, ADTTE the
time to the first event, ADEX the sessions, ADAE the adverse events.

Population flags: RANDFL randomised; FASFL full analysis set, which is everybody randomised,
in the arm of the randomisation (intention to treat); SAFFL at least one session (in a study
without sessions: randomised); PPROTFL enough sessions by the protocol's fidelity section,
no training discontinued and no major deviation (null while blinded).
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import pandera.pandas as pa

from data_schemas import terminology as ct
from data_schemas._columns import number, schema, text, whole
from data_schemas.sdtm import DAYS
from data_schemas.terminology import StudyTerms

BASIC = ("ADFT", "ADQS")
"""Frames of scores that every study has; an instrument may name another."""
MAJOR_DEVIATIONS = ("major", "eligibility", "consent", "wrong_arm", "unblinding")
"""Categories of DV that take a participant out of the per-protocol set."""


def _identity() -> dict[str, pa.Column]:
    return {
        "STUDYID": text(about="Study identifier"),
        "USUBJID": text(about="Unique subject identifier"),
        "SITEID": text(about="Site identifier"),
    }


def _known_subject(terms: StudyTerms) -> pa.Check:
    return pa.Check(
        lambda frame: frame["USUBJID"].isin(terms.subjects), name="subject_in_dm", title="USUBJID"
    )


def adsl(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of ADSL, with the study's own strata and attributes as columns."""
    strata, attributes = supplement_columns(terms)
    return schema(
        "ADSL",
        {
            **_identity(),
            "ARMCD": text(nullable=True, about="Planned arm code; null while blinded"),
            "TRT01P": text(nullable=True, about="Planned treatment; null while blinded"),
            "STRATUM": text(nullable=True, about="Stratum of the randomisation list"),
            **strata,
            "RANDFL": text(terms=ct.NY, about="Randomised"),
            "FASFL": text(terms=ct.NY, about="Full analysis set: everybody randomised"),
            "SAFFL": text(terms=ct.NY, about="Safety set: at least one session"),
            "PPROTFL": text(nullable=True, terms=ct.NY, about="Per-protocol set"),
            "AGE": number(0, 120, about="Age at enrolment in years"),
            "SEX": text(nullable=True, terms=ct.SEX, about="Sex"),
            **attributes,
            "TRTDISDY": number(*DAYS, about="Study day on which training was discontinued"),
            "TRTDISRS": text(nullable=True, about="Reason code of discontinued training"),
            "EOSSTT": text(terms=ct.END_OF_STUDY, about="End-of-study status"),
            "DCSREAS": text(nullable=True, about="Reason code of leaving, or of exclusion"),
            "EOSDY": number(*DAYS, about="Study day of leaving, or of the last visit held"),
            "NSESS": whole(0, about="Sessions that took place"),
        },
        key=["USUBJID"],
    )


def supplement_columns(terms: StudyTerms) -> tuple[dict[str, pa.Column], dict[str, pa.Column]]:
    """Return the ADSL columns of strata and of attributes, in the order given."""
    strata: dict[str, pa.Column] = {}
    attributes: dict[str, pa.Column] = {}
    for name, (origin, kind) in terms.supplement.items():
        about = "Stratum" if origin == "STRATUM" else "Attribute at enrolment"
        column = number(about=about) if kind == "number" else text(nullable=True, about=about)
        (strata if origin == "STRATUM" else attributes)[name] = column
    return strata, attributes


def basic(name: str, terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of ADFT or ADQS: one row a score and scheduled visit."""
    return schema(
        name,
        {
            **_identity(),
            "PARAMCD": text(about="Parameter code"),
            "PARAM": text(about="Parameter"),
            "AVISIT": text(about="Scheduled visit"),
            "AVISITN": whole(about="Planned study day of the visit"),
            "ADY": whole(*DAYS, about="Study day"),
            "AVAL": number(about="Value, derived from the items"),
            "AVALU": text(nullable=True, about="Unit of AVAL, BASE and CHG"),
            "AVALC": text(nullable=True, terms=["UNABLE"], about="Could not do it (observed)"),
            "BASE": number(about="AVAL of the baseline row"),
            "CHG": number(about="AVAL - BASE after baseline"),
            "ABLFL": text(nullable=True, terms=["Y"], about="Baseline: last value up to day 0"),
            "ANL01FL": text(nullable=True, terms=["Y"], about="The visit's row: nearest its day"),
            "SRCSEQ": whole(1, about="Number of the source event in the record"),
        },
        checks=[
            _known_subject(terms),
            pa.Check(_one_analysis_row, name="one_analysis_row", title="ANL01FL"),
            pa.Check(_change, name="change_is_difference", title="CHG"),
        ],
    )


def _one_analysis_row(frame: pd.DataFrame) -> pd.Series[bool]:
    flagged = frame[frame["ANL01FL"] == "Y"]
    twice = flagged.duplicated(["USUBJID", "PARAMCD", "AVISIT"], keep=False)
    good = pd.Series(True, index=frame.index)
    good.loc[twice.index[twice]] = False
    return good


def _change(frame: pd.DataFrame) -> pd.Series[bool]:
    difference = frame["AVAL"] - frame["BASE"]
    return frame["CHG"].isna() | ((frame["CHG"] - difference).abs() < 1e-8)


def recurrent(name: str, terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of a diary frame: start-stop intervals on days that were observed.

    Day d is the interval from d to d + 1. An event closes an interval at the end of its day;
    m events on one day close m intervals of length 1/m.
    """
    return schema(
        name,
        {
            **_identity(),
            "PARAMCD": text(about="Event, as the diary names it"),
            "EVSEQ": whole(1, about="Number of the interval"),
            "TSTART": number(0, nullable=False, about="Start in days since randomisation"),
            "TSTOP": number(0, nullable=False, about="Stop in days since randomisation"),
            "EVENT": whole(0, 1, about="1 if an event closes the interval"),
            "GRADE": number(about="Grade of the event"),
        },
        key=["USUBJID", "PARAMCD", "EVSEQ"],
        checks=[
            _known_subject(terms),
            pa.Check(
                lambda frame: frame["TSTOP"] > frame["TSTART"],
                name="stop_after_start",
                title="TSTOP",
            ),
        ],
    )


def adtte(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of ADTTE: time to the first event of each diary."""
    return schema(
        "ADTTE",
        {
            **_identity(),
            "PARAMCD": text(about="TT and the diary's PARAMCD"),
            "PARAM": text(about="Parameter"),
            "AVAL": number(0, nullable=False, about="Days to the event or to censoring"),
            "CNSR": whole(0, 1, about="0 event, 1 censored"),
            "EVNTDESC": text(about="Event, or why it is censored"),
        },
        key=["USUBJID", "PARAMCD"],
        checks=[_known_subject(terms)],
    )


def adex(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of ADEX: one row a session that took place or was missed."""
    return schema(
        "ADEX",
        {
            "STUDYID": text(about="Study identifier"),
            "USUBJID": text(about="Unique subject identifier"),
            "EXSEQ": whole(1, about="Sequence number"),
            "ADY": whole(*DAYS, about="Study day"),
            "SESSION": text(nullable=True, about="Session id; null where missed"),
            "EXTRT": text(nullable=True, about="Protocol; null where missed"),
            "EXSTAT": text(terms=ct.EXPOSURE, about="How the session ended"),
            "PLANMIN": number(0, about="Planned minutes"),
            "EXMIN": number(0, about="Delivered minutes"),
            "EXMOVMIN": number(0, about="Moving minutes"),
            "EXSTEPS": number(0, about="Steps"),
            "EXDIST": number(0, about="Distance in m"),
            "EXSPEED": number(0, about="Mean speed over moving time in m/s"),
            "EXSUPP": number(0, 1, about="Mean body-weight support as a fraction"),
            "EXGUID": number(0, 1, about="Mean guidance"),
            "EXREAS": text(nullable=True, about="Reason code of a stop or a missed session"),
        },
        key=["USUBJID", "EXSEQ"],
        checks=[_known_subject(terms)],
    )


def adae(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of ADAE: one row an adverse event."""
    return schema(
        "ADAE",
        {
            **_identity(),
            "AESEQ": whole(1, about="Sequence number"),
            "AETERM": text(about="Term as reported"),
            "AECAT": text(about="Category"),
            "AESEV": text(terms=ct.SEVERITY, about="Severity"),
            "AESER": text(terms=ct.NY, about="Serious"),
            "AERELDEV": text(nullable=True, terms=ct.NY, about="Related to the device"),
            "AERELTRT": text(terms=ct.NY, about="Related to the training"),
            "AEDEVDEF": text(nullable=True, terms=ct.NY, about="Device deficiency"),
            "AEEXP": text(terms=ct.NY, about="Expected"),
            "AEOUT": text(terms=ct.OUTCOME, about="Outcome"),
            "ASTDY": whole(*DAYS, about="Study day"),
            "TRTEMFL": text(terms=ct.NY, about="On or after the day of randomisation"),
        },
        key=["USUBJID", "AESEQ"],
        checks=[_known_subject(terms)],
    )


def schemas(
    terms: StudyTerms | None = None,
    diary_frames: Iterable[str] = (),
    basic_frames: Iterable[str] = BASIC,
) -> dict[str, pa.DataFrameSchema]:
    """Return the schema of every ADaM-like table, by the names of a study's own frames."""
    given = terms or StudyTerms()
    return {
        "ADSL": adsl(given),
        **{name: basic(name, given) for name in basic_frames},
        **{name: recurrent(name, given) for name in diary_frames},
        "ADTTE": adtte(given),
        "ADEX": adex(given),
        "ADAE": adae(given),
    }


TABLES = schemas(diary_frames=["ADFALL"])
"""Every table with the checks that hold in any study; ADFALL stands for all diary frames."""
