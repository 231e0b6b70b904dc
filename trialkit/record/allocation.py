"""Concealed allocations, stored apart from the record.

Each stratum has a list of places, each with an arm and a salt. A list is drawn in permuted
blocks of random size, and its SHA-256 goes into the record before its first place is used.
The record says which place a participant took; the arm is found here only. So nothing is
written here when somebody is randomised, and the two files cannot disagree after a crash.

A minimised arm depends on who came before, so its place is written just before the event that
names it. A place without an event (a crash between) is never used, and never written over.

Everything drawn comes from `trialkit.record.blocks` and `trialkit.participants.minimisation`,
which are pure; here is the file only, and it lets nobody change or remove a row.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from trialkit.errors import IntegrityError
from trialkit.record.blocks import ListPart, Place, commitment, draw_part, list_commitment
from trialkit.record.storage import storage_guard

FILE = "allocation.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS secret (seed TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS places (
    stratum TEXT NOT NULL, place INTEGER NOT NULL, part INTEGER NOT NULL,
    arm TEXT NOT NULL, salt TEXT NOT NULL, PRIMARY KEY (stratum, place));
""" + "".join(
    f"CREATE TRIGGER {table}_{what.lower()} BEFORE {what} ON {table} BEGIN "
    "SELECT RAISE(ABORT, 'the allocation is append-only'); END;\n"
    for table in ("secret", "places")
    for what in ("UPDATE", "DELETE")
)

__all__ = ["AllocationStore", "ListPart", "Place", "commitment", "draw_part", "list_commitment"]


class AllocationStore:
    """The file ``allocation.db`` (mode 0600) of a study folder.

    Parameters
    ----------
    folder : Path
        The study folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._known: dict[str, dict[int, Place]] = {}

    @classmethod
    def create(cls, folder: Path, *, seed: int | str | None = None) -> AllocationStore:
        """Create the file, with a seed from the operating system unless one is given.

        Raises
        ------
        StorageRefused
            If the disk is full or read-only.
        """
        store = cls(folder)
        with storage_guard(store.path):
            os.close(os.open(store.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with store._connection(write=True) as connection:
            connection.executescript(_SCHEMA)
            text = secrets.token_hex(32) if seed is None else str(seed)
            connection.execute("INSERT INTO secret VALUES (?)", (text,))
        return store

    @contextmanager
    def _connection(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        if not self.path.is_file():
            raise IntegrityError(
                f"{self.path}: not there.", remedy="Restore it from a copy of the study."
            )
        uri = f"file:{quote(str(self.path.resolve()))}?mode={'rw' if write else 'ro'}"
        with storage_guard(self.path), closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("PRAGMA synchronous = EXTRA")
            with connection:
                yield connection

    def _places(self, stratum: str) -> dict[int, Place]:
        if stratum not in self._known:
            with self._connection() as connection:
                rows = connection.execute(
                    "SELECT place, part, arm, salt FROM places WHERE stratum = ? ORDER BY place",
                    (stratum,),
                ).fetchall()
            self._known[stratum] = {row[0]: Place(*row) for row in rows}
        return self._known[stratum]

    def _store(self, stratum: str, places: Sequence[Place]) -> None:
        rows = [(stratum, p.place, p.part, p.arm, p.salt) for p in places]
        with self._connection(write=True) as connection:
            connection.executemany("INSERT INTO places VALUES (?, ?, ?, ?, ?)", rows)
        self._known.setdefault(stratum, {}).update({p.place: p for p in places})

    def seed(self) -> str:
        """Return the secret from which everything is drawn; whoever has it knows every arm."""
        with self._connection() as connection:
            return str(connection.execute("SELECT seed FROM secret").fetchone()[0])

    def parts(self, stratum: str) -> list[ListPart]:
        """Return the parts of a stratum's list that are drawn, in order."""
        by_part: dict[int, list[Place]] = {}
        for place in self._places(stratum).values():
            if place.part:
                by_part.setdefault(place.part, []).append(place)
        return [
            ListPart(stratum, part, len(places), list_commitment(stratum, places))
            for part, places in sorted(by_part.items())
        ]

    def ensure(
        self,
        stratum: str,
        place: int,
        *,
        arms: Sequence[str],
        ratio: Sequence[int],
        block_sizes: Sequence[int],
    ) -> list[ListPart]:
        """Draw the list of a stratum as far as `place` and return its parts."""
        if place not in self._places(stratum):
            self._known.pop(stratum, None)  # another process may have drawn it since
        while place not in self._places(stratum):
            drawn = draw_part(
                self.seed(),
                stratum,
                len(self.parts(stratum)) + 1,
                arms=arms,
                ratio=ratio,
                block_sizes=block_sizes,
                first=len(self._places(stratum)) + 1,
            )
            self._store(stratum, drawn)
        return self.parts(stratum)

    def add_known(self, stratum: str, arms: Sequence[str]) -> list[Place]:
        """Store places with given arms after the last one (an imported study) and return them.

        They were not drawn here: they belong to part 0, which `parts` leaves out.
        """
        first = len(self._places(stratum)) + 1
        places = [Place(first + i, 0, arm, secrets.token_hex(16)) for i, arm in enumerate(arms)]
        self._store(stratum, places)
        return places

    def append(self, stratum: str, arm: str, salt: str) -> Place:
        """Store a place after the last one, with an arm that was just drawn, and return it."""
        self._known.pop(stratum, None)
        place = Place(max(self._places(stratum), default=0) + 1, 1, arm, salt)
        self._store(stratum, [place])
        return place

    def place(self, stratum: str, place: int) -> Place:
        """Return a place.

        Raises
        ------
        IntegrityError
            If the list does not have it.
        """
        found = self._places(stratum).get(place)
        if found is None:  # another process may have drawn it since
            self._known.pop(stratum, None)
            found = self._places(stratum).get(place)
        if found is None:
            raise IntegrityError(
                f"{self.path}: place {place} of stratum {stratum} is not there.",
                remedy="Restore allocation.db from a copy.",
            )
        return found

    def arm_of(self, usubjid: str, stratum: str, place: int, committed: str) -> Place:
        """Return the place that a participant took, checked against the record's commitment.

        Raises
        ------
        IntegrityError
            If the stored arm is not the one that was committed.
        """
        found = self.place(stratum, place)
        if commitment(found.salt, usubjid, found.arm) != committed:
            raise IntegrityError(
                f"{self.path}: the arm of {usubjid} is not the one that was committed.",
                remedy="Restore allocation.db from a copy.",
            )
        return found
