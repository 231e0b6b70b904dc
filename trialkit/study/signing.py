"""Electronic signatures of people over parts of the record, after 21 CFR 11.50, 11.70, 11.200.

What can be signed, by name:

==============================  ===========================================
``form:USUBJID/VISIT/CODE``     a form at a visit
``session:ID``                  a session
``casebook:USUBJID``            all data of a participant
``plan``                        the locked plan
``snapshot:ID``                 a snapshot
``report:N``                    the report that event N rendered
==============================  ===========================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from trialkit._canonical import sha256_file
from trialkit._clock import utc_text
from trialkit.errors import NotAuthenticated, NotPermitted, OutOfOrder, TrialkitError, UnknownName
from trialkit.record.accounts import AccountStore
from trialkit.record.chain import Event
from trialkit.record.kinds import Signature, SignatureApplied
from trialkit.record.sign import verify
from trialkit.record.signed import SignedState, digest_of, things_of
from trialkit.study.access import check_password, rules_of
from trialkit.study.commands import command
from trialkit.study.guards import require_text
from trialkit.study.status import OF_SESSIONS
from trialkit.study.study import Study

_KINDS = ("form", "session", "casebook", "plan", "snapshot", "report")


@dataclass(frozen=True)
class Signed:
    """A signature as it stands; `broken` says why it holds no more, and is None where it does.

    `seq` is its event, or None for a role that is told no numbers of events.
    """

    seq: int | None
    what: str
    signer: str
    name: str
    at: str
    meaning: str
    digest: str
    keyed: bool
    broken: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the signature as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        """Return printed name, time, meaning and whether it holds, on one line."""
        state = f"broken: {self.broken}" if self.broken else "holds"
        return f"{self.what}: {self.name} ({self.signer}), {self.at}, {self.meaning}: {state}"


@command("sign", name="sign", atomic=False)
def sign(
    study: Study, what: str, meaning: str, *, password: str, signer: str | None = None
) -> Event:
    """Sign a part of the record as it stands, and return the event.

    Parameters
    ----------
    what : str
        Its name, such as ``form:GAIT-01-001/BL/10MWT``; see the module.
    meaning : str
        What the signature says, such as ``reviewed`` or ``approved``.
    password : str
        That of the person who acts.
    signer : str or None
        The user name of the person who acts: the second component, needed at the first
        signature of a sitting and after a pause.

    Raises
    ------
    NotAuthenticated
        If a component is missing or wrong.
    NotPermitted
        If the person may not sign, there, or not this.
    UnknownName
        If there is no such thing.
    OutOfOrder
        If a session is not closed yet.
    """
    meaning = require_text(meaning, "the meaning of the signature")
    _require_sight(study, what)
    subject = _subject(study, what)
    study.require("sign", command="sign", subject=subject)
    _components(study, signer, password)
    with study.batch():
        events = list(_events(study, what))
        if not events:
            raise UnknownName(f"nothing is named {what}.", remedy="Check the name.")
        digest = digest_of(study.state.study_id, what, events)
        name = study.state.users[study.actor].name
        event = study.append(
            SignatureApplied(
                what=what,
                upto=study.state.seq,
                digest=digest,
                signer=study.actor,
                name=name,
                at=utc_text(study.clock.now()),
                meaning=meaning,
                signature=_keyed(study, name, meaning, digest),
            ),
            subject=subject,
        )
    now = study.clock.now().timestamp()
    AccountStore(study.folder).note_signed(study.sitting, study.actor, now)
    return event


def signatures(study: Study, what: str | None = None) -> list[Signed]:
    """Return the signatures of the study, or of one thing, checked anew.

    A signature is broken by a later event that changes what it covers, and by an altered file
    of a report; and it is not genuine where digest or key do not fit. A role that may not see
    allocations is not shown those of sessions and casebooks before the arms are revealed, nor
    numbers of events.

    Raises
    ------
    NotPermitted
        If the person who acts is no user of the study.
    """
    if study.role == "none":
        study.require("sign", command="signatures")
    blinded = not (study.state.revealed or study.may("see_allocation"))
    broken = {s.seq: s for group in study.state.signed.values() for s in group}
    found = []
    for event in study.record.read(kinds=["signature.applied"]):
        model = event.model()
        if not isinstance(model, SignatureApplied) or what not in (None, model.what):
            continue
        if blinded and model.what.startswith(OF_SESSIONS):
            continue
        signed = _checked(study, event, model, broken.get(event.seq))
        found.append(_unnumbered(signed) if blinded else signed)
    return found


def _unnumbered(signed: Signed) -> Signed:
    """Return a signature without numbers of events."""
    changed = signed.broken is not None and signed.broken.startswith("changed by event ")
    return replace(signed, seq=None, broken="changed since" if changed else signed.broken)


def _checked(
    study: Study, event: Event, model: SignatureApplied, state: SignedState | None
) -> Signed:
    covered = [e for e in _events(study, model.what) if e.seq <= model.upto]
    why = None
    if digest_of(study.state.study_id, model.what, covered) != model.digest:
        why = "not over what the record holds"
    elif model.signature is not None and not _genuine(model):
        why = "the key does not fit"
    elif state is not None and state.broken_by is not None:
        why = f"changed by event {state.broken_by}"
    else:
        why = _altered_file(study, model.what, covered)
    return Signed(
        event.seq,
        model.what,
        model.signer,
        model.name,
        model.at,
        model.meaning,
        model.digest,
        model.signature is not None,
        why,
    )


def _genuine(model: SignatureApplied) -> bool:
    signature = model.signature
    return signature is not None and (
        (signature.signer, signature.name, signature.meaning)
        == (model.signer, model.name, model.meaning)
        and verify(signature, model.digest)
    )


def _altered_file(study: Study, what: str, covered: list[Event]) -> str | None:
    if not what.startswith("report:"):
        return None
    for file, digest in covered[-1].payload["files"].items():
        path = study.folder / "reports" / file
        if path.is_file() and sha256_file(path) != digest:
            return f"{file} was altered"
    return None


def _events(study: Study, what: str) -> Iterator[Event]:
    subject = _subject(study, what)
    kind = what.partition(":")[0]
    kinds = {"plan": "plan.locked", "snapshot": "snapshot.built", "report": "report.rendered"}
    only = [kinds[kind]] if kind in kinds else None
    for event in study.record.read(kinds=only, subject=subject):
        if what in things_of(event):
            yield event


def _subject(study: Study, what: str) -> str | None:
    """Return the participant whom `what` is about, or None."""
    kind, _, rest = what.partition(":")
    if kind not in _KINDS or bool(rest) == (kind == "plan"):
        raise UnknownName(
            f"{what!r} names nothing that can be signed.",
            remedy="Use form:USUBJID/VISIT/CODE, session:ID, casebook:USUBJID, plan, "
            "snapshot:ID or report:N.",
        )
    if kind == "session":
        session = study.state.sessions.get(rest)
        if session is None:
            raise UnknownName(f"no session {rest}.", remedy="Check the id of the session.")
        if session.status == "open":
            raise OutOfOrder(f"session {rest} is open.", remedy="Sign it when it is closed.")
        return session.usubjid
    if kind in ("form", "casebook"):
        return study.participant(rest.split("/")[0]).usubjid
    return None


def _require_sight(study: Study, what: str) -> None:
    """Refuse a session, a casebook or a report to whoever may not see what is in it."""
    if what.startswith(OF_SESSIONS) and study.state.revealed is False:
        study.require("see_allocation", command="sign")


def _components(study: Study, signer: str | None, password: str) -> None:
    """Ask for both components at the first signature of a sitting, else for the password."""
    last = AccountStore(study.folder).last_signed(study.sitting, study.actor)
    now, pause = study.clock.now().timestamp(), rules_of(study).signing_minutes * 60
    if (last is None or not 0 <= now - last < pause) and signer is None:
        raise NotAuthenticated(
            "the first signature of a sitting takes user name and password.",
            remedy="Give the user name as well.",
        )
    if signer is not None and signer != study.actor:
        raise NotPermitted(
            f"{study.actor} cannot sign as {signer}.", remedy="Each person signs for themselves."
        )
    check_password(study, study.actor, password)


def _keyed(study: Study, name: str, meaning: str, digest: str) -> Signature | None:
    known = study.state.users[study.actor].fingerprint
    try:
        if known is None or not study.keys.has(study.actor):
            return None
        signature = study.keys.sign(study.actor, name, meaning, digest)
    except TrialkitError:  # a damaged key file
        return None
    return signature if signature.fingerprint == known else None
