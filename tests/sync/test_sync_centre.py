from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from small_study import randomised
from two_sites import (
    busy_site,
    make_centre,
    open_at,
    open_centre,
    require_same,
    sealed_session,
    texts,
    work,
)

from trialkit._canonical import canonical_json, sha256_text
from trialkit.data.collect import collect
from trialkit.data.snapshot import build_snapshot
from trialkit.errors import ChainBroken, DataLocked, NotPermitted, UnknownName, UsageError
from trialkit.evidence import verify as shipped
from trialkit.participants import (
    check_allocation,
    consent,
    enrol,
    raise_deviation,
    verify_allocation,
)
from trialkit.record import Record, read_export
from trialkit.record.kinds import AllocationRevealed
from trialkit.record.received import STEP, expanded
from trialkit.record.state import StudyState
from trialkit.record.trail import trail
from trialkit.record.verification import verify_record
from trialkit.study import Study
from trialkit.study.datalock import freeze, release
from trialkit.study.sync.centre import body_at, head_of, receive
from trialkit.study.sync.push import FolderSource, Here, push

SITE = "02"


@pytest.fixture(params=["sqlite", "postgresql"])
def centre(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Study]:
    """A centre on both databases, with folders for sites 02 and 03."""
    database = None
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres").database()
    with make_centre(tmp_path, database) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Study]:
    """A centre in a folder."""
    with make_centre(tmp_path) as made:
        yield made


def take(folder: Path, centre: Study, site: str = SITE) -> Any:
    with FolderSource(folder / f"site-{site}") as source:
        return push(source, Here(centre), tries=1)


def site_texts(folder: Path, site: str = SITE) -> list[str]:
    with FolderSource(folder / f"site-{site}") as source:
        return texts(source.record)


def changed(body: str, **fields: Any) -> str:
    return canonical_json(json.loads(body) | fields)


def refusals(centre: Study) -> list[tuple[str, int, str]]:
    found = centre.record.read(kinds=["chain.refused"])
    return [(e.payload["site"], e.payload["seq"], e.payload["why"]) for e in found]


def test_two_sites_are_seen_whole_and_once(tmp_path: Path, centre: Study) -> None:
    for site, n in ((SITE, 3), ("03", 2)):
        busy_site(tmp_path, site, n, size=300_000)
    randomised(centre, site="01")
    first = take(tmp_path, centre), take(tmp_path, centre, "03")
    assert [(one.sessions, one.events == one.last) for one in first] == [(3, True), (2, True)]
    before = centre.record.head
    again = take(tmp_path, centre), take(tmp_path, centre, "03")
    assert [(one.sessions, one.events, one.bytes) for one in again] == [(0, 0, 0)] * 2
    assert centre.record.head == before
    with open_at(tmp_path, SITE) as site:
        work(site)
    take(tmp_path, centre)
    status = centre.status()
    assert status.sites == {"01": 1, "02": 4, "03": 2}
    assert status.visits == {"BL": 7}
    assert status.sessions == {"completed": 5}
    assert centre.state.open_sessions == []
    require_same(tmp_path, SITE, "03")
    report = verify_record(centre.record)
    assert report.ok, str(report)


def test_the_centre_knows_the_arms_though_none_was_sent(tmp_path: Path, centre: Study) -> None:
    arms = {}
    for site in (SITE, "03"):
        with open_at(tmp_path, site) as study:
            arms |= {who: study.arm_of(who) for who in work(study, 6)}
        take(tmp_path, centre, site)
    arms["SMALL-01-001"] = centre.arm_of(randomised(centre, site="01"))
    assert {who: centre.arm_of(who) for who in arms} == arms
    assert set(arms.values()) == {"ROBOTIC", "CONVENTIONAL"}
    check = verify_allocation(centre)
    assert (check.ok, check.participants, check.seed_committed) == (True, 13, True)
    sent = "".join(site_texts(tmp_path) + site_texts(tmp_path, "03"))
    with pytest.raises(NotPermitted):
        centre.as_user("asta").arm_of("SMALL-02-001")
    assert "ROBOTIC" not in sent.replace('ROBOTIC":', "").replace("-robotic", "")


