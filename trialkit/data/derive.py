"""SDTM-like to ADaM-like tables: what analyses read."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from data_schemas import adam
from data_schemas._columns import typed
from data_schemas.terminology import StudyTerms
from trialkit.data._basic import basic
from trialkit.data._recurrent import recurrent, time_to_first
from trialkit.data._reports import DEFICIENCIES
from trialkit.data._subjects import subjects
from trialkit.data.terms import Frames, basic_frames, diary_frames, study_terms
from trialkit.protocol.model import Protocol
from trialkit.study.design import Design


def derive(sdtm: Frames, design: Design, protocols: Mapping[str, Protocol] | None = None) -> Frames:
    """Return the ADaM-like tables.

    Parameters
    ----------
    sdtm : dict of DataFrame
        From `collect`.
    design : Design
        Visits, diaries, arms and instruments.
    protocols : mapping or None
        Protocols by ARMCD, for planned sessions and fidelity.

    Returns
    -------
    dict of DataFrame
        ADSL ADFT ADQS, one start-stop frame a diary dataset, ADTTE, ADEX and
        ADAE, by `data_schemas.adam`.
    """
    known = protocols or {}
    terms = study_terms(sdtm, design)
    made = {"ADSL": subjects(sdtm, design, known, terms)}
    made |= {name: basic(name, sdtm, design, terms) for name in basic_frames(design)}
    made |= {name: recurrent(name, sdtm, design, terms) for name in diary_frames(design)}
    made["ADTTE"] = time_to_first(sdtm, design, terms)
    made["ADEX"] = _exposure(sdtm, known, terms)
    made["ADAE"] = _adverse(sdtm, terms)
    return made


def _exposure(sdtm: Frames, protocols: Mapping[str, Protocol], terms: StudyTerms) -> pd.DataFrame:
    """Return ADEX; planned minutes from the opening of the session, else from the protocol."""
    frame = sdtm["EX"].rename(
        columns={
            "EXDY": "ADY",
            "EXSESS": "SESSION",
            "EXPLAN": "PLANMIN",
            "EXDUR": "EXMIN",
            "EXMOV": "EXMOVMIN",
        }
    )
    arms = frame["USUBJID"].map(sdtm["DM"].set_index("USUBJID")["ARMCD"])
    planned = arms.map({armcd: p.planned_minutes for armcd, p in protocols.items()})
    frame["PLANMIN"] = frame["PLANMIN"].fillna(planned.astype("float64"))
    return typed(adam.adex(terms), frame)


def _adverse(sdtm: Frames, terms: StudyTerms) -> pd.DataFrame:
    kept = sdtm["AE"][~sdtm["AE"]["AECLASS"].isin(DEFICIENCIES)]
    frame = kept.rename(columns={"AESTDY": "ASTDY"})
    people = sdtm["DM"].set_index("USUBJID")
    frame["SITEID"] = frame["USUBJID"].map(people["SITEID"])
    emergent = frame["USUBJID"].map(people["RFSTDTC"]).notna() & (frame["ASTDY"] >= 0)
    frame["TRTEMFL"] = emergent.map({True: "Y", False: "N"})
    return typed(adam.adae(terms), frame)
