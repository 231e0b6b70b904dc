"""SDTM-like schemas: the record as tables, one row a fact, nothing derived but scores.

They follow SDTMIG 3.4 in names and shape, with these differences, which are deliberate:

- ``--REFID`` is the number (`seq`) of the event in the record that a row comes from; while
  blinded it is its rank among the rows, as the steps between numbers tell who has a device;
- ``--STRESN`` of a score row is derived again from the items, and ``--ORRES`` is what was
  stored at entry, so that a difference shows;
- CE holds diary *periods* (days that were observed) beside the *events* in them, told apart
  by CESCAT; days outside every period are no exposure;
- durations are in minutes, distances in metres, speeds in m/s, and days are study days
  (0 is the day of randomisation).
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pandera.pandas as pa

from data_schemas import terminology as ct
from data_schemas._columns import number, schema, text, whole
from data_schemas.terminology import StudyTerms

DOMAINS = ("DM", "SUPPDM", "SV", "DS", "FT", "QS", "CE", "AE", "DV", "EX", "DI")
DAYS = (-3650, 36500)


def _known_subject(terms: StudyTerms) -> pa.Check:
    return pa.Check(
        lambda frame: frame["USUBJID"].isin(terms.subjects),
        name="subject_in_dm",
        title="USUBJID",
    )


def _start(domain: str) -> dict[str, pa.Column]:
    return {
        "STUDYID": text(about="Study identifier"),
        "DOMAIN": text(terms=[domain], about="Domain"),
        "USUBJID": text(about="Unique subject identifier"),
    }


def _refid(domain: str) -> dict[str, pa.Column]:
    return {f"{domain}REFID": whole(1, about="Number of the source event in the record")}


def dm(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of DM: one row a participant."""
    arms = pa.Check(
        lambda frame: frame["ARMCD"].isna() | frame["ARMCD"].isin(terms.arms),
        name="arm_in_design",
        title="ARMCD",
    )
    return schema(
        "DM",
        {
            **_start("DM"),
            "SITEID": text(about="Site identifier"),
            "AGE": number(0, 120, about="Age at enrolment in years"),
            "SEX": text(nullable=True, terms=ct.SEX, about="Sex"),
            "ARMCD": text(nullable=True, about="Planned arm code; null while blinded"),
            "ARM": text(nullable=True, about="Planned arm; null while blinded"),
            "RFICDTC": text(nullable=True, about="Date of informed consent"),
            "RFSTDTC": text(nullable=True, about="Date of randomisation (study day 0)"),
            "STRATUM": text(nullable=True, about="Stratum of the randomisation list"),
            **_refid("DM"),
        },
        key=["USUBJID"],
        checks=[arms],
    )


