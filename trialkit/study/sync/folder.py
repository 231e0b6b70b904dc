"""The study folder of a site or a home device, with a chain of its own.

It is made under a mark that goes only after the centre has recorded it, and is not opened while
the mark is there. So a creation that was interrupted leaves either a folder that nobody can use,
which the same command clears, or one that the centre knows, which the same command finishes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trialkit
from trialkit._canonical import sha256_file, write_durably
from trialkit.record.accounts import AccountStore
from trialkit.record.allocation import AllocationStore
from trialkit.record.chain import Event
from trialkit.record.events import Record
from trialkit.record.kinds import ChainOrigin, PasswordSet, Payload, StudyCreated, UserAdded
from trialkit.record.sign import KeyStore, fingerprint
from trialkit.record.state import UserState
from trialkit.record.storage import storage_guard
from trialkit.study.files import DESIGN, MARK, StudyFiles, copy_into, copy_plan
from trialkit.study.founding import first_event, new_folder
from trialkit.study.study import Study
from trialkit.study.timesource import time_source

KEYS = "sync"


def key_name(chain: str) -> str:
    """Return the name of the key that signs what a site or a home device sends."""
    return f"site-{chain}"


@dataclass(frozen=True)
class Contents:
    """What the folder of a chain gets.

    Parameters
    ----------
    chain : str
        The name of the site or the home device.
    number : int
        The number of its chain.
    site : str
        For which its people may act.
    arms : tuple of str
        The ARMCD whose protocols go with it.
    design : bytes
        The text of ``design.yaml``.
    people : callable
        Tells who goes with it.
    seed : str or None
        Of lists of its own; None for a folder without.
    plan : bool
        Whether the study's plan goes with it.
    begins : tuple of str and Payload, or None
        Subject and payload of its last event at the beginning.
    """

    chain: str
    number: int
    site: str
    arms: tuple[str, ...]
    design: bytes
    people: Callable[[UserState], bool]
    seed: str | None = None
    plan: bool = False
    begins: tuple[str, Payload] | None = None


@dataclass(frozen=True)
class Made:
    """How a chain begins, and the key that signs what is sent of it."""

    genesis: str
    founded: int
    hash: str
    public_key: str

    @property
    def fingerprint(self) -> str:
        """Of the key."""
        return fingerprint(self.public_key)


def make_folder(
    study: Study,
    out: Path,
    contents: Callable[[], Contents],
    opened: Callable[[Contents, Made], tuple[Payload, str | None]],
) -> Event:
    """Make the folder and record it at the centre: both or none.

    Parameters
    ----------
    contents : callable
        Looks at the study, while the writers' lock is held, and tells what the folder gets.
    opened : callable
        Returns the event of the centre and its subject.

    Returns
    -------
    Event
        That of the centre.

    Raises
    ------
    Duplicate
        If the folder is not empty.
    StorageRefused
        If a disk refused; nothing is left.
    """
    if (known := _finished(study, out)) is not None:
        return known
    with new_folder(out, chain=True), storage_guard(out), study.batch():
        given = contents()
        payload, subject = opened(given, _write(study, out, given))
        return study.append(payload, subject=subject)


def _finished(study: Study, out: Path) -> Event | None:
    """Take the mark from a folder that the centre knows; return the event that says so."""
    if not (out / MARK).exists():
        return None
    with study.batch():
        first = first_event(out)
        for event in study.record.read(kinds=["site.opened", "device.handed"]):
            if first is not None and event.payload["genesis"] == first.hash:
                (out / MARK).unlink(missing_ok=True)
                return event
    return None


def _write(study: Study, out: Path, given: Contents) -> Made:
    (out / KEYS).mkdir(mode=0o700)
    keys = KeyStore(out / KEYS)
    keys.create(key_name(given.chain))
    source = StudyFiles.read(study.folder)
    protocols = {
        arm: study.folder / "protocols" / source.protocols[arm]
        for arm in given.arms
        if arm in source.protocols
    }
    files = StudyFiles(
        source.study_id,
        source.title,
        source.source,
        copy_into(out / "protocols", protocols),
        copy_plan(out, study.plan_file if given.plan else None),
    )
    write_durably(out / DESIGN, given.design)
    if given.seed is not None:
        AllocationStore.create(out, seed=given.seed)
    with Record.create(files.store(out), study.clock) as record:
        files.write(out)
        with record.batch():
            events = _found(study, record, out, files, given)
    last = events[-1]
    return Made(events[0].hash, last.seq, last.hash, keys.public_key(key_name(given.chain)))


def _found(
    study: Study, record: Record, out: Path, files: StudyFiles, given: Contents
) -> list[Event]:
    """Append the first events of the chain, and return them."""
    state, events = study.state, []

    def append(payload: Payload, subject: str | None = None) -> Event:
        events.append(record.append(payload, actor=study.actor, role=study.role, subject=subject))
        return events[-1]

    append(
        StudyCreated(
            study_id=files.study_id,
            title=files.title,
            protocols={
                arm: sha256_file(out / "protocols" / name) for arm, name in files.protocols.items()
            },
            design=sha256_file(out / DESIGN),
            plan=sha256_file(out / files.plan) if files.plan else None,
            software=trialkit.__version__,
            origin=ChainOrigin(
                site=given.chain, number=given.number, seq=state.seq, hash=state.hash
            ),
            clock=time_source(study.clock),
        )
    )
    passwords, held = AccountStore(study.folder), {}
    for user in state.users.values():
        elsewhere = bool(user.sites) and given.site not in user.sites
        if user.retired or elsewhere or not given.people(user):
            continue
        append(
            UserAdded(
                user=user.user,
                name=user.name,
                user_role=user.role,
                key_fingerprint=user.fingerprint,
                sites=[given.site],
            )
        )
        if hashed := passwords.in_force(user.user, user.password_seq):
            held[user.user] = hashed
    if state.accounts is not None:
        append(state.accounts)
    for name, hashed in held.items():
        event = append(PasswordSet(user=name, temporary=state.users[name].temporary))
        AccountStore(out).add_hash(name, hashed, event.seq)
    if given.begins is not None:
        append(given.begins[1], given.begins[0])
    return events
