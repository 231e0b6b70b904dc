"""ADSL: one row a participant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from data_schemas import adam
from data_schemas._columns import typed
from data_schemas.terminology import StudyTerms
from trialkit.data.terms import Frames
from trialkit.protocol.model import Protocol
from trialkit.study.design import Design


def subjects(
    sdtm: Frames, design: Design, protocols: Mapping[str, Protocol], terms: StudyTerms
) -> pd.DataFrame:
    """Return ADSL.

    FASFL is everybody randomised, in the arm of the randomisation (intention to treat); in a
    study of one arm, everybody who consented. SAFFL has at least one session, or, in a study
    that has no sessions, is FASFL. PPROTFL see `_per_protocol`.
    """
    dm = sdtm["DM"].set_index("USUBJID", drop=False)
    frame = dm[["STUDYID", "USUBJID", "SITEID", "ARMCD", "STRATUM", "AGE", "SEX"]].copy()
    frame["TRT01P"] = dm["ARM"]
    for name, (_, kind) in terms.supplement.items():
        rows = sdtm["SUPPDM"][sdtm["SUPPDM"]["QNAM"] == name].set_index("USUBJID")["QVAL"]
        values = frame["USUBJID"].map(rows)
        frame[name] = pd.to_numeric(values, errors="coerce") if kind == "number" else values
    randomised = frame["USUBJID"].isin(_disposition(sdtm, "RANDOMIZED").index)
    started = dm["RFSTDTC"].notna()
    took_place = sdtm["EX"][sdtm["EX"]["EXSTAT"] != "missed"]
    frame["NSESS"] = frame["USUBJID"].map(took_place.groupby("USUBJID").size()).fillna(0)
    treated = frame["NSESS"] > 0 if len(sdtm["EX"]) or protocols else started
    frame["RANDFL"] = _flag(randomised)
    frame["FASFL"] = _flag(started)
    frame["SAFFL"] = _flag(started & treated)
    stopped = _disposition(sdtm, "TREATMENT DISCONTINUED")
    frame["TRTDISDY"] = frame["USUBJID"].map(stopped["DSSTDY"])
    frame["TRTDISRS"] = frame["USUBJID"].map(stopped["DSTERM"])
    frame["PPROTFL"] = _per_protocol(frame, sdtm, protocols)
    ends = _end_of_study(sdtm, design)
    for column in ("EOSSTT", "DCSREAS", "EOSDY"):
        frame[column] = [ends[usubjid][column] for usubjid in frame["USUBJID"]]
    return typed(adam.adsl(terms), frame.reset_index(drop=True))


def _flag(values: pd.Series[bool]) -> pd.Series[Any]:
    return values.map({True: "Y", False: "N"})


def _disposition(sdtm: Frames, decod: str) -> pd.DataFrame:
    """Return the first row of a disposition term by USUBJID."""
    rows = sdtm["DS"][sdtm["DS"]["DSDECOD"] == decod]
    return rows.drop_duplicates("USUBJID").set_index("USUBJID")


def _per_protocol(
    frame: pd.DataFrame, sdtm: Frames, protocols: Mapping[str, Protocol]
) -> list[str | None]:
    """Return PPROTFL.

    ``Y`` for those of FASFL who were delivered at least the protocol's fraction of the planned
    sessions, with at least its moving minutes on average over them, did not discontinue
    training and have no major deviation. Null while the arm is not known; without protocols,
    FASFL without a major deviation.
    """
    deviations = sdtm["DV"]
    major = set(deviations[deviations["DVCAT"].isin(adam.MAJOR_DEVIATIONS)]["USUBJID"])
    sessions = sdtm["EX"][sdtm["EX"]["EXSTAT"] != "missed"]
    moved = {str(who): rows["EXMOV"] for who, rows in sessions.groupby("USUBJID")}
    flags: list[str | None] = []
    for usubjid, armcd, started, stopped in zip(
        frame["USUBJID"], frame["ARMCD"], frame["FASFL"], frame["TRTDISDY"], strict=True
    ):
        protocol = protocols.get(armcd) if armcd else None
        kept = started == "Y" and usubjid not in major and math.isnan(stopped)
        if started == "Y" and armcd is None:
            flags.append(None)
            continue
        if protocol is not None:
            fidelity = protocol.fidelity
            minutes = moved.get(usubjid, pd.Series(dtype="float64"))
            enough = len(minutes) >= fidelity.min_sessions_fraction * protocol.planned_sessions
            kept &= enough and bool(minutes.mean() >= fidelity.min_moving_minutes)
        flags.append("Y" if kept else "N")
    return flags


def _end_of_study(sdtm: Frames, design: Design) -> dict[str, dict[str, Any]]:
    """Return EOSSTT, DCSREAS and EOSDY of each participant.

    COMPLETED held the last scheduled visit (or, without visits after baseline, returned a
    diary); DISCONTINUED withdrew, or missed the last visit, with that reason code; ONGOING is
    everybody else who was randomised.
    """
    follow_up = [visit for visit in design.visits if not visit.baseline]
    last = max(follow_up, key=lambda visit: visit.day).code if follow_up else None
    visits = sdtm["SV"].drop_duplicates(["USUBJID", "VISIT"], keep="last")
    final = visits[visits["VISIT"] == last].set_index("USUBJID")
    held = visits[visits["SVOCCUR"] == "Y"].groupby("USUBJID")["SVSTDY"].max()
    diary = sdtm["CE"][sdtm["CE"]["CESCAT"] == "PERIOD"].groupby("USUBJID")["CEENDY"].max()
    excluded = _disposition(sdtm, "SCREEN FAILURE")["DSTERM"]
    withdrawn = _disposition(sdtm, "WITHDRAWAL")
    ends: dict[str, dict[str, Any]] = {}
    for usubjid, started in zip(sdtm["DM"]["USUBJID"], sdtm["DM"]["RFSTDTC"].notna(), strict=True):
        status, reason, day = "ONGOING", None, held.get(usubjid, math.nan)
        if usubjid in withdrawn.index:
            status, reason = "DISCONTINUED", withdrawn.at[usubjid, "DSTERM"]
            day = withdrawn.at[usubjid, "DSSTDY"]
        elif usubjid in excluded.index:
            status, reason, day = "SCREEN FAILURE", excluded[usubjid], math.nan
        elif not started:
            status = "NOT RANDOMIZED"
        elif usubjid in final.index:
            there = final.at[usubjid, "SVOCCUR"] == "Y"
            status = "COMPLETED" if there else "DISCONTINUED"
            reason = None if there else final.at[usubjid, "SVREASOC"]
        elif last is None and usubjid in diary.index:
            status, day = "COMPLETED", diary[usubjid]
        ends[usubjid] = {"EOSSTT": status, "DCSREAS": reason, "EOSDY": day}
    return ends