def test_an_export_of_the_centre_alone_rebuilds_everything(tmp_path: Path, centre: Study) -> None:
    busy_site(tmp_path, SITE, 2, size=10_000)
    take(tmp_path, centre)
    centre.record.export(tmp_path / "record.jsonl")
    rebuilt = StudyState(read_export(tmp_path / "record.jsonl"))
    assert rebuilt.participants == centre.state.participants
    assert rebuilt.sessions == centre.state.sessions
    assert rebuilt.chains[SITE].hash == centre.state.chains[SITE].hash
    seed = centre.allocation.seed()
    arms = [arm.code for arm in centre.design.arms]
    assert check_allocation(read_export(tmp_path / "record.jsonl"), seed, arms=arms).ok
    frames = collect(expanded(read_export(tmp_path / "record.jsonl")), centre.design)
    for name, frame in collect(centre).items():
        assert frame.equals(frames[name]), name
    rows = list(trail(centre.record))
    assert sum(row[4] == "session.telemetry_sealed" for row in rows) == 2
    assert len({row[0] for row in rows}) == len(rows)


def test_events_of_sites_are_found_by_kind_and_by_participant(
    tmp_path: Path, centre: Study
) -> None:
    with open_at(tmp_path, SITE) as site:
        (usubjid,) = work(site)
        sealed_session(site, usubjid, size=10)
        there = [e for e in site.record.read(subject=usubjid)]
    take(tmp_path, centre)
    here = list(centre.record.read(subject=usubjid))
    assert [e.hash for e in here] == [e.hash for e in there]
    assert [e.seq - STEP for e in here] == [e.seq for e in there]
    opened = centre.state.sessions[f"{usubjid}-S01"].opened_seq
    after = list(centre.record.read(kinds=["session.closed"], subject=usubjid, after=opened or 0))
    assert [e.kind for e in after] == ["session.closed"]
    assert not list(centre.record.read(kinds=["session.closed"], subject="SMALL-02-999"))


def test_a_snapshot_holds_every_site_and_says_no_arm(tmp_path: Path, local: Study) -> None:
    for site in (SITE, "03"):
        with open_at(tmp_path, site) as study:
            work(study, 2)
        take(tmp_path, local, site)
    blinded = build_snapshot(local)
    assert list(blinded.frames["DM"]["SITEID"]) == ["02", "02", "03", "03"]
    assert blinded.frames["DM"]["ARMCD"].isna().all()


def test_what_is_revealed_is_checked_for_every_site_with_the_record_alone(
    tmp_path: Path, local: Study
) -> None:
    for site in (SITE, "03"):
        with open_at(tmp_path, site) as study:
            for usubjid in work(study, 2):
                sealed_session(study, usubjid, size=10)
        take(tmp_path, local, site)
    randomised(local, site="01")
    local.append(
        AllocationRevealed(
            plan_lock="0" * 64,
            arms=local.allocations(),
            seed=local.allocation.seed(),
            codes=[arm.code for arm in local.design.arms],
        )
    )
    local.record.export(tmp_path / "record.jsonl")
    check = check_allocation(read_export(tmp_path / "record.jsonl"))
    assert (check.differences, check.participants, check.revealed) == ([], 5, 5)
    events, faults = shipped.read_events((tmp_path / "record.jsonl").read_bytes())
    assert not faults
    report = shipped.Report()
    shipped.check_allocation(shipped.Package(tmp_path), events, report)
    assert report.facts["allocations"] == 5
    assert [f.message for f in report.faults] == ["the arms were revealed before a plan lock"]
    sealed = list(shipped.of_kind(events, "session.telemetry_sealed"))
    assert len(sealed) == 4


# --- what is refused --------------------------------------------------------------------------


def test_a_chain_that_parts_is_located_refused_and_recorded_once(
    tmp_path: Path, centre: Study
) -> None:
    copy = tmp_path / "old"
    with open_at(tmp_path, SITE) as site:
        work(site)
        head = site.record.head[0]
    shutil.copytree(tmp_path / "site-02", copy / "site-02")
    shutil.copytree(tmp_path / "keys", copy / "keys")
    with open_at(tmp_path, SITE) as site:
        work(site)
    take(tmp_path, centre)
    with FolderSource(copy / "site-02") as source:
        with pytest.raises(ChainBroken, match=f"ends at event {head}") as caught:
            push(source, Here(centre))
        assert "old copy" in caught.value.remedy
    with open_at(copy, SITE) as site:
        consent(site, "SMALL-02-001", version="3.0")
        work(site, 3)
    for _ in range(3):
        with pytest.raises(ChainBroken, match=f"another event {head + 1}") as caught:
            take(copy, centre)
        assert caught.value.details["seq"] == head + 1
    assert refusals(centre) == [(SITE, head + 1, "fork")]
    require_same_chain(tmp_path, centre)


