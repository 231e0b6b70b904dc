"""Study: a folder that holds one trial, which several processes may write to and read."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from trialkit._canonical import write_durably
from trialkit._clock import Clock, RealClock
from trialkit.errors import (
    Duplicate,
    OutOfOrder,
    StorageRefused,
    UnknownName,
    UsageError,
)
from trialkit.protocol.model import Protocol
from trialkit.record.allocation import AllocationStore, Place
from trialkit.record.chain import GENESIS, Event
from trialkit.record.events import Record
from trialkit.record.kinds import CommandRefused, Payload, StudyCreated, UserAdded
from trialkit.record.postgres import without_password
from trialkit.record.roles import ENTRY, LENT, NEEDED, SIGNING, permissions_of
from trialkit.record.sign import KeyStore, check_user
from trialkit.record.state import ParticipantState, StudyState
from trialkit.record.storage import storage_guard
from trialkit.study.access import Access, authenticate
from trialkit.study.asking import check_role, look, require_owner_for
from trialkit.study.cached import keep
from trialkit.study.design import Design, unknown_name
from trialkit.study.files import (
    DESIGN,
    FileLock,
    StudyFiles,
    copy_into,
    copy_plan,
    login_name,
)
from trialkit.study.founding import check_founded, found, new_folder
from trialkit.study.holds import held_back
from trialkit.study.shared import (
    Refusal,
    Shared,
    assemble,
    check_files,
    fold,
    follow,
    load_sound,
    read_state,
    say_unguarded,
)
from trialkit.study.status import StudyStatus, status_of

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


class Study:
    """One trial: its record, state, design and files, seen by one person.

    Use `Study.create` or `Study.open`; `as_user` gives another person's view of the same
    open study. It is a context manager.

    Attributes
    ----------
    folder : Path
    record : Record
    state : StudyState
        The fold over the record, always current.
    design : Design
        Arms, visits, diaries, randomisation, instruments.
    protocols : dict of str to Protocol
        By ARMCD; empty in an imported study.
    plan_file : Path or None
    clock : Clock
    keys : KeyStore
    allocation : AllocationStore
    actor, role : str
        Who acts; the role ``none`` holds no permission.
    access : Access or None
        The proof that the person is the one, where the study asks for it.
    """

    def __init__(self, shared: Shared, actor: str) -> None:
        self.access: Access | None = None
        self._shared = shared
        self.folder = shared.folder
        self.record = shared.record
        self.state = shared.state
        self.clock = shared.clock
        self.watch = shared.watch
        self.keys = shared.keys
        self.allocation = shared.allocation
        self.actor = actor

    @cached_property
    def design(self) -> Design:
        """Arms, visits, diaries, randomisation, instruments."""
        return self._shared.design

    @cached_property
    def protocols(self) -> dict[str, Protocol]:
        """The protocols by ARMCD; empty in an imported study."""
        return self._shared.protocols

    @property
    def plan_file(self) -> Path | None:
        """The file of the analysis plan."""
        plan = self._shared.contents.plan
        return self.folder / plan if plan else None

    @property
    def role(self) -> str:
        """The role of the person who acts; ``none`` without a login that the study asks for."""
        user = self.state.users.get(self.actor)
        if user is None or user.retired or (self.state.accounts and self.access is None):
            return "none"
        return user.role

    @property
    def sitting(self) -> str:
        """The period of access, for signing: of the login, or of this open study."""
        return self.access.sitting if self.access is not None else self._shared.sitting

    @classmethod
    def create(
        cls,
        folder: str | Path,
        *,
        protocols: Sequence[str | Path] = (),
        actor: str,
        plan: str | Path | None = None,
        name: str = "",
        design: Design | None = None,
        study_id: str | None = None,
        title: str | None = None,
        clock: Clock | None = None,
        keys: KeyStore | None = None,
        seed: int | str | None = None,
        database: str | None = None,
    ) -> Study:
        """Create a study in a new folder and open it for writing.

        What an interrupted creation left in the folder, or in the database, is cleared first.

        Parameters
        ----------
        protocols : sequence of path
            One file an arm; copied into the study. Empty for an import, which gives `design`.
        actor, name : str
            The owner's user name and printed name.
        plan : path or None
            Copied into ``plans/``.
        study_id, title : str or None
            Default: those of the trial in the protocols.
        seed : int, str or None
            Seed of the allocation lists, kept in ``allocation.db`` only; None draws it from the
            operating system, and anything else is for demonstrations.
        database : str or None
            URL of an empty PostgreSQL database for the record; None keeps it in the folder.

        Raises
        ------
        ProtocolFindings
            If a protocol has faults, or the arms do not agree.
        Duplicate
            If the folder is not empty, or the database holds a study.
        StudyBusy
            If another process makes a study there.
        StorageRefused
            If the disk is full or read-only; nothing is left behind. Where the connection was
            lost in the commit the study may be there, and the folder stays.
        """
        check_user(actor)
        folder = Path(folder)
        files = [Path(path) for path in protocols]
        for path in [*files, *([Path(plan)] if plan else [])]:
            if not path.is_file():
                raise UnknownName(f"{path}: no such file.", remedy="Give the path of a file.")
        loaded = load_sound(files)
        if design is None:
            if not loaded:
                raise UsageError("no protocol was given.", remedy="Give one protocol an arm.")
            design = Design.from_protocols(loaded)
        first = next(iter(loaded.values()), None)
        study_id = study_id or (first.trial.id if first else "")
        if not _CODE.fullmatch(study_id):
            raise UsageError(
                f"{study_id!r} cannot be a STUDYID.",
                remedy="Use up to 40 letters, digits and _ . -.",
            )
        title = title or (first.trial.title if first else study_id)
        with new_folder(folder), storage_guard(folder):
            contents = StudyFiles(
                study_id,
                title,
                "trial" if loaded else "import",
                copy_into(folder / "protocols", {p.arm: path for path, p in loaded.items()}),
                copy_plan(folder, plan),
                without_password(database) if database else None,
            )
            write_durably(folder / DESIGN, design.to_yaml().encode())
            record = Record.create(database or contents.store(folder), clock or RealClock())
            try:
                AllocationStore.create(database or folder, seed=seed)
                study = cls(assemble(folder, contents, record, StudyState(), keys), actor)
                found(study, contents, name or actor)
            except BaseException:
                record.close()
                raise
        return study

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        actor: str | None = None,
        password: str | None = None,
        token: str | None = None,
        write: bool = True,
        whole: bool = False,
        clock: Clock | None = None,
        keys: KeyStore | None = None,
    ) -> Study:
        """Open a study.

        Parameters
        ----------
        actor : str or None
            Who acts; None is the login name, which has no role without a login where the study
            requires one.
        password, token : str or None
            Proof of who acts; default: what `trialkit login` keeps, where the study requires one.
        write : bool
            False opens for reading, which never waits and leaves no trace but a failed login.
        whole : bool
            True folds every event, and does not look at the state that was kept of an earlier
            open (`trialkit.study.cached`).

        Raises
        ------
        UnknownName
            If there is no study, or not a whole one because its creation was interrupted, or no
            user of the name that was given.
        NotAuthenticated
            If the study requires a login and `actor` did not prove to be the one.
        ChainBroken, IntegrityError
            If the record, a protocol or the design was altered.
        StorageRefused
            If the folder is read-only and `write` is True.
        """
        folder = Path(folder)
        contents = StudyFiles.read(folder)
        where = contents.store(folder)
        record = Record.open(where, write=write, clock=clock or RealClock())
        try:
            state, trusted = read_state(record, contents.study_id, whole=whole)
            check_founded(folder, record, chain=state.site is not None)
            check_files(folder, contents, state)
            shared = assemble(folder, contents, record, state, keys)
            shared.trusted = trusted
            study = cls(shared, actor or login_name())
            if say_unguarded(record, study.actor, study.role):
                study.refresh()
            if actor is not None and actor not in study.state.users:
                raise unknown_name("user", actor, list(study.state.users))
            study.access = authenticate(
                study, password=password, token=token, named=actor is not None
            )
        except BaseException:
            record.close()
            raise
        return study

    def __enter__(self) -> Study:
        """Return the study itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the study."""
        self.close()

    def close(self) -> None:
        """Close the files; for all views."""
        self.record.close()

    # --- people ------------------------------------------------------------------------

    def as_user(self, user: str, *, password: str | None = None, token: str | None = None) -> Study:
        """Return the same open study as another person sees it.

        Raises
        ------
        UnknownName
            If the study has no such user.
        NotAuthenticated
            If the study requires a login and the person did not prove to be the one.
        """
        if user not in self.state.users:
            raise unknown_name("user", user, list(self.state.users))
        other = Study(self._shared, user)
        other.access = authenticate(other, password=password, token=token, named=True)
        return other

    def may(self, permission: str) -> bool:
        """Return True where the person who acts holds `permission`."""
        held = permissions_of(self.role)
        if permission in held:
            return True
        if self._shared.source_file is not None and permission in LENT:
            return "import_forms" in held
        imported = self.state.source == "import" and permission in ENTRY
        return imported and "import" in held

    def require(
        self,
        permission: str,
        *,
        command: str | None = None,
        subject: str | None = None,
        site: str | None = None,
    ) -> None:
        """Refuse unless the person who acts holds `permission`; a refusal is an event.

        Parameters
        ----------
        command : str or None
            What was tried; default: the permission.
        subject, site : str or None
            The participant or the site that it is about: a person with sites of their own may
            act there only.

        Raises
        ------
        NotPermitted
            With the roles that do, or the sites.
        NotAuthenticated
            If the study requires a login, and the person has none.
        """
        who = self.state.participants.get(subject) if subject else None
        site = who.site if who is not None else site
        refused = look(
            self.state,
            self.actor,
            permission,
            site=site,
            held=self.may(permission),
            proven=not self.state.accounts or self.access is not None,
        )
        if refused is None:
            return
        payload = CommandRefused(
            command=command or permission, permission=permission, why=refused.why
        )
        self._refuse(Refusal(self.actor, self.role, payload, who.usubjid if who else None))
        raise refused.error

    @property
    def source_file(self) -> str | None:
        """SHA-256 of the file that is being imported, or None."""
        return self._shared.source_file

    def entering(self, file_sha256: str) -> contextlib.AbstractContextManager[None]:
        """Lend what enters forms (`LENT`) to whoever may import them, inside the block."""
        return self._shared.entering(file_sha256)

    def _refuse(self, refusal: Refusal) -> None:
        """Record a refusal, now or when the batch that it ends is taken back."""
        if self._shared.depth:
            self._shared.refused.append(refusal)
            return
        if self.record.write:
            self._record_refusal(self.record, refusal)
            return
        with contextlib.suppress(StorageRefused):  # a copy on a read-only medium stays as it is
            opened = Record.open(self.record.where, write=True, clock=self.clock)
            with opened:
                say_unguarded(opened, refusal.actor, refusal.role)
                self._record_refusal(opened, refusal)

    def _record_refusal(self, record: Record, refusal: Refusal) -> None:
        record.append(
            refusal.payload, actor=refusal.actor, role=refusal.role, subject=refusal.subject
        )
        self.refresh()

    def add_user(self, user: str, *, role: str, name: str = "", sites: Sequence[str] = ()) -> Event:
        """Add a person in one role; whoever may sign gets a key unless there is one.

        Parameters
        ----------
        sites : sequence of str
            The sites for which the person may act; empty for all.

        Raises
        ------
        Duplicate
            If the name was ever given: it is never used again or for another role.
        """
        self.require("add_user")
        held = permissions_of(check_role(role))
        require_owner_for(role, self.actor, self.role)
        if check_user(user) in self.state.users:
            raise Duplicate(
                f"{user} is a user already ({self.state.users[user].role}).",
                remedy="Give another name: a name is never used twice.",
            )
        return self.append(
            UserAdded(
                user=user,
                name=name or user,
                user_role=role,
                key_fingerprint=self.keys.create(user) if held & SIGNING else None,
                sites=sorted(set(sites)),
            )
        )

    # --- the record ----------------------------------------------------------------------

    def append(
        self, payload: Payload, *, subject: str | None = None, reason: str | None = None
    ) -> Event:
        """Append an event as the person who acts, and bring the state up to date.

        Raises
        ------
        NotPermitted
            If the role may not write this kind of event.
        DataLocked
            If it enters data, and the data are frozen or locked; for everybody.
        OutOfOrder
            If it belongs in another chain: a site's, or the centre's.
        Duplicate
            If it is the event with which a study begins.
        StorageRefused
            If the disk refused; nothing was kept.
        """
        if isinstance(payload, StudyCreated):
            raise Duplicate("a study is created once.", remedy="Use `Study.create`.")
        with self.batch():
            needed = NEEDED.get(payload.kind)
            if needed is not None or self.role == "none":
                self.require(needed or payload.kind, subject=subject)
            if (held := held_back(self.state, payload, subject)) is not None:
                refused = CommandRefused(
                    command=payload.kind, permission=needed or payload.kind, why=held.why
                )
                self._refuse(Refusal(self.actor, self.role, refused, subject))
                raise held.error
            self.watch.note(self)
            event = self.record.append(
                payload, actor=self.actor, role=self.role, subject=subject, reason=reason
            )
            self.state.apply(event)
        return event

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Hold the writers' lock, and commit all events inside together.

        The state is brought up to date first. A failure leaves record and state as they were;
        a refusal that caused it is recorded afterwards.

        Raises
        ------
        StudyBusy
            If another process writes for longer than ten seconds.
        StorageRefused
            If the study is open for reading, or the disk refused.
        """
        shared, seen = self._shared, self._shared.watch.seen
        try:
            with self.record.batch():
                self.refresh()
                shared.depth += 1
                try:
                    yield
                finally:
                    shared.depth -= 1
        except BaseException:
            shared.watch.seen, shared.stale = seen, True
            with contextlib.suppress(StorageRefused):  # the next one begins with it
                shared.follow()
            raise
        finally:
            if shared.depth == 0 and shared.refused:
                refused, shared.refused = shared.refused, []
                for refusal in refused:
                    self._record_refusal(self.record, refusal)

    def refresh(self) -> None:
        """Take into account what other writers appended since.

        Raises
        ------
        ChainBroken
            If the record no longer continues what was read from it.
        """
        self._shared.follow()
        if self.record.head == (self.state.seq, self.state.hash):
            return
        follow(self.record, self.state)

    def check_whole(self) -> None:
        """Fold every event, unless that was done when the study was opened.

        What decides or proves begins with it, so that nothing rests on the cache.

        Raises
        ------
        ChainBroken
            If the chain does not hold.
        """
        if self._shared.trusted[0]:
            vars(self.state).update(vars(fold(self.record)))
            keep(self.record, self.state)
            self._shared.trusted = (0, GENESIS)

    def running(self, session: str) -> FileLock:
        """Return the lock that says that a session runs in this process.

        Raises
        ------
        StudyBusy
            If it runs in another.
        """
        return FileLock(self.folder / "locks" / f"{session}.lock", f"session {session}")

    # --- participants and arms -------------------------------------------------------------

    def participant(self, usubjid: str) -> ParticipantState:
        """Return the state of a participant, or raise `UnknownName`."""
        found = self.state.participants.get(usubjid)
        if found is None:
            raise unknown_name("participant", usubjid, list(self.state.participants))
        return found

    def arm_of(self, usubjid: str) -> str:
        """Return the ARMCD of a participant; in a study of one arm without asking the lists.

        Raises
        ------
        NotPermitted
            If the role may not see allocations.
        OutOfOrder
            If the participant is not randomised.
        IntegrityError
            If the stored arm is not the one that was committed in the record.
        """
        self.require("see_allocation")
        if self.design.randomisation is None and len(self.design.arms) == 1:
            self.participant(usubjid)
            return self.design.arms[0].code
        return self._place_of(usubjid).arm

    def allocations(self) -> dict[str, tuple[str, str]]:
        """Return arm and salt of every randomised participant, for unblinding."""
        self.require("unblind")
        placed = {p: self._place_of(p) for p, s in self.state.participants.items() if s.randomised}
        return {usubjid: (place.arm, place.salt) for usubjid, place in placed.items()}

    def _place_of(self, usubjid: str) -> Place:
        who = self.participant(usubjid)
        if who.stratum is None or who.place is None or who.commitment is None:
            raise OutOfOrder(f"{usubjid} is not randomised.", remedy="Randomise first.")
        return self.allocation.arm_of(usubjid, who.stratum, who.place, who.commitment)

    # --- at a glance -----------------------------------------------------------------------

    def status(self, *, whole: bool = True) -> StudyStatus:
        """Return counts, lock state and chain state; the chain is checked anew.

        Without `whole` it is checked from where the state was taken from the cache.
        """
        if not self.record.write:
            self.refresh()
        after = (0, GENESIS) if whole else self._shared.trusted
        return status_of(
            self.state,
            self.record.verify(after=after),
            folder=str(self.folder),
            plan=self.plan_file.name if self.plan_file else None,
            now=self.clock.now(),
            blinded=not self.may("see_allocation"),
            chain_whole=not after[0],
        )

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()

    def __repr__(self) -> str:
        """Return id and size."""
        return f"<Study {self.state.study_id}: {len(self.state.participants)} participants>"
