from __future__ import annotations

import json
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from home_device import (
    HOME,
    OTHER,
    WHO,
    handed,
    is_out,
    make_centre,
    open_home,
    require_received,
    run_command,
    take,
    trained,
)
from small_study import WALK, randomised
from two_sites import (
    Served,
    cable,
    copied,
    environment,
    files_below,
    open_at,
    open_centre,
    pushed,
    require_seen,
)
from typer.testing import CliRunner

from trialkit.cli.whole import app
from trialkit.data.checks import queries, query_findings
from trialkit.data.collect import collect
from trialkit.data.snapshot import build_snapshot
from trialkit.errors import (
    ChainBroken,
    DataLocked,
    Duplicate,
    NotPermitted,
    OutOfOrder,
    TelemetryDamaged,
    UnknownName,
    Unreachable,
    WrongArm,
)
from trialkit.participants import (
    assess,
    consent,
    enrol,
    hold_visit,
    list_deviations,
    miss_session,
    raise_deviation,
    raise_query,
    report_ae,
    verify_allocation,
    withdraw,
)
from trialkit.record import read_export
from trialkit.record.kinds import ChainEnded, DataFrozen, SessionMissed, SessionOpened
from trialkit.record.received import STEP, expanded
from trialkit.record.state import StudyState
from trialkit.record.verification import verify_record
from trialkit.session import recover
from trialkit.session.replay import replay
from trialkit.study import Study
from trialkit.study.accounts import login, require_login, set_password
from trialkit.study.datalock import freeze, release
from trialkit.study.signing import sign
from trialkit.study.sync.client import HttpCentre
from trialkit.study.sync.device import end_device, hand_over_device, take_back_device
from trialkit.study.sync.push import FolderSource, Pushed, push
from trialkit.study.sync.site import open_site

