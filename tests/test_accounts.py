"""Accounts: passwords, lockout, ageing, logins, roles. Statements 4, 14 and 15 of Part 11."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from small_study import enrolled, make_study, randomised

from trialkit._clock import SimulatedClock
from trialkit.errors import Duplicate, NotAuthenticated, NotPermitted, OutOfRange
from trialkit.participants import enrol
from trialkit.record.kinds import AccountsRequired
from trialkit.study import Study
from trialkit.study.accounts import (
    login,
    logout,
    require_login,
    retire_user,
    set_password,
    set_role,
    unlock_user,
)

OLGA, CORA = "four dry wooden spoons", "seven green lamps hum"


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRIALKIT_PASSWORD", raising=False)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study that requires a login; cora has a password of her own."""
    made = make_study(tmp_path)
    set_password(made, OLGA)
    set_password(made.as_user("cora"), CORA)
    require_login(made, password=OLGA)
    return made


def again(
    study: Study,
    actor: str | None,
    *,
    password: str | None = None,
    token: str | None = None,
    write: bool = True,
) -> Study:
    return Study.open(
        study.folder,
        actor=actor,
        password=password,
        token=token,
        write=write,
        clock=study.clock,
        keys=study.keys,
    )


def kinds(study: Study) -> list[str]:
    study.refresh()
    return [event.kind for event in study.record.read()]


def advance(study: Study, **time: float) -> None:
    assert isinstance(study.clock, SimulatedClock)
    seconds = {"minutes": 60, "hours": 3600, "days": 86400}
    study.clock.advance(sum(n * seconds[unit] for unit, n in time.items()))


def test_nobody_acts_without_a_password(study: Study) -> None:
    with pytest.raises(NotAuthenticated, match="not logged in"):
        again(study, "cora")
    with pytest.raises(NotAuthenticated):
        again(study, "cora", write=False)
    with pytest.raises(NotAuthenticated):
        study.as_user("cora")
    with pytest.raises(NotAuthenticated, match="wrong"):
        again(study, "cora", password=OLGA)
    with again(study, "cora", password=CORA) as opened:
        assert opened.role == "coordinator"
        assert enrol(opened, site="01").actor == "cora"
    assert kinds(study).count("command.refused") == 3
    assert kinds(study).count("user.login_failed") == 1


