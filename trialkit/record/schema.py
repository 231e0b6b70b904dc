"""The store of the record: one SQLite file with an append-only table of events.

The table holds the canonical body of each event and its hash; ``kind``, ``at`` and
``subject`` are projections of the body, for reading by them. Triggers refuse every update,
deletion and insertion out of sequence. The journal mode is WAL and ``synchronous`` is FULL,
and both are asserted when the file is opened: what was committed survives a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from trialkit.errors import IntegrityError, StorageRefused, UnknownName

SCHEMA_VERSION = 1
APPLICATION_ID = 0x746B6974  # "tkit"
BUSY_MS = 10_000

metadata = sa.MetaData()
events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index("events_by_kind", "kind", "seq"),
    sa.Index("events_by_subject", "subject", "seq"),
    sqlite_autoincrement=True,  # sqlite_sequence keeps the last number even if rows vanish
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


@contextmanager
def storage_guard(path: Path) -> Iterator[None]:
    """Turn the faults of a full, read-only or failing disk into `StorageRefused`."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise storage_refused(path, str(getattr(error, "orig", error))) from error
    except OSError as error:
        raise storage_refused(path, error.strerror or str(error)) from error


def storage_refused(path: Path, what: str) -> StorageRefused:
    """Return the error for `what` the disk said about `path`, with the remedy that fits."""
    lowered = what.lower()
    if "full" in lowered or "no space" in lowered or "too large" in lowered:
        remedy = "Free space on the disk and repeat the step; nothing of it was kept."
    elif ("read" in lowered and "only" in lowered) or "denied" in lowered or "unable" in lowered:
        remedy = "Make the folder writable, or open the study with write=False to read it."
    else:
        remedy = "Check the disk and repeat the step; nothing of it was kept."
    return StorageRefused(f"{path}: {what}.", remedy=remedy, path=str(path))


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path.resolve()))}?{mode}"


def connect(path: Path, *, write: bool) -> sa.Connection:
    """Return a connection in autocommit mode; transactions are begun and ended by hand.

    A file on a read-only medium whose write-ahead log is empty is opened as immutable.
    """
    if write:
        return _connect(_uri(path, "mode=rwc"))
    try:
        connection = _connect(_uri(path, "mode=ro"))
        try:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        except DBAPIError:
            connection.close()
            raise
    except DBAPIError:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        return _connect(_uri(path, "immutable=1"))
    return connection


def _connect(uri: str) -> sa.Connection:
    def dial() -> sqlite3.Connection:
        raw = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=BUSY_MS / 1000)
        raw.text_factory = lambda text: text.decode(errors="surrogateescape")  # damaged text too
        return raw

    engine = sa.create_engine("sqlite://", creator=dial, poolclass=NullPool)
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def create_store(path: Path) -> sa.Connection:
    """Create the file and return a connection for writing.

    Raises
    ------
    StorageRefused
        If the disk is full or read-only.
    """
    with storage_guard(path):
        connection = connect(path, write=True)
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        _make_durable(connection, path)
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        metadata.create_all(connection)
        _add_triggers(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.exec_driver_sql("COMMIT")
    return connection


def open_store(path: Path, *, write: bool) -> sa.Connection:
    """Open an existing file.

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
        connection = connect(path, write=write)
        try:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            kind = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
        except DBAPIError as error:
            connection.close()
            if "not a database" in str(error):
                raise IntegrityError(
                    f"{path}: this is not a database.", remedy="Restore the file from a copy."
                ) from error
            raise
        if kind != APPLICATION_ID or version > SCHEMA_VERSION:
            connection.close()
            raise IntegrityError(
                f"{path}: not a record that this version reads (schema {version}).",
                remedy="Use the version of trialkit that wrote it, or a later one.",
            )
        if write:
            _make_durable(connection, path)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _add_triggers(connection)
            connection.exec_driver_sql("COMMIT")
    return connection


def _add_triggers(connection: sa.Connection) -> None:
    for name, text in TRIGGERS.items():
        connection.exec_driver_sql(f"CREATE TRIGGER IF NOT EXISTS {name} {text}")


def _make_durable(connection: sa.Connection, path: Path) -> None:
    mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar_one()
    connection.exec_driver_sql("PRAGMA synchronous = FULL")
    level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    if mode != "wal" or level != 2:
        connection.close()
        raise StorageRefused(
            f"{path}: journal mode {mode}, synchronous {level}; WAL and FULL are needed.",
            remedy="Put the study on a local disk that supports SQLite's write-ahead log.",
        )
