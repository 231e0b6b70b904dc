"""Where what must not be in the record is kept: a private file, or tables with grants of their own.

Both let rows be added and nobody change or remove one.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from trialkit.errors import IntegrityError
from trialkit.record import postgres
from trialkit.record.storage import storage_guard

Values = Sequence[Any]


class Apart(Protocol):
    """What `trialkit.record.allocation` needs of its store; places in a statement are ``?``."""

    name: str

    def there(self) -> bool:
        """Return True where the store is there."""
        ...

    def rows(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        ...

    def add(self, statement: str, rows: Sequence[Values]) -> None:
        """Run a statement for each row, all or none."""
        ...


class PrivateFile:
    """A SQLite file of mode 0600 in the study's folder.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    def create(self, tables: str, append_only: Sequence[str]) -> None:
        """Make the file with its tables; rows of those named can only be added.

        Raises
        ------
        StorageRefused
            If the disk is full or read-only.
        """
        with storage_guard(self.path):
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        guards = "".join(
            f"CREATE TRIGGER {table}_{what.lower()} BEFORE {what} ON {table} BEGIN "
            "SELECT RAISE(ABORT, 'the allocation is append-only'); END;\n"
            for table in append_only
            for what in ("UPDATE", "DELETE")
        )
        with self._connection() as connection:
            connection.executescript(tables + guards)

    def there(self) -> bool:
        """Return True where the file is there."""
        return self.path.is_file()

    def rows(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._connection() as connection:
            return connection.execute(statement, values).fetchall()

    def add(self, statement: str, rows: Sequence[Values]) -> None:
        """Run a statement for each row, all or none."""
        with self._connection() as connection:
            connection.executemany(statement, rows)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise IntegrityError(
                f"{self.path}: not there.", remedy="Restore it from a copy of the study."
            )
        # A reader too opens for writing: it takes back what a crash left half-written.
        uri = f"file:{quote(str(self.path.resolve()))}?mode=rw"
        with storage_guard(self.path), closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("PRAGMA synchronous = EXTRA")
            with connection:
                yield connection


class PrivateTables:
    """Tables of the study's database that only ``trialkit_allocation`` may read and add to.

    Parameters
    ----------
    url : str
        Of the database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = f"the allocation in {postgres.shown(url)}"

    def there(self) -> bool:
        """Return True: the tables come with the record."""
        return True

    def rows(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with postgres.connected(self._url, self.name, write=False) as connection:
            return list(connection.execute(_marked(statement), values or None).fetchall())

    def add(self, statement: str, rows: Sequence[Values]) -> None:
        """Run a statement for each row, all or none."""
        with (
            postgres.connected(self._url, self.name, write=True) as connection,
            connection.transaction(),
            connection.cursor() as cursor,
        ):
            cursor.executemany(_marked(statement), rows)


def _marked(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()
