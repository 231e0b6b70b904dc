"""Record to SDTM-like tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from data_schemas import sdtm
from trialkit import participants
from trialkit.data import collect
from trialkit.errors import IntegrityError, UsageError
from trialkit.record import Event
from trialkit.record import kinds as k
from trialkit.study import Study

FIRST = "STROKE-RAGT-01-001"


def test_every_table_meets_its_schema(read_only: Study) -> None:
    frames = collect(read_only)
    assert list(frames) == list(sdtm.DOMAINS)
    for name, frame in frames.items():
        assert list(frame) == list(sdtm.TABLES[name].columns)
        types = {c: str(spec.dtype) for c, spec in sdtm.TABLES[name].columns.items()}
        assert {c: str(frame[c].dtype).replace("object", "str") for c in frame} == types


def test_events_alone_give_the_same_tables(read_only: Study) -> None:
    from_study = collect(read_only)
    from_events = collect(list(read_only.record.read()), read_only.design)
    for name, frame in from_study.items():
        pd.testing.assert_frame_equal(frame, from_events[name])
    with pytest.raises(UsageError):
        collect(list(read_only.record.read()))


def test_a_correction_replaces_and_is_itself_correctable(trial: Study) -> None:
    asa = trial.as_user("asa")
    for seconds in (12.0, 10.0):
        event = participants.correct(
            asa, FIRST, visit="W4", instrument="10MWT", reason="typing error",
            items={"C1_S": seconds, "C2_S": seconds},
        )  # fmt: skip
    rows = collect(trial, mask=False)["FT"]
    rows = rows[(rows["USUBJID"] == FIRST) & (rows["VISIT"] == "W4") & (rows["FTCAT"] == "10MWT")]
    assert set(rows["FTREFID"]) == {event.seq}
    assert rows.set_index("FTTESTCD")["FTSTRESN"]["WS10C"] == pytest.approx(1.0)
    assert len(rows) == 7  # five items, two scores


def test_a_correction_of_nothing_is_an_integrity_error(read_only: Study) -> None:
    events = list(read_only.record.read())
    orphan = k.AssessmentCorrected(
        seq=1, visit="BL", instrument="10MWT", status="done", items={}, scores={}, old_items={}
    )
    last = events[-1]
    events.append(
        Event(
            last.seq + 1, orphan.kind, last.at, last.mono_ns, "asa", "assessor", FIRST, None,
            orphan.model_dump(mode="json"), last.hash, "0" * 64,
        )
    )  # fmt: skip
    with pytest.raises(IntegrityError, match="refers to event 1"):
        collect(events, read_only.design)


def test_unable_and_not_done_are_told_apart(read_only: Study) -> None:
    rows = collect(read_only)["FT"]
    rows = rows[rows["FTCAT"].isin(["TUG", "BBS"])].set_index("FTTESTCD")
    assert rows["FTSTATUS"].to_dict() == {"TUGTIME": "unable", "BBSTOT": "not_done"}
    assert rows.at["BBSTOT", "FTREASND"] == "tired"
    assert rows["FTSTRESN"].isna().all()


@pytest.mark.requirement("R21")
def test_blinded_tables_do_not_tell_the_arm(read_only: Study) -> None:
    """Whatever differs between two people in different arms must be what people entered."""
    frames = collect(read_only)
    assert frames["DM"][["ARMCD", "ARM"]].isna().all(axis=None)
    assert len(frames["DI"]) == 0
    assert frames["AE"][["AERELDEV", "AEDEVDEF", "AESESS"]].isna().all(axis=None)
    exposure = frames["EX"]
    assert set(exposure["EXSTAT"]) == {"hidden", "missed"}
    arms = {who: read_only.as_user("thea").arm_of(who) for who in exposure["USUBJID"]}
    assert len(set(arms.values())) == 2
    # the steps between event numbers would tell: a session on a device takes two events
    taken = exposure[exposure["EXSTAT"] == "hidden"]["EXREFID"]
    assert set(taken.diff().dropna()) == {2}


def test_arms_come_from_the_revealing_event_and_are_checked(read_only: Study) -> None:
    stat = read_only.as_user("stat")
    with pytest.raises(IntegrityError, match="is not revealed"):
        collect(read_only, unblind=True)
    arms = stat.allocations()
    events = list(read_only.record.read())
    reveal = k.AllocationRevealed(plan_lock="1" * 64, arms=arms)
    shown = replace(events[-1], kind=reveal.kind, payload=reveal.model_dump(mode="json"))
    people = collect([*events, shown], read_only.design, unblind=True)["DM"].set_index("USUBJID")
    assert people["ARMCD"].dropna().to_dict() == {who: arm for who, (arm, _) in arms.items()}
    other = {"ROBOTIC": "CONVENTIONAL", "CONVENTIONAL": "ROBOTIC"}
    swapped = {**arms, FIRST: (other[arms[FIRST][0]], arms[FIRST][1])}
    forged = replace(shown, payload=reveal.model_copy(update={"arms": swapped}).model_dump())
    with pytest.raises(IntegrityError, match=f"{FIRST} is not the one that was committed"):
        collect([*events, forged], read_only.design, unblind=True)


def test_the_allocation_file_is_never_read(trial: Study, tmp_path: Path) -> None:
    before = collect(trial)
    (trial.folder / "allocation.db").unlink()
    pd.testing.assert_frame_equal(collect(trial)["DM"], before["DM"])


def test_attributes_and_strata_become_supplements(read_only: Study) -> None:
    rows = collect(read_only)["SUPPDM"]
    mine = rows[rows["USUBJID"] == FIRST].set_index("QNAM")
    assert mine["QVAL"].to_dict() == {"SITE": "01", "SPEED_BAND": "medium", "SIDE": "left"}
    assert mine.at["SIDE", "QORIG"] == "ATTRIBUTE"
