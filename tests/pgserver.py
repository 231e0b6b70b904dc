"""A real PostgreSQL server for the tests: its own data folder, socket and process.

It is found on PATH or where Debian puts it, and runs as another user where we are root. Without
one the tests that need it are skipped, except where CI is set: there they fail.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

_NUMBER = count(1)


def find_programs() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``, or None."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").is_file():
            return folder
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _other_user() -> str | None:
    """Return the user as whom the server runs: it refuses to run as root."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Server:
    """A running server; `database` makes an empty database and returns its URL.

    `initdb` holds more options of the program of that name.
    """

    def __init__(self, programs: Path, folder: Path, *, initdb: Sequence[str] = ()) -> None:
        self._programs = programs
        self.folder = folder
        self._user = _other_user()
        data = folder / "data"
        folder.chmod(0o755)
        data.mkdir(mode=0o700)
        if self._user:
            shutil.chown(data, self._user)
            shutil.chown(folder, self._user)
        words = ["-D", str(data), "-U", "admin", "--auth=trust", "--no-sync", "-E", "UTF8"]
        self._run("initdb", *words, *initdb)
        self._data = data
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            env={**os.environ, "LC_ALL": "C"},
            cwd="/",
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}'"
        log = str(self.folder / "log")
        self._run(
            "pg_ctl", "-D", str(self._data), "-w", "-t", "120", "-o", options, "-l", log, "start"
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast``, or ``immediate`` as a crash would."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "120", "-m", mode, "stop")

    def wait(self, seconds: float = 120.0) -> None:
        """Wait until it answers again after a crash of its own."""
        import psycopg

        end = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=10).close()
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
            else:
                return

    def url(self, database: str, user: str = "admin") -> str:
        """Return the URL of a database for a user."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as the administrator."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"study_{next(_NUMBER)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def give(folder: Path) -> None:
    """Make a folder the servers' own, so that they may write there."""
    if user := _other_user():
        shutil.chown(folder, user)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real PostgreSQL server."""
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL server here, and CI must have one")
        pytest.skip("no PostgreSQL server here; install Debian's package postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as folder:
        server = Server(programs, Path(folder))
        yield server
        server.stop("immediate")
