"""What a study allows, for the checks of its tables."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from data_schemas import adam
from data_schemas.terminology import StudyTerms
from trialkit.protocol.forms import Item
from trialkit.study.design import Design

Frames = dict[str, pd.DataFrame]


def column_name(name: str, taken: Mapping[str, object] | frozenset[str], prefix: str) -> str:
    """Return the ADSL column of an attribute or stratum: upper case, unique."""
    made = re.sub(r"[^A-Z0-9_]", "_", name.upper())
    return f"{prefix}{made}" if made in taken or made in adam.TABLES["ADSL"].columns else made


def diary_frames(design: Design) -> list[str]:
    """Return the names of the start-stop frames, in the order of the diaries."""
    return list(dict.fromkeys(diary.dataset for diary in design.diaries))


def basic_frames(design: Design) -> list[str]:
    """Return the names of the frames of scores: ADFT, ADQS, and what forms name."""
    named = sorted(form.dataset for form in design.instruments.values() if form.scores)
    return list(dict.fromkeys([*adam.BASIC, *named]))


def _bounds(item: Item) -> tuple[float, float] | None:
    if item.minimum is None or item.maximum is None:
        return None
    return item.minimum, item.maximum


def study_terms(sdtm: Frames, design: Design) -> StudyTerms:
    """Return the study's own terms: its participants from DM, the rest from the design."""
    supplement = sdtm["SUPPDM"].drop_duplicates("QNAM")
    return StudyTerms(
        subjects=frozenset(sdtm["DM"]["USUBJID"]),
        visits={visit.code: visit.day for visit in design.visits},
        arms=frozenset(arm.code for arm in design.arms),
        items={
            code: {item.id: _bounds(item) for item in form.items}
            for code, form in design.instruments.items()
        },
        diaries={diary.paramcd: diary.to_day for diary in design.diaries},
        supplement={
            str(name): (str(origin), str(kind))
            for name, origin, kind in zip(
                supplement["QNAM"], supplement["QORIG"], supplement["QTYPE"], strict=True
            )
        },
    )
