"""Signing a head of the record: at the end of a session, at a lock, and on demand."""

from __future__ import annotations

from typing import Any

from trialkit._clock import utc_text
from trialkit.errors import TrialkitError
from trialkit.record.chain import Event
from trialkit.record.heads import MEANING, digest_of, make_head
from trialkit.record.kinds import HeadSigned, Signature
from trialkit.study.study import Study


def sign_head(study: Study) -> Event:
    """Append a Merkle head over all events so far, signed by whoever acts, and return its event.

    The last head that the record holds is continued, so that the cost is that of the events since
    then. A person whose key is not at hand, or is not the one that the record knows, leaves the
    head unsigned: nothing fails for a missing key.

    Raises
    ------
    NotPermitted
        If the person who acts is no user of the study.
    StorageRefused
        If the store refused; nothing was kept.
    """
    with study.batch():
        study.watch.note(study)  # nothing comes between the head and what it counts
        head = make_head(
            study.record,
            study=study.state.study_id,
            at=utc_text(study.clock.now()),
            known=_known(study),
        )
        signature = _signature(study, digest_of(head))
        return study.append(head.model_copy(update={"signature": signature}))


def last_head(study: Study) -> HeadSigned | None:
    """Return the newest head that the record holds, or None."""
    known = study.state.last_head
    return HeadSigned.model_validate(known) if known is not None else None


def _known(study: Study) -> dict[str, Any] | None:
    """Return the last head to be continued, if the record has it where the state says."""
    known = study.state.last_head
    if known is None:
        return None
    event = next(study.record.read(after=known["size"]), None)
    return known if event is not None and event.payload == known else None


def _signature(study: Study, digest: str) -> Signature | None:
    who = study.state.users.get(study.actor)
    if who is None or who.fingerprint is None or not study.keys.has(study.actor):
        return None
    try:
        signature = study.keys.sign(study.actor, who.name, MEANING, digest)
    except TrialkitError:  # a damaged key file
        return None
    return signature if signature.fingerprint == who.fingerprint else None
