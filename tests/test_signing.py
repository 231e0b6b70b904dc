"""Electronic signatures: meaning, two components, and how they break. Part 11: 11, 12 and 13."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_study import make_study, randomised

from trialkit._canonical import sha256_json
from trialkit._clock import SimulatedClock
from trialkit.errors import NotAuthenticated, NotPermitted, OutOfOrder, UnknownName, UsageError
from trialkit.participants import correct, log_conventional
from trialkit.record.kinds import ReportRendered, SnapshotBuilt
from trialkit.study import Study
from trialkit.study.accounts import login, require_login, set_password
from trialkit.study.signing import sign, signatures

WORD = "four dry wooden spoons"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made = make_study(tmp_path)
    for user in ("olga", "ivan", "asta", "theo"):
        set_password(made.as_user(user), WORD)
    return made


def mend(study: Study, usubjid: str, seconds: float) -> int:
    event = correct(
        study.as_user("asta"),
        usubjid,
        visit="BL",
        instrument="10MWT",
        items={"TIMED_M": 10, "C1_S": seconds},
        reason="misread",
    )
    return event.seq


@pytest.mark.requirement("R05", "R11")
def test_a_signature_says_who_when_and_what_it_means(study: Study) -> None:
    what = f"form:{randomised(study)}/BL/10MWT"
    event = sign(study.as_user("ivan"), what, "reviewed", password=WORD, signer="ivan")
    p = event.payload
    assert (p["signer"], p["meaning"], p["what"]) == ("ivan", "reviewed", what)
    assert p["name"] == study.state.users["ivan"].name
    assert p["at"].endswith("Z")
    (held,) = signatures(study)
    assert (held.broken, held.keyed, held.seq) == (None, True, event.seq)
    for shown in (p["name"], p["at"], "reviewed", "holds"):
        assert shown in str(held)
    first = [e for e in study.record.read() if e.kind == "assessment.recorded"]
    covered = {"schema": "trialkit.signed/1", "study": study.state.study_id, "what": what}
    assert p["digest"] == sha256_json(covered | {"events": [first[0].hash]})


@pytest.mark.requirement("R12")
def test_a_correction_breaks_the_form_and_the_casebook_and_nothing_else(study: Study) -> None:
    one, two = randomised(study), randomised(study)
    ivan = study.as_user("ivan")
    things = [f"form:{one}/BL/10MWT", f"casebook:{one}", f"form:{two}/BL/10MWT", f"casebook:{two}"]
    for thing in things:
        sign(ivan, thing, "approved", password=WORD, signer="ivan")
    changed = mend(study, one, 21.0)
    mend(study, one, 22.0)
    broken = {s.what: s.broken for s in signatures(ivan)}
    assert broken == {
        things[0]: f"changed by event {changed}",
        things[1]: f"changed by event {changed}",
        things[2]: None,
        things[3]: None,
    }
    status = study.status()
    assert (status.signatures, status.signatures_broken) == (4, 2)
    assert "4, broken 2" in str(status)
    sign(ivan, things[0], "approved", password=WORD)
    assert [s.broken is None for s in signatures(ivan, things[0])] == [False, True]
    with Study.open(study.folder, write=False, clock=study.clock) as opened:
        assert opened.state.signed == study.state.signed


@pytest.mark.requirement("R13")
def test_two_components_first_then_one_and_both_after_a_pause(study: Study) -> None:
    what = f"casebook:{randomised(study)}"
    ivan = study.as_user("ivan")
    assert isinstance(study.clock, SimulatedClock)
    with pytest.raises(NotAuthenticated, match="user name and password"):
        sign(ivan, what, "approved", password=WORD)
    sign(ivan, what, "approved", password=WORD, signer="ivan")
    study.clock.advance(14 * 60)
    sign(ivan, what, "approved", password=WORD)
    with pytest.raises(NotAuthenticated, match="wrong"):
        sign(ivan, what, "approved", password="not the password")
    study.clock.advance(15 * 60)
    with pytest.raises(NotAuthenticated, match="user name and password"):
        sign(ivan, what, "approved", password=WORD)
    sign(ivan, what, "approved", password=WORD, signer="ivan")
    with pytest.raises(NotAuthenticated, match="user name and password"):
        sign(study, what, "approved", password=WORD)  # another person, another sitting
    with pytest.raises(NotPermitted, match="cannot sign as"):
        sign(ivan, what, "approved", password=WORD, signer="olga")
    assert len(signatures(study)) == 3
    assert study.state.counts["user.login_failed"] == 1


@pytest.mark.requirement("R13")
def test_a_login_is_one_sitting(study: Study) -> None:
    what = f"casebook:{randomised(study)}"
    require_login(study, password=WORD)
    login(study, "ivan", WORD)
    for signer in ("ivan", None):
        with Study.open(study.folder, actor="ivan", clock=study.clock, keys=study.keys) as opened:
            sign(opened, what, "approved", password=WORD, signer=signer)
    with (
        Study.open(
            study.folder, actor="ivan", password=WORD, clock=study.clock, keys=study.keys
        ) as opened,
        pytest.raises(NotAuthenticated, match="user name and password"),
    ):
        sign(opened, what, "approved", password=WORD)


def test_sessions_snapshots_and_reports(study: Study) -> None:
    people = [randomised(study) for _ in range(3)]
    usubjid = next(p for p in people if study.arm_of(p) == "CONVENTIONAL")
    dose = {"minutes": 30.0, "moving_minutes": 20.0, "steps": 800, "distance_m": None}
    event = log_conventional(study, usubjid, number=1, day=1, dose=dose)
    theo = study.as_user("theo")
    what = f"session:{event.payload['session']}"
    sign(theo, what, "I gave this training", password=WORD, signer="theo")
    shot = SnapshotBuilt(snapshot="ab" * 32, folder="snapshots/ab", upto_seq=3, unblinded=False)
    study.append(shot)
    sign(study, f"snapshot:{shot.snapshot}", "frozen as it is", password=WORD, signer="olga")
    file = study.folder / "reports" / "csr.html"
    file.write_text("all is well")
    rendered = study.append(
        ReportRendered(
            template="csr.qmd",
            template_sha256="0" * 64,
            results="1" * 64,
            renderer="by hand",
            files={"csr.html": "0" * 64},
        )
    )
    sign(study, f"report:{rendered.seq}", "approved", password=WORD)
    assert [s.broken for s in signatures(study)] == [None, None, "csr.html was altered"]


def test_what_cannot_be_signed(study: Study) -> None:
    usubjid = randomised(study)

    def attempt(what: str, user: str = "ivan", meaning: str = "approved") -> None:
        sign(study.as_user(user), what, meaning, password=WORD, signer=user)

    for what in ("plan", "plan:x", "letter:1", f"form:{usubjid}/W12/10MWT", "session:nobody-S01"):
        with pytest.raises(UnknownName):
            attempt(what)
    with pytest.raises(UsageError, match="meaning"):
        attempt(f"casebook:{usubjid}", meaning=" ")
    with pytest.raises(NotPermitted):
        attempt(f"casebook:{usubjid}", user="asta")  # it holds what a blinded person may not see
    attempt(f"form:{usubjid}/BL/10MWT", user="asta")
    study.add_user("adam", role="administrator")
    with pytest.raises(NotPermitted):
        attempt(f"form:{usubjid}/BL/10MWT", user="adam")


@pytest.mark.requirement("R12")
def test_a_signature_cannot_be_moved(study: Study) -> None:
    one, two = randomised(study), randomised(study)
    ivan = study.as_user("ivan")
    event = sign(ivan, f"form:{one}/BL/10MWT", "approved", password=WORD, signer="ivan")
    model = event.model()
    for change in (
        {"what": f"form:{two}/BL/10MWT"},
        {"meaning": "seen"},
        {"name": "Somebody Else"},
        {"digest": "0" * 64},
    ):
        ivan.append(model.model_copy(update=change), subject=one)
    first, *moved = signatures(ivan)
    assert first.broken is None
    assert [s.broken for s in moved] == [
        "not over what the record holds",
        "the key does not fit",
        "the key does not fit",
        "not over what the record holds",
    ]


def test_an_open_session_is_not_signed(study: Study) -> None:
    from trialkit.record.state import SessionState

    study.state.sessions["X-S01"] = SessionState("X-S01", "X", 1, 1, "open")
    with pytest.raises(OutOfOrder, match="is open"):
        sign(study, "session:X-S01", "approved", password=WORD, signer="olga")
