"""Checks of what the arms of a trial share: arms, randomisation, visits, diaries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from itertools import pairwise

from trialkit._yaml import Document
from trialkit.protocol.check_allocation import check_blocks, check_minimisation
from trialkit.protocol.check_eligibility import check_eligibility
from trialkit.protocol.forms import Form
from trialkit.protocol.model import Arm, Diary, Randomisation, Stratum, Visit


def check_shared(document: Document, instruments: Mapping[str, Form]) -> None:
    """Add every fault of ``trial``, ``visits`` and ``diaries``."""
    arms = document.parts(Arm, "trial", "arms")
    visits = document.parts(Visit, "visits")
    randomisation = document.part(Randomisation, "trial", "randomisation")
    _check_arms(document, arms)
    if document.whole("trial", "arms"):
        _check_randomisation(document, randomisation, len(arms))
    check_eligibility(document, visits, instruments)
    for index, stratum in document.parts(Stratum, "trial", "randomisation", "strata"):
        at = ("trial", "randomisation", "strata", index)
        _check_stratum(document, at, stratum, visits, instruments)
    _check_visits(document, visits)
    _check_assessments(document, visits, instruments)
    _check_diaries(document, instruments)


def repeated(names: Iterable[str]) -> list[int]:
    """Return the positions at which a name comes again."""
    seen: set[str] = set()
    positions = []
    for position, name in enumerate(names):
        if name in seen:
            positions.append(position)
        seen.add(name)
    return positions


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name as a remedy, or the list of known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Use one of {', '.join(known)}."


def last_day(document: Document) -> int | None:
    """Return the last day of the last visit's window; None where a visit has faults."""
    visits = document.parts(Visit, "visits") if document.whole("visits") else []
    return max((v.day + max(0, v.window_days[1]) for _, v in visits), default=None)


def _check_arms(document: Document, arms: list[tuple[int, Arm]]) -> None:
    for key in ("code", "label"):
        for position in repeated(getattr(arm, key) for _, arm in arms):
            document.add(
                ("trial", "arms", arms[position][0], key),
                f"{getattr(arms[position][1], key)} is given to two arms.",
                f"Give each arm its own {key}.",
            )
    code = document.data.get("arm")
    codes = [arm.code for _, arm in arms]
    if codes and document.whole("trial", "arms") and isinstance(code, str) and code not in codes:
        document.add(("arm",), f"{code} is no arm of the trial.", did_you_mean(code, codes))


def _check_randomisation(
    document: Document, randomisation: Randomisation | None, n_arms: int
) -> None:
    at = ("trial", "randomisation")
    if randomisation is None:
        given = isinstance(document.data.get("trial"), dict) and document.data["trial"].get(at[1])
        if n_arms > 1 and not given:
            document.add(
                ("trial",),
                f"the trial has {n_arms} arms and no randomisation.",
                "Add trial.randomisation with ratio and block_sizes.",
            )
        return
    if n_arms == 1:
        document.add(at, "there is one arm only.", "Remove randomisation, or add the other arm.")
        return
    if len(randomisation.ratio) != n_arms:
        document.add(
            (*at, "ratio"),
            f"the ratio has {len(randomisation.ratio)} numbers and the trial {n_arms} arms.",
            "Give one number an arm, in the order of trial.arms.",
        )
    elif randomisation.method == "minimisation":
        check_minimisation(document, randomisation)
    else:
        check_blocks(document, randomisation)
    names = [stratum.name for stratum in randomisation.strata]
    for position in repeated(name.upper() for name in names):
        document.add(
            (*at, "strata", position, "name"),
            f"{names[position]} names two factors.",
            "Give each factor its own name.",
        )


def _check_stratum(
    document: Document,
    at: tuple[str | int, ...],
    stratum: Stratum,
    visits: list[tuple[int, Visit]],
    instruments: Mapping[str, Form],
) -> None:
    if (stratum.paramcd is None) == (stratum.attribute is None):
        document.add(
            at,
            "a factor comes either from a score or from an attribute.",
            "Give one of paramcd and attribute.",
        )
        return
    for position in repeated(stratum.levels):
        document.add(
            (*at, "levels"),
            f"{stratum.levels[position]} is given twice.",
            "Give each level its own name.",
        )
    if stratum.attribute is not None:
        if stratum.cuts:
            document.add((*at, "cuts"), "an attribute has no cuts.", "Use paramcd, or remove them.")
        if not stratum.levels:
            document.add(at, "the levels are not given.", "List the attribute's possible values.")
        return
    if any(b <= a for a, b in pairwise(stratum.cuts)):
        document.add((*at, "cuts"), "the cuts do not ascend.", "Sort them.")
    if len(stratum.levels) != len(stratum.cuts) + 1 or not stratum.cuts:
        document.add(
            (*at, "levels"),
            f"{len(stratum.cuts)} cuts make {len(stratum.cuts) + 1} levels and "
            f"{len(stratum.levels)} are named.",
            "Name one level more than there are cuts, from low to high.",
        )
    source = {s.paramcd: i.code for i in instruments.values() for s in i.scores}
    code = stratum.paramcd or ""
    if code not in source:
        document.add((*at, "paramcd"), f"no instrument has {code}.", did_you_mean(code, source))
    elif document.whole("visits") and not any(
        source[code] in v.assessments for _, v in visits if v.baseline
    ):
        document.add(
            (*at, "paramcd"),
            f"{code} is not known at randomisation: no baseline visit has {source[code]}.",
            f"Add {source[code]} to the baseline visit.",
        )


