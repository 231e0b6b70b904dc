"""A study whose record and allocation lie in a real PostgreSQL database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pgserver import Server
from small_study import START, enrolled, people, randomised, write_protocols
from sqlalchemy import make_url
from typer.testing import CliRunner

from trialkit._clock import SimulatedClock
from trialkit.cli.whole import app
from trialkit.errors import Duplicate, NotPermitted, StorageRefused, UnknownName
from trialkit.participants import enrol, verify_allocation
from trialkit.record import KeyStore, StudyState
from trialkit.record.postgres import groups_of
from trialkit.record.roles import ROLES
from trialkit.study import Study


@pytest.fixture
def study(tmp_path: Path, postgres: Server) -> Iterator[Study]:
    with Study.create(
        tmp_path / "study",
        protocols=write_protocols(tmp_path),
        actor="olga",
        name="Olga Berg",
        clock=SimulatedClock(START),
        keys=KeyStore(tmp_path / "keys"),
        seed=1,
        database=postgres.database(),
    ) as made:
        people(made)
        yield made


def reopened(study: Study, *, write: bool = True) -> Study:
    study.close()
    return Study.open(study.folder, actor="olga", write=write, clock=study.clock, keys=study.keys)


def test_the_whole_way_to_an_arm(study: Study) -> None:
    assert not list(study.folder.glob("*.db"))
    names = [randomised(study, seconds=s) for s in (8, 15, 20, 40)]
    arms = {name: study.arm_of(name) for name in names}
    with pytest.raises(NotPermitted):
        study.as_user("asta").arm_of(names[0])
    with reopened(study) as again:
        assert {name: again.arm_of(name) for name in names} == arms
        assert again.status().chain_ok
        assert verify_allocation(again).differences == []
        kept = StudyState(again.record.read())
        assert vars(kept)["participants"] == vars(again.state)["participants"]
        assert again.state.counts["command.refused"] == 1


def test_the_folder_holds_no_password(study: Study, tmp_path: Path, postgres: Server) -> None:
    url = postgres.database().replace("admin@", "admin:geheim@")
    with Study.create(
        tmp_path / "second",
        protocols=write_protocols(tmp_path),
        actor="olga",
        keys=study.keys,
        database=url,
    ) as made:
        assert "geheim" not in (made.folder / "study.toml").read_text("utf-8")
    with pytest.raises(Duplicate, match="holds a study already") as caught:
        Study.create(
            tmp_path / "third",
            protocols=write_protocols(tmp_path),
            actor="olga",
            keys=study.keys,
            database=url,
        )
    assert "geheim" not in str(caught.value)
    assert not (tmp_path / "third").exists()


def test_what_cannot_be_opened(study: Study, postgres: Server) -> None:
    text = (study.folder / "study.toml").read_text("utf-8")
    for database, error in (
        (postgres.database(), UnknownName),
        (postgres.url("nowhere"), StorageRefused),
    ):
        (study.folder / "study.toml").write_text(
            "\n".join(
                f'database = "{database}"' if line.startswith("database") else line
                for line in text.splitlines()
            ),
            "utf-8",
        )
        with pytest.raises(error) as caught:
            Study.open(study.folder)
        assert caught.value.remedy


def test_the_verbs(tmp_path: Path, postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIALKIT_KEYS", str(tmp_path / "keys"))
    run = CliRunner().invoke
    folder = str(tmp_path / "s")
    words = [text for path in write_protocols(tmp_path) for text in ("--protocol", str(path))]
    done = run(app, ["init", folder, *words, "--as", "olga", "--database", postgres.database()])
    assert done.exit_code == 0, done.output
    for verb in (["enrol", "--site", "01", "--as", "olga"], ["status"], ["record", "verify"]):
        done = run(app, [*verb, "--study", folder])
        assert done.exit_code == 0, done.output
    assert "intact, last event" in done.output


WRITER = """
import sys
from trialkit.participants import enrol
from trialkit.study import Study
with Study.open(sys.argv[1], actor="olga") as study:
    for _ in range(20):
        print(enrol(study, site="01").subject, flush=True)
"""


def test_processes_write_at_once(study: Study) -> None:
    before = study.state.seq
    command = [sys.executable, "-c", WRITER, str(study.folder)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    names = [name for child in children for name in child.communicate()[0].split()]
    assert all(child.returncode == 0 for child in children)
    assert len(names) == len(set(names)) == 60
    study.refresh()
    assert set(names) <= set(study.state.participants)
    assert study.state.seq == before + 60 + study.state.counts["clock.source"]
    assert study.status().chain_ok


def test_a_crash_of_the_server_loses_nothing_acknowledged(study: Study, postgres: Server) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER.replace("range(20)", "range(10**6)"), str(study.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    names = [child.stdout.readline().strip() for _ in range(15)]
    study.close()
    postgres.stop("immediate")
    names += child.communicate()[0].split()
    assert child.returncode
    postgres.start()
    with Study.open(study.folder, actor="olga") as again:
        assert set(names) <= set(again.state.participants)
        assert len(again.state.participants) <= len(names) + 1
        assert again.status().chain_ok
        enrolled(again)


def login(server: Server, study: Study, role: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect as a login role that has the groups of a role of the study."""
    name = str(make_url(str(study.record.where)).database)
    server.execute(f"CREATE ROLE {name}_{role} LOGIN", name)
    for group in groups_of(role):
        server.execute(f"GRANT {group} TO {name}_{role}", name)
    return psycopg.connect(
        server.url(name, f"{name}_{role}"), options="-c search_path=trialkit", autocommit=True
    )


@pytest.mark.parametrize("role", ROLES)
def test_no_role_of_the_database_changes_or_removes_an_event(
    study: Study, postgres: Server, role: str
) -> None:
    enrol(study, site="01")
    sees = study.as_user("cora").may("see_allocation") and role in {
        "owner",
        "coordinator",
        "therapist",
        "investigator",
        "statistician",
    }
    with login(postgres, study, role) as connection:
        for statement in (
            "UPDATE events SET body = body",
            "DELETE FROM events",
            "TRUNCATE events",
            "DROP TABLE events",
            "ALTER TABLE events DISABLE TRIGGER ALL",
            "UPDATE given SET seq = 0",
            "SET session_replication_role = replica",
            "UPDATE places SET arm = 'X'",
            "DELETE FROM secret",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            connection.execute("INSERT INTO events VALUES (99, 'k', 'a', NULL, '{}', 'h')")
        for table in ("places", "secret"):
            if sees:
                connection.execute(f"SELECT * FROM {table}".encode())
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SELECT * FROM {table}".encode())
    assert study.status().chain_ok