def require_same_chain(folder: Path, centre: Study) -> None:
    """Check that what was refused left nothing behind, and that a push goes on."""
    take(folder, centre)
    assert [body_at(centre, SITE, n) for n in range(1, head_of(centre, SITE).last + 1)] == (
        site_texts(folder)
    )
    assert verify_record(centre.record).ok
    assert StudyState(centre.record.read()).participants == centre.state.participants


def rechained(bodies: list[str], number: int, **fields: Any) -> list[str]:
    """The chain with one event changed, and every later one chained to it anew."""
    out = bodies[: number - 1]
    for n, body in enumerate(bodies[number - 1 :]):
        prev = sha256_text(out[-1]) if out else "0" * 64
        out.append(changed(body, prev=prev, **(fields if n == 0 else {})))
    return out


def enrolment(folder: Path) -> tuple[list[str], int]:
    with open_at(folder, SITE) as site:
        enrol(site, site=SITE)
        work(site)
        at = next(e.seq for e in site.record.read(kinds=["participant.enrolled"]))
    return site_texts(folder), at


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "no.such"}, "no event that can be read"),
        ({"payload": {"site": "02"}}, "does not fit those before"),
        ({"payload": {"site": "03", "attributes": {}}}, "about site 03"),
        ({"subject": "SMALL-03-001"}, "no participant of site 02"),
        ({"at": "yesterday"}, "no event that can be read"),
        ({"actor": None}, "no event that can be read"),
        ({"seq": 4}, "no event that can be read"),
        ({"extra": 1}, "no event that can be read"),
        (
            {"kind": "participant.consented", "subject": "SMALL-02-9", "payload": {"version": "1"}},
            "does not fit those before",
        ),
        (
            {
                "kind": "session.opened",
                "payload": {
                    "session": "../../x", "number": 1, "day": 1, "protocol": "x", "device": {},
                    "planned_minutes": 1.0, "therapist": "t", "conformance": None,
                },
            },
            "names no session",
        ),
        (
            {
                "kind": "session.telemetry_sealed",
                "payload": {
                    "session": "SMALL-02-001-S01", "folder": "../keys",
                    "manifest_sha256": "0" * 64, "files": [],
                },
            },
            "telemetry of SMALL-02-001-S01 in",
        ),
        (
            {
                "kind": "chain.refused",
                "payload": {"site": "03", "seq": 1, "hash": "", "why": "fork", "detail": ""},
            },
            "of the whole study",
        ),
    ],
)  # fmt: skip
def test_what_no_site_may_write_is_refused(
    tmp_path: Path, local: Study, fields: dict[str, Any], said: str
) -> None:
    bodies, at = enrolment(tmp_path)
    wrong = rechained(bodies, at, **fields)
    receive(local, SITE, 1, bodies[: at - 1])
    before = local.record.head
    with pytest.raises(ChainBroken, match=said) as caught:
        receive(local, SITE, at, wrong[at - 1 : at])
    assert caught.value.remedy
    assert local.record.head[0] == before[0] + 1
    assert [why for _, _, why in refusals(local)] == ["invalid"]
    with pytest.raises(ChainBroken):
        receive(local, SITE, at, wrong[at - 1 : at])
    assert local.record.head[0] == before[0] + 1
    require_same_chain(tmp_path, local)


def test_a_whole_part_is_taken_or_nothing_of_it(tmp_path: Path, local: Study) -> None:
    bodies, _ = enrolment(tmp_path)
    wrong = rechained(bodies, len(bodies), kind="no.such")
    with pytest.raises(ChainBroken):
        receive(local, SITE, 1, wrong)
    assert head_of(local, SITE).last == 0
    with pytest.raises(UsageError, match="does not follow event 0"):
        receive(local, SITE, 2, bodies[1:])
    with pytest.raises(UsageError, match="too many"):
        receive(local, SITE, 1, bodies * 40)
    with pytest.raises(UnknownName, match="site 09 has no chain"):
        receive(local, "09", 1, bodies)
    with pytest.raises(ChainBroken, match=r"another site|does not follow"):
        receive(local, "03", 1, bodies)
    require_same_chain(tmp_path, local)


def test_another_beginning_is_a_fork(tmp_path: Path, local: Study) -> None:
    bodies = site_texts(tmp_path)
    with pytest.raises(ChainBroken, match="event 1 does not follow"):
        receive(local, SITE, 1, rechained(bodies, 1, actor="mallory"))
    assert refusals(local) == [(SITE, 1, "fork")]
    require_same_chain(tmp_path, local)


