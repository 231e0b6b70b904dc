"""Concealed allocation lists, stored apart from the record.

Each stratum has a list of places, each with an arm and a salt. A list is drawn in permuted
blocks of random size, and its SHA-256 goes into the record before its first place is used.
The record says which place a participant took; the arm is found here only. So nothing is
written here when somebody is randomised, and the two files cannot disagree after a crash.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from trialkit._canonical import sha256_json, sha256_text
from trialkit.errors import IntegrityError
from trialkit.record.schema import storage_guard

FILE = "allocation.db"
LIST_LENGTH = 48
_SCHEMA = """
CREATE TABLE IF NOT EXISTS secret (seed TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS places (
    stratum TEXT NOT NULL, place INTEGER NOT NULL, part INTEGER NOT NULL,
    arm TEXT NOT NULL, salt TEXT NOT NULL, PRIMARY KEY (stratum, place));
"""


def commitment(salt: str, usubjid: str, arm: str) -> str:
    """Return the SHA-256 of ``salt|usubjid|arm``: binds the arm without telling it."""
    return sha256_text(f"{salt}|{usubjid}|{arm}")


@dataclass(frozen=True)
class Place:
    """One place of a list; `part` counts the parts in which the list was drawn, from 1."""

    place: int
    part: int
    arm: str
    salt: str


@dataclass(frozen=True)
class ListPart:
    """A part of a list as the record knows it."""

    stratum: str
    part: int
    length: int
    commitment: str


class _Draws:
    """Uniform draws from SHA-256 in counter mode: the same on every machine for a seed."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._counter = 0

    def _word(self) -> bytes:
        self._counter += 1
        return hashlib.sha256(f"{self._seed}|{self._counter}".encode()).digest()

    def below(self, n: int) -> int:
        """Return an integer from 0 to n - 1 without bias (rejection sampling)."""
        limit = (1 << 64) - (1 << 64) % n
        while True:
            value = int.from_bytes(self._word()[:8], "big")
            if value < limit:
                return value % n

    def salt(self) -> str:
        """Return 128 bits as 32 hex digits."""
        return self._word()[:16].hex()

    def shuffled(self, items: list[str]) -> list[str]:
        """Return a uniform permutation (Fisher-Yates)."""
        items = list(items)
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]
        return items


def draw_part(
    seed: str,
    stratum: str,
    part: int,
    *,
    arms: Sequence[str],
    ratio: Sequence[int],
    block_sizes: Sequence[int],
    first: int = 1,
    length: int = LIST_LENGTH,
) -> list[Place]:
    """Draw whole permuted blocks until there are at least `length` places.

    Parameters
    ----------
    seed : str
        Secret; with stratum and part it gives the list.
    arms, ratio : sequence
        Arm codes and their shares, of the same length.
    block_sizes : sequence of int
        Sizes to choose from, each a multiple of ``sum(ratio)``.
    first : int
        Number of the first place.

    Raises
    ------
    ValueError
        If a block size is no multiple of the ratio's sum.
    """
    share = sum(ratio)
    if len(arms) != len(ratio) or not block_sizes or any(size % share for size in block_sizes):
        raise ValueError(f"block sizes {list(block_sizes)} do not fit the ratio {list(ratio)}")
    draws = _Draws(sha256_json([seed, stratum, part]))
    drawn: list[str] = []
    while len(drawn) < length:
        size = block_sizes[draws.below(len(block_sizes))]
        block = [arm for arm, n in zip(arms, ratio, strict=True) for _ in range(n * size // share)]
        drawn += draws.shuffled(block)
    return [Place(first + i, part, arm, draws.salt()) for i, arm in enumerate(drawn)]


def list_commitment(stratum: str, places: Sequence[Place]) -> str:
    """Return the SHA-256 that the record holds of a part of a list."""
    return sha256_json([stratum, [[p.place, p.arm, p.salt] for p in places]])


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
        while place not in self._places(stratum):
            with self._connection() as connection:
                seed = connection.execute("SELECT seed FROM secret").fetchone()[0]
            drawn = draw_part(
                seed,
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
