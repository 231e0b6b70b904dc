"""What all views of one open study share, and how it is read from its folder."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from trialkit._clock import Clock
from trialkit.errors import ChainBroken, IntegrityError, ProtocolFindings, TrialkitError
from trialkit.protocol.check import check_trial
from trialkit.protocol.load import load_protocol
from trialkit.protocol.model import Protocol
from trialkit.record.allocation import AllocationStore
from trialkit.record.chain import GENESIS
from trialkit.record.events import Record
from trialkit.record.kinds import CommandRefused, RecordUnguarded
from trialkit.record.sign import KeyStore
from trialkit.record.state import StudyState
from trialkit.study.cached import EVERY, forget, keep, kept
from trialkit.study.clockwatch import ClockWatch
from trialkit.study.design import Design, read_pinned
from trialkit.study.files import DESIGN, StudyFiles, check_file


class Refusal(NamedTuple):
    """A refusal that is to be recorded: who, in which role, and what was refused."""

    actor: str
    role: str
    payload: CommandRefused
    subject: str | None


@dataclass
class Shared:
    """What all views of one open study share.

    `trusted` is number and hash of the event up to which the state was taken from the cache and
    not folded here.
    """

    folder: Path
    record: Record
    state: StudyState
    clock: Clock
    keys: KeyStore
    allocation: AllocationStore
    contents: StudyFiles
    refused: list[Refusal] = field(default_factory=list)
    depth: int = 0
    stale: bool = False  # the state is ahead of a record that could not be read
    watch: ClockWatch = field(default_factory=ClockWatch)
    trusted: tuple[int, str] = (0, GENESIS)
    sitting: str = field(default_factory=lambda: secrets.token_hex(16))

    source_file: str | None = None

    @cached_property
    def design(self) -> Design:
        """The design, read when it is first asked for and held against its hash again."""
        check_file(self.folder / DESIGN, self.state.design_hash)
        return read_pinned(self.folder / DESIGN, Design)

    @cached_property
    def protocols(self) -> dict[str, Protocol]:
        """The protocols by ARMCD; as the design."""
        found = {}
        for arm, name in self.contents.protocols.items():
            path = self.folder / "protocols" / name
            check_file(path, self.state.protocol_hashes[arm])
            found[arm] = read_pinned(path, Protocol)
        return found

    def follow(self) -> None:
        """Fold the record anew where events that the state has seen were taken back."""
        if self.stale and (self.state.seq, self.state.hash) != self.record.head:
            self.state.rebuild(self.record.read())
        self.stale = False

    @contextmanager
    def entering(self, file_sha256: str) -> Iterator[None]:
        """Say inside the block that what is entered comes from a file."""
        self.source_file = file_sha256
        try:
            yield
        finally:
            self.source_file = None


def say_unguarded(record: Record, actor: str, role: str) -> bool:
    """Put triggers back that were missing or off, and record that; True where that was so.

    Raises
    ------
    IntegrityError
        If only the owner of the database may put them back.
    StorageRefused
        If the store refused.
    """
    found = record.unguarded
    if found:
        record.append(RecordUnguarded(triggers=found), actor=actor, role=role)
    return bool(found)


def load_sound(files: list[Path]) -> dict[Path, Protocol]:
    """Return the protocols of a trial by file, or raise `ProtocolFindings` with every fault."""
    loaded = {path: load_protocol(path) for path in files}
    if findings := check_trial(files):
        raise ProtocolFindings(
            "the protocols of the trial do not agree.", findings, remedy="Mend them together."
        )
    return loaded


def assemble(
    folder: Path,
    contents: StudyFiles,
    record: Record,
    state: StudyState,
    keys: KeyStore | None,
) -> Shared:
    """Return what the views share of a study around its record and state."""
    return Shared(
        folder=folder,
        record=record,
        state=state,
        clock=record.clock,
        keys=keys or KeyStore(),
        allocation=AllocationStore(record.where if isinstance(record.where, str) else folder),
        contents=contents,
    )


def check_files(folder: Path, contents: StudyFiles, state: StudyState) -> None:
    """Compare the files of a study with the hashes in its record.

    Raises
    ------
    IntegrityError
        If one was altered.
    """
    named = (contents.study_id, contents.title, contents.source, set(contents.protocols))
    if named != (state.study_id, state.title, state.source, set(state.protocol_hashes)):
        raise IntegrityError(
            f"{folder}: study.toml is not the one of this record.",
            remedy="Restore study.toml from a copy of the study.",
        )
    for arm, file in contents.protocols.items():
        check_file(folder / "protocols" / file, state.protocol_hashes[arm])
    check_file(folder / DESIGN, state.design_hash)


def read_state(record: Record, study_id: str, *, whole: bool) -> tuple[StudyState, tuple[int, str]]:
    """Return the state of a record, and the event up to which it was taken from the cache.

    Parameters
    ----------
    whole : bool
        True folds every event; False takes what `trialkit.study.cached` keeps, and folds the
        events after it.

    Raises
    ------
    ChainBroken
        If the chain does not hold; the findings are in ``details``.
    """
    state, trusted = None if whole else kept(record, study_id), (0, GENESIS)
    if state is not None:
        trusted, last = (state.seq, state.hash), record.last_given
        try:
            follow(record, state)
            behind = state.seq < last
        except (TrialkitError, LookupError, ValueError, TypeError, AttributeError):
            behind = True
        if behind:  # what is wrong, if anything is, the whole record shows
            forget(record, study_id)
            state, trusted = None, (0, GENESIS)
    if state is None:
        state = fold(record)
    if state.seq - trusted[0] >= EVERY:
        keep(record, state)
    return state, trusted


def follow(record: Record, state: StudyState) -> None:
    """Take the events after those of `state` into account; the chain is checked.

    Raises
    ------
    ChainBroken
        If the record does not continue what was read.
    """
    for event in record.read(after=state.seq):
        if event.seq != state.seq + 1 or event.prev != state.hash:
            raise ChainBroken(
                f"{record.address}: event {event.seq} does not follow what was read.",
                remedy="Run `trialkit record verify`, and restore the study from a copy.",
            )
        state.apply(event)
    if record.head[0] < state.seq:
        raise ChainBroken(
            f"{record.address}: events after {record.head[0]} are gone.",
            remedy="Keep the folder as evidence, and restore the study from a copy.",
        )


def fold(record: Record) -> StudyState:
    """Return the state of a record whose chain holds.

    Raises
    ------
    ChainBroken
        If it does not; the findings are in ``details``.
    """
    state, last = StudyState(), record.last_given
    try:
        follow(record, state)
        whole = state.seq >= last
    except (TrialkitError, LookupError, ValueError):
        whole = False
    if whole:
        return state
    report = record.verify()
    shown = "; ".join(str(finding) for finding in report.findings[:5]) or "it cannot be read"
    raise ChainBroken(
        f"{record.address}: the record was altered: {shown}.",
        remedy="Keep the folder as evidence, and restore the study from a copy.",
        findings=[str(finding) for finding in report.findings],
    )
