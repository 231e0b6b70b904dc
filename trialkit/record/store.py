"""A store of events: one connection to a database, and the writers' lock of its record.

`trialkit.record.sqlite` and `trialkit.record.postgres` give the two stores; everything that
is the same on both is here. Transactions are begun and ended by hand: a writer takes the lock,
reads the head, adds, and commits, so that two processes never build two chains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from trialkit.errors import StorageRefused
from trialkit.record.schema import events
from trialkit.record.storage import no_space, storage_guard

GENESIS_HEAD = (0, "0" * 64)
_HEAD = sa.select(events.c.seq, events.c.hash).order_by(events.c.seq.desc()).limit(1)
_INSERT = sa.insert(events)


class Store(ABC):
    """One open connection; use `trialkit.record.open.open_store`.

    Attributes
    ----------
    address : str
        A path, or a URL without its password; for messages.
    write : bool
    unguarded : list of str
        Triggers of the table of events that were missing, altered or off when it was opened for
        writing; the first transaction puts them back (`put_back`).
    """

    def __init__(self, engine: sa.Engine, address: str, *, write: bool) -> None:
        self.address = address
        self.write = write
        self.unguarded: list[str] = []
        self._engine = engine
        self._held = False  # a transaction of ours is open, or was lost with its connection
        self.connection = self._connect()

    def _connect(self) -> sa.Connection:
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def _connect_again(self) -> None:
        """Replace a connection that was lost, unless a transaction was lost with it."""
        if self.connection.invalidated and not self._held:
            fresh = self._connect()
            self.connection.close()
            self.connection = fresh

    @abstractmethod
    def durability(self) -> dict[str, str]:
        """Return the settings that make a commit durable, as the database states them."""

    @abstractmethod
    def last_given(self) -> int:
        """Return the highest number that was ever stored, also where its row is gone."""

    @abstractmethod
    def put_back(self) -> None:
        """Put the triggers back that are `unguarded`, inside the transaction.

        Raises
        ------
        IntegrityError
            If only the owner of the database may do that.
        """

    @abstractmethod
    def _begin(self) -> None:
        """Begin a transaction that holds the writers' lock."""

    def begin(self) -> tuple[int, str]:
        """Begin a transaction, take the writers' lock, and return the head.

        Raises
        ------
        StudyBusy
            If another process holds the lock for too long.
        """
        with storage_guard(self.address):
            self._connect_again()
            self._held = True
            self._begin()
        return self.head()

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last event."""
        rows = self.fetch(_HEAD)
        return (int(rows[0][0]), str(rows[0][1])) if rows else GENESIS_HEAD

    def insert(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows of `trialkit.record.schema.events` inside the transaction."""
        with storage_guard(self.address):
            self.connection.execute(_INSERT, rows)

    def commit(self) -> None:
        """End the transaction; when this returns its events are on disk.

        Raises
        ------
        StorageRefused
            If the store refused; nothing was kept, unless the connection was lost meanwhile:
            then nobody can tell before the server answers again.
        """
        try:
            with storage_guard(self.address):
                self.connection.exec_driver_sql("COMMIT")
        except StorageRefused as error:
            if not self._lost():
                raise
            said = error.message.removeprefix(f"{self.address}: ")
            if no_space(said):
                first = "Free space on the disk of the database server, see that it runs,"
            else:
                first = "Check that the database server runs,"
            raise StorageRefused(
                f"{self.address}: the connection was lost while the step was committed: {said}",
                remedy=f"{first} and look whether the step is in the record before it is repeated.",
                unsure=True,
            ) from error
        self._held = False

    def rollback(self) -> None:
        """Take the transaction back, also after an error that closed the connection.

        Raises
        ------
        StorageRefused
            If the store refuses on a connection that is still there.
        """
        self._held = False
        raw = None if self._lost() else self.connection.connection.dbapi_connection
        if raw is not None and self._in_transaction(raw):
            try:
                with storage_guard(self.address):
                    self.connection.exec_driver_sql("ROLLBACK")
            except StorageRefused:
                if not self._lost():
                    raise
        if self._lost():  # the database took it back with the connection
            self.connection.rollback()

    def _lost(self) -> bool:
        """Return True where the connection is known to be gone."""
        return self.connection.invalidated

    @abstractmethod
    def _in_transaction(self, raw: Any) -> bool:
        """Return True where a transaction is open."""

    def fetch(self, query: sa.Select[Any]) -> list[Any]:
        """Return the rows of a query."""
        with storage_guard(self.address):
            self._connect_again()
            return list(self.connection.execute(query))

    @abstractmethod
    def page(self, after: int, limit: int) -> list[tuple[int, bytes, str, str, str, str | None]]:
        """Return number, body, hash, kind, time and subject of the rows after `after`, in order.

        The bytes are as they are stored, whether they are a text or not.
        """

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self.connection.closed

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        if not self.connection.closed:
            self.connection.close()
            self._engine.dispose()
