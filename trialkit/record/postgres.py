"""The record in PostgreSQL: append-only by trigger and by grants, one database a study.

Everything lies in the schema ``trialkit``. A trigger that runs with the owner's rights accepts
the events of a statement only if each of them continues the chain, and keeps the last number and
hash in ``given``, which no writer can change otherwise. It runs once a statement: an
update for each row would leave a dead row a time in ``given``, all of which the next one reads.
Three group roles hold the grants: ``trialkit_read`` (the events), ``trialkit_write`` (add events)
and ``trialkit_allocation`` (the concealed lists); a person's login role is a member of those that
the role in the study needs. None of them may update, delete or truncate.

``fsync`` and ``full_page_writes`` must be on and ``synchronous_commit`` on or stronger: this is
asserted when the record is opened, so that what was committed survives a power cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from trialkit.errors import Duplicate, IntegrityError, MissingTool, StorageRefused, UnknownName
from trialkit.record.roles import permissions_of
from trialkit.record.schema import SCHEMA_VERSION
from trialkit.record.storage import storage_guard, storage_refused
from trialkit.record.store import Store

if TYPE_CHECKING:
    import psycopg

OLDEST_SERVER = 150000
BUSY_MS = 10_000
LOCK = 0x746B6974  # "tkit"
CREATING = 0x746B6975
_PAGE = (
    "SELECT seq, convert_to(body, 'UTF8'), hash, kind, at, subject FROM trialkit.events "
    "WHERE seq > %s ORDER BY seq LIMIT %s"
)
_ADD = (
    "INSERT INTO trialkit.events (seq, kind, at, subject, body, hash) SELECT * FROM unnest("
    "%b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[])"
)
_COLUMNS = ("seq", "kind", "at", "subject", "body", "hash")
_TRIGGERS = ("events_in_sequence", "events_no_change")
_AT_ONCE = 5000  # rows in a statement
GROUPS = ("trialkit_read", "trialkit_write", "trialkit_allocation")

_SCHEMA = f"""
CREATE SCHEMA trialkit;
CREATE TABLE trialkit.form (version integer NOT NULL);
INSERT INTO trialkit.form VALUES ({SCHEMA_VERSION});
CREATE TABLE trialkit.events (
    seq bigint PRIMARY KEY, kind text NOT NULL, at text NOT NULL, subject text,
    body text NOT NULL, hash text NOT NULL);
CREATE INDEX events_by_kind ON trialkit.events (kind, seq);
CREATE INDEX events_by_subject ON trialkit.events (subject, seq);
CREATE TABLE trialkit.given (seq bigint NOT NULL, hash text NOT NULL);
INSERT INTO trialkit.given VALUES (0, repeat('0', 64));
CREATE TABLE trialkit.secret (seed text NOT NULL);
CREATE TABLE trialkit.places (
    stratum text NOT NULL, place integer NOT NULL, part integer NOT NULL, arm text NOT NULL,
    salt text NOT NULL, PRIMARY KEY (stratum, place));
"""
_GUARDS = """
CREATE OR REPLACE FUNCTION trialkit.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the record is append-only'; END $$;
CREATE OR REPLACE FUNCTION trialkit.continue_chain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = trialkit, pg_temp AS $$
DECLARE last given%ROWTYPE; one record;
BEGIN
    SELECT * INTO last FROM given FOR UPDATE;
    FOR one IN SELECT seq, body, hash FROM added ORDER BY seq LOOP
        IF one.seq <> last.seq + 1 OR (one.body::json ->> 'prev') IS DISTINCT FROM last.hash
           OR one.hash <> encode(sha256(convert_to(one.body, 'UTF8')), 'hex') THEN
            RAISE EXCEPTION 'the record is append-only: event % does not follow event %',
                one.seq, last.seq;
        END IF;
        last.seq := one.seq;
        last.hash := one.hash;
    END LOOP;
    UPDATE given SET seq = last.seq, hash = last.hash;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER events_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON trialkit.events
    FOR EACH STATEMENT EXECUTE FUNCTION trialkit.refuse();
CREATE OR REPLACE TRIGGER events_in_sequence AFTER INSERT ON trialkit.events
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION trialkit.continue_chain();
"""
_APART = """
CREATE TRIGGER secret_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON trialkit.secret
    FOR EACH STATEMENT EXECUTE FUNCTION trialkit.refuse();
CREATE TRIGGER places_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON trialkit.places
    FOR EACH STATEMENT EXECUTE FUNCTION trialkit.refuse();
