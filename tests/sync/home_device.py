"""A centre with a participant who trains on the device, and the home device of that one."""

from __future__ import annotations

import sys
from pathlib import Path

from small_study import START, people, randomised
from swapped_study import SEEDS, slower_protocols
from two_sites import MAIN, files_below, keys_of, open_at, open_centre, texts

from trialkit._clock import SimulatedClock
from trialkit.record.state import StudyState, device_of
from trialkit.session import ScriptedOperator, SessionOutcome, run_session
from trialkit.study import Study
from trialkit.study.sync.device import hand_over_device
from trialkit.study.sync.push import FolderSource, Here, Pushed, push

WHO, OTHER = "SMALL-01-001", "SMALL-01-002"
HOME = "01-001-H1"


def make_centre(folder: Path, database: str | None = None) -> Study:
    """Make a centre at which `WHO` is in the arm with the device, and `OTHER` is not."""
    study = Study.create(
        folder / "study",
        protocols=slower_protocols(folder),
        actor="olga",
        clock=SimulatedClock(START),
        keys=keys_of(folder),
        seed=SEEDS[0],
        database=database,
    )
    people(study)
    study.add_user("adam", role="administrator")
    study.add_user("dana", role="data_manager")
    assert [randomised(study), randomised(study)] == [WHO, OTHER]
    return study


def trained(study: Study, number: int, usubjid: str = WHO) -> SessionOutcome:
    """Really run a session on the simulated device."""
    return run_session(
        study.as_user("theo"),
        usubjid,
        number=number,
        day=(1, 4, 8, 11)[number - 1],
        rate="stride",
        operator=ScriptedOperator(),
    )


def handed(folder: Path, centre: Study, name: str = HOME) -> None:
    """Hand a home device over."""
    hand_over_device(centre.as_user("theo"), WHO, folder / f"site-{name}")


def open_home(folder: Path, actor: str = "theo", name: str = HOME) -> Study:
    """Open the study of the home device."""
    return open_at(folder, name, actor)


def take(folder: Path, centre: Study, name: str = HOME) -> Pushed:
    """Push a home device to a centre in this process."""
    with FolderSource(folder / f"site-{name}") as source:
        return push(source, Here(centre), tries=1)


def run_command(folder: Path, number: int, day: int) -> list[str]:
    """The command with which a session is run on the home device."""
    return [
        sys.executable, "-c", MAIN, "run", "--study", str(folder / f"site-{HOME}"), "-p", WHO,
        "--number", str(number), "--day", str(day), "--headless", "--speed", "0", "--json",
        "--as", "theo",
    ]  # fmt: skip


def require_received(folder: Path, name: str = HOME) -> None:
    """Check that the centre holds the chain of the home device and its sessions whole, once."""
    with open_centre(folder) as centre, open_home(folder, name=name) as home:
        chain = centre.state.chains[name]
        sent = [
            body
            for event in centre.record.read(kinds=["chain.received"])
            if event.kind == "chain.received" and event.payload["site"] == name
            for body in event.payload["bodies"]
        ]
        assert sent == texts(home.record)[: chain.last]
        assert chain.sealed == {}
        own = [s for s in home.state.sessions.values() if s.opened_seq is not None]
        assert sorted(chain.received) == sorted(s.session for s in own)
        for session in own:
            seen = centre.state.sessions[session.session]
            assert (seen.status, seen.dose, seen.sealed) == ("completed", session.dose, True)
            assert centre.state.participants[WHO].sessions[session.number] is seen
            there = files_below(home.folder / "telemetry" / session.session)
            assert there
            assert files_below(centre.folder / "telemetry" / session.session) == there
        assert centre.state.participants[WHO].levels == home.state.participants[WHO].levels
        assert not [p for p in (centre.folder / "incoming").rglob("*") if p.is_file()]
        assert vars(StudyState(centre.record.read())) == vars(centre.state)
        assert centre.record.verify().ok


def is_out(study: Study) -> bool:
    """Return whether the home device is with the participant."""
    return device_of(study.state, WHO) is not None
