"""Triggers of the record that somebody took away or switched off: put back, with an event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pgserver import Server
from raw_store import raw_store
from small_study import new_study, people
from sqlalchemy import make_url

from trialkit.errors import ChainBroken, IntegrityError, NotPermitted
from trialkit.participants import enrol
from trialkit.study import Study

#: By which statements the guards are taken away, on each database, and what is then found.
AWAY = {
    "sqlite": [
        (["DROP TRIGGER events_no_update"], ["events_no_update"]),
        (
            [
                "DROP TRIGGER events_no_delete",
                "CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT 1; END",
            ],
            ["events_no_delete"],
        ),
        (
            ["DROP TRIGGER events_in_sequence", "DROP TRIGGER events_no_update"],
            ["events_no_update", "events_in_sequence"],
        ),
    ],
    "postgresql": [
        (["ALTER TABLE events DISABLE TRIGGER events_no_change"], ["events_no_change"]),
        (["DROP TRIGGER events_in_sequence ON events"], ["events_in_sequence"]),
        (["ALTER TABLE events DISABLE TRIGGER ALL"], ["events_in_sequence", "events_no_change"]),
    ],
}


@pytest.fixture(params=["sqlite", "postgresql"])
def study(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Study]:
    """A study with its people."""
    database = None
    if request.param == "postgresql":
        database = request.getfixturevalue("postgres").database()
    with new_study(tmp_path, database=database) as made:
        people(made)
        yield made


def away(study: Study, case: int) -> list[str]:
    """Take guards away by hand, and return which."""
    kind = "postgresql" if isinstance(study.record.where, str) else "sqlite"
    statements, names = AWAY[kind][case]
    study.close()
    with raw_store(study.record) as run:
        for statement in statements:
            run(statement)
    return names


def opened(study: Study, actor: str = "olga", *, write: bool = True) -> Study:
    return Study.open(study.folder, actor=actor, clock=study.clock, keys=study.keys, write=write)


def said(study: Study) -> list[tuple[str, list[str]]]:
    """Return who found which triggers missing."""
    found = study.record.read(kinds=["record.unguarded"])
    return [(event.actor, event.payload["triggers"]) for event in found]


@pytest.mark.requirement("R01", "R03")
@pytest.mark.parametrize("case", range(3))
def test_guards_come_back_with_an_event(study: Study, case: int) -> None:
    names = away(study, case)
    with opened(study, write=False) as again:
        assert said(again) == []  # reading changes nothing
    with opened(study, "mona") as again:
        assert said(again) == [("mona", names)]
        assert again.state.counts["record.unguarded"] == 1
        enrol(again.as_user("olga"), site="01")
        for statement in (
            "UPDATE events SET at = at",
            "DELETE FROM events",
            "INSERT INTO events VALUES (1, 'k', 'a', NULL, '{}', 'h')",
        ):
            with pytest.raises(Exception, match=r"append-only|events_pkey"):
                tried(again, statement)
    with opened(study) as again:
        assert len(said(again)) == 1
        enrol(again, site="01")
        assert again.status().chain_ok


def tried(study: Study, statement: str) -> None:
    """Run a statement past the software."""
    with raw_store(study.record) as run:
        run(statement)


@pytest.mark.requirement("R03")
def test_a_refusal_while_reading_says_it_first(study: Study) -> None:
    names = away(study, 0)
    with opened(study, "asta", write=False) as again, pytest.raises(NotPermitted):
        again.require("add_user")
    with opened(study, write=False) as again:
        kinds = [event.kind for event in again.record.read()][-2:]
        assert kinds == ["record.unguarded", "command.refused"]
        assert said(again) == [("asta", names)]


@pytest.mark.requirement("R03")
def test_what_was_changed_meanwhile_is_found_and_the_guards_wait(study: Study) -> None:
    """A record that is broken takes no event; its guards come back when it was restored."""
    names = away(study, 0)
    with raw_store(study.record) as run:
        (body,) = run("SELECT body FROM events WHERE seq = 3").fetchone()
        run("UPDATE events SET body = ? WHERE seq = 3", (body.replace("T", "U", 1),))
    with pytest.raises(ChainBroken):
        opened(study)
    with raw_store(study.record) as run:
        run("UPDATE events SET body = ? WHERE seq = 3", (body,))
    with opened(study) as again:
        assert said(again) == [("olga", names)]


def test_only_the_owner_of_a_database_puts_them_back(tmp_path: Path, postgres: Server) -> None:
    made = new_study(tmp_path, database=postgres.database())
    away(made, 0)
    url = make_url(str(made.record.where))
    name = f"{url.database}_writer"
    postgres.execute(f"CREATE ROLE {name} LOGIN", str(url.database))
    postgres.execute(
        f"GRANT trialkit_read, trialkit_write, trialkit_allocation TO {name}", str(url.database)
    )
    toml = made.folder / "study.toml"
    owned = toml.read_text("utf-8")
    toml.write_text(owned.replace("//admin@", f"//{name}@"), "utf-8")
    with pytest.raises(IntegrityError, match="events_no_change") as caught:
        opened(made)
    assert "owns the database" in caught.value.remedy
    toml.write_text(owned, "utf-8")
    with opened(made) as again:
        assert len(said(again)) == 1
    toml.write_text(owned.replace("//admin@", f"//{name}@"), "utf-8")
    with opened(made) as again:
        enrol(again, site="01")
    with psycopg.connect(str(made.record.where)) as direct:
        count = direct.execute("SELECT count(*) FROM trialkit.events").fetchone()
    assert count == (4,)  # study, owner, guards, enrolment
