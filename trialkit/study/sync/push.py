"""Pushing: what the centre does not have yet, in small parts, again and again.

`push` knows the site only as a `Source` and the centre only as a `Centre`; each step asks how
far the centre is and goes on from there, so that it may be broken off anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trialkit._clock import RealClock
from trialkit.errors import ChainBroken, OutOfOrder, StudyBusy, TelemetryDamaged, Unreachable
from trialkit.record.events import Record
from trialkit.record.heads import body_of
from trialkit.record.received import called, parse
from trialkit.record.sealing import MANIFEST
from trialkit.study.files import StudyFiles
from trialkit.study.study import Study
from trialkit.study.sync.centre import MOST_EVENTS, Head, body_at, head_of, receive
from trialkit.study.sync.telemetry import finish_session, held_sizes, names_in, put_part

PART = 256 << 10
PART_EVENTS_BYTES = 512 << 10


class Source(Protocol):
    """The chain and the sealed sessions of a site or a home device; `site` is its name."""

    site: str
    last: int

    def bodies(self, after: int) -> Iterator[str]:
        """Yield the texts of the events after number `after`."""
        ...

    def session(self, session: str) -> Path:
        """Return the folder of a sealed session."""
        ...


class Centre(Protocol):
    """What takes up a site's chain; the methods are those of the modules beside, without study."""

    def head(self, site: str) -> Head:
        """Return how far the site's chain is there."""
        ...

    def body_hash(self, site: str, seq: int) -> str:
        """Return the hash of an event of the site as it is there."""
        ...

    def receive(self, site: str, first: int, bodies: list[str]) -> Head:
        """Take up events."""
        ...

    def sizes(self, site: str, session: str) -> dict[str, int]:
        """Return the bytes that are there of each file of a session."""
        ...

    def put(self, site: str, session: str, name: str, at: int, data: bytes, end: bool) -> int:
        """Add bytes to a file; return how many of it are there."""
        ...

    def finish(self, site: str, session: str) -> bool:
        """Have a session whose files are all there recorded."""
        ...


class FolderSource:
    """The study folder of a site or a home device, read without being opened as a study.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    OutOfOrder
        If it is not the folder of one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        where = StudyFiles.read(folder).store(folder)
        self.record = Record.open(where, write=False, clock=RealClock())
        try:
            first = next(iter(self.record.read()), None)
            origin = first.payload.get("origin") if first else None
            if origin is None:
                raise OutOfOrder(
                    f"{folder} is not the study of a site or a home device.",
                    remedy="The centre makes one: `trialkit sync site`, or `sync device`.",
                )
            self.site = str(origin["site"])
            self.last = self.record.head[0]
        except BaseException:
            self.record.close()
            raise

    def __enter__(self) -> FolderSource:
        """Return the source itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the record."""
        self.record.close()

    def bodies(self, after: int) -> Iterator[str]:
        """Yield the texts of the events after number `after`."""
        for event in self.record.read(after=after):
            yield body_of(event).decode()

    def session(self, session: str) -> Path:
        """Return the folder of a sealed session."""
        return self.folder / "telemetry" / session


class Here:
    """The centre in this process: a study that is open for writing.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def head(self, site: str) -> Head:
        """Return how far the site's chain is here."""
        self._study.refresh()
        return head_of(self._study, site)

    def body_hash(self, site: str, seq: int) -> str:
        """Return the hash of an event of the site as it is here."""
        return parse(body_at(self._study, site, seq)).hash

    def receive(self, site: str, first: int, bodies: list[str]) -> Head:
        """Take up events."""
        return receive(self._study, site, first, bodies)

    def sizes(self, site: str, session: str) -> dict[str, int]:
        """Return the bytes that are here of each file of a session."""
        return held_sizes(self._study, site, session)

    def put(self, site: str, session: str, name: str, at: int, data: bytes, end: bool) -> int:
        """Add bytes to a file; return how many of it are here."""
        return put_part(self._study, site, session, name, at, data, end=end)

    def finish(self, site: str, session: str) -> bool:
        """Have a session whose files are all here recorded."""
        return finish_session(self._study, site, session)


@dataclass
class Pushed:
    """What a push brought: events and sessions that were sent, and how far the centre is."""

    site: str
    events: int = 0
    sessions: int = 0
    bytes: int = 0
    last: int = 0
    hash: str = ""
    centre: int = 0
    centre_hash: str = ""
    broken_off: int = 0