def test_reading_without_a_name_has_no_role(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trialkit.study.study.login_name", lambda: "olga")
    usubjid = randomised_in(study)
    with again(study, None, write=False) as opened:
        assert opened.role == "none"
        for blocked in (opened.allocations, lambda: opened.arm_of(usubjid)):
            with pytest.raises(NotAuthenticated):
                blocked()
    with again(study, None) as opened, pytest.raises(NotAuthenticated):
        enrol(opened, site="01")
    refused = list(study.record.read(kinds=["command.refused"]))[-1]
    assert (refused.role, refused.payload["why"]) == ("none", "login")


def randomised_in(study: Study) -> str:
    set_password(study, "temporary word 1", user="asta")
    set_password(study, "asta has one word", user="theo")
    with pytest.raises(NotAuthenticated, match="must be changed"):
        study.as_user("asta", password="temporary word 1")
    set_password(study, "lasting words here", user="asta", old="temporary word 1")
    token = login(study, "asta", "lasting words here")
    assert study.as_user("asta").role == study.as_user("asta", token=token).role == "assessor"
    return randomised(study)


def test_a_study_open_before_loses_its_role(tmp_path: Path) -> None:
    made = make_study(tmp_path)
    set_password(made, OLGA)
    with again(made, "cora") as before:
        enrolled(before)
        require_login(made, password=OLGA)
        with pytest.raises(NotAuthenticated):
            enrol(before, site="01")
    assert made.role == "owner"
    with pytest.raises(Duplicate):
        require_login(made, password=OLGA)


def test_the_owner_cannot_lock_everybody_out(tmp_path: Path) -> None:
    made = make_study(tmp_path)
    with pytest.raises(NotAuthenticated, match="no password"):
        require_login(made, password=OLGA)
    assert made.state.accounts is None
    with pytest.raises(NotPermitted):
        require_login(made.as_user("cora"), password=CORA)


@pytest.mark.requirement("R15")
def test_a_password_is_nowhere_but_in_a_private_hash(study: Study) -> None:
    with pytest.raises(NotAuthenticated):
        again(study, "cora", password="zebra zebra zebra")
    login(study, "cora", CORA, keep=False)
    kept = b"".join(p.read_bytes() for p in study.folder.rglob("*") if p.is_file())
    for secret in (OLGA, CORA, "zebra zebra zebra"):
        assert secret.encode() not in kept
    private = study.folder / "accounts.db"
    assert private.stat().st_mode & 0o777 == 0o600
    assert b"$argon2id$" in private.read_bytes()
    record = b"".join(p.read_bytes() for p in study.folder.glob("study.db*"))
    assert b"argon2" not in record


@pytest.mark.requirement("R04", "R15")
def test_five_failures_lock_the_account(study: Study) -> None:
    for _ in range(5):
        with pytest.raises(NotAuthenticated, match="wrong"):
            login(study, "cora", "not the password")
    with pytest.raises(NotAuthenticated, match="locked"):
        login(study, "cora", CORA)
    assert kinds(study).count("user.locked") == 1
    assert kinds(study).count("user.login_failed") == 6
    unlock_user(study, "cora")
    assert login(study, "cora", CORA)
    with pytest.raises(Duplicate):
        unlock_user(study, "cora")


def test_a_lockout_passes_and_a_right_password_starts_the_count_anew(study: Study) -> None:
    for _ in range(4):
        with pytest.raises(NotAuthenticated):
            login(study, "cora", "not the password")
    login(study, "cora", CORA)
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            again(study, "cora", password="not the password", write=False)
    study.refresh()
    advance(study, minutes=29)
    with pytest.raises(NotAuthenticated, match="locked"):
        login(study, "cora", CORA)
    advance(study, minutes=2)
    login(study, "cora", CORA)
    unlocked = list(study.record.read(kinds=["user.unlocked"]))
    assert [event.payload["why"] for event in unlocked] == ["time"]


@pytest.mark.requirement("R15")
def test_a_password_ages(study: Study) -> None:
    advance(study, days=364)
    login(study, "cora", CORA)
    advance(study, days=1)
    with pytest.raises(NotAuthenticated, match="365 days old"):
        login(study, "cora", CORA)
    set_password(study, "eight green lamps hum", user="cora", old=CORA)
    login(study, "cora", "eight green lamps hum")


def test_rules_for_a_new_password(study: Study) -> None:
    for bad in ("short words", "cora cora cora cora", "x" * 1025):
        with pytest.raises(OutOfRange):
            set_password(study, bad, user="cora", old=CORA)
    words = [CORA, *(f"word number {n} here" for n in range(5))]
    for old, new in pairwise(words):
        set_password(study, new, user="cora", old=old)
        if new != words[-1]:
            with pytest.raises(OutOfRange, match="last 5"):
                set_password(study, CORA, user="cora", old=new)
    set_password(study, CORA, user="cora", old=words[-1])  # five others came between
    with pytest.raises(NotAuthenticated, match="wrong"):
        set_password(study, "somebody else's idea", user="cora", old="guessed wrongly")
    cora = study.as_user("cora", password=CORA)
    with pytest.raises(NotAuthenticated, match="old one"):
        set_password(cora, "a taken over seat")
    with pytest.raises(NotPermitted):
        set_password(cora, "a taken over seat", user="olga")


@pytest.mark.requirement("R04")
def test_a_login_ends_by_pause_by_day_and_by_logout(study: Study, tmp_path: Path) -> None:
    login(study, "cora", CORA)
    kept = list((tmp_path / "state").rglob("*.json"))
    assert [p.stat().st_mode & 0o777 for p in kept] == [0o600]
    for _ in range(25):
        advance(study, minutes=28)
        again(study, "cora", write=False).close()
    advance(study, minutes=21)
    with pytest.raises(NotAuthenticated, match="not valid any more"):
        again(study, "cora")
    login(study, "cora", CORA)
    advance(study, minutes=30)
    with pytest.raises(NotAuthenticated, match="not valid any more"):
        again(study, "cora")
    token = login(study, "cora", CORA)
    with pytest.raises(NotAuthenticated):
        again(study, "olga", token=token)
    assert logout(study, "cora")
    assert not logout(study, "cora")
    with pytest.raises(NotAuthenticated, match="not logged in"):
        again(study, "cora")
    with pytest.raises(NotAuthenticated, match="not valid"):
        again(study, "cora", token=token)
    assert kinds(study).count("user.logged_out") == 1


def test_a_new_password_ends_the_logins(study: Study) -> None:
    token = login(study, "cora", CORA)
    set_password(study, "nine green lamps hum", user="cora", old=CORA)
    with pytest.raises(NotAuthenticated):
        again(study, "cora", token=token)


def test_the_environment_is_for_automated_runs(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIALKIT_PASSWORD", CORA)
    assert again(study, "cora", write=False).role == "coordinator"
    with pytest.raises(NotAuthenticated):
        again(study, "olga")


@pytest.mark.requirement("R04", "R14")
def test_roles_change_and_names_are_never_given_again(study: Study) -> None:
    set_role(study, "cora", "monitor", sites=["02"])
    cora = study.as_user("cora", password=CORA)
    assert cora.role == "monitor"
    assert study.state.users["cora"].sites == ("02",)
    event = list(study.record.read(kinds=["user.role_changed"]))[-1]
    assert (event.payload["old_role"], event.payload["user_role"]) == ("coordinator", "monitor")
    with pytest.raises(Duplicate):
        set_role(study, "cora", "monitor")
    with pytest.raises(NotPermitted, match="own"):
        set_role(study, "olga", "monitor")
    retire_user(study, "cora", reason="left")
    with pytest.raises(NotPermitted, match="any more"):
        enrol(cora, site="02")
    with pytest.raises(NotAuthenticated, match="retired"):
        again(study, "cora", password=CORA)
    with pytest.raises(Duplicate, match="never used twice"):
        study.add_user("cora", role="monitor")
    with pytest.raises(NotPermitted, match="never given again"):
        set_role(study, "cora", "coordinator")


def test_an_administrator_manages_users_and_sees_no_arm(study: Study) -> None:
    study.add_user("adam", role="administrator")
    set_password(study, "temporary word 1", user="adam")
    set_password(study, "grey hats on sticks", user="adam", old="temporary word 1")
    adam = study.as_user("adam", password="grey hats on sticks")
    lax = AccountsRequired(max_failures=99)
    adam.add_user("newt", role="monitor")
    set_password(adam, "temporary word 2", user="newt")
    set_role(adam, "newt", "statistician")
    retire_user(adam, "newt")
    for refused in (
        lambda: adam.add_user("nero", role="owner"),
        lambda: set_role(adam, "cora", "administrator"),
        lambda: set_role(adam, "olga", "monitor"),
        lambda: retire_user(adam, "olga"),
        lambda: set_password(adam, "taking the house", user="olga"),
        lambda: adam.arm_of("01-001"),
        adam.allocations,
        lambda: enrol(adam, site="01"),
        lambda: require_login(adam, password="grey hats on sticks", rules=lax),
    ):
        with pytest.raises(NotPermitted):
            refused()


def test_the_state_is_the_same_when_it_is_read_again(study: Study) -> None:
    with pytest.raises(NotAuthenticated):
        login(study, "cora", "not the password")
    set_role(study, "cora", "monitor")
    with again(study, None, write=False) as opened:
        assert opened.state.users == study.state.users
        assert opened.state.accounts == study.state.accounts
