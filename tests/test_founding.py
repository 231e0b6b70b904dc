"""What an interrupted creation of a study leaves: it is named, and the next creation clears it.

The kills themselves are in ``record/test_kill_sqlite.py``, ``test_kill_postgres.py`` and
``test_kill_flushes.py``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from pgserver import Server
from small_study import write_protocols
from typer.testing import CliRunner

from trialkit.cli.whole import app
from trialkit.errors import Duplicate, StudyBusy, UnknownName
from trialkit.record import KeyStore
from trialkit.study import Study
from trialkit.study.files import MARK, FileLock


def create(folder: Path, database: str | None = None) -> Study:
    return Study.create(
        folder,
        protocols=write_protocols(folder.parent),
        actor="olga",
        keys=KeyStore(folder.parent / "keys"),
        database=database,
    )


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A folder as a creation leaves it that was killed before ``study.toml``."""
    folder = tmp_path / "study"
    for name in ("protocols", "plans", "telemetry"):
        (folder / name).mkdir(parents=True)
    (folder / "protocols" / "old.yaml").write_text("old")
    (folder / MARK).write_text("")
    return folder


def test_what_is_left_is_named_and_cleared(left: Path) -> None:
    with pytest.raises(UnknownName, match="its creation was interrupted") as caught:
        Study.open(left)
    assert "trialkit init" in caught.value.remedy
    shown = CliRunner().invoke(app, ["status", "--study", str(left)])
    assert isinstance(shown.exception, UnknownName)  # `main` says it, and ends with status 2
    with create(left) as study:
        assert study.state.seq == 2
    assert not (left / MARK).exists()
    assert not (left / "protocols" / "old.yaml").exists()


@pytest.mark.parametrize("name", ["notes.txt", "telemetry/old.parquet"])
def test_what_a_creation_did_not_leave_is_not_cleared(left: Path, name: str) -> None:
    (left / name).write_text("of somebody")
    with pytest.raises(Duplicate, match="did not leave") as caught:
        create(left)
    assert name.split("/")[0] in caught.value.message
    assert (left / name).read_text() == "of somebody"


def test_a_study_whose_creation_lacked_only_its_last_word(left: Path, tmp_path: Path) -> None:
    with create(tmp_path / "other") as study:
        (study.folder / MARK).write_text("")
        with pytest.raises(Duplicate, match="is a study"):
            create(study.folder)
        assert not (study.folder / MARK).exists()
        assert study.status().chain_ok
    with Study.open(tmp_path / "other", actor="olga") as again:
        assert again.state.seq == 2


def test_a_creation_that_still_goes_on(left: Path) -> None:
    with FileLock(left / MARK, "the creation"), pytest.raises(StudyBusy):
        create(left)
    assert (left / "protocols" / "old.yaml").exists()


def test_tables_without_an_event_are_made_anew(tmp_path: Path, postgres: Server) -> None:
    from trialkit.record.postgres import create as make_tables

    url = postgres.database()
    make_tables(url).close()  # a creation that ended here, in a folder that is gone
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO trialkit.secret VALUES ('an old seed')")
    with create(tmp_path / "study", url) as study:
        assert study.state.seq == 2
        assert study.allocation.seed() != "an old seed"
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM trialkit.secret").fetchone() == (1,)
    with pytest.raises(Duplicate, match="holds a study already"):
        create(tmp_path / "second", url)
    assert not (tmp_path / "second").exists()


def test_a_folder_whose_tables_hold_no_event(tmp_path: Path, postgres: Server) -> None:
    """As where the connection was lost in the commit that founds the study."""
    url, folder = postgres.database(), tmp_path / "study"
    create(folder, url).close()
    (folder / MARK).write_text("")
    with psycopg.connect(url) as connection:
        connection.execute("DROP SCHEMA trialkit CASCADE")
    from trialkit.record.postgres import create as make_tables

    make_tables(url).close()
    with pytest.raises(UnknownName, match="its creation was interrupted"):
        Study.open(folder)
    with create(folder, url) as study:
        assert study.state.seq == 2
        assert study.status().chain_ok


CREATOR = """
import sys
from pathlib import Path
from trialkit.errors import Duplicate, StudyBusy
from trialkit.record import KeyStore
from trialkit.study import Study
folder = Path(sys.argv[1])
try:
    Study.create(folder, protocols=sys.argv[3:], actor="olga",
                 keys=KeyStore(folder.parent / "keys"), database=sys.argv[2]).close()
except (Duplicate, StudyBusy) as error:
    sys.exit(error.exit_status)
"""


@pytest.mark.slow(seconds=8)
def test_two_processes_make_a_study_in_one_database(tmp_path: Path, postgres: Server) -> None:
    protocols = [str(path) for path in write_protocols(tmp_path)]
    KeyStore(tmp_path / "keys").create("olga")
    for turn in range(3):
        url = postgres.database()
        folders = [tmp_path / f"{turn}-{name}" for name in "ab"]
        children = [
            subprocess.Popen([sys.executable, "-c", CREATOR, str(folder), url, *protocols])
            for folder in folders
        ]
        ended = [child.wait(120) for child in children]
        assert sorted(ended) == [0, Duplicate.exit_status]
        made = folders[ended.index(0)]
        assert not folders[1 - ended.index(0)].exists()
        with Study.open(made, actor="olga", keys=KeyStore(tmp_path / "keys")) as study:
            assert study.state.seq == 2
            assert study.status().chain_ok
