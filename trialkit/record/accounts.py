"""Passwords and logins, stored apart from the record: hashes only, never the words themselves.

A password is kept as an argon2id hash, a token of a login as its SHA-256. Who has a password
since when, who failed and who is locked out are events of the record; nothing of that is here.
A hash names the event that sets it, and is in force only where the record has that event: a
crash between the two leaves the password that was.
"""

from __future__ import annotations

import os
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from trialkit._canonical import sha256_bytes
from trialkit.record.storage import storage_guard

FILE = "accounts.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS passwords (
    n INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, hash TEXT NOT NULL, event INTEGER);
CREATE TABLE IF NOT EXISTS tokens (
    digest TEXT PRIMARY KEY, user TEXT NOT NULL, made REAL NOT NULL, used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS sittings (
    sitting TEXT PRIMARY KEY, user TEXT NOT NULL, signed REAL NOT NULL);
"""
_DROP = "DELETE FROM tokens WHERE user = ?"
_COLUMNS = "PRAGMA table_info(passwords)"


class Login(NamedTuple):
    """A login that is kept: whose, when it was made and last used, in seconds since 1970."""

    user: str
    made: float
    used: float


class AccountStore:
    """The file ``accounts.db`` (mode 0600) of a study folder; made when it is first written.

    Parameters
    ----------
    folder : Path
        The study folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    @contextmanager
    def _connection(self, *, write: bool = False) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection; None where nothing was ever written and `write` is False."""
        new = not self.path.is_file()
        if new and not write:
            yield None
            return
        with storage_guard(self.path):
            if new:
                with suppress(FileExistsError):  # another process made it just now
                    os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            # A reader too opens for writing: it takes back what a crash left half-written.
            uri = f"file:{quote(str(self.path.resolve()))}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
                connection.execute("PRAGMA synchronous = EXTRA")
                if write:
                    connection.executescript(_SCHEMA)
                if "event" not in {row[1] for row in connection.execute(_COLUMNS)}:
                    connection.execute("ALTER TABLE passwords ADD COLUMN event INTEGER")
                with connection:
                    yield connection

    def _rows(self, query: str, *values: object) -> list[tuple[str, float, float]]:
        with self._connection() as connection:
            return connection.execute(query, values).fetchall() if connection else []

    def _write(self, *queries: tuple[str, tuple[object, ...]]) -> None:
        with self._connection(write=True) as connection:
            for query, values in queries:
                if connection is not None:
                    connection.execute(query, values)

    # --- passwords -----------------------------------------------------------------------

    def hashes(self, user: str, n: int, event: int | None) -> list[str]:
        """Return the last `n` hashes of a person up to the one that `event` set, newest first."""
        query = (
            "SELECT hash, 0, 0 FROM passwords WHERE user = ? AND (event <= ? OR event IS NULL) "
            "ORDER BY n DESC LIMIT ?"
        )
        return [row[0] for row in self._rows(query, user, event, n)]

    def in_force(self, user: str, event: int | None) -> str | None:
        """Return the hash that `event` set, the last ``user.password_set`` of the person.

        A hash that names no event is of a study that began before hashes named theirs.
        """
        query = (
            "SELECT hash, 0, 0 FROM passwords WHERE user = ? AND (event = ? OR event IS NULL) "
            "ORDER BY event IS NULL, n DESC LIMIT 1"
        )
        rows = self._rows(query, user, event) if event is not None else []
        return rows[0][0] if rows else None

    def add_hash(self, user: str, hashed: str, event: int) -> None:
        """Store the hash that `event` puts in force, and end the logins of the person."""
        self._write(
            ("INSERT INTO passwords (user, hash, event) VALUES (?, ?, ?)", (user, hashed, event)),
            (_DROP, (user,)),
        )

    # --- logins --------------------------------------------------------------------------

    def keep_login(self, token: str, user: str, now: float) -> None:
        """Keep a login under the SHA-256 of its token."""
        values = (token_digest(token), user, now, now)
        self._write(("INSERT INTO tokens VALUES (?, ?, ?, ?)", values))

    def login(self, token: str) -> Login | None:
        """Return the login of a token, or None."""
        query = "SELECT user, made, used FROM tokens WHERE digest = ?"
        rows = self._rows(query, token_digest(token))
        return Login(*rows[0]) if rows else None

    def touch(self, token: str, now: float) -> None:
        """Say that a login was used."""
        self._write(("UPDATE tokens SET used = ? WHERE digest = ?", (now, token_digest(token))))

    def drop_login(self, token: str) -> None:
        """End one login."""
        self._write(("DELETE FROM tokens WHERE digest = ?", (token_digest(token),)))

    def drop_logins(self, user: str) -> None:
        """End all logins of a person."""
        self._write((_DROP, (user,)))

    # --- sittings of a signer ------------------------------------------------------------

    def last_signed(self, sitting: str, user: str) -> float | None:
        """Return when the person last signed in a sitting, or None."""
        query = "SELECT user, signed, 0 FROM sittings WHERE sitting = ? AND user = ?"
        rows = self._rows(query, sitting, user)
        return rows[0][1] if rows else None

    def note_signed(self, sitting: str, user: str, now: float) -> None:
        """Say that the person signed in a sitting."""
        self._write(("INSERT OR REPLACE INTO sittings VALUES (?, ?, ?)", (sitting, user, now)))


def token_digest(token: str) -> str:
    """Return the SHA-256 under which a token is kept."""
    return sha256_bytes(token.encode())


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password: 19 MiB, two passes, one lane.

    Source: OWASP Password Storage Cheat Sheet. The parameters are part of the hash.
    """
    from argon2 import PasswordHasher

    hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
    return hasher.hash(_normal(password))


def matches(hashed: str, password: str) -> bool:
    """Return True where `password` is the one that was hashed."""
    from argon2 import PasswordHasher
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return PasswordHasher().verify(hashed, _normal(password))
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)
