"""Every command, as every role, for a participant of the own and of another site."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from small_study import START, enrolled, write_protocols

from trialkit._clock import SimulatedClock
from trialkit.errors import NotPermitted
from trialkit.record import KeyStore
from trialkit.record.kinds import VisitMissed
from trialkit.record.roles import ROLES, permissions_of
from trialkit.study import Study
from trialkit.study.commands import Command, every_command

OWN, OTHER = "01", "02"
COMMANDS = every_command()


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Study]:
    """A study with one participant a site, and people of each role: one for all, one for 01."""
    folder = tmp_path_factory.mktemp("matrix")
    database = None
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres").database()
    with Study.create(
        folder / "study",
        protocols=write_protocols(folder),
        actor="olga",
        clock=SimulatedClock(START),
        keys=KeyStore(folder / "keys"),
        seed=1,
        database=database,
    ) as made:
        for site in (OWN, OTHER):
            enrolled(made, site=site)
        for role in ROLES:
            made.add_user(f"all_{role}", role=role)
            made.add_user(f"own_{role}", role=role, sites=[OWN])
        yield made


def refusal(study: Study, user: str, wanted: Command, site: str) -> str | None:
    """Return why the command refused (``role``, ``site``), or None where it would begin.

    A command that would begin is only asked, so that nothing is done.
    """
    usubjid = next(p.usubjid for p in study.state.participants.values() if p.site == site)
    names = inspect.signature(wanted.function).parameters
    given = {n: v for n, v in (("usubjid", usubjid), ("site", site)) if n in names}
    view, before = study.as_user(user), study.state.seq
    try:
        wanted.ask(view, **given)
    except NotPermitted:
        with pytest.raises(NotPermitted) as caught:
            wanted.function(view, **given)  # refuses before it asks for its other arguments
        assert caught.value.remedy
        asked, called = study.record.read(after=before)
        assert asked.payload == called.payload
        assert (called.kind, called.actor) == ("command.refused", user)
        assert called.payload["command"] == wanted.name
        return str(called.payload["why"])
    assert study.state.seq == before
    return None


@pytest.mark.requirement("R03", "R08")
@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_role_at_every_site(study: Study, name: str) -> None:
    wanted = COMMANDS[name]
    names = inspect.signature(wanted.function).parameters
    by_site = bool({"usubjid", "site"} & set(names))
    for role in ROLES:
        may = wanted.permission in permissions_of(role)
        assert refusal(study, f"all_{role}", wanted, OTHER) == (None if may else "role")
        assert refusal(study, f"own_{role}", wanted, OWN) == (None if may else "role")
        elsewhere = "role" if not may else "site" if by_site else None
        assert refusal(study, f"own_{role}", wanted, OTHER) == elsewhere


def test_an_event_about_another_site_is_refused_whatever_the_command(study: Study) -> None:
    usubjid = next(p.usubjid for p in study.state.participants.values() if p.site == OTHER)
    with pytest.raises(NotPermitted, match="acts for site 01 and not for site 02"):
        study.as_user("own_coordinator").append(VisitMissed(visit="BL", code="X"), subject=usubjid)
    assert study.participant(usubjid).visits == {}


def test_nobody_without_a_role_may_anything(study: Study) -> None:
    stranger = Study(study._shared, "stranger")
    for wanted in COMMANDS.values():
        with pytest.raises(NotPermitted, match="stranger is not a user"):
            wanted.ask(stranger)