def push(
    source: Source,
    centre: Centre,
    *,
    tries: int = 5,
    wait: Callable[[float], None] = time.sleep,
) -> Pushed:
    """Send what the centre does not have, and return what was sent.

    Parameters
    ----------
    tries : int
        How often in a row the centre may be out of reach, without anything coming through,
        before the push gives up; the waits between double from a quarter of a second.

    Raises
    ------
    Unreachable
        If the centre stays out of reach. What it acknowledged is there; push again.
    ChainBroken
        If the two chains part (a fork), or the site's is shorter than what the centre has.
    DataLocked, StorageRefused
        If the centre takes nothing now.
    TelemetryDamaged
        If a sealed session of the site is not there.
    """
    done, failed, before = Pushed(source.site), 0, (0, 0)
    while True:
        try:
            _once(source, centre, done)
            return done
        except (Unreachable, StudyBusy):
            now = (done.events, done.bytes)
            failed, before = (0 if now > before else failed) + 1, now
            done.broken_off += 1
            if failed >= tries:
                raise
            wait(min(0.25 * 2**failed, 8.0))


def _once(source: Source, centre: Centre, done: Pushed) -> None:
    head = centre.head(source.site)
    _require_common(source, centre, head)
    while head.last < source.last:
        bodies = _some(source.bodies(head.last), source.last - head.last)
        after = centre.receive(source.site, head.last + 1, bodies)
        if after.last <= head.last:
            raise ChainBroken("the centre did not go on.", remedy="Push again.")
        done.events += after.last - head.last
        head = after
    for session in head.missing:
        _send_session(source, centre, session, done)
    head = centre.head(source.site)
    done.last, done.hash = head.last, head.hash
    done.centre, done.centre_hash = head.centre, head.centre_hash


def _some(bodies: Iterator[str], most: int) -> list[str]:
    """Return as many texts as make one part."""
    part: list[str] = []
    size = 0
    for body in bodies:
        part.append(body)
        size += len(body)
        if len(part) >= min(most, MOST_EVENTS) or size >= PART_EVENTS_BYTES:
            break
    return part


def _require_common(source: Source, centre: Centre, head: Head) -> None:
    """Refuse where the centre holds what the site does not, and find where the chains part."""
    shared = min(head.last, source.last)
    if shared == 0 or _hash_at(source, shared) == centre.body_hash(source.site, shared):
        if head.last > source.last:
            raise ChainBroken(
                f"the record of {called(source.site)} ends at event {source.last}, and the centre "
                f"has {head.last}.",
                remedy="Go on from the newest folder there; this one is an old copy.",
            )
        return
    same, differs = 0, shared
    while differs - same > 1:
        middle = (same + differs) // 2
        if _hash_at(source, middle) == centre.body_hash(source.site, middle):
            same = middle
        else:
            differs = middle
    centre.receive(source.site, differs, [next(source.bodies(differs - 1))])
    raise ChainBroken(
        f"event {differs} is not the one that the centre has.", remedy="Push again, then verify."
    )


def _hash_at(source: Source, seq: int) -> str:
    return parse(next(source.bodies(seq - 1))).hash


def _send_session(source: Source, centre: Centre, session: str, done: Pushed) -> None:
    folder = source.session(session)
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise TelemetryDamaged(
            f"{manifest} is missing or not readable.", remedy="Restore it from a backup."
        )
    sizes = centre.sizes(source.site, session)
    for name in (MANIFEST, *names_in(manifest.read_bytes())):
        _send_file(source.site, centre, folder / name, session, sizes.get(name, 0), done)
    if centre.finish(source.site, session):
        done.sessions += 1


def _send_file(
    site: str, centre: Centre, path: Path, session: str, have: int, done: Pushed
) -> None:
    size = path.stat().st_size
    if have > size:
        raise TelemetryDamaged(f"{path} is shorter than before.", remedy="Restore it.")
    with path.open("rb") as stream:
        while True:
            stream.seek(have)
            data = stream.read(PART)
            end = have + len(data) == size
            now = centre.put(site, session, path.name, have, data, end)
            done.bytes += max(0, now - have)
            if end and now == size:
                return
            have = now