"""
_GRANTS = """
DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['trialkit_read', 'trialkit_write', 'trialkit_allocation'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
END $$;
REVOKE ALL ON SCHEMA trialkit FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA trialkit FROM PUBLIC;
GRANT USAGE ON SCHEMA trialkit TO trialkit_read, trialkit_write, trialkit_allocation;
GRANT SELECT ON trialkit.events, trialkit.given, trialkit.form TO trialkit_read, trialkit_write;
GRANT INSERT ON trialkit.events TO trialkit_write;
GRANT SELECT, INSERT ON trialkit.places TO trialkit_allocation;
GRANT SELECT ON trialkit.secret TO trialkit_allocation;
"""


class PostgresStore(Store):
    """A record in a PostgreSQL database."""

    def durability(self) -> dict[str, str]:
        """Return ``fsync``, ``full_page_writes`` and ``synchronous_commit``."""
        names = ("fsync", "full_page_writes", "synchronous_commit")
        with storage_guard(self.address):
            return {
                name: str(self.connection.exec_driver_sql(f"SHOW {name}").scalar_one())
                for name in names
            }

    def last_given(self) -> int:
        """Return the highest number that was ever stored, also where its row is gone."""
        with storage_guard(self.address):
            found = self.connection.exec_driver_sql("SELECT seq FROM trialkit.given").scalar()
        return int(found or 0)

    def page(self, after: int, limit: int) -> list[tuple[int, bytes, str, str, str, str | None]]:
        """Return the rows after `after`; see `Store.page`."""
        raw: Any = self.connection.connection.dbapi_connection
        with storage_guard(self.address):
            try:
                return list(raw.execute(_PAGE, (after, limit), binary=True).fetchall())
            except raw.Error as error:
                raise storage_refused(self.address, str(error)) from error

    def insert(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows in as few statements as can be: the trigger writes ``given`` once in each."""
        if len(rows) == 1:  # for which arrays take longer
            super().insert(rows)
            return
        with storage_guard(self.address):
            for begin in range(0, len(rows), _AT_ONCE):
                part = rows[begin : begin + _AT_ONCE]
                columns = tuple([row[name] for row in part] for name in _COLUMNS)
                self.connection.exec_driver_sql(_ADD, columns)

    def put_back(self) -> None:
        """Make the triggers anew where we own them; see `Store.put_back`."""
        raw: Any = self.connection.connection.dbapi_connection
        with storage_guard(self.address):
            owns = self.connection.exec_driver_sql(
                "SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'trialkit'"
            ).scalar_one()
            if not owns:
                raise IntegrityError(
                    f"{self.address}: the triggers that keep the record append-only are off "
                    f"({', '.join(self.unguarded)}).",
                    remedy="Ask whoever owns the database to open the study: that puts them back, "
                    "and is recorded.",
                )
            try:
                raw.execute(_GUARDS)
            except raw.Error as error:
                raise storage_refused(self.address, str(error)) from error

    def _begin(self) -> None:
        self.connection.exec_driver_sql("BEGIN")
        self.connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")

    def _in_transaction(self, raw: Any) -> bool:
        return bool(raw.info.transaction_status)


def groups_of(role: str) -> list[str]:
    """Return the group roles of the database that a role of the study needs."""
    held = permissions_of(role)
    groups = ["trialkit_read", "trialkit_write"] if held else []
    return groups + (["trialkit_allocation"] if held & {"see_allocation", "unblind"} else [])


def create(url: str) -> PostgresStore:
    """Make the record in an empty database and return its store.

    Tables of a record that never held an event are of a creation that was interrupted, and are
    made anew.

    Raises
    ------
    Duplicate
        If the database holds a study.
    StudyBusy
        If another process makes a study there.
    StorageRefused
        If the server refuses, or would not keep what it acknowledged.
    MissingTool
        If psycopg is not installed.
    """
    store = _connect(url, write=True)
    try:
        with storage_guard(store.address):
            run = store.connection.exec_driver_sql
            _check_unused(store)
            run(f"SELECT pg_advisory_lock({CREATING})")  # until this connection ends
            run("BEGIN")
            run(f"SELECT pg_advisory_xact_lock({LOCK})")
            if _check_unused(store):
                run("DROP SCHEMA trialkit CASCADE")
            raw: Any = store.connection.connection.dbapi_connection
            raw.execute(_SCHEMA + _GUARDS + _APART + _GRANTS)
            run("COMMIT")
        _assert_sound(store)
    except BaseException:
        store.close()
        raise
    return store


def _check_unused(store: PostgresStore) -> bool:
    """Refuse a database with a study; return True where an interrupted creation left tables."""
    run = store.connection.exec_driver_sql
    if not run("SELECT to_regnamespace('trialkit') IS NOT NULL").scalar_one():
        return False
    ours = run(
        "SELECT pg_has_role(nspowner, 'USAGE') AND to_regclass('trialkit.given') IS NOT NULL "
        "FROM pg_namespace WHERE nspname = 'trialkit'"
    ).scalar_one()
    if ours and run("SELECT seq FROM trialkit.given").scalar() == 0:
        return True
    raise Duplicate(f"{store.address} holds a study already.", remedy="Give an empty database.")


def open_url(url: str, *, write: bool) -> PostgresStore:
    """Open the record of a database.

    Raises
    ------
    UnknownName
        If the database holds no study.
    IntegrityError
        If it is of a later version.
    StorageRefused
        If the server refuses, or would not keep what it acknowledged.
    MissingTool
        If psycopg is not installed.
    """
    store = _connect(url, write=write)
    try:
        _assert_sound(store)
        if write:
            store.unguarded = _unguarded(store)
    except BaseException:
        store.close()
        raise
    return store


def _unguarded(store: PostgresStore) -> list[str]:
    """Return the triggers that are not there, or off."""
    with storage_guard(store.address):
        rows = store.connection.exec_driver_sql(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'trialkit.events'::regclass "
            "AND tgenabled IN ('O', 'A')"
        ).fetchall()
    return sorted(set(_TRIGGERS) - {row[0] for row in rows})


def _assert_sound(store: PostgresStore) -> None:
    run = store.connection.exec_driver_sql
    with storage_guard(store.address):
        server = int(run("SHOW server_version_num").scalar_one())
        there = run("SELECT to_regclass('trialkit.form') IS NOT NULL").scalar_one()
        version = int(run("SELECT version FROM trialkit.form").scalar_one()) if there else None
    if version is None:
        raise UnknownName(
            f"{store.address}: no record here.", remedy="Give the database of a study."
        )
    if version > SCHEMA_VERSION:
        raise IntegrityError(
            f"{store.address}: not a record that this version reads (schema {version}).",
            remedy="Use the version of trialkit that wrote it, or a later one.",
        )
    found = store.durability()
    good = ("on", "remote_apply", "remote_write", "local")
    if server < OLDEST_SERVER or found["fsync"] != "on" or found["full_page_writes"] != "on":
        ok = False
    else:
        ok = found["synchronous_commit"] in good
    if not ok:
        said = ", ".join(f"{name} {value}" for name, value in found.items())
        raise StorageRefused(
            f"{store.address}: server {server // 10000}, {said}.",
            remedy="Use PostgreSQL 15 or later with fsync, full_page_writes and "
            "synchronous_commit on.",
        )


def without_password(url: str) -> str:
    """Return a database URL as it may be written to a file."""
    return sa.make_url(url).set(password=None).render_as_string()


def shown(url: str) -> str:
    """Return a database URL without its password."""
    return sa.make_url(url).render_as_string(hide_password=True)


def _driver() -> ModuleType:
    try:
        import psycopg
    except ImportError as error:
        raise MissingTool(
            "a study in PostgreSQL needs psycopg.",
            remedy="Install it: pip install 'trialkit[postgres]'.",
        ) from error
    return psycopg


def dial(url: str, *, write: bool) -> psycopg.Connection[Any]:
    """Return a plain connection that commits each statement.

    Raises
    ------
    MissingTool
        If psycopg is not installed.
    """
    driver = _driver()
    target = sa.make_url(url).set(drivername="postgresql")
    settings = f"-c search_path=trialkit -c lock_timeout={BUSY_MS}"
    if not write:
        settings += " -c default_transaction_read_only=on"
    connection: psycopg.Connection[Any] = driver.connect(
        target.render_as_string(hide_password=False),
        autocommit=True,
        connect_timeout=10,
        options=settings,
    )
    return connection


@contextmanager
def connected(url: str, name: str, *, write: bool) -> Iterator[psycopg.Connection[Any]]:
    """Give a plain connection, as `dial`, whose faults are errors of the tree.

    Parameters
    ----------
    url : str
    name : str
        What is in it, for messages.
    write : bool

    Raises
    ------
    StorageRefused
        If the server refuses, or the connection is lost.
    StudyBusy
        If another process wrote for longer than we wait.
    MissingTool
        If psycopg is not installed.
    """
    driver = _driver()
    try:
        with dial(url, write=write) as connection:
            yield connection
    except driver.Error as error:
        raise storage_refused(name, str(error)) from error


def _connect(url: str, *, write: bool) -> PostgresStore:
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: dial(url, write=write), poolclass=NullPool
    )
    with storage_guard(shown(url)):
        try:
            return PostgresStore(engine, shown(url), write=write)
        except DBAPIError:
            engine.dispose()
            raise
