"""The record in one SQLite file: append-only by trigger, durable, readable by many.

The journal mode is WAL and ``synchronous`` is FULL, set on every connection that writes and
asserted when the file is opened: what was committed survives a power cut. (In WAL mode with
NORMAL, commits that were acknowledged are lost with the power.)
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from trialkit.errors import IntegrityError, StorageRefused, UnknownName
from trialkit.record.schema import SCHEMA_VERSION, metadata
from trialkit.record.storage import storage_guard
from trialkit.record.store import Store

APPLICATION_ID = 0x746B6974  # "tkit"
BUSY_MS = 10_000
_PAGE = (
    "SELECT seq, CAST(body AS BLOB), hash, kind, at, subject FROM events "
    "WHERE seq > ? ORDER BY seq LIMIT ?"
)

TRIGGERS = {
    "events_no_update": "BEFORE UPDATE ON events BEGIN "
    "SELECT RAISE(ABORT, 'the record is append-only'); END",
    "events_no_delete": "BEFORE DELETE ON events BEGIN "
    "SELECT RAISE(ABORT, 'the record is append-only'); END",
    "events_in_sequence": "BEFORE INSERT ON events "
    "WHEN NEW.seq <= (SELECT coalesce(max(seq), 0) FROM events) BEGIN "
    "SELECT RAISE(ABORT, 'the record is append-only'); END",
}


class SqliteStore(Store):
    """A record in a SQLite file."""

    def durability(self) -> dict[str, str]:
        """Return journal mode and synchronous level."""
        pragma = self.connection.exec_driver_sql
        with storage_guard(self.address):
            mode = pragma("PRAGMA journal_mode").scalar_one()
            level = pragma("PRAGMA synchronous").scalar_one()
        names = {0: "off", 1: "normal", 2: "full", 3: "extra"}
        return {"journal_mode": str(mode), "synchronous": names.get(int(level), str(level))}

    def last_given(self) -> int:
        """Return the highest number that was ever stored, also where its row is gone."""
        with storage_guard(self.address):
            number = self.connection.exec_driver_sql(
                "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
            ).scalar()
        return int(number or 0)

    def page(self, after: int, limit: int) -> list[tuple[int, bytes, str, str, str, str | None]]:
        """Return the rows after `after`; see `Store.page`."""
        raw: Any = self.connection.connection.dbapi_connection
        tolerant = raw.text_factory
        with storage_guard(self.address):
            raw.text_factory = str  # in C; refuses what is not UTF-8
            try:
                return list(raw.execute(_PAGE, (after, limit)).fetchall())
            except sqlite3.OperationalError:
                raw.text_factory = tolerant
                return list(raw.execute(_PAGE, (after, limit)).fetchall())
            finally:
                raw.text_factory = tolerant

    def put_back(self) -> None:
        """Make the triggers anew; see `Store.put_back`."""
        with storage_guard(self.address):
            for name in self.unguarded:
                self.connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
            _add_triggers(self)

    def _begin(self) -> None:
        self.connection.exec_driver_sql("BEGIN IMMEDIATE")

    def _in_transaction(self, raw: Any) -> bool:
        return bool(getattr(raw, "in_transaction", False))


def create(path: Path) -> SqliteStore:
    """Create the file and return its store.

    Raises
    ------
    StorageRefused
        If the disk is full or read-only.
    """
    with storage_guard(path):
        store = SqliteStore(_engine(_uri(path, "mode=rwc"), write=True), str(path), write=True)
        try:
            run = store.connection.exec_driver_sql
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            _make_durable(store)
            run("BEGIN IMMEDIATE")
            metadata.create_all(store.connection)
            _add_triggers(store)
            run(f"PRAGMA user_version = {SCHEMA_VERSION}")
            run("COMMIT")
        except BaseException:
            store.close()
            raise
    return store


def open_file(path: Path, *, write: bool) -> SqliteStore:
    """Open an existing file.

    A file on a read-only medium whose write-ahead log is empty is opened as immutable.

    Raises
    ------
    UnknownName
        If there is no file.
    IntegrityError
        If the file is not a record, or of a later version.
    StorageRefused
        If it cannot be opened as asked.
    """
    if not path.is_file():
        raise UnknownName(f"{path}: no record here.", remedy="Give the folder of a study.")
    with storage_guard(path):
        try:
            store = _connect(path, write=write)
        except DBAPIError as error:
            raise _no_database(path, error) from error
        try:
            _check_form(store, path)
            if write:
                _make_durable(store)
                store.unguarded = _unguarded(store)
        except BaseException:
            store.close()
            raise
    return store


def _check_form(store: SqliteStore, path: Path) -> None:
    try:
        version = store.connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        kind = store.connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    except DBAPIError as error:
        raise _no_database(path, error) from error
    if kind != APPLICATION_ID or version > SCHEMA_VERSION:
        raise IntegrityError(
            f"{path}: not a record that this version reads (schema {version}).",
            remedy="Use the version of trialkit that wrote it, or a later one.",
        )


def _no_database(path: Path, error: DBAPIError) -> Exception:
    if "not a database" in str(error):
        return IntegrityError(
            f"{path}: this is not a database.", remedy="Restore the file from a copy."
        )
    return error


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.resolve()))}?{mode}"


def _connect(path: Path, *, write: bool) -> SqliteStore:
    if write:
        return SqliteStore(_engine(_uri(path, "mode=rwc"), write=True), str(path), write=True)
    try:
        engine = _engine(_uri(path, "mode=ro"), write=False)
        store = SqliteStore(engine, str(path), write=False)
        try:
            store.connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        except DBAPIError:
            store.close()
            raise
    except DBAPIError:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        engine = _engine(_uri(path, "immutable=1"), write=False)
        return SqliteStore(engine, str(path), write=False)
    return store


def _engine(uri: str, *, write: bool) -> sa.Engine:
    def dial() -> sqlite3.Connection:
        raw = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=BUSY_MS / 1000)
        raw.text_factory = lambda text: text.decode(errors="surrogateescape")  # damaged text too
        if write:  # also on a connection that replaces one that an interrupt closed
            try:
                raw.execute("PRAGMA synchronous = FULL")
            except BaseException:
                raw.close()
                raise
        return raw

    return sa.create_engine("sqlite://", creator=dial, poolclass=NullPool)


def _add_triggers(store: SqliteStore) -> None:
    for name, text in TRIGGERS.items():
        store.connection.exec_driver_sql(f"CREATE TRIGGER IF NOT EXISTS {name} {text}")


def _unguarded(store: SqliteStore) -> list[str]:
    """Return the triggers that are not there as `TRIGGERS` has them."""
    rows = store.connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").fetchall()
    there = {name: text for name, text in rows}
    return [n for n, text in TRIGGERS.items() if there.get(n) != f"CREATE TRIGGER {n} {text}"]


def _make_durable(store: SqliteStore) -> None:
    store.connection.exec_driver_sql("PRAGMA journal_mode = WAL")  # stays with the file
    found = store.durability()
    if found != {"journal_mode": "wal", "synchronous": "full"}:
        raise StorageRefused(
            f"{store.address}: journal mode {found['journal_mode']}, synchronous "
            f"{found['synchronous']}; WAL and FULL are needed.",
            remedy="Put the study on a local disk that supports SQLite's write-ahead log.",
        )