def _check_visits(document: Document, visits: list[tuple[int, Visit]]) -> None:
    for position in repeated(visit.code for _, visit in visits):
        document.add(
            ("visits", visits[position][0], "code"),
            f"{visits[position][1].code} is given to two visits.",
            "Give each visit its own code.",
        )
    for index, visit in visits:
        low, high = visit.window_days
        if low > 0 or high < 0:
            document.add(
                ("visits", index, "window_days"),
                f"the window {low} to {high} does not hold the visit's own day.",
                "Give the days before as 0 or less and the days after as 0 or more.",
            )
        if visit.baseline and visit.day > 0:
            document.add(
                ("visits", index, "day"),
                f"the baseline is on day {visit.day}, after randomisation.",
                "Put it on day 0 or before.",
            )
    for (_, before), (index, visit) in pairwise(visits):
        end, begin = before.day + before.window_days[1], visit.day + visit.window_days[0]
        if visit.day <= before.day:
            document.add(
                ("visits", index, "day"),
                f"{visit.code} (day {visit.day}) does not come after {before.code} "
                f"(day {before.day}).",
                "List the visits in the order of their days.",
            )
        elif begin <= end:
            document.add(
                ("visits", index, "window_days"),
                f"the windows of {before.code} (to day {end}) and {visit.code} (from day {begin}) "
                "overlap.",
                f"End the one before day {begin}, or begin the other after day {end}.",
            )
    baselines = [index for index, visit in visits if visit.baseline]
    if visits and not baselines and document.whole("visits"):
        document.add(
            ("visits",),
            "no visit is the baseline.",
            "Mark the visit before randomisation with baseline: true.",
        )
    for index in baselines[1:]:
        document.add(
            ("visits", index, "baseline"), "a second visit is the baseline.", "Mark one visit."
        )


def _check_assessments(
    document: Document, visits: list[tuple[int, Visit]], instruments: Mapping[str, Form]
) -> None:
    at_baseline = {code for _, visit in visits if visit.baseline for code in visit.assessments}
    for index, visit in visits:
        for position, code in enumerate(visit.assessments):
            at = ("visits", index, "assessments", position)
            if code not in instruments:
                document.add(at, f"there is no instrument {code}.", did_you_mean(code, instruments))
            elif at_baseline and code not in at_baseline:
                document.add(
                    at,
                    f"{code} is not assessed at baseline, so there is no change from baseline.",
                    f"Add {code} to the baseline visit, or remove it here.",
                )
        for position in repeated(visit.assessments):
            document.add(
                ("visits", index, "assessments", position),
                f"{visit.assessments[position]} is listed twice.",
                "List it once.",
            )


def _check_diaries(document: Document, instruments: Mapping[str, Form]) -> None:
    diaries = document.parts(Diary, "diaries")
    scores = {s.paramcd for i in instruments.values() for s in i.scores}
    last = last_day(document)
    for index, diary in diaries:
        if last is not None and diary.to_day > last:
            document.add(
                ("diaries", index, "to_day"),
                f"the diary ends on day {diary.to_day}, after the last visit's window "
                f"(day {last}).",
                "End it by the last visit, or add a visit at its end.",
            )
        if diary.return_every_days > diary.to_day:
            document.add(
                ("diaries", index, "return_every_days"),
                f"it would be returned first after {diary.return_every_days} days, "
                f"and ends on day {diary.to_day}.",
                "Return it more often.",
            )
        if diary.paramcd in scores:
            document.add(
                ("diaries", index, "paramcd"),
                f"{diary.paramcd} is a score of an instrument.",
                "Give the diary a PARAMCD of its own.",
            )
    for position in repeated(diary.paramcd for _, diary in diaries):
        document.add(
            ("diaries", diaries[position][0], "paramcd"),
            f"{diaries[position][1].paramcd} is given to two diaries.",
            "Give each diary its own PARAMCD.",
        )