PASSWORD = "a long enough password"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A centre after one session of the participant, and the home device with another."""
    folder = tmp_path_factory.mktemp("home")
    with make_centre(folder) as centre:
        trained(centre, 1)
        handed(folder, centre)
    with open_home(folder) as home:
        assert trained(home, 2).completed
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path)


@pytest.fixture
def centre(folder: Path) -> Iterator[Study]:
    with open_centre(folder) as opened:
        yield opened


@pytest.fixture
def home(folder: Path) -> Iterator[Study]:
    with open_home(folder) as opened:
        yield opened


def refusals(centre: Study) -> list[tuple[str, str]]:
    found = centre.record.read(kinds=["chain.refused"])
    return [(e.payload["site"], e.payload["why"]) for e in found]


def test_it_knows_its_participant_and_nothing_else(folder: Path, home: Study) -> None:
    with open_centre(folder) as centre:
        opened = next(iter(centre.record.read(kinds=["device.handed"])))
        levels = centre.participant(WHO).levels
    assert (opened.subject, opened.actor) == (WHO, "theo")
    assert opened.payload["chain"] == HOME
    first, *_ = home.record.read()
    assert (opened.payload["genesis"], opened.payload["number"]) == (first.hash, 1001)
    assert home.state.home == WHO
    assert sorted(home.state.participants) == [WHO]
    assert sorted(home.state.participants[WHO].sessions) == [1, 2]
    assert {user.role for user in home.state.users.values()} == {
        "owner", "coordinator", "therapist",
    }  # fmt: skip
    assert levels.items() <= home.state.participants[WHO].levels.items()
    assert verify_record(home.record).ok
    files = files_below(home.folder)
    assert not any(name.startswith("allocation") for name in files)
    assert [name for name in files if name.startswith("protocols")] == [
        "protocols/small-robotic.yaml"
    ]
    everything = b"".join(files.values())
    for absent in (OTHER, "small-conventional"):
        assert absent.encode() not in everything
    mode = (home.folder / "sync" / f"site-{HOME}.pem").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert home.arm_of(WHO) == "ROBOTIC"


def test_while_it_is_out_no_session_is_run_at_the_centre(centre: Study) -> None:
    before = centre.participant(WHO).sessions.copy()
    opened = SessionOpened(
        session=f"{WHO}-S03", number=3, day=8, protocol="x", device={}, planned_minutes=1.0,
        therapist="theo",
    )  # fmt: skip
    for refused in (
        lambda: trained(centre, 3),
        lambda: miss_session(centre, WHO, number=3, day=8, code="ILL"),
        lambda: centre.append(SessionMissed(number=3, day=8, code="ILL"), subject=WHO),
        lambda: centre.append(opened, subject=WHO),
    ):
        with pytest.raises(OutOfOrder, match=f"trains on home device {HOME}") as caught:
            refused()
        assert "sync return" in caught.value.remedy
    assert centre.participant(WHO).sessions == before
    with pytest.raises(OutOfOrder, match="trains on home device"):
        handed(centre.folder.parent, centre, "again")
    miss_session(centre, OTHER, number=1, day=1, code="ILL")


def test_while_it_is_out_all_the_rest_goes_on_at_the_centre(folder: Path, centre: Study) -> None:
    consent(centre, WHO, version="2.0")
    hold_visit(centre, WHO, "W4", day=28)
    assess(centre.as_user("asta"), WHO, visit="W4", instrument="10MWT", items=WALK)
    report_ae(centre, WHO, term="sore", category="pain", day=3, severity="mild")
    raise_deviation(centre, WHO, category="visit", detail="The lift was broken.")
    raise_query(centre, WHO, text="Is it so?", visit="BL")
    take(folder, centre)
    who = centre.participant(WHO)
    assert (who.consent, sorted(who.visits), sorted(who.sessions)) == ("2.0", ["BL", "W4"], [1, 2])
    assert verify_allocation(centre).ok
    require_received(folder)


def test_the_device_holds_sessions_of_its_participant_alone(home: Study) -> None:
    before = home.state.counts.copy()
    olga = home.as_user("olga")
    for refused in (
        lambda: consent(olga, WHO, version="2.0"),
        lambda: withdraw(olga, WHO, day=3, code="MOVED"),
        lambda: report_ae(home, WHO, term="sore", category="pain", day=3, severity="mild"),
        lambda: raise_deviation(home, WHO, category="visit", detail="It was late."),
        lambda: enrol(olga, site="01"),
        lambda: olga.add_user("newa", role="therapist"),
        lambda: olga.append(DataFrozen(visit=None)),
        lambda: hand_over_device(home, WHO, home.folder.parent / "again"),
        lambda: open_site(olga, "01", home.folder.parent / "again"),
        lambda: take_back_device(home, WHO, lost="no"),
    ):
        with pytest.raises((OutOfOrder, UnknownName)):
            refused()
    with pytest.raises(OutOfOrder, match="this is the home device of"):
        trained(home, 3, OTHER)
    with pytest.raises(OutOfOrder, match="is about SMALL-01-002"):
        home.append(SessionMissed(number=3, day=8, code="ILL"), subject=OTHER)
    changed = {k for k, n in home.state.counts.items() if n != before[k]}
    assert changed <= {"command.refused", "clock.source"}
    assert not (home.folder.parent / "again").exists()
    miss_session(home, WHO, number=3, day=8, code="ILL")
    raise_deviation(home, WHO, category="device_use", detail="It was tilted.", session=f"{WHO}-S02")
    assert f"{HOME}-S0001" in home.state.deviations
    for ask in (queries, query_findings):
        with pytest.raises(OutOfOrder, match="holds sessions alone"):
            ask(home)


def send(folder: Path, url: str) -> Pushed:
    """Push once over the network."""
    there = folder / f"site-{HOME}"
    with FolderSource(there) as source, HttpCentre(url, there, HOME) as centre:
        return push(source, centre, tries=1)


@pytest.mark.slow(seconds=25)
def test_a_session_is_run_pushed_over_a_bad_line_and_taken_up(folder: Path) -> None:
    done = subprocess.run(
        run_command(folder, 3, 8), env=environment(folder), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "completed"
    with Served(folder) as server, cable(server.port) as line:
        k, cuts = 2_000, 0
        while True:
            line.left, k = k, k * 2
            try:
                send(folder, line.url)
                break
            except Unreachable:
                cuts += 1
        line.left = None
        assert cuts >= 2
        again = json.loads(pushed(folder, HOME, server.url).stdout)
        assert (again["events"], again["sessions"]) == (0, 0)
    require_received(folder)
    with open_centre(folder) as centre:
        assert {s: m.status for s, m in centre.state.sessions.items()} == {
            f"{WHO}-S0{n}": "completed" for n in (1, 2, 3)
        }
        for n in (1, 2, 3):
            assert replay(centre, f"{WHO}-S0{n}").same
        frames = collect(centre)
        assert len(frames["EX"][frames["EX"]["USUBJID"] == WHO]) == 3
        build_snapshot(centre)
        centre.record.export(folder / "record.jsonl")
        rebuilt = StudyState(read_export(folder / "record.jsonl"))
        assert rebuilt.participants == centre.state.participants
        assert rebuilt.sessions == centre.state.sessions
        alone = collect(expanded(read_export(folder / "record.jsonl")), centre.design)
        assert all(frame.equals(alone[name]) for name, frame in frames.items())


def test_a_flipped_bit_in_its_chain_is_found(folder: Path, centre: Study) -> None:
    take(folder, centre)
    assert verify_record(centre.record).ok
    centre.close()
    with closing(sqlite3.connect(folder / "study" / "study.db")) as database:
        tables = [
            r[0] for r in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        assert "events" in tables
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type='trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        rows = database.execute(
            "SELECT rowid, body FROM events WHERE CAST(body AS TEXT) LIKE '%chain.received%'"
        ).fetchall()
        rowid, body = rows[-1]
        raw = bytearray(body if isinstance(body, bytes) else body.encode())
        raw[raw.index(b"planned_minutes") + 3] ^= 1
        database.execute("UPDATE events SET body = ? WHERE rowid = ?", (bytes(raw), rowid))
        database.commit()
    done = CliRunner().invoke(app, ["record", "verify", "--study", str(folder / "study")])
    assert done.exit_code == ChainBroken.exit_status
    said = done.stdout + done.stderr + str(done.exception)
    assert f"event {rowid}" in said
    assert HOME not in said


def test_it_is_taken_back_once_everything_is_here(folder: Path, centre: Study) -> None:
    theo = centre.as_user("theo")
    take(folder, centre)
    with pytest.raises(OutOfOrder, match="has not ended"):
        take_back_device(theo, WHO)
    with open_home(folder) as home:
        assert end_device(home).payload == {"sessions": 1}
        with pytest.raises(OutOfOrder, match="has ended"):
            end_device(home)
        for refused in (lambda: trained(home, 3), lambda: home.append(ChainEnded(sessions=1))):
            with pytest.raises(OutOfOrder, match="ended"):
                refused()
    with pytest.raises(OutOfOrder, match="has not ended"):
        take_back_device(theo, WHO)
    take(folder, centre)
    with pytest.raises(NotPermitted):
        take_back_device(centre.as_user("asta"), WHO)
    done = take_back_device(theo, WHO)
    assert (done.payload["lost"], done.payload["missing"]) == (False, [])
    assert not is_out(centre)
    with pytest.raises(UnknownName, match="no home device"):
        take_back_device(theo, WHO)
    with pytest.raises(OutOfOrder, match="is not the study of a home device"):
        end_device(theo)
    with pytest.raises(Duplicate):
        trained(centre, 2)
    assert trained(centre, 3).completed
    assert take(folder, centre).events == 0
    with open_home(folder) as home, pytest.raises(OutOfOrder, match="ended"):
        home.append(SessionMissed(number=4, day=11, code="ILL"), subject=WHO)
    with pytest.raises(ChainBroken, match="the device was taken back"):
        take(folder, centre)  # the refusal there is an event too
    assert refusals(centre) == [(HOME, "returned")]
    handed(folder, centre, "01-001-H2")
    assert centre.state.chains["01-001-H2"].number == 1002
    with open_home(folder, name="01-001-H2") as second:
        assert sorted(second.participant(WHO).sessions) == [1, 2, 3]
        assert trained(second, 4).completed
    take(folder, centre, "01-001-H2")
    require_received(folder, "01-001-H2")
    assert vars(StudyState(centre.record.read())) == vars(centre.state)


def test_telemetry_that_has_not_come_keeps_it_out(folder: Path, centre: Study) -> None:
    with open_home(folder) as home:
        end_device(home)
    shutil.move(folder / f"site-{HOME}" / "telemetry", folder / "apart")
    with pytest.raises(TelemetryDamaged):
        take(folder, centre)
    with pytest.raises(OutOfOrder, match=f"telemetry of {WHO}-S02 has not arrived"):
        take_back_device(centre, WHO)
    shutil.move(folder / "apart", folder / f"site-{HOME}" / "telemetry")
    take(folder, centre)
    take_back_device(centre, WHO)
    require_received(folder)


def test_what_is_lost_with_it_is_said(folder: Path, centre: Study) -> None:
    with open_home(folder) as home:
        home.append(
            SessionOpened(
                session=f"{WHO}-S03", number=3, day=8, protocol="small-robotic", device={},
                planned_minutes=10.0, therapist="theo",
            ),
            subject=WHO,
        )  # fmt: skip
        with pytest.raises(OutOfOrder, match="still open"):
            end_device(home)
    shutil.move(folder / f"site-{HOME}" / "telemetry", folder / "apart")
    with pytest.raises(TelemetryDamaged):
        take(folder, centre)
    done = take_back_device(centre.as_user("theo"), WHO, lost="left in a taxi")
    assert done.reason == "left in a taxi"
    assert done.payload["lost"] is True
    assert done.payload["missing"] == [f"{WHO}-S02"]
    assert done.payload["unfinished"] == [f"{WHO}-S03"]
    lost = [d for d in list_deviations(centre) if d.category == "data"]
    assert [d.session for d in lost] == [f"{WHO}-S02", f"{WHO}-S03"]
    assert not [d for d in list_deviations(centre.as_user("asta")) if d.category == "data"]
    assert centre.state.open_sessions == []
    assert trained(centre, 4).completed
    shutil.move(folder / "apart", folder / f"site-{HOME}" / "telemetry")
    take(folder, centre)  # it turned up: files that its chain names are still taken
    assert centre.state.chains[HOME].received
    with open_home(folder) as home:
        home.append(SessionMissed(number=4, day=11, code="ILL"), subject=WHO)
    for _ in range(2):
        with pytest.raises(ChainBroken, match="the device was taken back"):
            take(folder, centre)
    assert refusals(centre) == [(HOME, "returned")]
    assert verify_record(centre.record).ok


def test_a_session_that_a_crash_ended_is_recovered_there_and_received(
    folder: Path, centre: Study
) -> None:
    opened = SessionOpened(
        session=f"{WHO}-S03", number=3, day=8, protocol="small-robotic", device={},
        planned_minutes=10.0, therapist="theo",
    )  # fmt: skip
    with open_home(folder) as home:
        home.append(opened, subject=WHO)
        take(folder, centre)
        assert centre.participant(WHO).sessions[3].status == "open"
        assert recover(centre) == []
        assert [one.status for one in recover(home)] == ["recovered"]
        end_device(home)
    take(folder, centre)
    take_back_device(centre, WHO)
    assert centre.participant(WHO).sessions[3].status == "recovered"
    assert vars(StudyState(centre.record.read())) == vars(centre.state)


def test_a_session_after_a_withdrawal_is_kept_and_flagged(folder: Path, centre: Study) -> None:
    withdraw(centre, WHO, day=6, code="MOVED")
    with open_home(folder) as home:
        assert trained(home, 3).completed
    take(folder, centre)
    found = [d for d in list_deviations(centre) if d.category == "training"]
    assert [(d.session, d.day) for d in found] == [(f"{WHO}-S03", 8)]
    assert "withdrew on day 6" in found[0].detail
    assert not [d for d in list_deviations(centre.as_user("asta")) if d.category == "training"]
    require_received(folder)


def test_data_that_are_frozen_hold_it_back(folder: Path, centre: Study) -> None:
    take(folder, centre)
    freeze(centre, reason="a look")
    with open_home(folder) as home:
        miss_session(home, WHO, number=3, day=8, code="ILL")
    with pytest.raises(DataLocked, match="frozen"):
        take(folder, centre)
    assert refusals(centre) == [(HOME, "held")]
    release(centre, reason="done")
    take(folder, centre)
    assert centre.participant(WHO).sessions[3].status == "missed"


def test_a_signature_breaks_when_a_session_comes_later(folder: Path, centre: Study) -> None:
    theo = centre.as_user("theo")
    set_password(theo, PASSWORD)
    sign(theo, f"session:{WHO}-S01", "seen", password=PASSWORD, signer="theo")
    take(folder, centre)
    (one,) = centre.state.signed[f"session:{WHO}-S01"]
    assert one.broken_by is None
    sign(theo, f"session:{WHO}-S02", "seen", password=PASSWORD, signer="theo")
    sign(theo, f"casebook:{WHO}", "seen", password=PASSWORD, signer="theo")
    with open_home(folder) as home:
        miss_session(home, WHO, number=3, day=8, code="ILL")
    take(folder, centre)
    (casebook,) = centre.state.signed[f"casebook:{WHO}"]
    assert casebook.broken_by is not None
    assert casebook.broken_by > 1001 * STEP
    (second,) = centre.state.signed[f"session:{WHO}-S02"]
    assert second.broken_by is None


def test_a_copy_that_went_on_is_a_fork(folder: Path, centre: Study) -> None:
    shutil.copytree(folder / f"site-{HOME}", folder / "copy")
    with open_home(folder) as home:
        end_device(home)
    take(folder, centre)
    take_back_device(centre, WHO)
    shutil.rmtree(folder / f"site-{HOME}")
    shutil.move(folder / "copy", folder / f"site-{HOME}")
    with open_home(folder) as home:
        miss_session(home, WHO, number=3, day=8, code="ILL")
        miss_session(home, WHO, number=4, day=11, code="ILL")
    with pytest.raises(ChainBroken, match="the two chains part there"):
        take(folder, centre)
    assert refusals(centre) == [(HOME, "fork")]
    assert 3 not in centre.participant(WHO).sessions


def test_who_may_not_see_an_arm_sees_no_home_device(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_centre(folder) as centre:
        take(folder, centre)
    monkeypatch.setenv("TRIALKIT_KEYS", str(folder / "keys"))

    def said(*words: str) -> Any:
        return CliRunner().invoke(app, ["sync", *words, "--study", str(folder / "study")])

    for options in ((), ("--json",)):
        blinded = said("status", *options, "--as", "adam")
        assert blinded.exit_code == 0
        assert "01-001" not in blinded.stdout
        assert "device" not in blinded.stdout
        assert HOME in said("status", *options, "--as", "cora").stdout
    (row,) = json.loads(said("status", "--json", "--as", "theo").stdout)["devices"]
    assert (row["participant"], row["returned"], row["sessions"]) == (WHO, False, 1)
    for user in ("adam", "dana"):
        refused = [
            said("device", "-p", who, "--out", str(folder / "new"), "--as", user).stderr
            for who in (WHO, OTHER)
        ]
        assert refused[0] == refused[1]
        refused = [said("return", "-p", who, "--as", user).stderr for who in (WHO, OTHER)]
        assert refused[0] == refused[1]


def test_it_is_handed_over_only_where_sessions_on_a_device_go_on(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre:
        theo, out = centre.as_user("theo"), tmp_path / "new"
        fresh = str(enrol(centre, site="01").subject)
        before = centre.state.counts["device.handed"]
        for who, error, text in (
            (OTHER, WrongArm, "not on a device"),
            (fresh, OutOfOrder, "consent"),
            ("SMALL-01-009", UnknownName, "no participant"),
        ):
            with pytest.raises(error, match=text):
                hand_over_device(theo, who, out)
        with pytest.raises(NotPermitted):
            hand_over_device(centre.as_user("asta"), WHO, out)
        open_site(centre, "02", tmp_path / "site-02")
        with open_at(tmp_path, "02") as site:
            there = str(enrol(site, site="02").subject)
            with pytest.raises(OutOfOrder, match="itself a study apart"):
                hand_over_device(site, there, out)
        take(tmp_path, centre, "02")
        with pytest.raises(OutOfOrder, match="site 02 keeps its own chain") as caught:
            hand_over_device(centre, there, out)
        assert "work online" in caught.value.remedy
        withdraw(centre, WHO, day=2, code="MOVED")
        with pytest.raises(OutOfOrder, match="withdrew"):
            hand_over_device(theo, WHO, out)
        assert not out.exists()
        assert centre.state.counts["device.handed"] == before == 0


def test_a_login_goes_with_the_people_who_run_sessions(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre:
        for user in ("olga", "theo"):
            set_password(centre.as_user(user), PASSWORD)
        require_login(centre, password=PASSWORD)
        token = login(centre, "theo", PASSWORD, keep=False)
        hand_over_device(centre.as_user("theo", token=token), WHO, tmp_path / f"site-{HOME}")
    with Study.open(tmp_path / f"site-{HOME}") as nobody:
        assert nobody.role == "none"
    with Study.open(tmp_path / f"site-{HOME}", actor="theo", password=PASSWORD) as home:
        miss_session(home, WHO, number=1, day=1, code="ILL")
        with pytest.raises(OutOfOrder, match="is none of them"):
            raise_deviation(home, WHO, category="visit", detail="It was late.")


def test_a_stick_and_the_verbs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALKIT_KEYS", str(folder / "keys"))

    def call(*words: str) -> Any:
        done = CliRunner().invoke(app, ["sync", *words, "--json"])
        return json.loads(done.stdout) if done.exit_code == 0 else done.exception

    study, there, stick = (str(folder / n) for n in ("study", f"site-{HOME}", "stick"))
    at_centre = ("--study", study, "--as", "theo")
    assert isinstance(call("return", "-p", WHO, *at_centre), OutOfOrder)
    assert call("end", there, "--as", "theo")["chain"] == HOME
    assert call("push", there, "--to", stick)["site"] == HOME
    assert call("take", stick, "--study", study, "--as", "olga")["sessions"] == 1
    done = call("return", "-p", WHO, *at_centre)
    assert (done["chain"], done["lost"]) == (HOME, False)
    require_received(folder)
    made = call("device", "-p", WHO, "--out", str(folder / "second"), *at_centre)
    assert (made["chain"], made["number"]) == ("01-001-H2", 1002)


def test_a_centre_in_postgresql(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    database = request.getfixturevalue("postgres").database()
    with make_centre(tmp_path, database) as centre:
        handed(tmp_path, centre)
        with open_home(tmp_path) as home:
            assert trained(home, 1).completed
            end_device(home)
        take(tmp_path, centre)
        take_back_device(centre.as_user("theo"), WHO)
    require_received(tmp_path)


@pytest.mark.slow(seconds=8)
def test_a_session_that_was_really_run_at_a_site(tmp_path: Path) -> None:
    with make_centre(tmp_path) as centre:
        open_site(centre, "02", tmp_path / "site-02")
    with open_at(tmp_path, "02") as site:
        people = [randomised(site, site="02") for _ in range(4)]
        who = next(one for one in people if site.arm_of(one) == "ROBOTIC")
        assert trained(site, 1, who).completed
    with Served(tmp_path) as server:
        assert pushed(tmp_path, "02", server.url).returncode == 0
    with open_centre(tmp_path) as centre, open_at(tmp_path, "02") as site:
        require_seen(centre.state, site.state)
        (session,) = site.state.sessions
        assert replay(centre, session).same
        assert files_below(centre.folder / "telemetry" / session) == files_below(
            site.folder / "telemetry" / session
        )
        assert verify_record(centre.record).ok
