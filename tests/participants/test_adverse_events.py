"""Adverse events: the ISO 14155 class by rule, updates with old values, clocks, windows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_study import make_study, randomised

from trialkit._clock import SimulatedClock
from trialkit.data import collect, derive
from trialkit.errors import (
    NotPermitted,
    OutOfOrder,
    OutOfRange,
    TelemetryDamaged,
    UnknownName,
    UsageError,
)
from trialkit.participants import list_aes, notify_ae, report_ae, update_ae
from trialkit.protocol.model import SafetyReporting
from trialkit.record import StudyState
from trialkit.record.journal import JournalWriter, telemetry_schema
from trialkit.record.kinds import (
    AdverseEventReported,
    SessionOpened,
    TelemetrySealed,
    classify,
    main_class,
)
from trialkit.record.sealing import seal
from trialkit.study import Study

AE: dict[str, Any] = {"term": "redness", "category": "skin", "day": 3, "severity": "mild"}
RULES = SafetyReporting(hours={"SAE": 72, "USADE": 24, "DD_SADE": 72})


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    with make_study(tmp_path) as made:
        yield made
        assert vars(StudyState(made.record.read())) == vars(made.state)


@pytest.fixture
def clocked(study: Study) -> Study:
    study._shared.design = study.design = study.design.model_copy(update={"ae_reporting": RULES})
    return study


def wait(study: Study, hours: float) -> None:
    assert isinstance(study.clock, SimulatedClock)
    study.clock.advance(hours * 3600)


def expected_classes(serious: bool, device: bool, unforeseen: bool) -> set[str]:
    """The definitions, one by one, as ISO 14155:2020 clause 3 words them."""
    found = {"AE"}
    if serious:
        found.add("SAE")
    if device:
        found.add("ADE")
    if serious and device:
        found.add("SADE")
    if serious and device and unforeseen:
        found.add("USADE")
    return found


@pytest.mark.parametrize(("serious", "device", "unforeseen"), list(product([0, 1], repeat=3)))
def test_the_class_follows(serious: int, device: int, unforeseen: int) -> None:
    facts = AdverseEventReported(
        **AE, serious=bool(serious), related_device=bool(device), expected=not unforeseen
    )
    assert set(classify(facts)) == expected_classes(bool(serious), bool(device), bool(unforeseen))
    training = facts.model_copy(update={"related_training": True, "severity": "severe"})
    assert classify(training) == classify(facts)  # neither the procedure nor severity counts


def test_main_class() -> None:
    for expected, given in {
        "AE": {},
        "SAE": {"serious": True},
        "ADE": {"related_device": True},
        "SADE": {"serious": True, "related_device": True},
        "USADE": {"serious": True, "related_device": True, "expected": False},
        "DD": {"harm": False, "device_deficiency": True},
        "DD_SADE": {"harm": False, "device_deficiency": True, "sade_potential": True},
    }.items():
        assert main_class(classify(AdverseEventReported(**{**AE, **given}))) == expected
    both = AdverseEventReported(**AE, device_deficiency=True, related_device=True, serious=True)
    assert classify(both)[-2:] == ("DD", "DD_SADE")


def test_relation_degrees_and_ids(study: Study) -> None:
    who = randomised(study)
    for degree, related in (
        ("not_related", False), ("possible", True), ("probable", True), ("causal", True),
    ):  # fmt: skip
        p = report_ae(study, who, **AE, related_device=degree, related_training="causal").payload
        assert (p["related_device"], p["device_relation"]) == (related, degree)
    assert report_ae(study, who, **AE, related_device=True).payload["device_relation"] is None
    lack = report_ae(study, who, **AE, harm=False, device_deficiency=True).payload["ae"]
    assert lack == f"{who}-DD01"
    assert report_ae(study, who, **AE).payload["ae"] == f"{who}-AE06"
    person = study.participant(who)
    assert (person.adverse_events, person.serious_events, len(person.reports)) == (6, 0, 7)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"serious": True}, "no criterion"),
        ({"criterion": "bad"}, "criterion"),
        ({"related_device": "perhaps"}, "device_relation"),
        ({"sade_potential": True}, "SADE potential"),
        ({"harm": False}, "nobody was harmed"),
        ({"harm": False, "device_deficiency": True, "criterion": "death"}, "not serious"),
        ({"end_day": 2}, "before its onset"),
        ({"aware_at": "2026-01-06"}, "in the future"),
        ({"aware_at": "yesterday"}, "no time"),
        ({"aware_at": "2026-01-04T10:00"}, "offset"),
        ({"session": "S9"}, "no session"),
    ],
)
def test_what_cannot_be(study: Study, given: dict[str, Any], text: str) -> None:
    who = randomised(study)
    seq = study.record.head[0]
    with pytest.raises((UsageError, OutOfRange), match=text) as caught:
        report_ae(study, who, **AE, **given)
    assert caught.value.remedy
    assert study.record.head[0] == seq


@pytest.mark.requirement("R01", "R02")
def test_an_update_keeps_the_old_values(study: Study) -> None:
    who = randomised(study)
    name = report_ae(study, who, **AE, outcome="ongoing").payload["ae"]
    event = update_ae(
        study, who, name, changes={"outcome": "recovered", "end_day": 9}, reason="follow-up"
    )
    assert event.payload["changes"] == {"outcome": "recovered", "end_day": 9}
    assert event.payload["old"] == {"outcome": "ongoing", "end_day": None}
    assert event.reason == "follow-up"
    event = update_ae(study, who, name, reason="admitted", changes={"criterion": "hospitalisation"})
    assert event.payload["old"] == {"criterion": None, "serious": False}
    assert study.participant(who).serious_events == 1
    with pytest.raises(UsageError, match="changes nothing"):
        update_ae(study, who, name, changes={"end_day": 9}, reason="again")
    with pytest.raises(UsageError, match="reason"):
        update_ae(study, who, name, changes={"end_day": 10}, reason=" ")
    with pytest.raises(UsageError, match="the id"):
        update_ae(study, who, name, changes={"ae": "X"}, reason="x")
    with pytest.raises(UsageError, match="colour"):
        update_ae(study, who, name, changes={"colour": "red"}, reason="x")
    with pytest.raises(UnknownName):
        update_ae(study, who, "AE99", changes={"end_day": 10}, reason="x")


def test_events_of_older_versions_read(study: Study) -> None:
    """A payload as it was written before there were ids and degrees."""
    who = randomised(study)
    old = AE | {
        "serious": True, "related_device": True, "related_training": False, "outcome": "unknown",
        "device_deficiency": False, "expected": False, "session": None,
    }  # fmt: skip
    study.append(AdverseEventReported(**old), subject=who)
    study.append(AdverseEventReported(**old), subject=who)
    assert list(study.participant(who).reports) == [f"{who}-AE01", f"{who}-AE02"]
    assert list_aes(study)[0].main == "USADE"
    update_ae(study, who, f"{who}-AE02", changes={"criterion": "intervention"}, reason="asked")
    rows = collect(study, mask=False)["AE"]
    assert rows["AESPID"].tolist() == [f"{who}-AE01", f"{who}-AE02"]
    assert rows["AESINTV"].tolist() == [None, "Y"]


# --- clocks ---------------------------------------------------------------------------------------


def test_the_shortest_clock_of_its_classes(clocked: Study) -> None:
    study = clocked
    who = randomised(study)
    report_ae(study, who, **AE)
    usade = report_ae(
        study, who, **AE, criterion="intervention", related_device="possible", expected=False
    ).payload["ae"]
    lack = report_ae(
        study, who, **AE, harm=False, device_deficiency=True, sade_potential=True
    ).payload["ae"]
    assert [(r.ae, r.hours_left, r.verified) for r in list_aes(study, due=True)] == [
        (usade, 24.0, False), (lack, 72.0, False),
    ]  # fmt: skip
    wait(study, 25)
    rows = list_aes(study, due=True)
    assert [(r.hours_left, r.overdue) for r in rows] == [(-1.0, True), (47.0, False)]
    notify_ae(study, who, usade, to="sponsor")
    assert [r.ae for r in list_aes(study, due=True)] == [lack]


def test_the_clock_runs_from_awareness(clocked: Study) -> None:
    who = randomised(clocked)
    report_ae(clocked, who, **AE, criterion="death", aware_at="2026-01-03T09:00+01:00")
    (row,) = list_aes(clocked, due=True)
    assert (row.aware_at, row.due_at) == (
        "2026-01-03T08:00:00.000000Z",
        "2026-01-06T08:00:00.000000Z",
    )
    report_ae(clocked, who, **AE, criterion="death", aware_at="2026-01-02")
    assert list_aes(clocked, due=True)[0].due_at == "2026-01-05T00:00:00.000000Z"
    name = row.ae
    update_ae(clocked, who, name, changes={"aware_at": "2026-01-01"}, reason="the ward knew")
    assert {r.ae: r.due_at for r in list_aes(clocked)}[name] == "2026-01-04T00:00:00.000000Z"


def test_a_new_class_is_due_anew(clocked: Study) -> None:
    study = clocked
    who = randomised(study)
    name = report_ae(study, who, **AE, criterion="hospitalisation").payload["ae"]
    notify_ae(study, who, name, to="sponsor")
    assert list_aes(study, due=True) == []
    wait(study, 100)
    update_ae(study, who, name, changes={"outcome": "recovered"}, reason="follow-up")
    assert list_aes(study, due=True) == []
    update_ae(
        study, who, name, reason="reassessed", changes={"related_device": "probable",
                                                        "expected": False},
    )  # fmt: skip
    (row,) = list_aes(study, due=True)
    assert (row.main, row.hours_left) == ("USADE", 24.0)


def test_no_rules_no_clock(study: Study) -> None:
    report_ae(study, randomised(study), **AE, criterion="death")
    assert list_aes(study, due=True) == []
    assert list_aes(study)[0].verified is None


# --- the window of telemetry ----------------------------------------------------------------------


def sealed_session(study: Study, who: str, seconds: int) -> str:
    """Open a session in the record, and seal rows of it at 100 Hz."""
    name = f"{who}-S01"
    folder = study.folder / "telemetry" / name
    folder.mkdir(parents=True)
    writer = JournalWriter(
        folder / "motion.tkj", telemetry_schema([("knee", "rad", "float32")], {"stream": "motion"})
    )
    n = seconds * 100 + 1
    t = 5_000_000_000 + np.arange(n, dtype=np.int64) * 10_000_000
    writer.append(np.arange(n, dtype=np.uint32), t, t, np.zeros((n, 1), np.float32))
    writer.close()
    done = seal(folder, session=name, status="completed")
    opened = {f: None for f in SessionOpened.model_fields}
    opened |= {"session": name, "number": 1, "day": 2, "protocol": "p", "therapist": "theo"}
    study.append(SessionOpened.model_construct(**opened), subject=who)
    study.append(
        TelemetrySealed(
            session=name,
            folder=folder.relative_to(study.folder).as_posix(),
            manifest_sha256=done.manifest_sha256,
            files=done.files,
        ),
        subject=who,
    )
    return name


@pytest.mark.requirement("R20")
def test_the_window_lies_in_what_was_sealed(study: Study) -> None:
    who = randomised(study)
    with pytest.raises(UsageError, match="needs a session"):
        report_ae(study, who, **AE, window_s=(1, 2))
    session = sealed_session(study, who, 30)
    event = report_ae(study, who, **AE, session=session, window_s=(12.5, 30))
    assert (event.payload["t_from_s"], event.payload["t_to_s"]) == (12.5, 30.0)
    for window in ((-1, 2), (5, 4), (29, 30.01), (float("nan"), 2.0)):
        with pytest.raises((OutOfRange, UsageError)):
            report_ae(study, who, **AE, session=session, window_s=window)
    with pytest.raises(NotPermitted):
        report_ae(study.as_user("asta"), who, **AE, session=session, window_s=(1, 2))
    name = event.payload["ae"]
    update_ae(study, who, name, changes={"window_s": (1, 2)}, reason="seen again")
    (study.folder / "telemetry" / session / "motion.parquet").write_bytes(b"PAR1")
    with pytest.raises(TelemetryDamaged):
        update_ae(study, who, name, changes={"window_s": (1, 3)}, reason="x")
    update_ae(study, who, name, changes={"end_day": 5}, reason="healed")  # asks no telemetry


def test_no_window_without_telemetry(study: Study) -> None:
    from trialkit.participants import log_conventional

    while True:
        who = randomised(study)
        if study.arm_of(who) == "CONVENTIONAL":
            break
    dose = {"minutes": 30, "moving_minutes": 22.5, "steps": 900}
    log_conventional(study, who, number=1, day=1, dose=dose)
    with pytest.raises(OutOfOrder, match="no sealed telemetry"):
        report_ae(study, who, **AE, session=f"{who}-S01", window_s=(1, 2))


# --- tables, and the blinded ----------------------------------------------------------------------


def test_tables(study: Study) -> None:
    who = randomised(study)
    report_ae(
        study, who, **{**AE, "day": 5}, criterion="hospitalisation", related_device="probable",
        related_training="possible", end_day=9,
    )  # fmt: skip
    report_ae(study, who, **{**AE, "day": 4}, harm=False, device_deficiency=True)
    sdtm = collect(study, mask=False)
    first, second = sdtm["AE"].to_dict("records")
    assert (first["AECLASS"], first["AEDEVDEF"], first["AESEQ"]) == ("DD", "Y", 1)
    shown = {k: second[k] for k in ("AECLASS", "AESHOSP", "AESDTH", "AERLDEV", "AERLPRC", "AEENDY")}
    assert shown == {
        "AECLASS": "SADE", "AESHOSP": "Y", "AESDTH": None, "AERLDEV": "PROBABLE",
        "AERLPRC": "POSSIBLE", "AEENDY": 9.0,
    }  # fmt: skip
    adae = derive(sdtm, study.design, study.protocols)["ADAE"]
    assert adae["ASTDY"].tolist() == [5]  # a deficiency without harm is no adverse event
    masked = collect(study)["AE"]
    assert masked["AESEQ"].tolist() == [1]
    hidden = masked[["AECLASS", "AERELDEV", "AERLDEV", "AEDEVDEF", "AESESS"]]
    assert hidden.isna().all(axis=None)


def test_the_blinded_see_no_device(clocked: Study) -> None:
    """With and without the device in it, a report looks the same to who may not see arms."""
    study = clocked
    cora, asta = study.as_user("cora"), study.as_user("asta")
    one, two = randomised(study), randomised(study)
    report_ae(
        cora, one, **{**AE, "term": "redness under cuff"}, criterion="hospitalisation",
        related_device="causal", expected=False, device_deficiency=True,
    )  # fmt: skip
    report_ae(cora, two, **AE, criterion="hospitalisation", expected=False)
    report_ae(cora, one, **AE, harm=False, device_deficiency=True)
    mine = report_ae(asta, two, **AE).payload["ae"]
    rows = {row.ae: row for row in list_aes(asta)}
    assert set(rows) == {f"{one}-AE01", f"{two}-AE01", mine}
    first, second = rows[f"{one}-AE01"], rows[f"{two}-AE01"]
    for name in ("main", "classes", "facts", "aware_at", "due_at", "hours_left", "updates"):
        a, b = getattr(first, name), getattr(second, name)
        assert a == b or name == "aware_at", name
    assert rows[mine].facts["term"] == "redness"
    lack = f"{one}-DD01"
    for act in (
        lambda: update_ae(asta, one, f"{one}-AE01", changes={"end_day": 9}, reason="x"),
        lambda: update_ae(asta, two, mine, changes={"related_device": "causal"}, reason="x"),
        lambda: notify_ae(asta, one, f"{one}-AE01", to="sponsor"),
    ):
        with pytest.raises(NotPermitted):
            act()
    with pytest.raises(UnknownName):
        update_ae(asta, one, lack, changes={"end_day": 9}, reason="x")
    update_ae(asta, two, mine, changes={"end_day": 9}, reason="healed")
    with pytest.raises(NotPermitted):
        list_aes(study.as_user("stan"))
