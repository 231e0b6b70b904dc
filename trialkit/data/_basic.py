"""ADFT and ADQS: one row a score and scheduled visit, with baseline and change."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from data_schemas import adam
from data_schemas._columns import typed
from data_schemas.terminology import StudyTerms
from trialkit.data.terms import Frames
from trialkit.study.design import Design


def basic(name: str, sdtm: Frames, design: Design, terms: StudyTerms) -> pd.DataFrame:
    """Return ADFT or ADQS from the score rows of FT and QS.

    Rows of visits that are not scheduled and of assessments that were not done are left out;
    ``unable`` stays, with the value that the instrument gives it (perhaps none). BASE is the
    last value on or before day 0 of a baseline visit. ANL01FL marks one row a visit: the
    baseline row, else the one with a value that is nearest to the planned day, and of two as
    near the later entry.
    """
    scores = pd.concat([_scores(sdtm, domain) for domain in ("FT", "QS")], ignore_index=True)
    home = scores["CAT"].map(lambda code: _home(code, design))
    kept = scores[
        (home == name)
        & (scores["STATUS"] != "not_done")
        & scores["AVISIT"].isin(list(terms.visits))
    ].reset_index(drop=True)
    kept["AVISITN"] = kept["AVISIT"].map(terms.visits).astype("int64")
    kept["SITEID"] = kept["USUBJID"].map(sdtm["DM"].set_index("USUBJID")["SITEID"])
    kept["AVALC"] = _mark(kept["STATUS"] == "unable", "UNABLE")
    baseline_visits = [visit.code for visit in design.visits if visit.baseline]
    before = kept["AVISIT"].isin(baseline_visits) & (kept["ADY"] <= 0) & kept["AVAL"].notna()
    person = ["USUBJID", "PARAMCD"]
    last = kept[before].sort_values(["ADY", "SRCSEQ"]).drop_duplicates(person, keep="last")
    kept["ABLFL"] = _mark(kept.index.isin(last.index), "Y")
    base = last[[*person, "AVAL"]].rename(columns={"AVAL": "BASE"})
    kept = kept.merge(base, on=person, how="left", validate="many_to_one")
    after = ~kept["AVISIT"].isin(baseline_visits)
    kept["CHG"] = (kept["AVAL"] - kept["BASE"]).where(after).round(9)
    kept["ANL01FL"] = _mark(kept.index.isin(_analysed(kept)), "Y")
    kept = kept.sort_values(["USUBJID", "PARAMCD", "AVISITN", "ADY", "SRCSEQ"], kind="stable")
    return typed(adam.basic(name, terms), kept)


def _mark(where: Iterable[bool], term: str) -> list[str | None]:
    return [term if there else None for there in where]


def _scores(sdtm: Frames, d: str) -> pd.DataFrame:
    rows = sdtm[d][sdtm[d][f"{d}SRC"] == "SCORE"]
    names = {
        f"{d}TESTCD": "PARAMCD",
        f"{d}TEST": "PARAM",
        "VISIT": "AVISIT",
        f"{d}DY": "ADY",
        f"{d}STRESN": "AVAL",
        f"{d}STRESU": "AVALU",
        f"{d}REFID": "SRCSEQ",
        f"{d}CAT": "CAT",
        f"{d}STATUS": "STATUS",
    }
    return rows.rename(columns=names)[["STUDYID", "USUBJID", *names.values()]]


def _home(code: str, design: Design) -> str:
    instrument = design.instruments.get(code)
    return instrument.dataset if instrument else ""


def _analysed(rows: pd.DataFrame) -> pd.Index[int]:
    ranked = rows.assign(
        off=(rows["ADY"] - rows["AVISITN"]).abs(),
        other=rows["ABLFL"].isna(),
        empty=rows["AVAL"].isna(),
    ).sort_values(["other", "empty", "off", "SRCSEQ"], ascending=[True, True, True, False])
    return ranked.drop_duplicates(["USUBJID", "PARAMCD", "AVISIT"]).index
