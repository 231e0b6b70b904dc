"""Eligibility, the lock on the scheme, the verifier, and unblinding of one participant."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_study import WALK, enrolled, make_study, randomised, write_protocols
from typer.testing import CliRunner

from trialkit.cli.whole import app
from trialkit.data import build_snapshot
from trialkit.errors import (
    Duplicate,
    IntegrityError,
    NotPermitted,
    OutOfOrder,
    OutOfRange,
    TrialkitError,
    UnknownName,
    UsageError,
)
from trialkit.participants import (
    allocate_known,
    approve_unblinding,
    assess,
    check_allocation,
    confirm_eligibility,
    hold_visit,
    randomise,
    request_unblinding,
    show_unblinded,
    verify_allocation,
)
from trialkit.record import AllocationStore, Event, KeyStore, read_export
from trialkit.record.draws import seed_commitment
from trialkit.record.kinds import AllocationRevealed
from trialkit.study import Study

MINIMISE = """  randomisation:
    method: minimisation
    ratio: [1, 1]
    minimisation: {probability: 0.8, weights: {site: 2}}
    by_site: true
"""
CRITERIA = """  eligibility:
    version: "1.0"
    criteria:
      - {id: ADULT, kind: inclusion, text: 18 years or older}
      - {id: PACEMAKER, kind: exclusion, text: An implanted pacemaker}