def test_overlapping_parts_add_only_what_is_new(tmp_path: Path, local: Study) -> None:
    bodies, _ = enrolment(tmp_path)
    for first, last in ((1, 5), (1, 5), (3, 9), (9, 9), (2, len(bodies))):
        receive(local, SITE, first, bodies[first - 1 : last])
    parts = [e.payload for e in local.record.read(kinds=["chain.received"])]
    assert [(p["first"], p["last"]) for p in parts if "first" in p] == [
        (1, 5), (6, 9), (10, len(bodies)),
    ]  # fmt: skip
    require_same_chain(tmp_path, local)


def test_lists_of_another_seed_are_refused(tmp_path: Path, local: Study) -> None:
    with open_at(tmp_path, SITE) as site:
        folder = site.folder
    with closing(sqlite3.connect(folder / "allocation.db")) as store, store:
        store.execute("DROP TRIGGER secret_update")
        store.execute("UPDATE secret SET seed = 'another'")
    with open_at(tmp_path, SITE) as site:
        work(site)
    with pytest.raises(ChainBroken, match="not those of the seed that it was given"):
        take(tmp_path, local)
    assert head_of(local, SITE).last == 0
    assert [why for _, _, why in refusals(local)] == ["invalid"]


def test_nothing_comes_in_while_the_data_are_locked(tmp_path: Path, local: Study) -> None:
    local.add_user("dana", role="data_manager")
    with open_at(tmp_path, SITE) as site:
        work(site)
    take(tmp_path, local)
    freeze(local.as_user("dana"), reason="Before the analysis.")
    with open_at(tmp_path, SITE) as site:
        site.add_user("newa", role="assessor")
        work(site)
    with pytest.raises(DataLocked, match="enters data, and all participants: frozen"):
        take(tmp_path, local)
    assert [why for _, _, why in refusals(local)] == ["held"]
    assert local.status().sites == {"02": 1}
    release(local.as_user("dana"), reason="Open again.")
    take(tmp_path, local)
    require_same_chain(tmp_path, local)


# --- verification -------------------------------------------------------------------------------


def test_a_site_chain_that_was_altered_at_the_centre_is_located(
    tmp_path: Path, local: Study
) -> None:
    busy_site(tmp_path, SITE, 2, size=10)
    take(tmp_path, local)
    anchor = next(iter(local.record.read(kinds=["chain.received"])))
    body = next(t for t in texts(local.record) if json.loads(t)["seq"] == anchor.seq)
    fields = json.loads(body)
    inner = fields["payload"]["bodies"]
    at = next(i for i, text in enumerate(inner) if '"participant.consented"' in text)
    inner[at] = inner[at].replace('"version":"1.0"', '"version":"9.9"')
    forged = canonical_json(fields)
    local.close()
    with closing(sqlite3.connect(local.folder / "study.db")) as store, store:
        store.execute("DROP TRIGGER events_no_update")
        store.execute(
            "UPDATE events SET body = ?, hash = ? WHERE seq = ?",
            (forged, sha256_text(forged), anchor.seq),
        )
    with Record.open(local.folder / "study.db", write=False, clock=local.clock) as record:
        report = verify_record(record)
    assert not report.ok
    found = [f for f in report.findings if f.seq == anchor.seq]
    assert any(f"chain of site 02: event {at + 2} does not follow" in f.detail for f in found)
    with pytest.raises(ChainBroken):
        open_centre(tmp_path)


def test_a_wrong_anchor_is_found_even_where_the_centre_rechained_everything(
    tmp_path: Path, local: Study
) -> None:
    from trialkit.record.received import ChainsReceived

    busy_site(tmp_path, SITE, 1, size=10)
    take(tmp_path, local)
    parts = [e.payload for e in local.record.read(kinds=["chain.received"]) if "root" in e.payload]
    assert [ChainsReceived().faults(p) for p in parts[:1]] == [[]]
    for name, value in (("root", "0" * 64), ("hash", "0" * 64), ("last", 3)):
        assert ChainsReceived().faults(parts[0] | {name: value}), name
    assert ChainsReceived().faults(parts[0] | {"bodies": parts[0]["bodies"][1:]})


def test_a_deviation_found_at_the_centre_is_told_at_the_site(tmp_path: Path, local: Study) -> None:
    with open_at(tmp_path, SITE) as site:
        (usubjid,) = work(site)
        take(tmp_path, local)
        raise_deviation(site, usubjid, category="visit", detail="Held by telephone.")
    take(tmp_path, local)
    assert list(local.state.deviations) == ["02-D0001"]