def suppdm(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of SUPPDM: attributes and strata of a participant, one row each."""
    return schema(
        "SUPPDM",
        {
            "STUDYID": text(about="Study identifier"),
            "RDOMAIN": text(terms=["DM"], about="Related domain"),
            "USUBJID": text(about="Unique subject identifier"),
            "QNAM": text(about="Qualifier: column of ADSL"),
            "QLABEL": text(about="Name of the attribute or stratum as recorded"),
            "QTYPE": text(terms=ct.SUPPLEMENT_TYPE, about="Type of the value"),
            "QVAL": text(nullable=True, about="Value"),
            "QORIG": text(terms=ct.SUPPLEMENT_ORIGIN, about="Origin"),
        },
        key=["USUBJID", "QNAM"],
        checks=[_known_subject(terms)],
    )


def _scheduled(terms: StudyTerms) -> pa.Check:
    return pa.Check(
        lambda frame: frame["VISIT"].isin(list(terms.visits)),
        name="visit_in_schedule",
        title="VISIT",
    )


def sv(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of SV: visits held and missed."""
    return schema(
        "SV",
        {
            **_start("SV"),
            "VISIT": text(about="Visit"),
            "VISITNUM": number(about="Planned study day of the visit"),
            "SVOCCUR": text(terms=ct.NY, about="Visit took place"),
            "SVREASOC": text(nullable=True, about="Reason code of a missed visit"),
            "SVSTDY": number(*DAYS, about="Study day of the visit"),
            "SVINWIN": text(nullable=True, terms=ct.NY, about="Inside the visit's window"),
            **_refid("SV"),
        },
        key=["USUBJID", "VISIT"],
        checks=[_known_subject(terms), _scheduled(terms)],
    )


def ds(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of DS: milestones and disposition events."""
    return schema(
        "DS",
        {
            **_start("DS"),
            "DSSEQ": whole(1, about="Sequence number"),
            "DSCAT": text(terms=ct.DISPOSITION_CATEGORY, about="Category"),
            "DSDECOD": text(terms=ct.DISPOSITION, about="Standardised term"),
            "DSTERM": text(nullable=True, about="Reason code or version as recorded"),
            "DSSTDY": number(*DAYS, about="Study day"),
            **_refid("DS"),
        },
        key=["USUBJID", "DSSEQ"],
        checks=[_known_subject(terms)],
    )


def findings(domain: str, terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of FT or QS: items as entered, scores as derived.

    A row with ``--SRC`` SCORE has the PARAMCD as its test code. ``--STATUS`` ``unable`` is an
    observation (the participant could not do it), ``not_done`` is not.
    """
    d = domain
    return schema(
        d,
        {
            **_start(d),
            f"{d}SEQ": whole(1, about="Sequence number"),
            f"{d}CAT": text(about="Instrument"),
            f"{d}SRC": text(terms=ct.SOURCE, about="Item as entered, or derived score"),
            f"{d}TESTCD": text(about="Item id, or PARAMCD of a score"),
            f"{d}TEST": text(about="Name of the test"),
            f"{d}ORRES": text(nullable=True, about="Result as entered, or score as stored"),
            f"{d}STRESN": number(about="Numeric result; for a score, derived from the items"),
            f"{d}STRESU": text(nullable=True, about="Unit"),
            f"{d}STATUS": text(terms=ct.STATUS, about="How the assessment went"),
            f"{d}REASND": text(nullable=True, about="Reason code where not done"),
            "VISIT": text(about="Visit"),
            "VISITNUM": number(about="Planned study day of the visit"),
            f"{d}DY": whole(*DAYS, about="Study day"),
            f"{d}FLAG": text(nullable=True, terms=ct.FLAG, about="Possible and not plausible"),
            f"{d}ENTRY": text(terms=ct.ENTRY, about="How often it was entered, and with what end"),
            f"{d}DELAY": number(0, about="Days from the act to the entry"),
            f"{d}LATEFL": text(nullable=True, terms=["Y"], about="Entered late, with a reason"),
            **_refid(d),
        },
        key=["USUBJID", f"{d}SEQ"],
        checks=[
            _known_subject(terms),
            _scheduled(terms),
            pa.Check(
                lambda frame: frame[f"{d}FLAG"].isna(), name="item_plausible", title=f"{d}ORRES"
            ),
            pa.Check(
                lambda frame: _entry_settled(frame, d), name="entry_settled", title=f"{d}ENTRY"
            ),
            pa.Check(
                lambda frame: frame[f"{d}CAT"].isin(list(terms.items)),
                name="instrument_known",
                title=f"{d}CAT",
            ),
            pa.Check(
                lambda frame: _items_inside(frame, d, terms),
                name="item_in_range",
                title=f"{d}ORRES",
            ),
            pa.Check(
                lambda frame: _score_follows(frame, d),
                name="score_follows_items",
                title=f"{d}ORRES",
            ),
        ],
    )


def _entry_settled(frame: pd.DataFrame, d: str) -> pd.Series[bool]:
    """Return False once an assessment: at its first row."""
    waits = frame[f"{d}ENTRY"].isin(["first", "differs"])
    return ~(waits & ~frame.duplicated(f"{d}REFID"))


def _items_inside(frame: pd.DataFrame, d: str, terms: StudyTerms) -> pd.Series[bool]:
    instruments, tests = frame[f"{d}CAT"], frame[f"{d}TESTCD"]
    nowhere = (float("nan"), float("nan"))
    bounds = [
        terms.items.get(instrument, {}).get(test, nowhere)
        for instrument, test in zip(instruments, tests, strict=True)
    ]
    wordy = pd.Series([b is None for b in bounds], index=frame.index)
    low, high = (
        pd.Series([(b or nowhere)[i] for b in bounds], index=frame.index, dtype="float64")
        for i in (0, 1)
    )
    entered = (frame[f"{d}SRC"] == "ITEM") & frame[f"{d}ORRES"].notna() & ~wordy
    values = frame[f"{d}STRESN"]
    return ~(entered & instruments.isin(list(terms.items))) | (values >= low) & (values <= high)


def _score_follows(frame: pd.DataFrame, d: str) -> pd.Series[bool]:
    score = frame[f"{d}SRC"] == "SCORE"
    stored = pd.to_numeric(frame[f"{d}ORRES"].where(score), errors="coerce")
    derived = frame[f"{d}STRESN"]
    both_missing = frame[f"{d}ORRES"].isna() & derived.isna()
    near = (stored - derived).abs() <= 1e-6 * derived.abs().clip(lower=1.0)
    return ~score | both_missing | near


def ce(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of CE: diary periods and the events in them."""
    return schema(
        "CE",
        {
            **_start("CE"),
            "CESEQ": whole(1, about="Sequence number"),
            "CECAT": text(about="Diary (PARAMCD)"),
            "CESCAT": text(terms=ct.DIARY_ROW, about="Observed period, or event"),
            "CETERM": text(about="Name of the event"),
            "CEOCCUR": text(terms=ct.NY, about="An event occurred"),
            "CETOXGR": number(0, about="Grade"),
            "CESTDY": whole(*DAYS, about="First day of the period, or day of the event"),
            "CEENDY": whole(*DAYS, about="Last day of the period, or day of the event"),
            **_refid("CE"),
        },
        key=["USUBJID", "CESEQ"],
        checks=[
            _known_subject(terms),
            pa.Check(
                lambda frame: frame["CECAT"].isin(list(terms.diaries)),
                name="diary_known",
                title="CECAT",
            ),
            pa.Check(_entries_in_period, name="entry_in_period", title="CESTDY"),
            pa.Check(_periods_apart, name="periods_apart", title="CESTDY"),
            pa.Check(_no_gap_before, name="no_gap_before", title="CESTDY"),
        ],
    )


def _entries_in_period(frame: pd.DataFrame) -> pd.Series[bool]:
    periods = frame[frame["CESCAT"] == "PERIOD"].drop_duplicates("CEREFID").set_index("CEREFID")
    first = frame["CEREFID"].map(periods["CESTDY"])
    last = frame["CEREFID"].map(periods["CEENDY"])
    inside = (frame["CESTDY"] >= first) & (frame["CEENDY"] <= last)
    return inside & (frame["CESTDY"] <= frame["CEENDY"])


def _period_starts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the periods in order of days, with `before`: the day up to which it was covered."""
    periods = frame[frame["CESCAT"] == "PERIOD"].sort_values(
        ["USUBJID", "CECAT", "CESTDY", "CEENDY"], kind="stable"
    )
    groups = periods.groupby(["USUBJID", "CECAT"], sort=False)["CEENDY"]
    covered = groups.cummax().groupby([periods["USUBJID"], periods["CECAT"]], sort=False).shift()
    return periods.assign(before=covered.fillna(-1.0))


def _periods_apart(frame: pd.DataFrame) -> pd.Series[bool]:
    good = pd.Series(True, index=frame.index)
    periods = _period_starts(frame)
    good.loc[periods.index] = periods["CESTDY"] > periods["before"]
    return good


def _no_gap_before(frame: pd.DataFrame) -> pd.Series[bool]:
    good = pd.Series(True, index=frame.index)
    periods = _period_starts(frame)
    good.loc[periods.index] = periods["CESTDY"] <= periods["before"] + 1
    return good


def ae(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of AE: severity, seriousness and relatedness kept apart (ISO 14155)."""
    return schema(
        "AE",
        {
            **_start("AE"),
            "AESEQ": whole(1, about="Sequence number"),
            "AESPID": text(about="Id of the event in the study"),
            "AETERM": text(about="Term as reported"),
            "AECAT": text(about="Category"),
            "AECLASS": text(
                nullable=True, terms=ct.AE_CLASS, about="ISO 14155 class, derived; null if blinded"
            ),
            "AESEV": text(terms=ct.SEVERITY, about="Severity"),
            "AESER": text(terms=ct.NY, about="Serious"),
            "AESDTH": text(nullable=True, terms=ct.NY, about="Results in death"),
            "AESLIFE": text(nullable=True, terms=ct.NY, about="Is life threatening"),
            "AESHOSP": text(nullable=True, terms=ct.NY, about="Requires or prolongs admission"),
            "AESDISAB": text(nullable=True, terms=ct.NY, about="Permanent impairment"),
            "AESINTV": text(nullable=True, terms=ct.NY, about="Needs intervention to prevent it"),
            "AESCONG": text(nullable=True, terms=ct.NY, about="Congenital anomaly"),
            "AERELDEV": text(nullable=True, terms=ct.NY, about="Related to the device"),
            "AERLDEV": text(nullable=True, terms=ct.RELATION, about="Degree of it, if known"),
            "AERELTRT": text(terms=ct.NY, about="Related to the training"),
            "AERLPRC": text(nullable=True, terms=ct.RELATION, about="Degree of that, if known"),
            "AEDEVDEF": text(nullable=True, terms=ct.NY, about="Device deficiency"),
            "AEEXP": text(terms=ct.NY, about="Expected"),
            "AEOUT": text(terms=ct.OUTCOME, about="Outcome"),
            "AESESS": text(nullable=True, about="Session in which it happened"),
            "AESTDY": whole(*DAYS, about="Study day of onset"),
            "AEENDY": number(*DAYS, about="Study day of resolution"),
            **_refid("AE"),
        },
        key=["USUBJID", "AESEQ"],
        checks=[_known_subject(terms)],
    )


def dv(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of DV: departures from the protocol."""
    return schema(
        "DV",
        {
            **_start("DV"),
            "DVSEQ": whole(1, about="Sequence number"),
            "DVCAT": text(about="Category"),
            "DVTERM": text(about="Detail"),
            "DVSTDY": number(*DAYS, about="Study day"),
            "DVSESS": text(nullable=True, about="Session"),
            **_refid("DV"),
        },
        key=["USUBJID", "DVSEQ"],
        checks=[_known_subject(terms)],
    )


def ex(terms: StudyTerms) -> pa.DataFrameSchema:
    """Return the schema of EX: one row a session that took place, or a planned one missed."""
    return schema(
        "EX",
        {
            **_start("EX"),
            "EXSEQ": whole(1, about="Sequence number"),
            "EXSESS": text(nullable=True, about="Session id; null where missed"),
            "EXSESNUM": whole(1, about="Number of the session in the course"),
            "EXTRT": text(nullable=True, about="Protocol; null where missed"),
            "EXDELIV": text(nullable=True, terms=["device", "therapist"], about="Delivered by"),
            "EXSTAT": text(terms=ct.EXPOSURE, about="How the session ended"),
            "EXPLAN": number(0, about="Planned minutes"),
            "EXDUR": number(0, 1440, about="Delivered minutes"),
            "EXMOV": number(0, 1440, about="Moving minutes"),
            "EXSTEPS": number(0, about="Steps"),
            "EXDIST": number(0, about="Distance in m"),
            "EXSPEED": number(0, about="Mean speed over moving time in m/s"),
            "EXSUPP": number(0, 1, about="Mean body-weight support as a fraction"),
            "EXGUID": number(0, 1, about="Mean guidance"),
            "EXREAS": text(nullable=True, about="Reason code of a stop or a missed session"),
            "EXDOSRC": text(nullable=True, terms=["telemetry", "therapist"], about="Dose source"),
            "EXPERF": text(nullable=True, about="Therapist"),
            "SPDEVID": text(nullable=True, about="Device"),
            "EXDY": whole(*DAYS, about="Study day"),
            **_refid("EX"),
        },
        key=["USUBJID", "EXSEQ"],
        checks=[
            _known_subject(terms),
            pa.Check(_moving_inside, name="moving_within_session", title="EXMOV"),
            pa.Check(
                lambda frame: frame["EXSTAT"] != "open", name="session_closed", title="EXSTAT"
            ),
        ],
    )


def _moving_inside(frame: pd.DataFrame) -> Any:
    return ~(frame["EXMOV"] > frame["EXDUR"] + 0.01)


def di(terms: StudyTerms) -> pa.DataFrameSchema:  # noqa: ARG001  (one signature for all)
    """Return the schema of DI: what each device said it was, one row a property."""
    return schema(
        "DI",
        {
            "STUDYID": text(about="Study identifier"),
            "DOMAIN": text(terms=["DI"], about="Domain"),
            "SPDEVID": text(about="Device"),
            "DISEQ": whole(1, about="Sequence number"),
            "DIPARMCD": text(about="Property"),
            "DIVAL": text(nullable=True, about="Value"),
        },
        key=["SPDEVID", "DISEQ"],
    )


def schemas(terms: StudyTerms | None = None) -> dict[str, pa.DataFrameSchema]:
    """Return the schema of every SDTM-like table, with what the study itself allows."""
    given = terms or StudyTerms()
    return {
        "DM": dm(given),
        "SUPPDM": suppdm(given),
        "SV": sv(given),
        "DS": ds(given),
        "FT": findings("FT", given),
        "QS": findings("QS", given),
        "CE": ce(given),
        "AE": ae(given),
        "DV": dv(given),
        "EX": ex(given),
        "DI": di(given),
    }


TABLES = schemas()
"""Every table with the checks that hold in any study; `schemas` adds the study's own."""