"""
YES = {"ADULT": True, "PACEMAKER": False}


def study_with(folder: Path, **sections: str) -> Study:
    """Create a study whose shared sections are changed: text to its replacement."""
    folder.mkdir(exist_ok=True)
    files = write_protocols(folder)
    for file in files:
        text = file.read_text("utf-8")
        if "randomisation" in sections:
            head, rest = text.split("  randomisation:\n")
            strata = rest[rest.index("    strata:") :]
            text = head + sections["randomisation"] + strata
        text = text.replace("visits:\n", sections.get("eligibility", "") + "visits:\n", 1)
        file.write_text(text, "utf-8")
    made = Study.create(
        folder / "study",
        protocols=files,
        actor="olga",
        keys=KeyStore(folder / "keys"),
        seed=11,
    )
    for user, role in (("cora", "coordinator"), ("asta", "assessor"), ("ivan", "investigator"),
                       ("stan", "statistician"), ("theo", "therapist")):  # fmt: skip
        made.add_user(user, role=role)
    return made


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made


@pytest.fixture
def minimised(tmp_path: Path) -> Iterator[Study]:
    with study_with(tmp_path / "m", randomisation=MINIMISE) as made:
        yield made


def people_of(study: Study, n: int) -> list[str]:
    with study.batch():
        return [
            randomised(study, site=f"0{i % 2 + 1}", seconds=(8, 20, 40)[i % 3]) for i in range(n)
        ]


def reveal(study: Study) -> None:
    """Write the event of an unblinding without a plan, as a snapshot does with one."""
    study.append(
        AllocationRevealed(
            plan_lock="0" * 64,
            arms=study.allocations(),
            seed=study.allocation.seed(),
            codes=[arm.code for arm in study.design.arms],
        )
    )


def changed(events: list[Event], seq: int, **payload: Any) -> list[Event]:
    return [replace(e, payload=e.payload | payload) if e.seq == seq else e for e in events]


# --- eligibility ----------------------------------------------------------------------------


@pytest.mark.requirement("R09")
def test_eligibility_comes_before_randomisation(tmp_path: Path) -> None:
    with study_with(tmp_path / "e", eligibility=CRITERIA) as study:
        usubjid = enrolled(study)
        hold_visit(study, usubjid, "BL", day=-2)
        assess(study.as_user("asta"), usubjid, visit="BL", instrument="10MWT", items=WALK)
        with pytest.raises(OutOfOrder, match="not confirmed"):
            randomise(study, usubjid)
        for answers in ({}, {"ADULT": True}, YES | {"OTHER": True}):
            with pytest.raises(UsageError, match=r"criterion|no answer"):
                confirm_eligibility(study, usubjid, answers)
        for wrong, named in (({"ADULT": False}, "ADULT"), ({"PACEMAKER": True}, "PACEMAKER")):
            with pytest.raises(OutOfRange, match=named) as refused:
                confirm_eligibility(study, usubjid, YES | wrong)
            assert refused.value.details["criteria"] == [named]
        with pytest.raises(NotPermitted):
            confirm_eligibility(study.as_user("asta"), usubjid, YES)
        event = confirm_eligibility(study.as_user("ivan"), usubjid, YES)
        assert event.actor == "ivan"
        assert event.payload["version"] == "1.0"
        assert event.payload["answers"] == YES
        with pytest.raises(Duplicate):
            confirm_eligibility(study, usubjid, YES)
        assert randomise(study, usubjid).place == 1


def test_eligibility_needs_consent_and_criteria(tmp_path: Path, study: Study) -> None:
    from trialkit.participants import enrol

    with pytest.raises(OutOfOrder, match="lists no criteria"):
        confirm_eligibility(study, enrolled(study), YES)
    with study_with(tmp_path / "e", eligibility=CRITERIA) as other:
        new = str(enrol(other, site="01").subject)
        with pytest.raises(OutOfOrder, match="consent"):
            confirm_eligibility(other, new, YES)


# --- the lock on the scheme -----------------------------------------------------------------


def test_scheme_is_committed_once_and_first(study: Study) -> None:
    people_of(study, 8)
    events = list(study.record.read(kinds=["allocation.scheme_committed"]))
    assert len(events) == 1
    first = next(study.record.read(kinds=["allocation.list_committed"]))
    assert events[0].seq < first.seq
    arms = [arm.code for arm in study.design.arms]
    held = seed_commitment("SMALL", arms, study.allocation.seed())
    assert events[0].payload["commitment"] == held
    assert (
        study.allocation.seed()
        not in str([e.payload for e in study.record.read()]).replace("'", " ").split()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": [2, 1]},
        {"block_sizes": [2]},
        {"by_site": False},
        {"strata": []},
        {"method": "minimisation"},
    ],
)
def test_nobody_changes_the_scheme_after_the_first_arm(
    study: Study, change: dict[str, Any]
) -> None:
    """Not even the owner, and not even past the hash of design.yaml."""
    randomised(study)
    waiting = enrolled(study)
    hold_visit(study, waiting, "BL", day=-2)
    assess(study.as_user("asta"), waiting, visit="BL", instrument="10MWT", items=WALK)
    held = study.design
    plan = held.randomisation
    assert plan is not None
    study.design = held.model_copy(update={"randomisation": plan.model_copy(update=change)})
    with pytest.raises(IntegrityError, match="first allocation"):
        randomise(study, waiting)
    study.design = held.model_copy(update={"arms": held.arms[::-1]})
    with pytest.raises(IntegrityError, match="first allocation"):
        randomise(study, waiting)
    study.design = held
    randomise(study, waiting)


def test_a_changed_design_does_not_open(study: Study) -> None:
    randomised(study)
    study.close()
    path = study.folder / "design.yaml"
    data = yaml.safe_load(path.read_text("utf-8"))
    data["randomisation"]["ratio"] = [2, 1]
    path.write_text(yaml.safe_dump(data), "utf-8")
    with pytest.raises(IntegrityError, match=r"design\.yaml"):
        Study.open(study.folder, actor="olga")


def test_another_seed_is_refused(study: Study) -> None:
    waiting = [enrolled(study) for _ in range(2)]
    for who in waiting:
        hold_visit(study, who, "BL", day=-2)
        assess(study.as_user("asta"), who, visit="BL", instrument="10MWT", items=WALK)
    randomise(study, waiting[0])
    (study.folder / "allocation.db").unlink()
    AllocationStore.create(study.folder, seed="other")
    with pytest.raises(IntegrityError, match="seed"):
        randomise(study, waiting[1])


def test_an_arm_is_not_chosen_by_hand(study: Study) -> None:
    """The owner may import; a trial that draws its arms takes none from outside."""
    with pytest.raises(OutOfOrder, match="draws its arms itself"):
        allocate_known(study, enrolled(study), arm="ROBOTIC")


# --- minimisation ---------------------------------------------------------------------------


def test_minimised_study(minimised: Study) -> None:
    people = people_of(minimised, 30)
    state = minimised.state
    assert [state.participants[p].place for p in people] == list(range(1, 31))
    assert {state.participants[p].stratum for p in people} == {"minimisation"}
    assert not list(minimised.record.read(kinds=["allocation.list_committed"]))
    check = verify_allocation(minimised)
    assert check.ok, check.differences
    assert (check.method, check.participants, check.places) == ("minimisation", 30, 30)
    arms = [minimised.arm_of(p) for p in people]
    assert abs(arms.count("ROBOTIC") - arms.count("CONVENTIONAL")) <= 6


def test_a_place_that_a_crash_left_is_not_used(minimised: Study) -> None:
    people = people_of(minimised, 5)

    def crash() -> None:
        with minimised.batch():
            people_of(minimised, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    people += people_of(minimised, 6)
    places = [minimised.participant(p).place for p in people]
    assert places == [1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]
    assert verify_allocation(minimised).ok


# --- the verifier ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["study", "minimised"])
def test_the_exported_record_and_the_seed_are_enough(
    method: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    study: Study = request.getfixturevalue(method)
    people_of(study, 20)
    with pytest.raises(OutOfOrder, match="no seed"):
        check_allocation(study.record.read())
    reveal(study)
    study.record.export(tmp_path / "record.jsonl")
    (study.folder / "allocation.db").unlink()
    check = check_allocation(read_export(tmp_path / "record.jsonl"))
    assert check.ok, check.differences
    assert check.revealed == check.participants == 20
    assert verify_allocation(study.as_user("asta")).ok


@pytest.mark.parametrize("method", ["study", "minimised"])
def test_every_difference_is_named(method: str, request: pytest.FixtureRequest) -> None:
    study: Study = request.getfixturevalue(method)
    people = people_of(study, 12)
    reveal(study)
    events = list(study.record.read())
    assert check_allocation(events).ok
    (scheme,) = [e for e in events if e.kind == "allocation.scheme_committed"]
    (shown,) = [e for e in events if e.kind == "allocation.revealed"]
    ours = [e for e in events if e.kind == "participant.randomised"]

    def found(altered: list[Event], **more: Any) -> str:
        return "; ".join(check_allocation(altered, **more).differences)

    assert "another seed" in found(events, seed="12345")
    assert f"event {scheme.seq}" in found(changed(events, scheme.seq, commitment="0" * 64))
    altered = found(changed(events, ours[3].seq, commitment="0" * 64))
    assert altered == f"event {ours[3].seq}: the arm of {people[3]} is not the one of the seed"
    arm, salt = shown.payload["arms"][people[0]]
    other = "CONVENTIONAL" if arm == "ROBOTIC" else "ROBOTIC"
    arms = shown.payload["arms"]
    told = found(changed(events, shown.seq, arms=arms | {people[0]: (other, salt)}))
    assert told == f"{people[0]} was revealed as {other}, and the seed gives {arm}"
    extra = found(changed(events, shown.seq, arms=arms | {"X": (arm, salt)}))
    assert extra == "X was revealed and never randomised"
    swapped = [*events[: ours[0].seq - 1], *events[ours[0].seq :]]
    assert found(swapped)


def test_lists_that_were_not_used_in_order(study: Study) -> None:
    for _ in range(4):
        randomised(study)
    reveal(study)
    events = list(study.record.read())
    (listed,) = [e for e in events if e.kind == "allocation.list_committed"]
    ours = [e for e in events if e.kind == "participant.randomised"]
    check = check_allocation(changed(events, listed.seq, commitment="0" * 64))
    assert check.differences == [
        f"event {listed.seq}: part 1 of list site=01|speed_band=medium is not the one of the seed"
    ]
    skipped = check_allocation(changed(events, ours[1].seq, place=9)).differences
    assert any("took place 9" in d and "after place 1" in d for d in skipped)
    never = check_allocation(changed(events, ours[3].seq, place=4000)).differences
    assert any("place 4000" in d and "never committed" in d for d in never)


def test_record_from_before_schemes(study: Study) -> None:
    """A record without the scheme and with a reveal without a seed still reads and verifies."""
    people_of(study, 6)
    seed = study.allocation.seed()
    study.append(AllocationRevealed(plan_lock="0" * 64, arms=study.allocations()))
    old = [e for e in study.record.read() if e.kind != "allocation.scheme_committed"]
    with pytest.raises(OutOfOrder, match="no seed"):
        check_allocation(old)
    with pytest.raises(IntegrityError, match="how the study allocates"):
        check_allocation(old, seed)
    arms = [arm.code for arm in study.design.arms]
    check = check_allocation(old, seed, arms=arms, plan=study.design.randomisation)
    assert check.ok
    assert not check.seed_committed
    assert verify_allocation(study).ok
    assert AllocationRevealed.model_validate({"plan_lock": "x", "arms": {}}).seed is None


def test_stored_places_are_verified_too(study: Study) -> None:
    usubjid = randomised(study)
    other = "CONVENTIONAL" if study.arm_of(usubjid) == "ROBOTIC" else "ROBOTIC"
    with closing(sqlite3.connect(study.folder / "allocation.db")) as raw, raw:
        raw.execute("DROP TRIGGER places_update")
        raw.execute("UPDATE places SET arm = ? WHERE place = 1", (other,))
    with Study.open(study.folder, actor="olga", write=False) as again:
        check = verify_allocation(again)
    assert [usubjid in d and "committed" in d for d in check.differences] == [True]


def test_who_may_verify_before_unblinding(study: Study) -> None:
    with pytest.raises(OutOfOrder, match="nobody"):
        verify_allocation(study)
    randomised(study)
    for user in ("olga", "cora", "stan", "ivan"):
        assert verify_allocation(study.as_user(user)).ok
    for user in ("asta", "mona"):
        with pytest.raises(NotPermitted):
            verify_allocation(study.as_user(user))


def test_nobody_is_randomised_after_unblinding(study: Study) -> None:
    randomised(study)
    reveal(study)
    with pytest.raises(OutOfOrder, match="known beforehand"):
        randomised(study)


def test_verb(study: Study) -> None:
    people_of(study, 3)
    folder = str(study.folder)
    study.close()
    done = CliRunner().invoke(app, ["randomise-verify", "-s", folder, "--as", "cora"])
    assert done.exit_code == 0, done.output
    assert "3 participants drawn again from the seed" in done.output
    with closing(sqlite3.connect(study.folder / "allocation.db")) as raw, raw:
        raw.execute("DROP TRIGGER secret_update")
        raw.execute("UPDATE secret SET seed = 'another'")
    bad = CliRunner().invoke(app, ["randomise-verify", "-s", folder, "--as", "cora"])
    assert isinstance(bad.exception, IntegrityError)
    assert bad.exception.exit_status == 4
    assert "another seed" in str(bad.exception)


# --- unblinding of one ------------------------------------------------------------------------


@pytest.mark.requirement("R05")
def test_two_persons_are_told_one_arm(study: Study) -> None:
    people = people_of(study, 4)
    cora, ivan = study.as_user("cora"), study.as_user("ivan")
    asked = request_unblinding(cora, people[2], reason="seizure, the ward must know")
    number = asked.payload["request"]
    with pytest.raises(OutOfOrder, match="waits"):
        show_unblinded(cora, number)
    with pytest.raises(NotPermitted, match="two persons"):
        approve_unblinding(cora, number)
    assert study.status().unblinded == 0
    told = approve_unblinding(ivan, number)
    assert told.arm == study.arm_of(people[2]) == show_unblinded(cora, number).arm
    assert show_unblinded(ivan, number).arm == told.arm
    with pytest.raises(NotPermitted, match="not one of the two"):
        show_unblinded(study, number)
    assert study.status().unblinded == 1
    assert "1 unblinded in an emergency" in str(study.status())
    event = told.event
    assert event is not None
    assert event.payload == {
        "request": number,
        "commitment": study.participant(people[2]).commitment,
        "told": ["cora", "ivan"],
    }
    assert asked.reason == "seizure, the ward must know"
    assert not study.state.revealed


@pytest.mark.requirement("R21")
def test_the_record_does_not_hold_the_arm(study: Study, tmp_path: Path) -> None:
    """Two studies that differ by the arm of the participant only have records of one shape."""
    usubjid = randomised(study)
    arm, salt = study.allocations()[usubjid]
    number = request_unblinding(study, usubjid, reason="fall").payload["request"]
    approve_unblinding(study.as_user("ivan"), number)
    study.record.export(tmp_path / "record.jsonl")
    later = (tmp_path / "record.jsonl").read_text("utf-8").splitlines()[1:]
    assert later
    assert not re.search(f"{arm}|{salt}", "".join(later), re.IGNORECASE)


def test_who_may_neither_ask_nor_agree_nor_see(study: Study) -> None:
    usubjid = randomised(study)
    number = request_unblinding(study.as_user("ivan"), usubjid, reason="fall").payload["request"]
    for user in ("asta", "stan", "mona", "theo"):
        view = study.as_user(user)
        steps: list[Any] = [
            lambda view=view: request_unblinding(view, usubjid, reason="curious"),
            lambda view=view: approve_unblinding(view, number),
            lambda view=view: show_unblinded(view, number),
        ]
        for step in steps:
            with pytest.raises(NotPermitted):
                step()
    assert study.state.unblindings[number].approved_by is None


def test_one_of_the_two_is_an_investigator(study: Study) -> None:
    usubjid = randomised(study)
    cora = study.as_user("cora")
    number = request_unblinding(cora, usubjid, reason="fall").payload["request"]
    with pytest.raises(NotPermitted, match="investigator"):
        approve_unblinding(study, number)
    assert approve_unblinding(study.as_user("ivan"), number).arm


def test_requests_that_are_refused(study: Study) -> None:
    cora = study.as_user("cora")

    def refused(error: type[TrialkitError], text: str, usubjid: str, reason: str = "fall") -> None:
        with pytest.raises(error, match=text) as caught:
            request_unblinding(cora, usubjid, reason=reason)
        assert caught.value.remedy

    refused(OutOfOrder, "not randomised", enrolled(study))
    usubjid = randomised(study)
    refused(UsageError, "reason", usubjid, " ")
    refused(UnknownName, "participant", "SMALL-01-999")
    number = request_unblinding(cora, usubjid, reason="fall").payload["request"]
    refused(Duplicate, "waiting", usubjid)
    with pytest.raises(UnknownName, match="request U009"):
        approve_unblinding(study.as_user("ivan"), "U009")
    approve_unblinding(study.as_user("ivan"), number)
    refused(Duplicate, "answered", usubjid)
    with pytest.raises(Duplicate, match="ivan"):
        approve_unblinding(study, number)
    another = randomised(study)
    reveal(study)
    refused(Duplicate, "revealed", another)


def test_unblinding_verbs(study: Study) -> None:
    usubjid = randomised(study)
    arm = study.arm_of(usubjid)
    study.close()
    where = ["-s", str(study.folder)]

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, [*words, *where])
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    out = run("unblind", "request", usubjid, "--reason", "fall", "--as", "cora")
    assert "U001" in out
    assert arm not in out
    assert arm in run("unblind", "approve", "U001", "--as", "ivan")
    assert arm in run("unblind", "show", "U001", "--as", "cora")
    no = CliRunner().invoke(app, ["unblind", "show", "U001", "--as", "asta", *where])
    assert isinstance(no.exception, NotPermitted)
    assert arm not in no.output


def test_a_snapshot_before_unblinding_does_not_know(study: Study) -> None:
    """What blinded readers derive from the record is the same with and without the event."""
    usubjid = randomised(study)
    before = build_snapshot(study.as_user("mona")).frames["ADSL"]
    number = request_unblinding(study, usubjid, reason="fall").payload["request"]
    approve_unblinding(study.as_user("ivan"), number)
    after = build_snapshot(study.as_user("mona")).frames["ADSL"]
    assert after.equals(before)
