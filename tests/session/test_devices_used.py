"""The devices of a study, from its sealed sessions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_study import START, randomised
from swapped_study import slower_protocols

from trialkit._clock import SimulatedClock
from trialkit.errors import NotPermitted
from trialkit.record import KeyStore
from trialkit.record.kinds import SessionOpened
from trialkit.session import ScriptedOperator, list_devices, run_session
from trialkit.study import Study

pytestmark = pytest.mark.requirement("R10")


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    """One participant of each of two sites on the device, who had a session each day."""
    clock = SimulatedClock(START)
    with Study.create(
        tmp_path / "study", protocols=slower_protocols(tmp_path), actor="olga", clock=clock,
        keys=KeyStore(tmp_path / "keys"), seed=2,
    ) as made:  # fmt: skip
        made.add_user("asta", role="assessor")
        made.add_user("theo", role="therapist", sites=["02"])
        people = []
        for site in ("01", "02"):
            while True:
                who = randomised(made, site=site)
                if made.arm_of(who) == "ROBOTIC":
                    people.append(who)
                    break
        for day, options in enumerate(({}, {"serial": "SIM-2"}), 1):
            clock.move_to(START + timedelta(days=day))
            for who in people:
                run_session(
                    made, who, number=day, day=day, rate="stride", operator=ScriptedOperator(),
                    device_options=options,
                )  # fmt: skip
        yield made


def test_devices_with_their_sessions_and_times(study: Study) -> None:
    opened = [e.payload for e in study.record.read(kinds=["session.opened"])]
    rows = list_devices(study)
    assert [row.sessions for row in rows] == [
        [p["session"] for p in opened if p["device"]["serial"] == row.serial] for row in rows
    ]
    assert len({row.serial for row in rows}) == len(rows) == 2
    for row, day in zip(rows, (1, 2), strict=True):
        assert row.first_at[:10] == row.last_at[:10] == f"2026-01-0{5 + day}"
        assert row.firmware
        assert row.simulated
        assert (row.sites, row.checked) == (["01", "02"], 0)


def test_only_what_was_sealed_counts_and_new_firmware_is_a_row(study: Study) -> None:
    first = next(iter(study.state.participants))
    device = dict(next(iter(study.record.read(kinds=["session.opened"]))).payload["device"])
    before = list_devices(study)
    study.append(
        SessionOpened(
            session="S", number=3, day=8, protocol="small-robotic", planned_minutes=10.0,
            device=device | {"firmware": "9.9"}, therapist="olga",
        ),
        subject=first,
    )  # fmt: skip
    assert list_devices(study) == before
    study.state.sessions["S"].sealed = True
    assert [row.firmware for row in list_devices(study)].count("9.9") == 1


def test_a_site_sees_its_own_and_blinded_roles_nothing(study: Study) -> None:
    own = list_devices(study.as_user("theo"))
    assert [row.sites for row in own] == [["02"], ["02"]]
    assert all("-02-" in session for row in own for session in row.sessions)
    assert own == list_devices(study, site="02")
    with pytest.raises(NotPermitted):
        list_devices(study.as_user("theo"), site="01")
    with pytest.raises(NotPermitted):
        list_devices(study.as_user("asta"))
    refused = [e.payload["command"] for e in study.record.read(kinds=["command.refused"])]
    assert refused == ["list_devices", "list_devices"]


def test_the_verb_prints_the_same(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from trialkit.cli.whole import app

    expected = [row.to_dict() for row in list_devices(study)]
    words = ["device", "used", "--study", str(study.folder), "--as", "olga"]
    command = typer.main.get_command(app)
    shown = CliRunner().invoke(command, [*words, "--json"])
    assert json.loads(shown.output) == {"devices": expected, "count": 2}
    text = CliRunner().invoke(command, words).output
    assert text.count("serial") == 2
    assert "2026-01-06 to 2026-01-06; 2 sessions, 0 with a conformance record" in text
