"""The settings of the next session, where sessions are run at the centre and on a home device."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trialkit.errors import OutOfOrder, TelemetryDamaged
from trialkit.record.kinds import SessionOpened
from trialkit.session import replay, run_session
from trialkit.session.history import history
from trialkit.session.inputs import NAME, read_inputs
from trialkit.session.operator import AttendingOperator
from trialkit.session.settings import check_decisions, decide_settings, propose_settings
from trialkit.study import Study
from trialkit.study.sync.device import end_device, hand_over_device, take_back_device
from trialkit.study.sync.push import FolderSource, Here, push

USUBJID = "SCI-RAGT-01-001"


def train(study: Study, number: int, **options: Any) -> str:
    given = {"seed": 5, "ability": 0.5, "asymmetry": 1.0} | options
    done = run_session(
        study,
        USUBJID,
        number=number,
        day=number,
        rate="stride",
        device_options=given,
        operator=AttendingOperator(study.actor),
    )
    assert done.completed
    return done.session


def begun(study: Study, session: str) -> dict[str, float]:
    return dict(read_inputs(study.folder / "telemetry" / session / NAME).head["levels"])


def pushed(home: Study, centre: Study) -> None:
    with FolderSource(home.folder) as source:
        push(source, Here(centre), tries=1)


@pytest.fixture
def home(study: Study, tmp_path: Path) -> Iterator[Study]:
    """The home device of a participant of a study with one arm, after two sessions."""
    train(study, 1)
    train(study, 2)
    decide_settings(study, USUBJID)
    hand_over_device(study, USUBJID, tmp_path / "home")
    with Study.open(tmp_path / "home", actor="owner", clock=study.clock, keys=study.keys) as opened:
        yield opened


def test_settings_go_to_the_device_and_come_back(study: Study, home: Study) -> None:
    known = study.participant(USUBJID).levels
    assert home.participant(USUBJID).levels == known
    with pytest.raises(OutOfOrder, match="no session of"):  # on it
        propose_settings(home, USUBJID)
    third = train(home, 3)
    assert begun(home, third).items() >= known.items()
    found = propose_settings(home, USUBJID)
    assert found.after == third
    decided = decide_settings(home, USUBJID)
    fourth = train(home, 4)
    assert begun(home, fourth) == decided.payload["settings"]
    with pytest.raises(OutOfOrder, match="trains on home device"):
        decide_settings(study, USUBJID)
    end_device(home)
    pushed(home, study)
    take_back_device(study, USUBJID)
    assert study.participant(USUBJID).levels == home.participant(USUBJID).levels
    last = decide_settings(study, USUBJID)
    assert last.payload["after"] == fourth
    assert [one.session for one in history(study, USUBJID).sessions] == [
        f"{USUBJID}-S0{n}" for n in (1, 2, 3, 4)
    ]
    fifth = train(study, 5)
    assert begun(study, fifth) == last.payload["settings"]
    checked = check_decisions(study, USUBJID)
    assert [one.differences for one in checked] == [()] * 3
    assert all(replay(study, f"{USUBJID}-S0{n}").same for n in (1, 2, 3, 4, 5))


def test_settings_go_on_after_a_device_is_lost(study: Study, home: Study) -> None:
    third = train(home, 3)
    home.append(
        SessionOpened(
            session=f"{USUBJID}-S04", number=4, day=4, protocol="x", device={},
            planned_minutes=1.0, therapist="owner",
        ),
        subject=USUBJID,
    )  # fmt: skip
    shutil.rmtree(home.folder / "telemetry" / third)
    with pytest.raises(TelemetryDamaged):
        pushed(home, study)
    with pytest.raises(OutOfOrder, match="is open"):
        propose_settings(study, USUBJID)
    take_back_device(study, USUBJID, lost="left in a taxi")
    found = propose_settings(study, USUBJID)
    assert found.after == third
    assert "tracking_error_rad" not in found.inputs
    decide_settings(study, USUBJID)
    train(study, 5)
    assert all(one.same for one in check_decisions(study, USUBJID))
