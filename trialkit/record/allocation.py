"""Concealed allocations, stored apart from the record.

Each stratum has a list of places, each with an arm and a salt. A list is drawn in permuted
blocks of random size, and its SHA-256 goes into the record before its first place is used.
The record says which place a participant took; the arm is found here only. So nothing is
written here when somebody is randomised, and the two files cannot disagree after a crash.

A minimised arm depends on who came before, so its place is written just before the event that
names it. A place without an event (a crash between) is never used, and never written over.

Everything drawn comes from `trialkit.record.blocks` and `trialkit.participants.minimisation`,
which are pure.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from trialkit.errors import IntegrityError
from trialkit.record.apart import Apart, PrivateFile, PrivateTables
from trialkit.record.blocks import ListPart, Place, commitment, draw_part, list_commitment

FILE = "allocation.db"
_TABLES = """
CREATE TABLE secret (seed TEXT NOT NULL);
CREATE TABLE places (
    stratum TEXT NOT NULL, place INTEGER NOT NULL, part INTEGER NOT NULL,
    arm TEXT NOT NULL, salt TEXT NOT NULL, PRIMARY KEY (stratum, place));
"""

__all__ = ["AllocationStore", "ListPart", "Place", "commitment", "draw_part", "list_commitment"]


class AllocationStore:
    """The concealed lists of a study: ``allocation.db`` (mode 0600) of its folder, or tables.

    Parameters
    ----------
    where : Path or str
        The study folder, or the URL of the database that holds the record.
    """

    def __init__(self, where: Path | str) -> None:
        self._apart: Apart = (
            PrivateTables(where) if isinstance(where, str) else PrivateFile(where / FILE)
        )
        self._known: dict[str, dict[int, Place]] = {}

    @classmethod
    def create(cls, where: Path | str, *, seed: int | str | None = None) -> AllocationStore:
        """Create the store, with a seed from the operating system unless one is given.

        Raises
        ------
        StorageRefused
            If the disk is full or read-only.
        """
        store = cls(where)
        if isinstance(store._apart, PrivateFile):
            store._apart.create(_TABLES, ["secret", "places"])
        text = secrets.token_hex(32) if seed is None else str(seed)
        store._apart.add("INSERT INTO secret VALUES (?)", [(text,)])
        return store

    @property
    def name(self) -> str:
        """Where it is, for messages."""
        return self._apart.name

    def there(self) -> bool:
        """Return True where the store is there; a copy of a study may come without it."""
        return self._apart.there()

    def _places(self, stratum: str) -> dict[int, Place]:
        if stratum not in self._known:
            rows = self._apart.rows(
                "SELECT place, part, arm, salt FROM places WHERE stratum = ? ORDER BY place",
                (stratum,),
            )
            self._known[stratum] = {row[0]: Place(*row) for row in rows}
        return self._known[stratum]

    def _store(self, stratum: str, places: Sequence[Place]) -> None:
        rows = [(stratum, p.place, p.part, p.arm, p.salt) for p in places]
        self._apart.add("INSERT INTO places VALUES (?, ?, ?, ?, ?)", rows)
        self._known.setdefault(stratum, {}).update({p.place: p for p in places})

    def seed(self) -> str:
        """Return the secret from which everything is drawn; whoever has it knows every arm."""
        return str(self._apart.rows("SELECT seed FROM secret")[0][0])

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
        seed: str | None = None,
    ) -> list[ListPart]:
        """Draw the list of a stratum as far as `place` and return its parts.

        `seed` is that of a site that draws its own lists; None takes the one of the store.
        """
        if place not in self._places(stratum):
            self._known.pop(stratum, None)  # another process may have drawn it since
        while place not in self._places(stratum):
            drawn = draw_part(
                seed or self.seed(),
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
                f"{self.name}: place {place} of stratum {stratum} is not there.",
                remedy="Restore it from a copy of the study.",
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
                f"{self.name}: the arm of {usubjid} is not the one that was committed.",
                remedy="Restore it from a copy of the study.",
            )
        return found
